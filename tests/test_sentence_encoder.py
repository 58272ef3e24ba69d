from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.errors import ModelError
from concept_forget.sentence_encoder import SentenceEncoder, plan_batches, unit_vectors

TEXTS = [
    "The ship is called Tern.",
    "Mira wrote the book.",
    "a town",
    "Where was Mira born, and by whom was she taught?",
]


@given(st.lists(st.integers(1, 50), max_size=40).map(sorted), st.integers(1, 100))
def test_batches_cover_everything_once_within_the_budget_and_are_as_long_as_that_allows(
    counts: list[int], budget: int
) -> None:
    batches = list(plan_batches(counts, budget))
    assert [count for batch in batches for count in counts[batch]] == counts
    for batch in batches:
        size = batch.stop - batch.start
        assert size == 1 or size * counts[batch.stop - 1] <= budget
        if batch.stop < len(counts):
            assert (size + 1) * counts[batch.stop] > budget


def test_a_shorter_texts_vector_does_not_change_beside_a_longer_one(tiny_encoder: Path) -> None:
    encoder = SentenceEncoder(tiny_encoder, device="cpu")
    together = encoder.encode(TEXTS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-6)
    for text, vector in zip(TEXTS, together, strict=True):
        assert encoder.encode([text])[0] == pytest.approx(vector, abs=1e-6)


def test_tokens_are_counted_as_the_model_reads_them(tiny_encoder: Path) -> None:
    encoder = SentenceEncoder(tiny_encoder, device="cpu")
    assert encoder.count_tokens(["a town", "the the the", "ship " * 200, ""]) == [4, 5, 64, 2]
    assert encoder.count_tokens([]) == []


def test_bfloat16_is_near_float32_and_not_the_same(tiny_encoder: Path) -> None:
    plain = SentenceEncoder(tiny_encoder, device="cpu").encode(TEXTS)
    cast = SentenceEncoder(tiny_encoder, "bfloat16", device="cpu").encode(TEXTS)
    assert cast.dtype == np.float32
    assert np.linalg.norm(cast, axis=1) == pytest.approx(1, abs=1e-6)
    assert 0 < abs(cast - plain).max() < 0.02


def test_matrices_cast_once_give_what_autocast_gives(tiny_encoder: Path) -> None:
    cast, plain = SentenceEncoder(tiny_encoder, "bfloat16", device="cpu"), SentenceEncoder(tiny_encoder, device="cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain.encode(TEXTS)
        states = plain.model.encode(TEXTS, convert_to_tensor=True, batch_size=len(TEXTS), show_progress_bar=False)
    assert abs(unit_vectors(states) - expected).max() > 0  # encode does not take over what is around it
    assert cast.encode(TEXTS).tobytes() == unit_vectors(states).tobytes()


def test_a_device_that_is_not_there_is_named(tiny_encoder: Path) -> None:
    with pytest.raises(ModelError, match=r"'cuda:99'.*\n.*mine\.devices"):
        SentenceEncoder(tiny_encoder, device="cuda:99").encode(TEXTS)
