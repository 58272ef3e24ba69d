"""Settings of the verbs that write, search, divide, ask and show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from concept_forget.config.section import Section, Share


class ExpandConfig(Section):
    """What the generator writes."""

    facets: int = Field(12, ge=1, le=200, description="Facets asked for per concept.")
    facts_per_facet: int = Field(1, ge=1, le=50, description="Facts asked for per facet.")
    paraphrases: int = Field(4, ge=0, le=50, description="Paraphrases per direct question.")
    reverse: int = Field(3, ge=0, le=20, description="Wordings of the question that asks back from the answer.")
    neighbours: dict[Literal["near", "middle", "far"], Annotated[int, Field(ge=0, le=1000)]] = Field(
        {"near": 30, "middle": 12, "far": 6},
        description="Neighbouring concepts, over all concepts, by distance.",
    )
    neighbour_paraphrases: int = Field(1, ge=0, le=50, description="Paraphrases per question about a neighbour.")
    self_consistency: int = Field(3, ge=1, le=50, description="Wordings that must agree on an answer.")
    answer_samples: int = Field(
        0, ge=0, le=1000, description="Answers drawn at temperature per fact, beside the greedy ones; 0: none."
    )
    answer_agreement: Share = Field(0.5, description="Share of the drawn answers that must be the fact's.")
    scenarios: int = Field(1, ge=0, le=20, description="Short situations per fact in which its answer is needed.")
    two_hop: int = Field(
        1, ge=0, le=20, description="Questions per fact that reach the concept through another of its facts, unnamed."
    )
    counterfactuals: int = Field(
        2, ge=0, le=20, description="Wrong answers per fact, of its answer's type; its questions take turns with them."
    )
    kept_facts: int = Field(3, ge=0, le=50, description="Facts asked for per entry of `concept.keep`.")
    passages: int = Field(1, ge=0, le=100, description="Texts per concept for each reader: child, student, expert.")
    memory_dumps: int = Field(
        0, ge=0, le=10000, description="Texts per concept that the target itself goes on to write from openings."
    )


class MineConfig(Section):
    """How the corpus is searched."""

    embedder: str = Field("auto", description="`auto`, or a sentence-transformers model by folder or hub id.")
    top_k: int = Field(200, ge=1, description="Snippets kept per concept at most.")
    chunk_characters: int = Field(500, ge=50, le=20000, description="Longest chunk, cut at sentence ends.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=1, description="Share of unrelated chunks that the calibrated cut-off lets through."
    )
    max_line_bytes: int = Field(1_000_000, ge=1000, description="A longer line of a corpus file is skipped and listed.")
    batch_size: int = Field(64, ge=1, description="Chunks encoded at once.")


class ComposeConfig(Section):
    """How facts and rows are divided among training, validation and probing."""

    holdout: Share = Field(0.3, description="Share of the facts never trained on; 0: train on every fact.")
    validation: Share = Field(0.14, description="Share of the facts that only validation asks.")
    collateral: dict[Literal["near", "middle", "far"], Annotated[int, Field(ge=0)]] = Field(
        {"near": 8, "middle": 8, "far": 8}, description="Entities kept out of retain training, by distance."
    )
    validation_neighbours: int = Field(4, ge=0, description="Entities for validation only: how much of them is kept.")
    passages: bool = Field(True, description="Use mined text as rows, beside questions.")
    knowledge_filter: bool = Field(True, description="Probe only facts that the target knows; the counts are reported.")

    @model_validator(mode="after")
    def _something_is_trained(self) -> ComposeConfig:
        if self.holdout and self.holdout + self.validation >= 1:
            raise ValueError("`holdout` and `validation` together leave no fact to train on")
        return self


class ProbeConfig(Section):
    """How the model is asked."""

    attacks: Literal["quick"] | tuple[Literal["direct", "paraphrase", "reverse", "cloze", "choice"], ...] = Field(
        "quick", description="Names of attacks, or `quick`: all prompt attacks."
    )
    samples: int = Field(1, ge=1, le=1000, description="Replies per question.")
    temperature: float = Field(0.0, ge=0, le=5, description="0: greedy.")
    max_new_tokens: int = Field(64, ge=1, le=4096)
    batch_tokens: int = Field(16384, ge=16, description="Padded tokens a batch may hold on the transformers engine.")
    grader: Literal["answer", "rouge_l"] = Field("answer", description="What decides how much a reply gives away.")
    threshold: float = Field(0.15, gt=0, lt=1, description="Leak above the floor that must be excluded to pass.")
    gate_tiers: tuple[Literal["new_form", "new_fact", "trained_form"], ...] = Field(
        (),
        description="Tiers that the verdict rests on; empty: new_form, or trained_form where holdout is 0.",
    )

    @model_validator(mode="after")
    def _samples_differ(self) -> ProbeConfig:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("`samples` above 1 needs a `temperature` above 0: greedy replies are all the same")
        return self


class ReportConfig(Section):
    """What the report shows."""

    title: str = Field("", max_length=200, description="Heading; empty: the concepts' names.")
