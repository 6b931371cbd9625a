"""A recipe's YAML with what the command line changes in it."""

import io

import ruamel.yaml


class RecipeText(io.StringIO):
    """YAML text that knows its file, so that HyperPyYAML finds what it includes.

    Arguments
    ---------
    text : str
    name : str
        The recipe's path.
    """

    def __init__(self, text, name):
        super().__init__(text)
        self.name = name


def read_recipe(path, overrides):
    """The text of a recipe with overrides in place, for HyperPyYAML.

    HyperPyYAML would merge the values of ``!new:B {…}`` into those of ``!new:A {…}`` and keep A; here a tagged value
    takes the place of the old one.

    Arguments
    ---------
    path : str
    overrides : dict
        As sb_ext.command.parse gives them.

    Returns
    -------
    RecipeText
    """
    tree, text = merge(load_yaml(path), overrides), io.StringIO()
    ruamel.yaml.YAML().dump(tree, text)
    return RecipeText(text.getvalue(), path)


def load_yaml(path):
    """The mapping in a YAML file, tags kept.

    Raises
    ------
    ValueError
        If the file is no YAML, or holds no mapping; says in which line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            tree = ruamel.yaml.YAML().load(file)
    except (ruamel.yaml.error.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}{line_of(error)}: is not YAML ({what_is_wrong(error)}); correct it there") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected keys with their values, as in hparams/mixcycle.yaml, found {tree!r:.60}")
    return tree


def line_of(error):
    """``, line N`` of a YAML error that knows its line, counted from 1; otherwise nothing."""
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def what_is_wrong(error):
    """A YAML error in one line."""
    return " ".join(str(getattr(error, "problem", None) or error).split())


def merge(tree, overrides):
    """Change ``tree`` in place: plain mappings key by key, everything else replaced.

    Example
    -------
    >>> tree = {"a": 1, "b": {"c": 2, "d": 3}}
    >>> merge(tree, {"b": {"c": 4}})
    {'a': 1, 'b': {'c': 4, 'd': 3}}
    """
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict) and not tag_of(value):
            merge(tree[key], value)
        else:
            tree[key] = value
    return tree


def tag_of(node):
    """A node's YAML tag, such as ``!new:torch.nn.ReLU``; empty for plain nodes."""
    return getattr(getattr(node, "tag", None), "value", None) or ""
