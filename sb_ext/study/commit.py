"""Which version of the code made a result."""

import subprocess

CODE = ("sb_ext", "recipes")


def current_commit(root):
    """``7c53e5f``, with ``-dirty`` where the code differs from it; ``unknown`` outside of git.

    Example
    -------
    >>> current_commit(getfixture("tmp_path"))
    'unknown'
    """
    name = _git(root, "rev-parse", "--short", "HEAD")
    if not name:
        return "unknown"
    return f"{name}-dirty" if _git(root, "status", "--porcelain", "--", *CODE) else name


def _git(root, *words):
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
