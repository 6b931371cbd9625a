"""The report's listening corner: for each chosen mixture its audio and spectrograms, and every run's estimates."""

import base64
import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
import soundfile

from sb_ext.evaluation.examples import safe_name
from sb_ext.evaluation.figures import spectrogram
from sb_ext.evaluation.markup import tag
from sb_ext.evaluation.report_tables import is_number


@dataclass
class Example:
    """A mixture with its references, shared by ``runs``: (run number, {signal name: path})."""

    name: str
    signals: dict
    runs: list = field(default_factory=list)


def choose(runs, count):
    """Up to ``count`` examples a run, those that most runs have first, as a list of Example.

    Runs share an example when its name and its mixture's bytes agree: the same name may mean another corpus.
    """
    shared = {}
    for number, run in enumerate(runs):
        for name, signals in run.examples.items():
            key = (name, hashlib.sha256(signals["mixture"].read_bytes()).hexdigest())
            shared.setdefault(key, Example(name, {})).runs.append((number, signals))
    left = dict.fromkeys(range(len(runs)), count)
    chosen = []
    for example in sorted(shared.values(), key=lambda example: (-len(example.runs), example.name)):
        example.runs = [(number, signals) for number, signals in example.runs if left[number] > 0]
        for number, signals in example.runs:
            left[number] -= 1
            example.signals |= {key: path for key, path in signals.items() if not key.startswith("estimate")}
        if example.runs:
            chosen.append(example)
    return chosen


def render(example, runs, name_of_run):
    """One example as HTML: the mixture and references, then a row of estimates for each run."""
    first, power = _card("Mixture", example.signals["mixture"], example.name)
    references = sorted((key, path) for key, path in example.signals.items() if key.startswith("source"))
    cards = [first, *(_card(_title("Reference", key), path, example.name, power)[0] for key, path in references)]
    rows = [tag("div", *cards, class_="cards")]
    for number, signals in example.runs:
        estimates = sorted((key, path) for key, path in signals.items() if key.startswith("estimate"))
        cards = [
            _card(_title("Estimate", key), path, f"{example.name}, {runs[number].label}", power)[0]
            for key, path in estimates
        ] or [tag("p", "estimates: not there", class_="absent")]
        rows.append(tag("h4", name_of_run(number), tag("span", _scores(runs[number], example.name), class_="quiet")))
        rows.append(tag("div", *cards, class_="cards"))
    if not references:
        rows.insert(1, tag("p", "references: not there", class_="absent"))
    return tag("article", tag("h3", example.name), *rows, class_="example")


def _title(word, key):
    return f"{word} {key.removeprefix('estimate').removeprefix('source')}".strip()


def _scores(run, name):
    row = next((row for row in run.rows if safe_name(str(row.get("id"))) == safe_name(name)), {})
    gain = row.get("si_snri")
    return f" {gain:.1f} dB SI-SNRi" if is_number(gain) else ""


def _card(title, path, of, reference_power=None):
    try:
        signal, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:  # soundfile's own error is a RuntimeError
        return tag("p", f"{title}: could not be read ({error})", class_="absent card"), None
    signal = np.nan_to_num(signal[:, 0])
    image, power = spectrogram(signal, sample_rate, reference_power)
    about = f"{title} of {of}: 0 to {sample_rate / 2000:g} kHz, {len(signal) / sample_rate:.1f} s"
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    card = tag(
        "figure",
        tag("figcaption", title, tag("span", f"{len(signal) / sample_rate:.1f} s", class_="quiet")),
        tag("img", src=source, alt=f"Spectrogram. {about}", width=420, height=130),
        tag("audio", controls=True, preload="none", src=_wav(signal, sample_rate), aria_label=about),
        class_="card",
    )
    return card, power


def _wav(signal, sample_rate):
    # 16 bits, since not every browser plays floating point; turned down only where it would clip
    peak = float(np.abs(signal).max(initial=0.0))
    stream = io.BytesIO()
    soundfile.write(stream, signal / max(peak, 1.0), sample_rate, format="WAV", subtype="PCM_16")
    return f"data:audio/wav;base64,{base64.b64encode(stream.getvalue()).decode()}"
