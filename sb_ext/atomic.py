"""Files that are there in full or not at all, whenever the program is killed; and whether a folder takes any."""

import json
import math
import os
import tempfile
from contextlib import contextmanager


def write_text(path, text):
    """Write ``text`` to ``path`` through a temporary file beside it.

    Example
    -------
    >>> folder = tempfile.mkdtemp()
    >>> write_text(os.path.join(folder, "a.txt"), "hello")
    >>> os.listdir(folder)
    ['a.txt']
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path, value):
    """Write a value as JSON; a number that is not finite, such as the mean of nothing, becomes null.

    Example
    -------
    >>> path = os.path.join(tempfile.mkdtemp(), "a.json")
    >>> write_json(path, {"mean": float("nan"), "figures": [1.5]})
    >>> json.load(open(path))
    {'mean': None, 'figures': [1.5]}
    """
    write_text(path, json.dumps(_null(value), indent=1, allow_nan=False) + "\n")


def _null(value):
    if isinstance(value, dict):
        return {key: _null(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def whole_file(path):
    """A temporary path beside ``path``, which takes its place when the block has ended well, and goes when it has not.

    Example
    -------
    >>> folder = tempfile.mkdtemp()
    >>> with whole_file(os.path.join(folder, "a.bin")) as temporary, open(temporary, "wb") as file:
    ...     _ = file.write(b"hello")
    >>> os.listdir(folder)
    ['a.bin']
    """
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def check_writable(key, folder):
    """Make a folder and raise ValueError, naming the recipe's ``key`` for it, if it takes no files.

    Example
    -------
    >>> check_writable("output_folder", "/dev/null/results")
    Traceback (most recent call last):
    ValueError: output_folder: cannot write to /dev/null/results (Not a directory); set --output_folder to another one
    """
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"{key}: cannot write to {folder} ({error.strerror}); set --{key} to another one") from None
