"""The report's pictures: curves and distributions as SVG in the page's colours, spectrograms as PNG."""

import io
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#06b6d4", "#84cc16", "#ec4899")
DASHES = ("-", "--", "-.")
# stands for the page's text colour until the picture is in the page
INK = "#010203"
RANGE_DB = 70.0
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "lines.linewidth": 1.8,
    "legend.frameon": False,
} | dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK)


def learning_curves(runs):
    """Validation SI-SNRi over steps and minutes, and the training loss; '' where no run has a curve."""
    panels = [
        ("Validation SI-SNRi by step", "steps", "steps", 1, "dB", ("valid_si_snri", "valid_self_evaluation")),
        ("Validation SI-SNRi by time", "seconds", "minutes", 60, "dB", ("valid_si_snri", "valid_self_evaluation")),
        ("Training loss by step", "steps", "steps", 1, "loss", ("train_loss",)),
        ("Swap gap by step", "steps", "steps", 1, "dB", ("valid_swap_gap",)),
    ]
    drawn = [panel for panel in panels if any(_has(run, panel[1], name) for run in runs for name in panel[5])]
    if not drawn:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(drawn))
        for axis, (title, x, label, unit, y_label, names) in zip(axes, drawn, strict=True):
            for number, run in enumerate(runs):
                for name in names:
                    _curve(axis, run, number, x, unit, name)
            axis.set(title=title, xlabel=label, ylabel=y_label)
        return svg(figure, "curves")


def _has(run, x, name):
    return bool(np.isfinite(run.column("curve", x)).any() and np.isfinite(run.column("curve", name)).any())


def _curve(axis, run, number, x, unit, name):
    steps, values = np.array(run.column("curve", x)) / unit, np.array(run.column("curve", name))
    known = np.isfinite(steps) & np.isfinite(values)
    estimated = name == "valid_self_evaluation"
    axis.plot(
        steps[known],
        values[known],
        color=colour(number),
        linestyle=":" if estimated else dash(number),
        alpha=0.8 if estimated else 1,
        marker="o",
        markersize=3 if known.sum() <= 40 and not estimated else 0,
    )
    # MixCycle logs the share of steps that were in the cycle
    phases = [row.get("phase", row.get("train_cycle")) for row in run.curve]
    for before, after, step in zip(phases, phases[1:], steps, strict=False):
        if before != after and name in ("valid_si_snri", "train_loss"):
            axis.axvline(step, color=colour(number), linewidth=0.8, alpha=0.5, linestyle=(0, (2, 3)))


def distributions(runs):
    """SI-SNRi of every mixture, sorted, and as box plots with one point a mixture; '' where no run has rows."""
    known = [(number, _known(run, "si_snri")) for number, run in enumerate(runs)]
    known = [(number, values) for number, values in known if len(values)]
    if not known:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, (ordered, boxes) = grid(2)
        for place, (number, values) in enumerate(known):
            ordered.plot(
                np.linspace(0, 100, len(values)), np.sort(values), color=colour(number), linestyle=dash(number)
            )
            # a fixed zigzag spreads the points as well as chance would, and the same way every time
            spread = 0.6 * (np.arange(len(values)) * 0.618 % 1 - 0.5)
            boxes.scatter(values, -place + spread, s=9, color=colour(number), alpha=0.4, linewidth=0)
            _box(boxes, -place, values, colour(number))
        ordered.set(title="From the worst mixture to the best", xlabel="% of mixtures", ylabel="SI-SNRi (dB)")
        boxes.set(title="Median, quartiles, 5 % to 95 %", xlabel="SI-SNRi (dB)", yticks=[])
        boxes.set_ylim(-len(known) + 0.4, 0.6)
        return svg(figure, "spread")


def _box(axis, height, values, box_colour):
    low, first, median, third, high = np.percentile(values, (5, 25, 50, 75, 95))
    axis.plot((low, high), (height, height), color=INK, linewidth=1)
    axis.plot((first, third), (height, height), color=box_colour, linewidth=9, alpha=0.75, solid_capstyle="butt")
    axis.plot((median, median), (height - 0.25, height + 0.25), color=INK, linewidth=2)


def _known(run, name):
    values = np.array(run.column("rows", name), dtype=float)
    return values[np.isfinite(values)]


def colour(number):
    """The colour of a run, the same in every picture and table."""
    return COLOURS[number % len(COLOURS)]


def dash(number):
    """The line style of a run: another one when the colours begin again."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def grid(count):
    """A figure and its ``count`` panels, to be used within STYLE."""
    columns = min(count, 2) if count in (2, 4) else min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(10.5, 3.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.grid(alpha=0.15, linewidth=0.8)
        axis.set_axisbelow(True)
    for axis in axes[count:]:
        axis.remove()
    return figure, list(axes[:count])


def svg(figure, prefix):
    """A figure as an SVG element in the page's colours; ``prefix`` tells it from others of the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # several pictures share one page, so that their ids must differ
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", text)
    return re.sub(r'<svg([^>]*?) width="[^"]*"', r'<svg\1 aria-hidden="true"', text, count=1)


def spectrogram(signal, sample_rate, reference_power=None, width=420):
    """A spectrogram as PNG bytes and the largest power in it.

    Arguments
    ---------
    signal : numpy.ndarray
        ``[T]``.
    sample_rate : int
        In Hz; the picture reaches from 0 to half of it, bottom to top, over 70 dB.
    reference_power : float, optional
        The power shown brightest; the signal's own maximum by default.
    width : int
        Columns at most.

    Example
    -------
    >>> png, power = spectrogram(np.random.default_rng(0).standard_normal(8000), 8000)
    >>> png[1:4], power > 0
    (b'PNG', True)
    """
    size = 2 * round(0.016 * sample_rate)
    signal = np.pad(signal, (0, max(0, size - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)
    frames = frames[:: max(size // 4, -(-len(frames) // width))]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))).T[::-1] ** 2
    top = reference_power or float(power.max()) or 1.0
    level = 1 + 10 * np.log10(np.maximum(power / top, 1e-12)) / RANGE_DB
    # one byte a point and a palette: a third of the size of a coloured picture
    image = Image.fromarray((255 * level.clip(0, 1)).astype(np.uint8)).convert("P")
    image.putpalette((matplotlib.colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    image.save(stream, format="png", optimize=True)
    return stream.getvalue(), float(power.max())
