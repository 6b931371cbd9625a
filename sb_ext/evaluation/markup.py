"""HTML from Python: text is escaped unless it is Markup already."""

import html

VOID = {"meta", "img", "br"}


class Markup(str):
    """Text that is HTML already."""


def tag(name, *children, **attributes):
    """One element; ``class_`` and ``data_x`` become class and data-x, None leaves an attribute out, True names it only.

    Example
    -------
    >>> tag("p", "<script>", tag("br"), class_="a\\"b", hidden=True)
    '<p class="a&quot;b" hidden>&lt;script&gt;<br></p>'
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None:
            words.append(f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children):
    """Children one after the other, each escaped unless it is Markup."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(str(child)) for child in children))
