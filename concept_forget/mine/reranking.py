"""A cross-encoder that reads query and chunk together, and orders what the encoder found."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.config import ModelChoice
from concept_forget.errors import ModelError
from concept_forget.measures.conformal import DECIMALS
from concept_forget.models import resolve_model
from concept_forget.progress import track
from concept_forget.sentence_encoder import load_cross_encoder, predict_pairs

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from concept_forget.records import ModelSpec

KEY = "mine.reranker"
BATCH = 32


def find_reranker(name: str) -> ModelSpec:
    """Find a cross-encoder without loading it.

    Args:
        name: A folder or hub id.

    Raises:
        ModelError: It is absent or has no safetensors.
    """
    return resolve_model(ModelChoice(model=name), KEY)


class Reranker:
    """Scores pairs with a sentence-transformers cross-encoder, loaded when it is first needed.

    Args:
        spec: From ``find_reranker``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    @functools.cached_property
    def _model(self) -> CrossEncoder:
        remedy = "name a sentence-transformers cross-encoder, or leave it out"
        model = load_cross_encoder(self._spec, KEY, remedy)
        labels = getattr(model.config, "num_labels", 0)
        if labels != 1:
            raise ModelError(
                f"the cross-encoder gives {labels} numbers for a pair, and one is needed to order by",
                file=self._spec.path,
                key=KEY,
                remedy="name one that was trained to rank, with a single label",
            )
        return model

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """How well each chunk answers its query, from 0 to 1 and to ``DECIMALS`` places, in the order of the pairs.

        Args:
            pairs: Query and chunk.

        Raises:
            ModelError: The model cannot be read, or does not give one number.
        """
        import torch

        scores = [0.0] * len(pairs)
        # By length, so that little is padded.
        by_length = sorted(range(len(pairs)), key=lambda place: (len(pairs[place][1]), pairs[place]))
        with track("re-rank", total=len(pairs), unit="chunks") as bar:
            for start in range(0, len(pairs), BATCH):
                places = by_length[start : start + BATCH]
                some = [pairs[place] for place in places]
                found = predict_pairs(self._model, some, BATCH, KEY, activation_fn=torch.nn.Sigmoid())
                for place, score in zip(places, found.tolist(), strict=True):
                    scores[place] = round(score, DECIMALS)
                bar.advance(len(places))
        return scores
