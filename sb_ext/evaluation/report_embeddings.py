"""The report's pictures of attractor models, like Figure 2 of SANet's paper and Figure 1 of k-means DANet's."""

import textwrap

import matplotlib
import numpy as np

from sb_ext.evaluation.figures import STYLE, colour, grid, svg

MAP = (
    "t-SNE of the attractors that inference finds for the test mixtures; one colour and shape a speaker. A model that "
    "knows speakers again from mixture to mixture groups them. Distances between groups mean little."
)
PLANE = (
    "Embeddings of one test mixture's loudest bins on their two principal components, in the colour of the speaker "
    "who is loudest there, with the attractors that each choice finds. The lines cross in the origin."
)
MARKS = {"ideal": "*", "euclidean": "s", "spherical": "D"}
SHAPES = "o^sDv"
UNKNOWN = "#888888"
SHADES = matplotlib.colormaps["tab20"].colors
SHADES = SHADES[::2] + SHADES[1::2]
# Of the points, which are an image within the SVG, as thousands of shapes would be large.
DOTS_PER_INCH = 200


def attractor_maps(runs):
    """t-SNE of the test attractors, one panel a run; '' where no run has one."""
    return _panels(runs, "map", _map, "map")


def embedding_planes(runs):
    """Principal components of one mixture's embeddings, one panel a run; '' where no run has them."""
    return _panels(runs, "bins", _plane, "plane")


def _panels(runs, key, draw, prefix):
    known = [run for run in runs if len(run.pictures.get(key, ()))]
    if not known:
        return ""
    with matplotlib.rc_context(STYLE):
        # A lone panel keeps the width of one of two.
        figure, axes = grid(max(2, len(known)))
        figure.set(dpi=DOTS_PER_INCH, figheight=1.3 * figure.get_figheight())
        for run, axis in zip(known, axes, strict=False):
            # A dollar sign in a run's name would begin a formula.
            axis.set_title(textwrap.fill(run.label, 40), parse_math=False)
            draw(axis, run.pictures)
            axis.set_aspect("equal", adjustable="datalim")
        for axis in axes[len(known) :]:
            axis.remove()
        return svg(figure, prefix)


def _map(axis, pictures):
    speakers = np.unique(pictures["speakers"])
    for number, speaker in enumerate(speakers):
        look = {"color": UNKNOWN, "marker": "o"}
        if speaker >= 0:
            look = {"color": SHADES[number % len(SHADES)], "marker": SHAPES[number // len(SHADES) % len(SHAPES)]}
        points = pictures["map"][pictures["speakers"] == speaker]
        axis.scatter(*points.T, s=16, alpha=0.85, linewidth=0, rasterized=True, **look)
    known = int((speakers >= 0).sum())
    axis.set_xlabel(f"{len(pictures['map'])} attractors, {known or 'unknown'} speakers")
    axis.set(xticks=[], yticks=[])


def _plane(axis, pictures):
    dominant = pictures["dominant"]
    axis.axhline(0, linewidth=0.8, color=UNKNOWN)
    axis.axvline(0, linewidth=0.8, color=UNKNOWN)
    axis.scatter(
        *pictures["bins"].T, s=7, c=[colour(place) for place in dominant], alpha=0.5, linewidth=0, rasterized=True
    )
    for name, points in zip(pictures["choices"], pictures["chosen"], strict=True):
        mark = MARKS.get(str(name), "P")
        size = 190 if mark == "*" else 60
        axis.scatter(*points.T, s=size, marker=mark, color="white", edgecolor="black", label=str(name), zorder=3)
    for place, share in zip("xy", 100 * pictures["explained"], strict=True):
        axis.set(**{f"{place}label": f"{'first' if place == 'x' else 'second'} component ({share:.0f} %)"})
    axis.legend(fontsize=8)
