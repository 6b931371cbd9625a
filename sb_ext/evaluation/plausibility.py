"""Whether a self-evaluation can be believed."""


def judge(summary):
    """Provisional."""
    same, cross = summary["same_index"], summary["cross_index"]
    return {"swap_gap": cross - same, "plausible": True, "guarded": same}
