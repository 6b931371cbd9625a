"""The corpus of these tests, as it is and as the public script generates it."""

import itertools

import pytest
from librimix_corpus import generate, table_of, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def generated(corpus):
    for rate, mode in itertools.product((8000, 16000), ("min", "max")):
        for num_speakers in (2, 3):
            generate(
                table_of(corpus, num_speakers), corpus / "speech", corpus / "noise", corpus, num_speakers, rate, mode
            )
    return corpus
