"""Grades attempts by models: opens each grader's model when it is wanted, and gives its memory back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from concept_forget.config import Config, GeneratorConfig, ModelChoice, ProbeConfig
from concept_forget.config.graders import GraderName
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.engines import blocks
from concept_forget.engines.opening import open_generator, require_engine
from concept_forget.errors import ConfigError
from concept_forget.measures.graders import GRADERS, Expected
from concept_forget.measures.similarity import grade_similarity
from concept_forget.models import resolve_model
from concept_forget.probe.judging import Judge, judging_prompt
from concept_forget.records import Example, Grade, ModelSpec
from concept_forget.workspace import Costs

Case = tuple[str, Expected]
"""What a reply says, and what was expected of it."""

MODEL_GRADERS = tuple(name for name in get_args(GraderName) if name not in GRADERS)
CHOOSES_NOTHING = ("embedding", "nli")
"""Graders that cannot tell which option is picked by its letter."""


@dataclass(frozen=True, slots=True)
class ModelGrading:
    """What the graders need that ask a model.

    Args:
        settings: The section ``probe``.
        models: ``nli``, and ``grading_judge`` or ``base`` where the judge has weights on this machine.
        cache: The request cache; kept vectors lie beside it.
        costs: The account.
        questions: The plain question of each row, by its id: an attack's own words would drown the reply.
        judge: The language model that judges, where one does.
        embedder: ``mine.embedder``.
    """

    settings: ProbeConfig
    models: Mapping[str, ModelSpec]
    cache: Path
    costs: Costs
    questions: Mapping[str, str] = field(default_factory=dict)
    judge: GeneratorConfig | None = None
    embedder: str = "auto"

    def grade(self, name: str, cases: Sequence[Case]) -> Sequence[Grade | None]:
        """A grade for each case; None where the grader gave none.

        Raises:
            ConfigError: The judge's model is not known here.
            DataError: The judge's prompt cannot be read.
            ModelError: A model cannot be read, or is of the wrong kind.
            MissingExtraError: A model is not installed.
            StageError: The judge's verdicts cannot be read.
        """
        if name == "embedding":
            return self._by_likeness(cases)
        if name == "nli":
            return self._by_entailment(cases)
        return self._by_judge(cases)

    def _by_likeness(self, cases: Sequence[Case]) -> list[Grade]:
        embedder = Embedder(find_encoder(self.embedder), self.cache.with_name(VECTORS))
        with contextlib.closing(embedder):
            grades = grade_similarity(cases, embedder.encode, self.settings.embedding_threshold)
        self.costs.flops += embedder.flops
        return grades

    def _by_entailment(self, cases: Sequence[Case]) -> list[Grade]:
        from concept_forget.measures.entailment import EntailmentModel

        assert self.settings.nli is not None
        return EntailmentModel(self.models["nli"], self.settings.nli.batch_size).grade(cases)

    def _by_judge(self, cases: Sequence[Case]) -> list[Grade | None]:
        judge = self.judge
        if judge is None or (judge.engine != "openai" and "grading_judge" not in self.models):
            raise ConfigError(
                "the grader `judge` is the generator of a run, and none is known here",
                key="probe.judge.generator",
                remedy="name a model of its own there, and run `probe` again",
            )
        prompt = judging_prompt(self.settings.judge, judge)
        engine = open_generator(judge, self.models.get("grading_judge"), cache=self.cache, costs=self.costs)
        with contextlib.closing(engine):
            return Judge(engine, prompt, judge.max_new_tokens).grade(cases)


def grading_roles(config: Config) -> tuple[str, ...]:
    """The models on this machine by which the config's graders grade."""
    judge = config.judge
    judges = judge is not None and judge.engine != "openai"
    return (*(("nli",) if "nli" in config.probe.graders else ()), *(("grading_judge",) if judges else ()))


def grading_parts(config: Config) -> list[object]:
    """What grades depend on beside the names of the graders and the models with weights on this machine.

    Raises:
        DataError: The judge's prompt cannot be read.
        ModelError: There is no such encoder.
        MissingExtraError: The encoder is not installed.
    """
    settings, judge = config.probe, config.judge
    parts: list[object] = [list(settings.beside)] if settings.beside else []
    if "embedding" in settings.graders:
        parts.append([find_encoder(config.mine.embedder).identity, settings.embedding_threshold])
    if judge is not None:
        named = {"engine", "model", "base_url", "structured", "room"} if judge.engine == "openai" else {"engine"}
        how = judge.model_dump(mode="json", include={"max_new_tokens"} | named)
        parts.append([how, judging_prompt(settings.judge, judge).hash, blocks.VERSION])
    return parts


def check_graders(config: Config) -> None:
    """Refuse a grader that could not grade in the end.

    Raises:
        DataError: The judge's prompt cannot be read.
        ModelError: There is no such encoder or cross-encoder, or the latter knows of no entailment.
        MissingExtraError: The encoder, or the judge's engine, is not installed.
    """
    grading_parts(config)
    nli, judge = config.probe.nli, config.judge
    if nli is not None and "nli" in config.probe.graders:
        from concept_forget.measures.entailment import KEY, find_entailment

        find_entailment(resolve_model(ModelChoice(model=nli.model, revision=nli.revision), KEY))
    if judge is not None and (judge.engine == "vllm" or judge.engine == "openai"):
        require_engine(judge.engine)


def plain_questions(rows: Sequence[Example]) -> dict[str, str]:
    """What each row asks, by its id, as it stands before an attack puts it into words of its own."""
    return {row.id: row.prompt[-1]["content"] for row in rows if row.prompt}
