"""The stage ``expand``: the generator writes about the concepts, and what it wrote is put on disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import MissingExtraError
from concept_forget.expand.expansion import Expansion, OpenTarget, expand
from concept_forget.expand.judging import Judge, load_judge_prompt
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.plan import estimate
from concept_forget.expand.writer import Watch
from concept_forget.sentence_encoder import Encoder
from concept_forget.workspace import StageContext, write_json, write_records, write_text

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Engine

__all__ = ["VERSION", "check", "estimate", "fingerprint_parts", "model_roles", "run"]

VERSION: int = 3


def model_roles(config: Config) -> tuple[str, ...]:
    """The models that the stage asks: the target too where another model writes and the target's memory is wanted."""
    wants_target = config.expand.memory_dumps and config.generator.engine not in ("target", "none")
    judge = ("judge",) if config.expand.judge is not None else ()
    return ("generator", *judge, *(("base",) if wants_target else ()))


def check(config: Config) -> None:
    """Refuse a generator that cannot be asked here, before anything is taught.

    Raises:
        DataError: The prompts cannot be read.
        MissingExtraError: The generator's engine is not installed.
    """
    generator = config.generator
    if generator.engine != "none":
        load_prompts(generator.prompts)
    if generator.engine == "vllm" or generator.engine == "openai":
        from concept_forget.engines.opening import require_engine

        require_engine(generator.engine)


def fingerprint_parts(config: Config) -> list[object]:
    """All that the stage's output depends on besides the seed and the generator's weights.

    Raises:
        DataError: The prompts cannot be read.
    """
    generator = config.generator
    if generator.engine == "none":
        return ["none"]
    return [
        [concept.model_dump(mode="json") for concept in config.concepts],
        # Not batch_tokens: a reply does not depend on its batch. Not the prompts' name: their text counts.
        generator.model_dump(mode="json", include={"temperature", "max_new_tokens"}),
        load_prompts(generator.prompts).hash,
        config.expand.model_dump(mode="json"),
        [file.concept for file in config.data.forget],
        *_engine_parts(config),
        *_budget_parts(config),
        *_gate_parts(config),
    ]


def _engine_parts(config: Config) -> list[object]:
    """What tells engines apart that give the same model's replies; a server has no weights that can be looked at."""
    parts = {"vllm": {"engine"}, "openai": {"engine", "base_url", "model", "structured", "room"}}
    chosen = parts.get(config.generator.engine)
    return [config.generator.model_dump(mode="json", include=chosen)] if chosen else []


def _budget_parts(config: Config) -> list[object]:
    limits = [config.generator.max_requests, config.generator.max_tokens]
    return [limits] if limits != [None, None] else []


def _gate_parts(config: Config) -> list[object]:
    encoder = _find_encoder(config)
    judge = [load_judge_prompt(config).hash] if config.expand.judge is not None else []
    return [encoder.identity if encoder is not None else "no encoder", *judge]


def _find_encoder(config: Config) -> Encoder | None:
    """The encoder of the gates; None where `auto` finds none, for then they do without."""
    try:
        return find_encoder(config.mine.embedder)
    except MissingExtraError:
        return None


def run(context: StageContext, watch: Watch | None = None) -> dict[str, object]:
    """Write ``facts.jsonl``, ``questions.jsonl``, ``passages.jsonl``, ``rejected.jsonl`` and ``summary.json``.

    Every reply is in the request cache, so that an interrupted run asks nothing twice. Without a generator the files
    are empty, and the summary says so.

    Args:
        context: What the stage is handed.
        watch: Is told of every reply.

    Raises:
        StageError: A step gave nothing that the next one could work with, or a concept is left without a fact.
        DataError: A prompt file is absent or cannot be filled in.
        ModelError: The generator cannot be loaded, or its server does not know it.
        MissingExtraError: The generator's engine is not installed.
        EngineError: The generator does not answer any more.
    """
    config = context.config
    summary: dict[str, object] = {"engine": config.generator.engine}
    if config.generator.engine == "none":
        expansion = Expansion((), (), Ledger())
        summary["note"] = "no generator: nothing was written about the concepts"
    else:
        expansion = _expand(context, watch)
    summary |= expansion.summary(config)
    write_records(context.folder / "facts.jsonl", list(expansion.facts))
    write_records(context.folder / "questions.jsonl", list(expansion.questions))
    write_records(context.folder / "passages.jsonl", list(expansion.passages))
    write_text(context.folder / "rejected.jsonl", expansion.ledger.rejected_jsonl())
    write_json(context.folder / "summary.json", summary)
    return summary


def _expand(context: StageContext, watch: Watch | None) -> Expansion:
    from concept_forget.engines.opening import open_generator

    config, costs = context.config, context.costs
    prompts = load_prompts(config.generator.prompts)
    spec = context.models.get("generator")  # none where it is on a server
    with contextlib.ExitStack() as stack:
        engine = open_generator(config.generator, spec, cache=context.cache, costs=costs)
        stack.enter_context(contextlib.closing(engine))
        judge = None
        if config.expand.judge is not None:
            settings = config.expand.judge.generator
            other = None
            if settings is not None:
                other = open_generator(settings, context.models.get("judge"), cache=context.cache, costs=costs)
                stack.enter_context(contextlib.closing(other))
            judge = Judge(config.expand.judge, load_judge_prompt(config), other)
        embedder = None
        if encoder := _find_encoder(config):
            embedder = Embedder(encoder, context.cache.with_name(VECTORS), config.mine.batch_tokens)
            stack.enter_context(contextlib.closing(embedder))
        expansion = expand(
            config,
            engine,
            prompts,
            watch,
            open_target=_target_opener(context),
            encoder=embedder,
            judge=judge,
            costs=costs,
        )
        costs.flops += embedder.flops if embedder is not None else 0.0
    return expansion


def _target_opener(context: StageContext) -> OpenTarget | None:
    """Opens the target where the stage was handed it; the generator is the target, or nobody asks for it, where not."""
    if "base" not in context.models:
        return None

    def open_target() -> Engine:
        from concept_forget.engines.opening import open_engine

        spec, batch_tokens = context.models["base"], context.config.generator.batch_tokens
        return open_engine(spec, cache=context.cache, costs=context.costs, batch_tokens=batch_tokens)

    return open_target
