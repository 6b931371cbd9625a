"""The report's part on label switching, like Figures 2 and 3 and Table 2 of Gao et al. 2023."""

import textwrap

import matplotlib
import numpy as np

from sb_ext.evaluation import paper_figures
from sb_ext.evaluation.figures import INK, STYLE, colour, dash, grid, svg
from sb_ext.evaluation.report_tables import ABSENT_CELL, Cell, Table, is_number

SWITCHING = (
    "Share of the training mixtures whose assignment, chosen by PIT after every epoch, differs from the epoch before "
    "(last layer), and share that the objective dropped, from epoch 2 on."
)
CURVES = (
    "Switching (coloured, left) beside validation SI-SNRi (right, a triangle where it fell); where an objective drops "
    "mixtures, how many."
)
LAYERS = "Switching of every layer; the last in the colour of the text. Curves that part show decoupled layers."
DECOUPLING = (
    "L1 distance of each layer's switching curve from the last layer's: the sum of the differences, as fractions, over "
    "the epochs. It grows with their number. The paper's six layers were trained for 200 epochs on other data, and it "
    "names no unit: its 37.50 would be 0.19 an epoch."
)
PAPER, METHODS = "dynamic_sample_dropout", ("pit", "dsd", "lo", "dsd_lo")


def by_layer(run):
    """Layer to ``[4, epochs]``: epoch, switched (%), SI-SNRi (dB), dropped (%); NaN for what is not known."""
    layers = {}
    for row in run.switching:
        values = [row.get(name) for name in ("epoch", "ratio", "valid_si_snri", "train_dropped")]
        if is_number(row.get("layer")) and all(map(is_number, values[:2])):
            values = [value if is_number(value) else np.nan for value in values]
            layers.setdefault(int(row["layer"]), []).append(values * np.array([1, 100, 1, 100]))
    return {layer: np.array(layers[layer]).T for layer in sorted(layers)}


def _with_layers(runs, least=1):
    """Number, run and layers of the runs that have at least so many."""
    found = [(number, run, by_layer(run)) for number, run in enumerate(runs)]
    return [entry for entry in found if len(entry[2]) >= least]


def switching_curves(runs):
    """Switching of the last layer beside validation SI-SNRi, one panel a run, and the dropped share; '' without any."""
    known = [(number, run, layers[max(layers)]) for number, run, layers in _with_layers(runs)]
    if not known:
        return ""
    dropping = any((last[3] > 0).any() for _, _, last in known)
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(known) + dropping)
        rights = [axis.twinx() for axis in axes[: len(known)]]
        for (number, run, last), axis, right in zip(known, axes, rights, strict=False):
            epochs, switched, gain, dropped = last
            axis.plot(epochs, switched, color=colour(number), linestyle=dash(number))
            _panel(axis, run.label, "% switched")
            right.plot(epochs, gain, color=INK, linewidth=1.2, marker="v", markersize=4, markevery=_falls(gain))
            right.set_ylabel("SI-SNRi (dB)")
            right.spines["right"].set_visible(True)
            if dropping:
                axes[-1].plot(epochs, dropped, color=colour(number), linestyle=dash(number))
        if dropping:
            _panel(axes[-1], "Dropped in training", "% of mixtures")
        _alike(axes[: len(known)])
        _alike(rights)
        return svg(figure, "switching")


def _falls(values):
    """The places where a curve is lower than just before."""
    return (np.flatnonzero(np.diff(values) < 0) + 1).tolist()


def layer_curves(runs):
    """Switching of every layer, one panel a run; '' where no run has several layers."""
    known = _with_layers(runs, least=2)
    if not known:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(known))
        for (_, run, layers), axis in zip(known, axes, strict=True):
            for layer, (epochs, switched, *_) in layers.items():
                shade = INK if layer == max(layers) else matplotlib.colormaps["plasma"](0.9 * layer / max(layers))
                axis.plot(epochs, switched, color=shade, label=f"layer {layer}", linewidth=1.4)
            _panel(axis, run.label, "% switched")
            axis.legend(fontsize=8, ncols=2)
        _alike(axes)
        return svg(figure, "layers")


def _panel(axis, title, label):
    # a dollar sign in a run's name would begin a formula
    axis.set_title(textwrap.fill(title, 40), parse_math=False)
    axis.set(xlabel="epochs", ylabel=label)
    axis.set_ylim(bottom=0)


def _alike(axes):
    """One scale for all panels."""
    low, high = zip(*(axis.get_ylim() for axis in axes), strict=True)
    for axis in axes:
        axis.set_ylim(min(low), max(high))


def switching_table(runs):
    """One row a run: how much of the training data switched, and was dropped, at first, on average and at last."""
    headings = ["Run", "Layers", "Epochs"]
    times = ("at first", "on average", "at last")
    headings += [f"{share} {time} (%)" for share in ("Switched", "Dropped") for time in times]
    rows, belongs = [], []
    for number, run, layers in _with_layers(runs):
        epochs, switched, _, dropped = layers[max(layers)]
        cells = [Cell(f"{len(layers)}", "number"), Cell(f"{epochs.min():.0f} to {epochs.max():.0f}", "number")]
        for share in (switched, dropped):
            cells += [_cell(value) for value in (share[0], share.mean(), share[-1])]
        rows.append([Cell(run.label), *cells])
        belongs.append(number)
    return Table(headings, rows, belongs)


def _cell(value):
    return Cell(f"{value:.2f}", "number") if is_number(float(value)) else ABSENT_CELL


def decoupling_table(runs):
    """One row a layer, as Table 2: distance of its switching curve from the last layer's, and the paper's figures."""
    measured = [(run.label, _distances(run)) for run in runs]
    measured = [(label, distances) for label, distances in measured if distances]
    if not measured:
        return Table([], [], [])
    printed = [(f"The paper's {_title(method)}", _printed(method)) for method in METHODS]
    columns = measured + printed
    rows = [
        [Cell(f"Layer {layer}"), *(cells.get(layer, Cell("none")) for _, cells in columns)]
        for layer in sorted({layer for _, cells in columns for layer in cells})
    ]
    return Table(["Against the last layer", *(label for label, _ in columns)], rows, [None] * len(rows))


def _distances(run):
    """Layer to a cell: the distance, and that of a single epoch."""
    return {
        int(row["layer"]): Cell(f"{row['distance']:.2f} ({row['distance'] / row['epochs']:.3f} an epoch)", "number")
        for row in run.decoupling
        if all(is_number(row.get(name)) for name in ("layer", "distance", "epochs")) and row["epochs"]
    }


def _title(method):
    return paper_figures.load()["papers"][PAPER]["methods"][method]


def _printed(method):
    found = paper_figures.figures(PAPER, method, "layer_distance")
    return {int(figure.short_dataset.split()[-1]): Cell(f"{figure.mean:.2f}", "number") for figure in found}
