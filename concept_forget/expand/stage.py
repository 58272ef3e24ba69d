"""The stage ``expand``: the generator writes about the concepts, and what it wrote is put on disk."""

from __future__ import annotations

import contextlib

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.plan import estimate
from concept_forget.expand.writer import Watch
from concept_forget.workspace import StageContext, write_json, write_records, write_text

__all__ = ["VERSION", "estimate", "fingerprint_parts", "run"]

VERSION: int = 1


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


def run(context: StageContext, watch: Watch | None = None) -> dict[str, object]:
    """Write ``facts.jsonl``, ``questions.jsonl``, ``rejected.jsonl`` and ``summary.json``.

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
        from concept_forget.engines.opening import open_generator

        prompts = load_prompts(config.generator.prompts)
        spec = context.models.get("generator")  # none where it is on a server
        engine = open_generator(config.generator, spec, cache=context.cache, costs=context.costs)
        with contextlib.closing(engine):
            expansion = expand(config, engine, prompts, watch)
    summary |= expansion.summary(config)
    write_records(context.folder / "facts.jsonl", list(expansion.facts))
    write_records(context.folder / "questions.jsonl", list(expansion.questions))
    write_text(context.folder / "rejected.jsonl", expansion.ledger.rejected_jsonl())
    write_json(context.folder / "summary.json", summary)
    return summary
