"""Settings of the graders that ask a model what a reply gave away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from concept_forget.config.models import GeneratorConfig
from concept_forget.config.section import Section

GraderName = Literal["answer", "rouge_l", "embedding", "nli", "judge"]


class NliConfig(Section):
    """A cross-encoder for natural language inference: what a first text says of a second one."""

    model: str = Field(
        min_length=1,
        description="Folder or hub id of a sentence-transformers cross-encoder or another sequence classifier, one of "
        "whose labels is `entailment`.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    batch_size: int = Field(32, ge=1, le=4096, description="Pairs of texts read at once.")


def _model_from_text(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


NliField = Annotated[NliConfig, BeforeValidator(_model_from_text)]


class GradingJudgeConfig(Section):
    """A language model that says what a reply gave away."""

    prompt: Path | None = Field(None, description="A prompt file of your own; null: `grade` of the judge's prompts.")
    generator: GeneratorConfig | None = Field(
        None, description="The model that judges, given as `generator` is; null: the generator."
    )

    @model_validator(mode="after")
    def _somebody_judges(self) -> GradingJudgeConfig:
        if self.generator is not None and self.generator.engine == "none":
            raise ValueError("`engine: none` judges nothing: name an engine")
        return self
