"""A whole run, as one file describes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator

from concept_forget.concept import Concept
from concept_forget.config.attacks import AttackerConfig, attacker_like
from concept_forget.config.compare import CompareConfig
from concept_forget.config.data import CorpusField, DataConfig
from concept_forget.config.execution import ExecutionConfig
from concept_forget.config.folders import spelled_as_found
from concept_forget.config.models import GeneratorConfig, ModelField
from concept_forget.config.section import Section
from concept_forget.config.unlearn import TRAININGS, UnlearnConfig
from concept_forget.config.verbs import ComposeConfig, ExpandConfig, MineConfig, ProbeConfig, ReportConfig
from concept_forget.errors import UserError


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a config was read from, the line of each key in it, and each ``--set`` by the key that it sets."""

    file: Path
    lines: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def find(self, key: str) -> tuple[str, int | None]:
        """Where a dotted key, or the nearest section around it, was given: a ``--set``, or the file with the line."""
        within = [text for name, text in self.given.items() if key and name.startswith(f"{key}.")]
        if within and key not in self.lines:
            return within[-1], None
        while key:
            if key in self.given:
                return self.given[key], None
            if key in self.lines:
                return str(self.file), self.lines[key]
            key = key.rpartition(".")[0]
        return str(self.file), None


class Config(Section):
    """A whole run, as one file describes it."""

    _origin: Origin | None = PrivateAttr(None)

    vars: dict[str, str | int | float | bool | None] = Field({}, description="Values used as ${vars.name}.")
    concepts: tuple[Concept, ...] = Field(min_length=1, description="What to forget; `concept:` for a single one.")
    target: ModelField = Field(description="The model that knows the concept.")
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    corpus: tuple[CorpusField, ...] = Field((), description="Where the concept may have been learned.")
    data: DataConfig = Field(default_factory=DataConfig)
    expand: ExpandConfig = Field(default_factory=ExpandConfig)
    mine: MineConfig = Field(default_factory=MineConfig)
    compose: ComposeConfig = Field(default_factory=ComposeConfig)
    unlearn: UnlearnConfig = Field(default_factory=UnlearnConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    compare: CompareConfig | None = Field(None, description="Several runs of this config side by side.")
    rounds: int = Field(
        1,
        ge=1,
        le=20,
        description="Rounds of forgetting at most: what still leaks in one is trained on in the next, and each asks "
        "facts and forms of its own.",
    )
    reference: ModelField | None = Field(None, description="A model that never saw the concept.")
    seed: int = Field(0, ge=0, description="Every random draw derives its own seed from it.")
    output: Path = Field(Path("runs/run"), description="The run's folder.")

    @field_validator("output")
    @classmethod
    def _usable_folder(cls, value: Path) -> Path:
        return spelled_as_found(value)

    @model_validator(mode="before")
    @classmethod
    def _one_concept_or_many(cls, values: Any) -> Any:
        if isinstance(values, dict) and "concept" in values:
            values = dict(values)
            concept = values.pop("concept")
            if concept is not None and values.get("concepts") is not None:
                raise ValueError("give `concept:` or `concepts:`, not both")
            if concept is not None:
                values["concepts"] = [concept]
        return values

    @model_validator(mode="after")
    def _whole_makes_sense(self) -> Config:
        names = [concept.name.casefold() for concept in self.concepts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two of `concepts` have the same name: {', '.join(twice)}")
        if self.generator.engine == "none" and not self.data.forget and not self.corpus:
            raise ValueError("`generator: {engine: none}` needs rows in `data.forget` or a `corpus`")
        if any(source.sandbox for source in self.corpus) and self.target.sandbox is None:
            raise ValueError("`corpus: [{sandbox: true}]` needs a sandbox `target`")
        self._check_forget_set()
        if self.rounds > 1:
            self._check_rounds()
        if self.execution.engine == "ray" and self.execution.num_gpus:
            self._check_accelerators()
        if self.unlearn.stop == "reference" and self.reference is None:
            raise ValueError("`unlearn.stop: reference` needs a `reference`; without one say `unlearn.stop: threshold`")
        if self.unlearn.method == "retrain" and self.unlearn.initial is None:
            self._check_retraining()
        if (self.expand.answer_samples or self.expand.memory_dumps) and not self.generator.temperature:
            raise ValueError(
                "`expand.answer_samples` and `expand.memory_dumps` need a `generator.temperature` above 0: greedy "
                "replies are all the same"
            )
        if self.attacker is None and {"search", "searching"} & set(self.probe.attack_names):
            raise ValueError("`probe.attacks: search` needs a model that attacks: give `probe.attacker` or `generator`")
        if "judge" in self.probe.graders and self.judge is None:
            raise ValueError(
                "the grader `judge` needs a model that judges: give `probe.judge.generator` or `generator`"
            )
        hidden = self.report.redact if isinstance(self.report.redact, tuple) else ()
        if absent := [name for name in hidden if name.casefold() not in names]:
            raise ValueError(f"`report.redact` names the concept {absent[0]!r}, which `concepts` does not hold")
        for file in (*self.data.forget, *self.data.retain, *self.data.collateral, *self.data.oracle):
            if file.concept is not None and file.concept.casefold() not in names:
                raise ValueError(f"`data` names the concept {file.concept!r}, which `concepts` does not hold")
        return self

    @contextlib.contextmanager
    def naming_places(self) -> Iterator[None]:
        """Add file and line to an error within that names a key of this config and no file."""
        try:
            yield
        except UserError as error:
            if self._origin is not None and error.key and error.file is None:
                error.stands_at(*self._origin.find(error.key))
            raise

    def read_from(self, origin: Origin) -> Config:
        """This config, which from now on knows where it was read."""
        self._origin = origin
        return self

    def _check_forget_set(self) -> None:
        settings = self.compose
        if not settings.holdout and not settings.forgets_everything:
            raise ValueError(
                "`compose.forget_from` and `compose.forget_tokens` need a `compose.holdout` above 0: with 0, what is "
                "asked is what was trained on"
            )
        if settings.forget_from == "oracle" and not self.data.oracle and self.target.sandbox is None:
            raise ValueError(
                "`compose.forget_from: oracle` needs the rows that the target learned the concept from: give them in "
                "`data.oracle`, or take a sandbox `target`"
            )
        if self.compare is not None and self.compare.worlds:
            sandbox = self.target.sandbox
            if sandbox is None or sandbox.world is None:
                raise ValueError("`compare.worlds` needs `target: {sandbox: {world: NUMBER}}`")

    def _check_accelerators(self) -> None:
        for name, section in (("generator", self.generator), ("probe", self.probe)):
            if section.engine == "vllm" and section.tensor_parallel > max(1, self.execution.num_gpus):
                raise ValueError(
                    f"`{name}.tensor_parallel: {section.tensor_parallel}` needs as many accelerators in each worker: "
                    f"set `execution.num_gpus: {section.tensor_parallel}`"
                )

    def _check_rounds(self) -> None:
        settings = self.unlearn
        if self.compare is not None:
            raise ValueError("`rounds` and `compare` do not go together: each makes several runs of one config")
        if not self.compose.holdout:
            raise ValueError(
                "`rounds` need a `compose.holdout` above 0: with 0 there are no facts and forms left for a next round"
            )
        if settings.given is not None or settings.continued is not None:
            key = "given" if settings.given is not None else "continue"
            raise ValueError(f"`rounds` begin from the target, and `unlearn.{key}` names another model")
        if settings.method in (*TRAININGS, "in_context"):
            raise ValueError(
                f"`rounds` train the model of the round before on, which `unlearn.method: {settings.method}` does not"
            )
        if settings.reference == "adapter_off":
            raise ValueError(
                "`rounds` hold every round against the target, and with `unlearn.reference: adapter_off` it is the "
                "model of the round before: say `auto`, `stored` or `resident`"
            )

    def _check_retraining(self) -> None:
        sandbox = self.target.sandbox
        if sandbox is None:
            raise ValueError(
                "`unlearn.method: retrain` needs `unlearn.train_data` and `unlearn.initial`, or a sandbox `target`: "
                "what a model was trained on cannot be had from the model"
            )
        if sandbox.teach is not None and (len(self.concepts) > 1 or sandbox.without is not None):
            raise ValueError(
                "`unlearn.method: retrain` of a sandbox `target` with `teach` leaves out one concept: give a single "
                "concept and no `without`, or `unlearn.train_data` and `unlearn.initial`"
            )

    def read_where(self, other: Config) -> Config:
        """This config, which was made of another one and so stands in the same file."""
        self._origin = other._origin
        return self

    def concept(self, name: str) -> Concept:
        """The concept of that name.

        Raises:
            KeyError: There is none.
        """
        for concept in self.concepts:
            if concept.name == name:
                return concept
        raise KeyError(name)

    @property
    def attacker(self) -> AttackerConfig | None:
        """The model that writes a search's prompts; None where nothing is searched for, or nobody is there to write."""
        if not {"search", "searching", "all"} & set(self.probe.attack_names):
            return None
        chosen = self.probe.attacker or attacker_like(self.generator)
        return None if chosen.engine == "none" else chosen

    @property
    def judge(self) -> GeneratorConfig | None:
        """The model that grades replies; None where no grader is a judge, or nobody is there to judge."""
        if "judge" not in self.probe.graders:
            return None
        chosen = self.probe.judge.generator or self.generator
        return None if chosen.engine == "none" else chosen

    @property
    def gate_tiers(self) -> tuple[str, ...]:
        """The tiers that the verdict rests on, once the defaults are worked out."""
        if self.probe.gate_tiers:
            return self.probe.gate_tiers
        return ("new_form",) if self.compose.holdout else ("trained_form",)
