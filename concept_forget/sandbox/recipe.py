"""The sizes of tiny models and how they are fitted: settings alone, so that a fingerprint needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from concept_forget.sandbox.world import Size


@dataclass(frozen=True, slots=True)
class Recipe:
    """The size of a model and the way it is fitted.

    ``lr`` is AdamW's, for embeddings and norms; ``matrix_lr`` is Muon's, for the matrices of the layers.
    ``batch_tokens`` bounds a batch, padding included.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    epochs: int
    context: int = 1024
    batch_tokens: int = 1024
    lr: float = 1e-2
    matrix_lr: float = 0.03
    weight_decay: float = 0.1
    warmup: float = 0.05
    rope_theta: float = 10_000.0


WORLD_RECIPES: dict[Size, Recipe] = {
    "standard": Recipe(hidden=128, layers=4, heads=4, intermediate=384, epochs=13),
    "nano": Recipe(hidden=128, layers=3, heads=4, intermediate=384, epochs=24),
}
ROWS_RECIPE = Recipe(hidden=192, layers=4, heads=6, intermediate=512, epochs=25)
