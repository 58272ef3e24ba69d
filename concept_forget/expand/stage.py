"""The stage ``expand``: the generator writes about the concepts, and what it wrote is put on disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.expand.expansion import Expansion, OpenTarget, expand
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.plan import estimate
from concept_forget.workspace import StageContext, write_json, write_records, write_text

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Engine

__all__ = ["VERSION", "estimate", "fingerprint_parts", "model_roles", "run"]

VERSION: int = 2


def model_roles(config: Config) -> tuple[str, ...]:
    """The models that the stage asks: the target too where another model writes and the target's memory is wanted."""
    wants_target = config.expand.memory_dumps and config.generator.engine not in ("target", "none")
    return ("generator", "base") if wants_target else ("generator",)


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
    ]


def _engine_parts(config: Config) -> list[object]:
    """What tells engines apart that give the same model's replies; a server has no weights that can be looked at."""
    parts = {"vllm": {"engine"}, "openai": {"engine", "base_url", "model", "structured", "room"}}
    chosen = parts.get(config.generator.engine)
    return [config.generator.model_dump(mode="json", include=chosen)] if chosen else []


def _budget_parts(config: Config) -> list[object]:
    limits = [config.generator.max_requests, config.generator.max_tokens]
    return [limits] if limits != [None, None] else []


def run(context: StageContext) -> dict[str, object]:
    """Write ``facts.jsonl``, ``questions.jsonl``, ``passages.jsonl``, ``rejected.jsonl`` and ``summary.json``.

    Every reply is in the request cache, so that an interrupted run asks nothing twice. Without a generator the files
    are empty, and the summary says so.

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
        from concept_forget.engines.opening import open_generator

        prompts = load_prompts(config.generator.prompts)
        spec = context.models.get("generator")  # none where it is on a server
        engine = open_generator(config.generator, spec, cache=context.cache, costs=context.costs)
        with contextlib.closing(engine):
            expansion = expand(config, engine, prompts, open_target=_target_opener(context))
    summary |= expansion.summary(config)
    write_records(context.folder / "facts.jsonl", list(expansion.facts))
    write_records(context.folder / "questions.jsonl", list(expansion.questions))
    write_records(context.folder / "passages.jsonl", list(expansion.passages))
    write_text(context.folder / "rejected.jsonl", expansion.ledger.rejected_jsonl())
    write_json(context.folder / "summary.json", summary)
    return summary


def _target_opener(context: StageContext) -> OpenTarget | None:
    """Opens the target where the stage was handed it; the generator is the target, or nobody asks for it, where not."""
    if "base" not in context.models:
        return None

    def open_target() -> Engine:
        from concept_forget.engines.opening import open_engine

        spec, batch_tokens = context.models["base"], context.config.generator.batch_tokens
        return open_engine(spec, cache=context.cache, costs=context.costs, batch_tokens=batch_tokens)

    return open_target
