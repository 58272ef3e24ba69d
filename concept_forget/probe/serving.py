"""Which models one engine serves, and the engine for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from concept_forget.config import ProbeConfig
from concept_forget.engines.opening import open_engine, open_shared
from concept_forget.engines.protocol import Engine
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs


@dataclass(frozen=True, slots=True)
class Shared:
    """Models that one engine serves: a model on its own, and adapters on it.

    ``adapters`` says by what mark requests name the adapter of each of the models; None: it has none of its own.
    """

    spec: ModelSpec
    adapters: Mapping[str, str | None]


def share_engines(models: Mapping[str, ModelSpec], config: ProbeConfig) -> list[Shared]:
    """Divide models among as few engines as can serve them.

    The engine ``transformers`` folds an adapter into the weights, which computes faster and holds one model at a time;
    equal models share one. In vLLM a model serves itself and its adapters.
    """
    found: dict[ModelSpec, dict[str, str | None]] = {spec: {} for spec in models.values()}
    for name, spec in models.items():
        host = replace(spec, adapter=None, fingerprint="")
        hosts = [one for one in found if replace(one, fingerprint="") == host]
        if config.engine == "vllm" and spec.adapter is not None and hosts:
            found[hosts[0]][name] = spec.fingerprint or spec.adapter
        else:
            found[spec][name] = None
    return [Shared(spec, names) for spec, names in found.items() if names]


def open_for(shared: Shared, models: Mapping[str, ModelSpec], config: ProbeConfig, cache: Path, costs: Costs) -> Engine:
    """The engine that serves some of the models.

    Raises:
        MissingExtraError: vLLM is wanted and cannot be used.
        ModelError: An adapter is none that vLLM can put on a model while it runs.
        DataError: The cache is damaged or cannot be used.
    """
    if config.engine == "transformers":
        return open_engine(shared.spec, cache=cache, costs=costs, batch_tokens=config.batch_tokens)
    folders = {mark: str(models[name].adapter) for name, mark in shared.adapters.items() if mark}
    spec = shared.spec
    if spec.adapter is not None:  # on a model that nobody asks
        folders[spec.adapter] = spec.adapter
    return open_shared(spec, folders, config, cache=cache, costs=costs)
