"""Settings of the gates that what a generator wrote has to get through."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from concept_forget.config.models import GeneratorConfig
from concept_forget.config.section import Section


class GatesConfig(Section):
    """What an item may be like. The encoder is that of `mine.embedder`; without one, what needs it is left out."""

    relevance: float | None = Field(
        0.01, gt=0, lt=1, description="Share of unrelated text that may pass as being about a concept; null: no gate."
    )
    wording_words: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Share of words from which on two wordings of a question are one; 1: the same words.",
    )
    wording_cosine: float = Field(
        0.99, gt=0, le=1, description="Cosine from which on two wordings that share two thirds of their words are one."
    )
    passage_words: float = Field(
        0.7, gt=0, le=1, description="Share of three-word runs from which on two passages are one."
    )
    passage_cosine: float = Field(0.98, gt=0, le=1, description="Cosine from which on two passages are one.")


class JudgeConfig(Section):
    """A language model that is asked, item by item, whether it is any good."""

    prompt: Path | None = Field(None, description="A prompt file of your own; null: `judge` of `generator.prompts`.")
    rubric: str = Field(
        "", max_length=8000, description="What a good item is, in your own words: the prompt's `rubric`."
    )
    scale: Literal["yes_no", "1-5"] = Field("1-5", description="What the judge replies.")
    least: int = Field(
        4, ge=1, le=5, description="Mark on the scale 1-5 that an item must get; yes_no: it must be yes."
    )
    generator: GeneratorConfig | None = Field(None, description="The model that judges; null: the one that writes.")

    @model_validator(mode="after")
    def _somebody_judges(self) -> JudgeConfig:
        if self.generator is not None and self.generator.engine == "none":
            raise ValueError("`engine: none` judges nothing; leave `judge` out instead")
        return self
