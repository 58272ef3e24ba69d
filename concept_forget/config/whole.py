"""A whole run, as one file describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from concept_forget.concept import Concept
from concept_forget.config.data import CorpusField, DataConfig
from concept_forget.config.models import GeneratorConfig, ModelField
from concept_forget.config.section import Section
from concept_forget.config.unlearn import UnlearnConfig
from concept_forget.config.verbs import ComposeConfig, ExpandConfig, MineConfig, ProbeConfig, ReportConfig


class Config(Section):
    """A whole run, as one file describes it."""

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
    reference: ModelField | None = Field(None, description="A model that never saw the concept.")
    seed: int = Field(0, ge=0, description="Every random draw derives its own seed from it.")
    output: Path = Field(Path("runs/run"), description="The run's folder.")

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
            raise ValueError(f"two concepts have the same name: {', '.join(twice)}")
        if self.generator.engine == "none" and not self.data.forget and not self.corpus:
            raise ValueError("`generator: {engine: none}` needs rows in `data.forget` or a `corpus`")
        if any(source.sandbox for source in self.corpus) and self.target.sandbox is None:
            raise ValueError("`corpus: [{sandbox: true}]` needs a sandbox `target`")
        if (self.expand.answer_samples or self.expand.memory_dumps) and not self.generator.temperature:
            raise ValueError(
                "`expand.answer_samples` and `expand.memory_dumps` need a `generator.temperature` above 0: greedy "
                "replies are all the same"
            )
        for file in (*self.data.forget, *self.data.retain, *self.data.collateral):
            if file.concept is not None and file.concept.casefold() not in names:
                raise ValueError(f"`data` names the concept {file.concept!r}, which `concepts` does not hold")
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
    def gate_tiers(self) -> tuple[str, ...]:
        """The tiers that the verdict rests on, once the defaults are worked out."""
        if self.probe.gate_tiers:
            return self.probe.gate_tiers
        return ("new_form",) if self.compose.holdout else ("trained_form",)
