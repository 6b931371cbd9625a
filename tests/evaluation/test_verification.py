"""Equal error rate of speaker verification, against the public code's way, and the draw of its trials."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq

from sb_ext.contracts import MixtureBatch
from sb_ext.evaluation.verification import EqualErrorRate, draw_trials


def measured(embeddings, speakers, **more):
    hook = EqualErrorRate(**more)
    hook.start("VALID")
    for rows in torch.arange(len(speakers)).split(7):
        batch = MixtureBatch([str(row) for row in rows], None, None, speakers[rows, None], None)
        hook.update(batch, embeddings[rows, None], None)
    return hook.finish(None, "VALID")


def test_the_rate_is_the_public_codes():
    """Where the interpolated receiver operating characteristic meets the other diagonal."""
    torch.manual_seed(0)
    speakers = torch.arange(60) % 12
    embeddings = torch.randn(12, 8)[speakers] + 1.3 * torch.randn(60, 8)
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], embeddings[None], dim=-1).double().numpy()
    rows, columns = np.triu_indices(60, 1)
    same, scores = (speakers[rows] == speakers[columns]).numpy(), cosines[rows, columns]
    thresholds = np.r_[np.inf, np.sort(scores)[::-1]]
    fpr, tpr = ([(scores[kind] >= limit).mean() for limit in thresholds] for kind in (~same, same))
    expected = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0.0, 1.0)
    figures = measured(embeddings, speakers)
    assert 0.1 < expected < 0.4 and figures["eer"] == pytest.approx(expected, abs=0.01)
    assert figures["verified"] == 1 - figures["eer"]


def test_separate_speakers_have_no_error_and_mixed_ones_half():
    speakers = torch.arange(40) % 4
    assert measured(torch.eye(4)[speakers] * torch.rand(40, 1).add(0.1), speakers)["eer"] == 0
    torch.manual_seed(1)
    assert measured(torch.randn(40, 30), speakers)["eer"] == pytest.approx(0.5, abs=0.1)


def test_without_pairs_of_both_kinds_there_is_no_rate():
    assert np.isnan(measured(torch.randn(3, 4), torch.zeros(3, dtype=torch.long))["eer"])


def test_an_embedding_that_is_not_finite_gives_no_rate():
    """Rather than one of zero, the best, by which its checkpoint would be kept."""
    embeddings, speakers = torch.randn(40, 6), torch.arange(40) % 4
    assert 0 < measured(embeddings, speakers)["eer"] < 1
    embeddings[7, 2] = float("nan")
    assert all(np.isnan(value) for value in measured(embeddings, speakers).values())


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 50), st.integers(0, 5))
def test_trials_are_pairs_of_their_kind_each_once(speakers, count, seed):
    speakers = np.array(speakers)
    total = len(speakers) * (len(speakers) - 1) // 2
    kinds = draw_trials(speakers, total + 1, seed)
    assert sum(map(len, kinds)) == total
    for alike, every, some in zip((True, False), kinds, draw_trials(speakers, count, seed), strict=True):
        assert len(some) == min(count, len(every)) and len(set(map(tuple, some.tolist()))) == len(some)
        assert ((speakers[some[:, 0]] == speakers[some[:, 1]]) == alike).all() and (some[:, 0] < some[:, 1]).all()


def test_many_items_are_thinned_out_first():
    same, other = draw_trials(np.arange(30000) % 20, 5000, seed=0)
    assert len(same) == len(other) == 5000 and other.max() > 20000
