"""Whether a self-evaluation can be believed.

A separator of speakers does not care which of its outputs the parts of a remixture came from. A split that belongs to
the outputs does: two parts from *different* outputs lie on different sides of the split and fall apart by themselves,
two parts from the *same* output lie on the same side and stay together. So the two kinds of pairs are measured apart.
"""

import math

# Below this share of the higher of the two figures, the lower one shows a split that belongs to the outputs.
SOUND_SHARE = 0.15
# A lower figure below this, in dB, shows no separation that would have to be believed.
LEAST_SHOWN = 0.5
# Of the parts that are remixed; above it, outputs are left empty rather than shared out.
MOST_SILENCE = 0.25
# What stands for a figure, in dB, where nothing could be measured.
LEAST_POSSIBLE = -100.0


def judge(summary):
    """What the same-index and different-index figures say.

    Arguments
    ---------
    summary : dict
        ``same_index`` and ``cross_index`` in dB, ``silent_share`` from 0 to 1.

    Returns
    -------
    dict
        ``swap_gap``: different minus same, in dB. ``plausible``: bool. ``verdict``: the reason, in words. ``guarded``:
        the lower of the two, in dB, which no split by output index can raise; for choosing checkpoints.

    Example
    -------
    >>> judge({"same_index": 3.0, "cross_index": 4.5, "silent_share": 0.0})["plausible"]
    True
    >>> judge({"same_index": -2.0, "cross_index": 16.0, "silent_share": 0.0})["verdict"]
    'not plausible: pairs from one output are not separated (-2.0 dB), pairs from different outputs are (16.0 dB)'
    """
    same, cross, silent = summary["same_index"], summary["cross_index"], summary["silent_share"]
    verdict = "plausible"
    if math.isnan(same) or math.isnan(cross):
        # With few recordings and repeats chance may give no pair of one kind.
        known = [value for value in (same, cross) if not math.isnan(value)]
        verdict = "not plausible: too few pairs to compare; more recordings or repeats are needed"
        return {"swap_gap": 0.0, "plausible": False, "verdict": verdict, "guarded": min(known, default=LEAST_POSSIBLE)}
    if silent > MOST_SILENCE:
        verdict = f"not plausible: {100 * silent:.0f} % of the estimates are silent beside the other ones"
    elif not max(same, cross) > LEAST_SHOWN:
        verdict = f"not plausible: remixtures are hardly separated ({same:.1f} and {cross:.1f} dB)"
    elif not min(same, cross) > max(LEAST_SHOWN, SOUND_SHARE * max(same, cross)):
        kinds = ("one output", "different outputs") if same < cross else ("different outputs", "one output")
        verdict = (
            f"not plausible: pairs from {kinds[0]} are not separated ({min(same, cross):.1f} dB), "
            f"pairs from {kinds[1]} are ({max(same, cross):.1f} dB)"
        )
    return {
        "swap_gap": cross - same,
        "plausible": verdict == "plausible",
        "verdict": verdict,
        "guarded": min(same, cross),
    }
