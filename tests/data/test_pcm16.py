"""The quantiser against libsndfile itself."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sb_ext.data.pcm16 import from_pcm16, to_pcm16


def through_a_wav(samples):
    """What soundfile writes, read back as int16."""
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="WAV")
    file.seek(0)
    return soundfile.read(file, dtype="int16")[0]


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-1.5, 1.5, width=32)))
def test_quantises_as_libsndfile(samples):
    np.testing.assert_array_equal(to_pcm16(samples), through_a_wav(samples))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_quantises_as_libsndfile_where_it_is_delicate(kind):
    rng, steps = np.random.default_rng(0), np.arange(-32769, 32770) / 32768
    near = [np.nextafter(np.float32(steps), np.float32(way)) for way in (-2, 2)]
    tiny = np.concatenate([sign * np.logspace(-14, 0, 5000) for sign in (1, -1)])
    extremes = [1, -1, 2, -2, 1e30, -1e30, np.inf, -np.inf, 0.0, -0.0]
    groups = [rng.normal(0, 0.5, 100000), rng.normal(0, 1e-4, 100000), steps, steps + 2**-16, *near, tiny, extremes]
    samples = np.concatenate(groups).astype(kind)
    np.testing.assert_array_equal(to_pcm16(samples), through_a_wav(samples))


def test_every_16_bit_value_survives():
    values = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_pcm16(from_pcm16(values)), values)
    assert from_pcm16(values).dtype == np.float32


def test_what_cannot_be_quantised():
    with pytest.raises(ValueError, match="expected float32 or float64 samples, received int16"):
        to_pcm16(np.zeros(3, np.int16))
    with pytest.raises(ValueError, match="not a number"):
        to_pcm16(np.array([0, np.nan], np.float32))
