"""What the model said before training: reference scores from the cheapest source that is exact enough.

Three providers answer the same call. ``stored`` keeps, once, what the untrained model says about every row; no second
model is held. ``adapter_off`` runs the model with its adapter disabled. ``resident`` runs a frozen copy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concept_forget.errors import ConfigError
from concept_forget.training.batches import Item, MicroBatch, TokenRow, collate, groups_of, split_by_length
from concept_forget.training.scores import (
    answer_logits,
    answers_of,
    at_least_float32,
    evaluating,
    of_group,
    target_logprobs,
)

Choice = Literal["auto", "adapter_off", "stored", "resident"]

EXACT_VOCABULARY = 4096
"""Up to this size ``stored`` keeps whole distributions."""
EXACT_BYTES = 1 << 30
"""Unless they would take more memory than this."""
TOP_TOKENS = 256
"""What ``stored`` keeps of a larger vocabulary: this many of the likeliest tokens, and the rest as one bucket."""
SAMPLED_TOKENS = 64
"""Answer tokens whose distribution is kept whole to measure what the bucket hides."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Next-token distributions, one per answer token, as log-probabilities.

    Whole: ``logprobs`` (tokens, vocabulary), ``indices`` and ``tail`` None. In part: ``logprobs`` (tokens, k) of the
    vocabulary entries ``indices`` (tokens, k), and ``tail`` (tokens,) of all others together.
    """

    logprobs: Tensor
    indices: Tensor | None = None
    tail: Tensor | None = None

    def kl_to(self, logits: Tensor) -> Tensor:
        """KL(this ‖ softmax(logits)) per token, in nats: logits (tokens, vocabulary) → (tokens,).

        With a tail bucket this is the divergence between the coarsened distributions, which is never larger than the
        whole one (data processing).
        """
        model = F.log_softmax(at_least_float32(logits), dim=-1)
        if self.indices is None or self.tail is None:
            return _relative_entropy(self.logprobs, model)
        top = model.gather(1, self.indices)
        rest = log_remainder(top)
        return _relative_entropy(
            torch.cat([self.logprobs, self.tail[:, None]], dim=1), torch.cat([top, rest[:, None]], dim=1)
        )

    def coarsen(self, k: int) -> Distribution:
        """The ``k`` likeliest tokens and a bucket for the rest."""
        top, indices = self.logprobs.topk(k, dim=-1)
        return Distribution(top, indices, log_remainder(top))


def _relative_entropy(reference: Tensor, model: Tensor) -> Tensor:
    return (reference.exp() * (reference - model)).sum(-1)


def log_remainder(logprobs: Tensor) -> Tensor:
    """log(1 - Σ exp(logprobs)) over the last dimension, kept finite where rounding leaves no remainder."""
    rest = 1 - logprobs.exp().sum(-1)
    return rest.clamp_min(torch.finfo(logprobs.dtype).eps).log()


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """The reference's view of some rows' answer tokens: ``logprobs`` (tokens,), and distributions where asked for."""

    logprobs: Tensor
    distribution: Distribution | None = None


class ReferenceProvider(Protocol):
    """Knows what the reference says about rows. ``kind`` names it for the summary."""

    kind: str

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group, in the order of each group's answer tokens, on the model's device."""

    def forward_tokens(self, batch: MicroBatch) -> int:
        """Tokens that one call runs a model on."""


def choose_reference(choice: Choice, *, has_adapter: bool, vocabulary: int, distribution_tokens: int) -> Choice:
    """Work out ``auto``: the cheapest provider that is exact enough.

    ``stored`` costs one pass over the rows and is exact for log-probabilities, and for whole distributions where they
    fit. Where they do not, the disabled adapter is exact for a forward pass per step; without an adapter the stored
    top of the distributions spares a second model.

    Args:
        choice: What the config says.
        has_adapter: Whether the model is trained through an adapter.
        vocabulary: Size of the vocabulary.
        distribution_tokens: Answer tokens whose distributions are needed; 0: none are.

    Raises:
        ConfigError: ``adapter_off`` without an adapter.
    """
    if choice == "adapter_off" and not has_adapter:
        raise ConfigError(
            "`reference: adapter_off` needs an adapter to turn off",
            key="unlearn.reference",
            remedy="set `unlearn.adapter: lora`, or `unlearn.reference: auto`",
        )
    if choice != "auto":
        return choice
    if whole_distributions_fit(vocabulary, distribution_tokens):
        return "stored"
    return "adapter_off" if has_adapter else "stored"


def whole_distributions_fit(vocabulary: int, tokens: int) -> bool:
    """Whether ``stored`` keeps the distributions of this many answer tokens whole."""
    return tokens == 0 or (vocabulary <= EXACT_VOCABULARY and tokens * vocabulary * 4 <= EXACT_BYTES)


def open_reference(
    kind: Choice,
    model: nn.Module,
    rows: Sequence[Sequence[TokenRow]],
    distribution_groups: Sequence[int],
    *,
    pad_token: int,
    batch_tokens: int,
) -> ReferenceProvider:
    """The provider of this kind, before training has changed the model.

    Args:
        kind: Not ``auto``.
        model: The model as it is before training.
        rows: All rows that scores will be asked for, by group and index.
        distribution_groups: Groups whose distributions are needed.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.
    """
    if kind == "adapter_off":
        return AdapterOff(distribution_groups)
    if kind == "resident":
        return Resident(model, distribution_groups)
    return Stored(model, rows, distribution_groups, pad_token=pad_token, batch_tokens=batch_tokens)


class AdapterOff:
    """The model with its adapter disabled: exact, a forward pass per call, no memory."""

    kind = "adapter_off"

    def __init__(self, distribution_groups: Sequence[int]) -> None:
        self._distribution_groups = distribution_groups

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        inner: Any = getattr(model, "module", model)  # a peft model, wrapped or not
        with evaluating(model), inner.disable_adapter():
            return _scores_now(model, batch, self._distribution_groups)

    def forward_tokens(self, batch: MicroBatch) -> int:
        """All of the batch."""
        return batch.padded_tokens


class Resident:
    """A frozen copy of the model: exact, a forward pass per call, twice the memory."""

    kind = "resident"

    def __init__(self, model: nn.Module, distribution_groups: Sequence[int]) -> None:
        self._copy = copy.deepcopy(model).requires_grad_(False).eval()
        self._distribution_groups = distribution_groups

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        with torch.no_grad():
            return _scores_now(self._copy, batch, self._distribution_groups)

    def forward_tokens(self, batch: MicroBatch) -> int:
        """All of the batch."""
        return batch.padded_tokens


class Stored:
    """Scores computed once, before training. Of a large vocabulary the top alone is kept; ``error`` is the loss."""

    kind = "stored"

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[Sequence[TokenRow]],
        distribution_groups: Sequence[int],
        *,
        pad_token: int,
        batch_tokens: int,
    ) -> None:
        items = [Item(group, index, row) for group, own in enumerate(rows) for index, row in enumerate(own)]
        wanted = [item for item in items if item.group in distribution_groups]
        self.tokens = 0
        self._pad_token = pad_token
        self._logprobs: dict[tuple[int, int], Tensor] = {}
        self._tops: dict[tuple[int, int], Distribution] = {}
        self._sample: list[tuple[Item, Distribution]] = []
        self._keeps: int | None = None
        vocabulary = int(model.config.vocab_size)  # type: ignore[union-attr,arg-type]  # every causal model has one
        if not whole_distributions_fit(vocabulary, sum(len(item.row.answer) for item in wanted)):
            self._keeps = min(TOP_TOKENS, vocabulary - 1)
            self._sampled = _spread(wanted, SAMPLED_TOKENS)
        else:
            self._sampled = set()
        with evaluating(model):
            for part in split_by_length(items, batch_tokens):
                self._store(model, collate(part, pad_token), distribution_groups)

    def _store(self, model: nn.Module, batch: MicroBatch, distribution_groups: Sequence[int]) -> None:
        self.tokens += batch.padded_tokens
        for group, scores in _scores_now(model, batch, distribution_groups).items():
            items = [item for item in batch.items if item.group == group]
            lengths = [len(item.row.answer) for item in items]
            for item, logprobs in zip(items, scores.logprobs.cpu().split(lengths), strict=True):
                self._logprobs[item.group, item.index] = logprobs
            if scores.distribution is None:
                continue
            for item, whole in zip(items, scores.distribution.logprobs.split(lengths), strict=True):
                key = (item.group, item.index)
                if key in self._sampled:
                    self._sample.append((item, Distribution(whole.cpu())))
                kept = Distribution(whole) if self._keeps is None else Distribution(whole).coarsen(self._keeps)
                self._tops[key] = _to(kept, torch.device("cpu"))

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        device = next(model.parameters()).device
        scores = {}
        for group in groups_of(batch):
            keys = [(item.group, item.index) for item in batch.items if item.group == group]
            logprobs = torch.cat([self._logprobs[key] for key in keys]).to(device)
            kept = [self._tops[key] for key in keys if key in self._tops]
            scores[group] = ReferenceScores(logprobs, _to(_join(kept), device) if kept else None)
        return scores

    def forward_tokens(self, batch: MicroBatch) -> int:
        """None: the pass was made beforehand, over ``tokens`` tokens."""
        return 0

    def error(self, model: nn.Module) -> float | None:
        """How much of KL(reference ‖ model) the bucket hides, in nats per token, on sampled tokens.

        Zero before training, and worth asking for as the model moves. None where distributions are whole.
        """
        if not self._sample or self._keeps is None:
            return None
        hidden, tokens = 0.0, 0
        with evaluating(model):
            for item, whole in self._sample:
                logits = answer_logits(model, collate([item], self._pad_token))
                exact = _to(whole, logits.device).kl_to(logits)
                kept = _to(whole.coarsen(self._keeps), logits.device).kl_to(logits)
                hidden += float((exact - kept).sum())
                tokens += len(exact)
        return hidden / tokens


def _scores_now(model: nn.Module, batch: MicroBatch, distribution_groups: Sequence[int]) -> dict[int, ReferenceScores]:
    logits = answer_logits(model, batch)
    answers = answers_of(batch, logits.device)
    scores = {}
    for group in groups_of(batch):
        own = of_group(batch, answers, group)
        part = logits[own]
        whole = Distribution(F.log_softmax(at_least_float32(part), dim=-1)) if group in distribution_groups else None
        scores[group] = ReferenceScores(target_logprobs(part, answers.targets[own]), whole)
    return scores


def _join(parts: Sequence[Distribution]) -> Distribution:
    logprobs = torch.cat([part.logprobs for part in parts])
    indices = [part.indices for part in parts if part.indices is not None]
    tails = [part.tail for part in parts if part.tail is not None]
    return Distribution(logprobs, torch.cat(indices), torch.cat(tails)) if indices else Distribution(logprobs)


def _to(distribution: Distribution, device: torch.device) -> Distribution:
    return Distribution(
        distribution.logprobs.to(device),
        None if distribution.indices is None else distribution.indices.to(device),
        None if distribution.tail is None else distribution.tail.to(device),
    )


def _spread(items: Sequence[Item], tokens: int) -> set[tuple[int, int]]:
    """Rows spread evenly over ``items`` that hold about ``tokens`` answer tokens."""
    if not items:
        return set()
    mean = sum(len(item.row.answer) for item in items) / len(items)
    count = min(len(items), max(1, round(tokens / mean)))
    chosen = [items[number * len(items) // count] for number in range(count)]
    return {(item.group, item.index) for item in chosen}
