"""Opens the engine for a model: the one place where a verb gets one."""

from __future__ import annotations

from pathlib import Path

from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.protocol import Engine
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs


def open_engine(spec: ModelSpec, *, cache: Path, costs: Costs, batch_tokens: int) -> Engine:
    """An engine for a model on this machine that asks it only what is not cached.

    Nothing is loaded before something has to be computed. Use it with ``contextlib.closing``: two models in memory at
    once are one too many for some machines.

    Args:
        spec: The model.
        cache: The file of the request cache.
        costs: The account that the engine's work is put down to.
        batch_tokens: Padded tokens that a batch may hold.

    Raises:
        DataError: The cache is damaged or cannot be used.
        ModelError: The spec has no fingerprint and its folder cannot be read.
    """
    from concept_forget.engines.transformers_engine import TransformersEngine

    return CachedEngine(TransformersEngine(spec, batch_tokens), RequestCache(cache), costs)
