"""Every setting: typed, bounded, described, with its default. The only place that knows a default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from concept_forget.concept import Concept

Share = Annotated[float, Field(ge=0, le=1)]
RowRange = Annotated[tuple[int, int] | None, Field(description="Rows to take, [first, end), counted from 0.")]


class Section(BaseModel):
    """What every section has in common: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SandboxModel(Section):
    """A tiny model taught on this machine: on a numbered world, or on a file of rows."""

    world: int | None = Field(None, ge=0, description="Number of the fictional world that the model is taught.")
    size: Literal["standard", "nano"] = Field("standard", description="Size of the world and of its model.")
    teach: Path | None = Field(None, description="JSON lines of question/answer or text rows to teach instead.")
    without: str | None = Field(
        None,
        description="Rows of `teach` that contain this text are left out; a world leaves out the concepts.",
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights and of the order of teaching.")

    @model_validator(mode="after")
    def _one_source(self) -> SandboxModel:
        if (self.world is None) == (self.teach is None):
            raise ValueError("give either `world: NUMBER` or `teach: FILE`")
        if self.without is not None and self.teach is None:
            raise ValueError("`without` goes with `teach`; a world leaves out the concepts by itself")
        return self


class ModelChoice(Section):
    """A model by path or hub id, or one from the sandbox."""

    model: str | None = Field(None, description="Folder or hub id of the model.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    adapter: str | None = Field(None, description="Folder or hub id of a peft adapter on top of it.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the weights.")
    sandbox: SandboxModel | None = Field(None, description="A tiny model taught here instead.")

    @model_validator(mode="after")
    def _one_source(self) -> ModelChoice:
        if (self.model is None) == (self.sandbox is None):
            raise ValueError("give either `model: PATH-OR-HUB-ID` or `sandbox: {world: NUMBER}`")
        return self


def _model_from_text(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


ModelField = Annotated[ModelChoice, BeforeValidator(_model_from_text)]


class GeneratorConfig(Section):
    """The language model that writes about the concept."""

    engine: Literal["transformers", "vllm", "openai", "target", "none"] = Field(
        "target",
        description="transformers, vllm: `model`, in this process or in vLLM; openai: `model` on the server at "
        "`base_url`; target: the model to be unlearned writes about itself; none: no generator.",
    )
    model: str | None = Field(None, description="Folder or hub id; for `engine: openai` its name on the server.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the weights.")
    prompts: str = Field("default", description="`default`, `compact`, or a folder of prompt files of your own.")
    temperature: float = Field(1.0, ge=0, le=5, description="Of everything that should vary; answers are greedy.")
    max_new_tokens: int = Field(512, ge=1, le=32768, description="Longest reply, in tokens.")
    batch_tokens: int = Field(16384, ge=16, description="Padded tokens a batch may hold on the transformers engine.")
    max_requests: int | None = Field(None, ge=1, description="Budget: requests at most; null: as many as are wanted.")
    max_tokens: int | None = Field(None, ge=1, description="Budget: tokens of prompts and replies together, at most.")
    base_url: str | None = Field(
        None, pattern=r"^https?://[^/@?#\s]+(/[^@?#\s]*)?$", description="openai: as in http://localhost:8000/v1."
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY", pattern=r"^[A-Za-z_]\w*$", description="openai: environment variable that holds the key."
    )
    concurrency: int = Field(32, ge=1, le=4096, description="openai: requests under way at once, at most.")
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="openai: longest wait for one reply.")
    attempts: int = Field(8, ge=1, le=100, description="openai: times a request is sent before it counts as failed.")
    structured: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="openai: the `response_format` that the server takes."
    )
    room: int = Field(4, ge=1, le=64, description="openai: times its limit that a reply may take when it is cut off.")
    tensor_parallel: int = Field(1, ge=1, le=64, description="vllm: accelerators that share the model.")
    memory_share: float = Field(0.9, gt=0, le=1, description="vllm: share of the accelerator's memory to use.")
    lora_rank: int = Field(0, ge=0, le=512, description="vllm: highest rank of adapters; 0: none, and it can score.")

    @model_validator(mode="after")
    def _model_when_needed(self) -> GeneratorConfig:
        if self.engine in ("target", "none"):
            if self.model is not None:
                raise ValueError(f"`model` goes with a generator of its own, not with `engine: {self.engine}`")
        elif self.model is None:
            raise ValueError(f"`engine: {self.engine}` needs `model: PATH-OR-HUB-ID`")
        if (self.engine == "openai") != (self.base_url is not None):
            raise ValueError("`base_url` goes with `engine: openai`, which needs it: as in http://localhost:8000/v1")
        if self.engine == "openai" and (self.revision is not None or self.dtype != "auto"):
            raise ValueError("`revision` and `dtype` are the server's own with `engine: openai`")
        return self


class CorpusSource(Section):
    """A part of the corpus: files, a dataset that `datasets` reads, or what the sandbox was taught."""

    path: str | None = Field(None, description="File, glob, folder or hub name.")
    name: str | None = Field(None, description="Configuration of a hub dataset.")
    split: str = Field("train", description="Split of a hub dataset.")
    text: str = Field("text", description="Column that holds the text.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub dataset.")
    sandbox: bool = Field(False, description="The documents that the sandbox target was taught.")

    @model_validator(mode="after")
    def _one_source(self) -> CorpusSource:
        if (self.path is None) == (not self.sandbox):
            raise ValueError("give either `path: FILES-OR-HUB-NAME` or `sandbox: true`")
        return self


def _source_from_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


CorpusField = Annotated[CorpusSource, BeforeValidator(_source_from_text)]


class RowFile(Section):
    """A file of the user's own rows: `question`/`answer`, `prompt`/`completion` or `text` in JSON lines."""

    path: Path = Field(description="JSON lines.")
    rows: RowRange = None
    concept: str | None = Field(None, description="Concept the rows belong to, where there are several.")
    subject: str | None = Field(None, description="Whom or what the rows are about, where they do not say so.")
    distance: Literal["near", "middle", "far"] = Field("near", description="For collateral: how far from the concept.")

    @model_validator(mode="after")
    def _range_is_one(self) -> RowFile:
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1]:
            raise ValueError("`rows: [FIRST, END]` needs 0 ≤ FIRST < END")
        return self


def _row_files(value: Any) -> Any:
    if value is None:
        return ()
    if isinstance(value, (str, Path, dict)):
        value = [value]
    if isinstance(value, (list, tuple)):
        return tuple({"path": item} if isinstance(item, (str, Path)) else item for item in value)
    return value


RowFiles = Annotated[tuple[RowFile, ...], BeforeValidator(_row_files)]


class DataConfig(Section):
    """Rows that are already known, as in an erasure request."""

    forget: RowFiles = Field((), description="Rows to forget: a file, {path, rows, …}, or a list of these.")
    retain: RowFiles = Field((), description="Rows to keep.")
    collateral: RowFiles = Field((), description="Rows never trained on, asked to see what else was lost.")


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


class LoraConfig(Section):
    """Shape of an adapter; ia3 has no rank, alpha or dropout."""

    rank: int = Field(16, ge=1, le=1024)
    alpha: int = Field(32, ge=1, le=4096)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Field("all-linear", description="As peft takes it.")


MethodName = Literal[
    "grad_ascent", "grad_diff", "npo", "simnpo", "dpo", "idk", "random_labels", "undial", "wga", "satimp", "ceu",
    "max_entropy", "jensen_shannon", "rmu", "adaptive_rmu", "elm",
    "finetune_retain", "task_vector", "reinit", "prune", "noise", "in_context",
]  # fmt: skip
RetainName = Literal["none", "nll", "kl", "hidden"]
AlternativeName = Literal["refusal", "counterfactual", "own", "random"]
AdapterName = Literal["none", "lora", "dora", "loha", "lokr", "ia3"]

METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "beta": {"npo": 0.5, "simnpo": 2.5, "dpo": 0.5},
    "gamma": {"simnpo": 0.0},
    "alpha": {"wga": 1.0},
    "beta1": {"satimp": 5.0},
    "beta2": {"satimp": 1.0},
    "strength": {"undial": 10.0, "elm": 3.0},
    "coefficient": {"rmu": 6.5, "adaptive_rmu": 5.0},
    "alternative": {"dpo": "refusal", "jensen_shannon": "refusal", "idk": "refusal", "random_labels": "random"},
    "scale": {"task_vector": 1.0, "noise": 0.1},
    "share": {"reinit": 0.1, "prune": 0.99},
}
"""Options that some methods take and others do not: option → method → default."""

_ALTERNATIVES = {
    "dpo": ("refusal", "counterfactual", "own"),
    "jensen_shannon": ("refusal", "counterfactual", "own"),
    "idk": ("refusal",),
    "random_labels": ("random", "counterfactual"),
}
_RETAIN: dict[str, RetainName] = {
    "grad_ascent": "none",
    "grad_diff": "nll",
    "rmu": "hidden",
    "adaptive_rmu": "hidden",
    "finetune_retain": "nll",
    "task_vector": "none",
    "reinit": "nll",
    "prune": "nll",
    "noise": "nll",
    "in_context": "none",
}
"""The retain objective of a method, where it is not kl."""
PROCEDURES = ("finetune_retain", "task_vector", "reinit", "prune", "noise", "in_context")
_WHOLE_WEIGHTS = ("task_vector", "reinit", "prune", "noise", "in_context")


def _option(name: str, text: str, **bounds: Any) -> Any:
    """A field that is null unless set, and tells what null means to each method that takes it."""
    usual = ", ".join(f"{default} for {method}" for method, default in METHOD_OPTIONS[name].items())
    return Field(None, description=f"{text} null: {usual}.", **bounds)


class UnlearnConfig(Section):
    """How the model is made to forget."""

    method: MethodName = Field("npo", description="`concept-forget methods` tells what each one does.")
    beta: float | None = _option("beta", "Inverse temperature.", gt=0, le=1000)
    gamma: float | None = _option("gamma", "Margin of an answer's log-probability per token.", ge=0, le=1000)
    alpha: float | None = _option("alpha", "Exponent of a token's probability as its weight.", ge=0, le=100)
    beta1: float | None = _option("beta1", "Exponent of a token's probability as its weight.", ge=0, le=100)
    beta2: float | None = _option("beta2", "Exponent of the probability's complement as weight.", ge=0, le=100)
    strength: float | None = _option("strength", "How far the target lies from the reference, in nats.", gt=0, le=1000)
    coefficient: float | None = _option("coefficient", "Length to which hidden states are steered.", gt=0, le=10000)
    alternative: AlternativeName | None = _option("alternative", "What is answered instead.")
    scale: float | None = _option("scale", "How far weights are moved; of noise, in their own spread.", gt=0, le=100)
    share: float | None = _option("share", "Share of the weights that begin anew.", gt=0, lt=1)
    layer: int | None = Field(
        None, ge=0, description="Layer whose hidden states count, from 0; null: a quarter of the way up."
    )
    retain: RetainName | None = Field(
        None,
        description="Retain objective; null: kl, but none with grad_ascent, task_vector and in_context, hidden with "
        "rmu and adaptive_rmu, nll with grad_diff and where weights are tuned on the retain rows alone.",
    )
    retain_weight: float = Field(5.0, ge=0, description="Weight of the retain term.")
    adapter: AdapterName = Field("none", description="Train weights themselves, or an adapter of this kind.")
    lora: LoraConfig = Field(default_factory=lambda: LoraConfig())
    merge: bool = Field(False, description="Publish a whole model with the adapter merged into it.")
    layers: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = Field(
        None,
        description="First and last layer that are trained, from 0; null: all, and with rmu and adaptive_rmu the "
        "three up to `layer`.",
    )
    parameters: str | None = Field(
        None, description="Regular expression that must be found in the names of the weights that are trained."
    )
    reference: Literal["auto", "adapter_off", "stored", "resident"] = Field(
        "auto",
        description="Where reference scores come from: the cheapest that is exact enough, or the one named.",
    )
    learning_rate: float = Field(1e-4, gt=0, le=1)
    batch_size: int = Field(32, ge=1, description="Forget rows per step; as many retain rows go beside them.")
    retain_batch_size: int | None = Field(None, ge=1, description="Retain rows per step, if not `batch_size`.")
    batch_tokens: int = Field(
        2048, ge=16, description="Padded tokens that pass through the model at once; a step is parted to fit."
    )
    max_steps: int = Field(150, ge=1, description="Optimiser steps at most.")
    warmup_steps: int = Field(5, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_tokens: int = Field(512, ge=8, description="Longest row in tokens; what is longer is cut and counted.")
    eval_every: int = Field(10, ge=1, description="Steps between looks at validation, and between checkpoints.")
    stop: Literal["steps", "validation"] = Field(
        "validation",
        description="validation: the best forget × retain on validation is kept; steps: the last.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Precision of training.")
    given: ModelField | None = Field(
        None, description="A model unlearned elsewhere: nothing is trained, it is only measured."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> UnlearnConfig:
        self._check_options()
        usual = _RETAIN.get(self.method, "kl")
        if self.method == "grad_diff" and self.retain not in (None, "nll"):
            raise ValueError("`method: grad_diff` means `retain: nll`; for another say `method: grad_ascent`")
        if self.method in PROCEDURES and self.retain not in (None, usual):
            raise ValueError(f"`method: {self.method}` means `retain: {usual}`")
        if self.method in _WHOLE_WEIGHTS and self.adapter != "none":
            raise ValueError(f"`method: {self.method}` changes the weights themselves and takes no `adapter`")
        if self.merge and self.adapter == "none":
            raise ValueError("`merge` needs an `adapter` to merge")
        if self.layer is not None and not self.needs_layer:
            raise ValueError("`layer` goes with the methods rmu and adaptive_rmu and with `retain: hidden`")
        if self.layers is not None and self.layers[0] > self.layers[1]:
            raise ValueError("`layers: [FIRST, LAST]` needs FIRST ≤ LAST")
        try:
            re.compile(self.parameters or "")
        except re.error as error:
            raise ValueError(f"`parameters` is no regular expression: {error}") from error
        return self

    def _check_options(self) -> None:
        for name, methods in METHOD_OPTIONS.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(
                    f"`{name}` goes with {', '.join(methods)}, not with `method: {self.method}`; leave it out or null"
                )
        kinds = _ALTERNATIVES.get(self.method, ())
        if self.alternative is not None and self.alternative not in kinds:
            raise ValueError(f"`method: {self.method}` takes as `alternative`: {', '.join(kinds)}")

    def option(self, name: str) -> Any:
        """An option of the method, its default where none is set.

        Raises:
            KeyError: The method does not take it.
        """
        default = METHOD_OPTIONS[name][self.method]
        value = getattr(self, name)
        return default if value is None else value

    @property
    def needs_layer(self) -> bool:
        """Whether hidden states count at all."""
        return self.method in ("rmu", "adaptive_rmu") or self.retain_term == "hidden"

    @property
    def retain_term(self) -> RetainName:
        """The retain objective, once the default is worked out."""
        return self.retain if self.retain is not None else _RETAIN.get(self.method, "kl")


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
