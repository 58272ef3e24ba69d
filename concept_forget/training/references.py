"""What the model said before training: reference scores from the cheapest source that is exact enough.

Three providers answer the same call. ``stored`` keeps, once, what the untrained model says about every row; no second
model is held. ``adapter_off`` runs the model with its adapter disabled. ``resident`` runs a frozen copy.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from concept_forget.errors import ConfigError
from concept_forget.training.batches import Item, MicroBatch, TokenRow, collate, groups_of
from concept_forget.training.distributions import Distribution
from concept_forget.training.micro_batches import PartBound, over_parts
from concept_forget.training.processes import from_first
from concept_forget.training.reference_scores import ReferenceScores, joined, parted
from concept_forget.training.scores import (
    answer_logits,
    answer_outputs,
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
TAIL_MASS = 1e-3
"""Probability that may lie outside the stored top, on the average over tokens."""
SAMPLED_TOKENS = 64
"""Answer tokens whose distribution is kept whole to measure what the bucket hides."""


@dataclass(frozen=True, slots=True)
class Steering:
    """Two other contexts for each row of a group, with the same answer.

    The group's distributions are taken from the one towards the other: p · (p_toward / p_away)^strength.
    """

    group: int
    away: tuple[TokenRow, ...]
    toward: tuple[TokenRow, ...]
    strength: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What will be asked of a reference, as groups of rows, and the layer whose hidden states are meant."""

    logprobs: tuple[int, ...] = ()
    distributions: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()
    layer: int | None = None
    steering: Steering | None = None

    @property
    def groups(self) -> frozenset[int]:
        """The groups of which anything is asked."""
        return frozenset((*self.logprobs, *self.distributions, *self.hidden))

    @property
    def logits(self) -> bool:
        """Whether anything is asked that takes a whole forward pass."""
        return bool(self.logprobs or self.distributions)


class ReferenceProvider(Protocol):
    """Knows what the reference says about rows. ``kind`` names it for the summary."""

    kind: str

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group asked for, in its answer tokens' order, on the model's device."""

    def forward_tokens(self, batch: MicroBatch) -> int:
        """Tokens that one call runs a model on."""


def choose_reference(
    choice: Choice, *, has_adapter: bool, vocabulary: int, distribution_tokens: int, steered: bool = False
) -> Choice:
    """Work out ``auto``: the cheapest provider that is exact enough.

    ``stored`` costs one pass over the rows and is exact for log-probabilities, and for whole distributions where they
    fit. Where they do not, the disabled adapter is exact for a forward pass per step; without an adapter the stored
    top of the distributions spares a second model.

    Args:
        choice: What the config says.
        has_adapter: Whether the model is trained through an adapter.
        vocabulary: Size of the vocabulary.
        distribution_tokens: Answer tokens whose distributions are needed; 0: none are.
        steered: Whether some of them are steered, for which ``stored`` alone has the rows.

    Raises:
        ConfigError: ``adapter_off`` without an adapter; another than ``stored`` for steered distributions.
    """
    if steered:
        if choice not in ("auto", "stored"):
            raise ConfigError(
                f"`reference: {choice}` cannot give the steered distributions that the method needs",
                key="unlearn.reference",
                remedy="set `unlearn.reference: auto`",
            )
        return "stored"
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
    wanted: Wanted,
    *,
    pad_token: int,
    batch_tokens: int,
    exact: Choice | None = None,
) -> ReferenceProvider:
    """The provider of this kind, before training has changed the model.

    Args:
        kind: Not ``auto``.
        model: The model as it is before training.
        rows: All rows that scores will be asked for, by group and index.
        wanted: What will be asked.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.
        exact: Taken instead of ``stored`` where so much of the distributions would have to be stored that they do not
            fit in memory; None: ``stored`` keeps what fits.
    """
    if kind == "stored":
        size = from_first(top_size(model, rows, wanted, pad_token=pad_token, batch_tokens=batch_tokens))
        if size.fits or exact is None:
            return Stored(model, rows, wanted, size.top, pad_token=pad_token, batch_tokens=batch_tokens)
        kind = exact
    return AdapterOff(wanted) if kind == "adapter_off" else Resident(model, wanted)


@dataclass(frozen=True, slots=True)
class TopSize:
    """How many of a distribution's likeliest tokens are stored; None: all. ``fits``: whether that is exact enough."""

    top: int | None
    fits: bool


def top_size(
    model: nn.Module, rows: Sequence[Sequence[TokenRow]], wanted: Wanted, *, pad_token: int, batch_tokens: int
) -> TopSize:
    """The smallest top, from ``TOP_TOKENS`` on by doubling, outside which at most ``TAIL_MASS`` lies on the average.

    What the bucket hides of a KL divergence is its mass times the divergence within it, and of the two the mass is
    known beforehand. Measured on sampled rows; the top ends where memory does.
    """
    items = [Item(group, index, row) for group in wanted.distributions for index, row in enumerate(rows[group])]
    vocabulary = int(model.config.vocab_size)  # type: ignore[union-attr,arg-type]  # every causal model has one
    tokens = sum(len(item.row.answer) for item in items)
    if whole_distributions_fit(vocabulary, tokens):
        return TopSize(None, True)
    chosen = _spread(items, SAMPLED_TOKENS)
    sample = [item for item in items if (item.group, item.index) in chosen]
    with evaluating(model):
        parts = over_parts(sample, PartBound(batch_tokens), lambda part: answer_logits(model, collate(part, pad_token)))
        logits = [part for _, part in parts]
    falling = F.softmax(at_least_float32(torch.cat(logits)), dim=-1).sort(dim=-1, descending=True).values
    outside = 1 - falling.cumsum(-1).mean(0)  # (vocabulary,): mean mass outside the top 1, 2, …
    largest = min(vocabulary - 1, max(1, EXACT_BYTES // (12 * tokens)))  # a float32 and an int64 for each kept token
    top = min(TOP_TOKENS, largest)
    while top < largest and float(outside[top - 1]) > TAIL_MASS:
        top = min(2 * top, largest)
    return TopSize(top, float(outside[top - 1]) <= TAIL_MASS)


class AdapterOff:
    """The model with its adapter disabled: exact, a forward pass per call, no memory."""

    kind = "adapter_off"

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        inner: Any = getattr(model, "module", model)  # a peft model, wrapped or not
        with evaluating(model), inner.disable_adapter():
            return _scores_now(model, batch, self._wanted)

    def forward_tokens(self, batch: MicroBatch) -> int:
        """All of the batch."""
        return batch.padded_tokens


class Resident:
    """A frozen copy of the model: exact, a forward pass per call, twice the memory."""

    kind = "resident"

    def __init__(self, model: nn.Module, wanted: Wanted) -> None:
        self._copy = copy.deepcopy(model).requires_grad_(False).eval()
        self._wanted = wanted

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        with torch.no_grad():
            return _scores_now(self._copy, batch, self._wanted)

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
        wanted: Wanted,
        top: int | None,
        *,
        pad_token: int,
        batch_tokens: int,
    ) -> None:
        items = [Item(group, index, row) for group in sorted(wanted.groups) for index, row in enumerate(rows[group])]
        self.tokens = 0
        self.top = top
        self._pad_token = pad_token
        self._wanted = wanted
        self._scores: dict[tuple[int, int], ReferenceScores] = {}
        self._sample: list[tuple[Item, Distribution]] = []
        told = [item for item in items if item.group in wanted.distributions]
        self._sampled = _spread(told, SAMPLED_TOKENS) if top is not None else set()
        with evaluating(model):
            for _, (tokens, found) in over_parts(items, PartBound(batch_tokens), functools.partial(self._ask, model)):
                self.tokens += tokens
                self._store(found)

    def _ask(self, model: nn.Module, part: Sequence[Item]) -> tuple[int, list[tuple[list[Item], ReferenceScores]]]:
        """Tokens that passed through the model, and rows of each group with their scores."""
        batch = collate(part, self._pad_token)
        tokens, found = batch.padded_tokens, []
        for group, scores in _scores_now(model, batch, self._wanted).items():
            items = [item for item in batch.items if item.group == group]
            if (steering := self._wanted.steering) is not None and steering.group == group:
                more, distribution = self._steered(model, items, scores, steering)
                tokens, scores = tokens + more, dataclasses.replace(scores, distribution=distribution)
            found.append((items, scores))
        return tokens, found

    def _store(self, found: Sequence[tuple[list[Item], ReferenceScores]]) -> None:
        for items, scores in found:
            for item, own in zip(items, parted(scores, items), strict=True):
                key = (item.group, item.index)
                if key in self._sampled:
                    assert own.distribution is not None
                    self._sample.append((item, own.distribution))
                if self.top is not None and own.distribution is not None:
                    own = dataclasses.replace(own, distribution=own.distribution.coarsen(self.top))
                self._scores[key] = own

    def _steered(
        self, model: nn.Module, items: Sequence[Item], scores: ReferenceScores, steering: Steering
    ) -> tuple[int, Distribution]:
        tokens = 0

        def told(rows: Sequence[TokenRow]) -> Distribution:
            nonlocal tokens
            batch = collate([Item(item.group, item.index, rows[item.index]) for item in items], self._pad_token)
            tokens += batch.padded_tokens
            return Distribution(F.log_softmax(at_least_float32(answer_logits(model, batch)), dim=-1))

        assert scores.distribution is not None
        steered = scores.distribution.steer(told(steering.away), told(steering.toward), steering.strength)
        return tokens, steered

    def scores(self, model: nn.Module, batch: MicroBatch) -> dict[int, ReferenceScores]:
        """Scores of a micro-batch by group."""
        device = next(model.parameters()).device
        return {
            group: joined([self._scores[item.group, item.index] for item in batch.items if item.group == group], device)
            for group in groups_of(batch)
            if group in self._wanted.groups
        }

    def forward_tokens(self, batch: MicroBatch) -> int:
        """None: the pass was made beforehand, over ``tokens`` tokens."""
        return 0

    def error(self, model: nn.Module) -> float | None:
        """How much of KL(reference ‖ model) the bucket hides, in nats per token, on sampled tokens.

        Zero before training, and worth asking for as the model moves. None where distributions are whole.
        """
        if not self._sample or self.top is None:
            return None
        hidden, tokens = 0.0, 0
        with evaluating(model):
            for item, whole in self._sample:
                logits = answer_logits(model, collate([item], self._pad_token))
                exact = whole.to(logits.device).kl_to(logits)
                kept = whole.coarsen(self.top).to(logits.device).kl_to(logits)
                hidden += float((exact - kept).sum())
                tokens += len(exact)
        return hidden / tokens


def _scores_now(model: nn.Module, batch: MicroBatch, wanted: Wanted) -> dict[int, ReferenceScores]:
    layer = wanted.layer if wanted.hidden else None
    outputs = answer_outputs(model, batch, want_logits=wanted.logits, layer=layer)
    answers = answers_of(batch, next(model.parameters()).device)
    scores = {}
    for group in groups_of(batch):
        if group not in wanted.groups:
            continue
        own = of_group(batch, answers, group)
        logprobs, distribution, hidden = None, None, None
        if outputs.logits is not None and group in (*wanted.logprobs, *wanted.distributions):
            part = outputs.logits[own]
            logprobs = target_logprobs(part, answers.targets[own])
            if group in wanted.distributions:
                distribution = Distribution(F.log_softmax(at_least_float32(part), dim=-1))
        if outputs.hidden is not None and group in wanted.hidden:
            hidden = outputs.hidden[own]
        scores[group] = ReferenceScores(logprobs, distribution, hidden)
    return scores


def _spread(items: Sequence[Item], tokens: int) -> set[tuple[int, int]]:
    """Rows spread evenly over ``items`` that hold about ``tokens`` answer tokens."""
    if not items:
        return set()
    mean = sum(len(item.row.answer) for item in items) / len(items)
    count = min(len(items), max(1, round(tokens / mean)))
    chosen = [items[number * len(items) // count] for number in range(count)]
    return {(item.group, item.index) for item in chosen}
