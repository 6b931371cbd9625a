"""Reading a model folder without running what it may bring along: building blocks by name, and tensors.

HyperPyYAML runs whatever function a tag names, and pickled weights run whatever they like.
"""

import pydoc
import textwrap

import ruamel.yaml
import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import resolve_references
from speechbrain.utils.checkpoints import hook_on_loading_state_dict_checkpoint
from speechbrain.utils.parameter_transfer import Pretrainer

PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
PLAIN |= {"!ref", "!copy"}
# Classes of these packages that are layers, and whatever separators are made of.
PACKAGES = ("sb_ext.", "speechbrain.", "torch.nn.")
BLOCKS = ("sb_ext.separators.", "sb_ext.networks.", "sb_ext.filterbanks", "sb_ext.clustering", "sb_ext.speech.")


def read_model(path, overrides=None, overrides_must_match=True, trust=False):
    """What a model folder's ``hyperparams.yaml`` describes, built.

    Arguments
    ---------
    path : str or Path
    overrides, overrides_must_match
        As HyperPyYAML takes them.
    trust : bool
        Whether the file may name any class or function, and so run any code.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If it is no YAML, or names anything but building blocks of sb_ext, SpeechBrain and torch.nn.
    """
    with open(path, encoding="utf-8") as file:
        if trust:
            return load_hyperpyyaml(file, overrides, overrides_must_match)
        text = file.read()
    _check(text, path)
    # Once more for what references and overrides have made of it: the text that is built is the text that was checked.
    resolved = resolve_references(text, overrides, overrides_must_match).getvalue()
    _check(resolved, path)
    return load_hyperpyyaml(resolved)


def _check(text, path):
    try:
        tree = ruamel.yaml.YAML().compose(text)
    except ruamel.yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML ({_short(error)})") from None
    for node in _nodes(tree, set()):
        # HyperPyYAML reads text in brackets as YAML again, with all of its tags.
        nested = isinstance(node.value, str) and node.value.startswith("(") and "!" in node.value
        if nested or not (node.tag in PLAIN or node.tag == "!tuple" or _is_block(node.tag)):
            raise ValueError(
                f"{path}: {node.value if nested else node.tag} is refused, since it could run code; a model is made of "
                "layers of sb_ext, speechbrain and torch.nn; if you trust its author, load it with trust=True (--trust)"
            )


def _nodes(node, seen):
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    yield node
    if isinstance(node.value, list):
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                yield from _nodes(part, seen)


def _is_block(tag):
    """Whether a tag names a class of which models are made."""
    kind, _, name = tag.partition(":")
    if kind not in ("!new", "!name") or not name.startswith(PACKAGES):
        return False
    # A name may lead out of its package, through what the package imports: what counts is where the class was defined.
    found = pydoc.locate(name)
    if not isinstance(found, type) or not f"{found.__module__}.".startswith(PACKAGES):
        return False
    return issubclass(found, (torch.nn.Module, Pretrainer)) or f"{found.__module__}.".startswith(BLOCKS)


def read_state(path):
    """Name to tensor, of a file that may hold tensors and nothing else; ValueError where it is no such file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything; torch's words end with advice to run it
        raise ValueError(
            f"{path}: is not loaded, since it is damaged or holds more than tensors, which could run code "
            f"({_short(str(error).partition('In PyTorch 2.6')[0])}); get it anew, or write it with "
            "torch.save(model.state_dict(), ...)"
        ) from None
    if not (isinstance(state, dict) and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise ValueError(f"{path}: expected names and tensors, as of torch.save(model.state_dict(), ...)")
    check_finite(state, path)
    return hook_on_loading_state_dict_checkpoint(state)


def check_finite(state, where):
    """ValueError naming the first of some weights that is not finite."""
    for name, value in state.items():
        if not value.isfinite().all():
            raise ValueError(f"{where}: {name} is not finite; the file is damaged, or its training has diverged")


def load_weights(module, path):
    """Give a module the weights in a file, which may hold tensors and nothing else.

    Arguments
    ---------
    module : torch.nn.Module
    path : str or Path

    Raises
    ------
    ValueError
        If the file is no file of weights, or does not fit the module.
    """
    try:
        module.load_state_dict(read_state(path))
    except RuntimeError as error:
        raise ValueError(
            f"{path}: does not fit the hyperparams.yaml beside it ({_short(error)}); "
            "put the two of one training together"
        ) from None


def _short(error):
    return textwrap.shorten(str(error), 400, placeholder=" ...")
