"""Settings of ``unlearn``: methods, their options, and where they act."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from concept_forget.config.data import RowFiles
from concept_forget.config.models import ModelField
from concept_forget.config.section import Section


class LoraConfig(Section):
    """Shape of an adapter; ia3 has no rank, alpha or dropout."""

    rank: int = Field(16, ge=1, le=1024, description="Rank of the change to a matrix.")
    alpha: int = Field(32, ge=1, le=4096, description="The change counts alpha / rank times.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of its inputs that a step leaves out.")
    target_modules: str | tuple[str, ...] = Field("all-linear", description="As peft takes it.")


MethodName = Literal[
    "grad_ascent", "grad_diff", "npo", "simnpo", "dpo", "idk", "random_labels", "undial", "wga", "tnpo", "satimp",
    "ceu", "max_entropy", "jensen_shannon", "rmu", "adaptive_rmu", "elm",
    "finetune_retain", "task_vector", "reinit", "prune", "noise", "in_context",
    "retrain", "sisa", "dp_sgd", "rl",
]  # fmt: skip
RetainName = Literal["none", "nll", "kl", "hidden"]
AlternativeName = Literal["refusal", "counterfactual", "own", "random"]
AdapterName = Literal["none", "lora", "dora", "loha", "lokr", "ia3"]

METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "beta": {"npo": 0.5, "simnpo": 2.5, "dpo": 0.5, "tnpo": 0.5},
    "gamma": {"simnpo": 0.0},
    "alpha": {"wga": 1.0},
    "beta1": {"satimp": 5.0},
    "beta2": {"satimp": 1.0},
    "strength": {"undial": 10.0, "elm": 3.0},
    "coefficient": {"rmu": 6.5, "adaptive_rmu": 5.0},
    "alternative": {"dpo": "refusal", "jensen_shannon": "refusal", "idk": "refusal", "random_labels": "random"},
    "scale": {"task_vector": 1.0, "noise": 0.1},
    "share": {"reinit": 0.1, "prune": 0.99},
    "epochs": {"retrain": 3, "sisa": 3, "dp_sgd": 3},
    "shards": {"sisa": 4},
    "slices": {"sisa": 2},
    "noise_multiplier": {"dp_sgd": 1.0},
    "delta": {"dp_sgd": 1e-5},
    "samples": {"rl": 8},
    "temperature": {"rl": 1.0},
    "steering_steps": {"rl": 10},
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
    "retrain": "none",
    "sisa": "none",
    "dp_sgd": "none",
    "rl": "none",
}
"""The retain objective of a method, where it is not kl."""
PROCEDURES = ("finetune_retain", "task_vector", "reinit", "prune", "noise", "in_context")
TRAINED_FROM_ROWS = ("retrain", "sisa", "dp_sgd")
"""Methods that teach the rows of `train_data` once more instead of changing the target."""
TRAININGS = (*TRAINED_FROM_ROWS, "rl")
"""Methods with a training of their own."""
_WHOLE_WEIGHTS = ("task_vector", "reinit", "prune", "noise", "in_context", *TRAININGS)


def _option(name: str, text: str, **bounds: Any) -> Any:
    """A field that is null unless set, and tells what null means to each method that takes it."""
    usual = ", ".join(f"{default} for {method}" for method, default in METHOD_OPTIONS[name].items())
    return Field(None, description=f"{text} null: {usual}.", **bounds)


class UnlearnConfig(Section):
    """How the model is made to forget."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

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
    epochs: int | None = _option("epochs", "Passes over the rows.", ge=1, le=1000)
    shards: int | None = _option("shards", "Parts of the rows, each with a model of its own.", ge=1, le=1000)
    slices: int | None = _option("slices", "Parts of a shard, added one by one.", ge=1, le=1000)
    noise_multiplier: float | None = _option(
        "noise_multiplier", "Standard deviation of the noise, in units of `max_grad_norm`.", gt=0, le=1000
    )
    delta: float | None = _option("delta", "Chance of no privacy at all; keep it under 1 / rows.", gt=0, lt=1)
    samples: int | None = _option("samples", "Replies to each prompt that are compared.", ge=2, le=64)
    temperature: float | None = _option("temperature", "Of the replies that are compared.", gt=0, le=5)
    steering_steps: int | None = _option(
        "steering_steps", "Steps of plain training on refusals before, without which none is ever tried.", ge=0
    )
    train_data: RowFiles = Field(
        (), description="The rows that made `initial` the target; for retrain, sisa and dp_sgd."
    )
    initial: ModelField | None = Field(
        None, description="The model before it learned `train_data`; for retrain, sisa and dp_sgd."
    )
    layer: int | None = Field(
        None, ge=0, description="Layer whose hidden states count, from 0; null: a quarter of the way up."
    )
    retain: RetainName | None = Field(
        None,
        description="Retain objective; null: kl, but none with grad_ascent, task_vector and in_context, hidden with "
        "rmu and adaptive_rmu, nll with grad_diff and where weights are tuned on the retain rows alone; none with "
        "retrain, sisa, dp_sgd and rl.",
    )
    retain_weight: float = Field(5.0, ge=0, description="Weight of the retain term.")
    strangers: int = Field(
        0,
        ge=0,
        le=16,
        description="Invented names per forget row: its question about them stands among the retain rows, with the "
        "target's own answer, so that what it says about nobody stays whole.",
    )
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
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Of AdamW, once warmed up.")
    batch_size: int = Field(32, ge=1, description="Forget rows per step; as many retain rows go beside them.")
    retain_batch_size: int | None = Field(None, ge=1, description="Retain rows per step, if not `batch_size`.")
    batch_tokens: int = Field(
        2048, ge=16, description="Padded tokens that pass through the model at once; a step is parted to fit."
    )
    max_steps: int = Field(150, ge=1, description="Optimiser steps at most.")
    warmup_steps: int = Field(5, ge=0, description="Steps over which the learning rate rises from 0.")
    weight_decay: float = Field(0.0, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to this length.")
    max_tokens: int = Field(512, ge=8, description="Longest row in tokens; what is longer is cut and counted.")
    eval_every: int = Field(10, ge=1, description="Steps between looks at validation, and between checkpoints.")
    stop: Literal["steps", "validation", "threshold", "reference"] = Field(
        "validation",
        description="steps: the last step is kept; else the best forget × retain on validation, and the run ends when "
        "that gets no better (validation), or the leak on validation has fallen to `stop_level` above that of "
        "invented strangers (threshold) or of the model under `reference` (reference).",
    )
    stop_level: float = Field(0.05, ge=0, lt=1, description="Mean leak on validation, 1 being the target's.")
    retain_limit: float | None = Field(
        None, gt=0, description="Retain loss, mean since the last look, above which the run ends; null: none."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Precision of training.")
    gradient_checkpointing: bool = Field(
        False,
        description="Compute activations once more instead of keeping them: less memory, a third more time.",
    )
    continued: Path | None = Field(
        None,
        alias="continue",
        description="Folder of a finished run with the same target: its unlearned model is the one that forgets now, "
        "and its concepts are probed again.",
    )
    given: ModelField | None = Field(
        None, description="A model unlearned elsewhere: nothing is trained, it is only measured."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> UnlearnConfig:
        self._check_options()
        usual = _RETAIN.get(self.method, "kl")
        if self.method == "grad_diff" and self.retain not in (None, "nll"):
            raise ValueError("`method: grad_diff` means `retain: nll`; for another say `method: grad_ascent`")
        self._check_trainings()
        if self.given is not None and self.continued is not None:
            raise ValueError("`continue` changes the model of another run, and with `given` none is changed")
        if self.method in (*PROCEDURES, *TRAININGS) and self.retain not in (None, usual):
            raise ValueError(f"`method: {self.method}` means `retain: {usual}`")
        if self.method in _WHOLE_WEIGHTS and self.adapter != "none":
            raise ValueError(f"`method: {self.method}` changes the weights themselves and takes no `adapter`")
        if self.merge and self.adapter == "none":
            raise ValueError("`merge` needs an `adapter` to merge")
        if self.layer is not None and not self.needs_layer:
            raise ValueError("`layer` goes with the methods rmu and adaptive_rmu and with `retain: hidden`")
        reads_retain = self.retain_term != "none" and self.method != "in_context"
        if self.retain_limit is not None and not reads_retain:
            raise ValueError(f"`retain_limit` needs a retain loss, and `method: {self.method}` here has none")
        if self.strangers and not reads_retain:
            raise ValueError(f"`strangers` go among the retain rows, and `method: {self.method}` here reads none")
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

    def _check_trainings(self) -> None:
        if (not self.train_data) != (self.initial is None):
            raise ValueError("`train_data` and `initial` go together: rows, and the model before it learned them")
        if self.train_data and self.method not in TRAINED_FROM_ROWS:
            raise ValueError(f"`train_data` goes with {', '.join(TRAINED_FROM_ROWS)}, not with `method: {self.method}`")
        if not self.train_data and self.method in ("sisa", "dp_sgd"):
            raise ValueError(
                f"`method: {self.method}` trains a model from its rows, and nobody can do that from the target alone: "
                "give `train_data` and `initial`"
            )

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
