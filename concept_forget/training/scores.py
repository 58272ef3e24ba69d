"""What a model says about answers: logits, log-probabilities and hidden states on answer positions only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concept_forget.errors import ModelError
from concept_forget.training.batches import Item, MicroBatch, TokenRow, collate
from concept_forget.training.micro_batches import PartBound, over_parts
from concept_forget.training.sharding import release_gathered


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer tokens of some rows, one after another, without prompts and padding between them.

    ``targets`` (tokens,) are their ids, ``row`` (tokens,) says which of the ``rows`` rows each belongs to.
    """

    targets: Tensor
    row: Tensor
    rows: int

    def sum_by_row(self, values: Tensor) -> Tensor:
        """Sums of per-token ``values`` (tokens,) over each row: (rows,)."""
        return values.new_zeros(self.rows).index_add(0, self.row, values)

    @property
    def lengths(self) -> Tensor:
        """Answer tokens of each row: (rows,); 1 where there are none, so that a mean over them stays a number."""
        return self.row.bincount(minlength=self.rows).clamp_min(1)

    @property
    def tells(self) -> Tensor:
        """Whether a token tells something of its answer, as all do but the one that ends the reply: (tokens,)."""
        last = torch.ones_like(self.row, dtype=torch.bool)
        last[:-1] = self.row[1:] != self.row[:-1]
        return ~last | (self.lengths[self.row] == 1)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one forward pass gave at the positions that predict answer tokens, in the model's precision.

    ``logits`` (answer tokens, vocabulary) and ``hidden`` (answer tokens, width), where asked for. ``unused_parameters``
    counts those of the layers that the pass never came to.
    """

    logits: Tensor | None
    hidden: Tensor | None
    unused_parameters: int = 0


@dataclass(frozen=True, slots=True)
class RowScore:
    """How a model takes one row's answer: its tokens' log-probabilities, and whether greedy decoding gives it."""

    logprobs: tuple[float, ...]
    greedy: bool

    @property
    def total(self) -> float:
        """Log-probability of the whole answer, in nats."""
        return sum(self.logprobs)

    @property
    def mean(self) -> float:
        """Log-probability per token, in nats: the log of the geometric mean of the token probabilities."""
        return self.total / len(self.logprobs)


def answers_of(batch: MicroBatch, device: torch.device | str = "cpu") -> Answers:
    """The answer tokens of a micro-batch, row by row."""
    where = batch.is_answer.nonzero()  # (tokens, 2), in the order of the rows
    return Answers(batch.tokens[batch.is_answer].to(device), where[:, 0].to(device), len(batch.items))


def of_group(batch: MicroBatch, answers: Answers, group: int) -> Tensor:
    """Which answer tokens belong to rows of a group: (tokens,) of booleans."""
    member = torch.tensor([item.group == group for item in batch.items], device=answers.row.device)
    return member[answers.row]


def answer_logits(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Logits at the positions that predict answer tokens: (answer tokens, vocabulary), in the model's precision.

    Raises:
        ModelError: See ``answer_outputs``.
    """
    logits = answer_outputs(model, batch).logits
    assert logits is not None
    return logits


def answer_outputs(
    model: nn.Module, batch: MicroBatch, *, want_logits: bool = True, layer: int | None = None
) -> Outputs:
    """One forward pass, for what it gives at the positions that predict answer tokens.

    The hidden states of all other positions are dropped before the output layer, which for a large vocabulary is most
    of the memory and much of the time. Without logits the pass ends behind ``layer``.

    Args:
        model: A causal language model, wrapped or not.
        batch: Its rows.
        want_logits: Whether logits are needed.
        layer: The layer behind which hidden states are needed, counted from 0; None: of no layer.

    Raises:
        ModelError: The model's output layer is not one that takes hidden states and gives logits; or its layers are
            not to be found.
    """
    device = next(model.parameters()).device
    tokens = batch.tokens.to(device)
    predicts = batch.is_answer.to(device).roll(-1, dims=1)  # an answer never begins a row, so nothing wraps round
    kept: list[Tensor] = []
    unused = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_at(model, predicts if want_logits else torch.zeros_like(predicts)))
        if layer is not None:
            stack.enter_context(_keeping(decoder_layers(model)[layer], kept))
            if not want_logits:
                unused = stack.enter_context(_ending_behind(model, layer))
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    hidden = kept[0][predicts] if kept else None
    if not want_logits:
        return Outputs(None, hidden, unused)
    if logits.shape[:2] != (1, int(batch.is_answer.sum())):
        raise ModelError(
            f"{type(model).__name__} does not get its logits from its output embeddings",
            remedy="use a causal language model with an output layer",
        )
    return Outputs(logits.squeeze(0), hidden)  # and not [0], whose gradient is a copy


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The model's layers, from the first to the last.

    Raises:
        ModelError: There is no list of as many layers as the model's config says.
    """
    owner, name = _place_of_layers(model)
    layers = getattr(owner, name)
    assert isinstance(layers, nn.ModuleList)
    return layers


def _place_of_layers(model: nn.Module) -> tuple[nn.Module, str]:
    inner: Any = getattr(model, "module", model)
    decoder = inner.get_decoder()
    for name, child in decoder.named_children():
        if isinstance(child, nn.ModuleList) and len(child) == inner.config.num_hidden_layers:
            return decoder, name
    raise ModelError(
        f"the layers of {type(model).__name__} are not to be found",
        remedy="use a method that needs no hidden states, and no `unlearn.layers`",
    )


@contextlib.contextmanager
def _keeping(layer: nn.Module, kept: list[Tensor]) -> Iterator[None]:
    """Put what a layer gives, (rows, positions, width), into ``kept``.

    The hook takes nothing out of it: where activations are computed once more it is gone by then, and autograd wants
    the same operations as before.
    """

    def keep(_: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        kept.append(output if isinstance(output, Tensor) else output[0])

    handle = layer.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _ending_behind(model: nn.Module, layer: int) -> Iterator[int]:
    """Let the model have no layers behind ``layer``; gives the number of parameters that this leaves out."""
    owner, name = _place_of_layers(model)
    layers = decoder_layers(model)
    setattr(owner, name, layers[: layer + 1])
    try:
        yield sum(parameter.numel() for parameter in layers[layer + 1 :].parameters())
    finally:
        setattr(owner, name, layers)


@contextlib.contextmanager
def _only_at(model: nn.Module, positions: Tensor) -> Iterator[None]:
    """Let the output layer see hidden states at ``positions`` (rows, width) only: as one row of many positions.

    A hook keeps whatever the model does to its logits afterwards (soft caps, scales), and works through wrappers.
    """
    inner: Any = getattr(model, "module", model)
    head = inner.get_output_embeddings()
    if head is None:
        raise ModelError(
            f"{type(model).__name__} has no output embeddings",
            remedy="use a causal language model with an output layer",
        )
    handle = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][positions][None], *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


def target_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of the target tokens, in float32 or better: logits (tokens, vocabulary) → (tokens,)."""
    return -F.cross_entropy(at_least_float32(logits), targets, reduction="none")


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision widened; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def score_rows(
    model: nn.Module | Sequence[nn.Module], rows: Sequence[TokenRow], *, pad_token: int, batch_tokens: int
) -> list[RowScore]:
    """Score every row's answer, in the order given, without gradients and without dropout.

    A row's score does not depend on its batch beyond rounding.

    Args:
        model: A causal language model; of several the mean of their logits counts (a logit ensemble).
        rows: What to score.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.
    """
    scores: list[RowScore | None] = [None] * len(rows)
    items = [Item(0, index, row) for index, row in enumerate(rows)]
    models = [model] if isinstance(model, nn.Module) else list(model)
    with contextlib.ExitStack() as stack:
        for member in models:
            stack.enter_context(evaluating(member))

        def score(part: list[Item]) -> tuple[list[float], list[bool]]:
            batch = collate(part, pad_token)
            logits = answer_logits(models[0], batch)
            for number, member in enumerate(models[1:], start=2):
                logits = logits + (at_least_float32(answer_logits(member, batch)) - logits) / number
            answers = answers_of(batch, logits.device)
            hits = logits.argmax(-1) == answers.targets
            return target_logprobs(logits, answers.targets).tolist(), hits.tolist()

        for part, (logprobs, hits) in over_parts(items, PartBound(batch_tokens), score):
            begin = 0
            for item in part:
                end = begin + len(item.row.answer)
                scores[item.index] = RowScore(tuple(logprobs[begin:end]), all(hits[begin:end]))
                begin = end
    return [score for score in scores if score is not None]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout; the mode is put back afterwards, and what was gathered of a sharded model is let go."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        release_gathered(model)
