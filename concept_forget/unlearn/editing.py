"""Carries out the procedures of ``procedures``: gathers what a change of weights looks at, and writes what it gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import ModelError
from concept_forget.training.batches import Item, TokenRow, collate
from concept_forget.training.micro_batches import PartBound, over_parts
from concept_forget.training.scores import answer_logits, answers_of, decoder_layers, target_logprobs
from concept_forget.unlearn.procedures import Procedure, WeightView

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def layer_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices of the model's layers that are to be trained, by name."""
    inside = {id(weight) for weight in decoder_layers(model).parameters() if weight.dim() == 2}
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad and id(weight) in inside}


def change_before(
    model: nn.Module,
    procedure: Procedure,
    settings: UnlearnConfig,
    rows: tuple[Sequence[TokenRow], Sequence[TokenRow]],
    seed: int,
    *,
    pad_token: int,
    batch_tokens: int,
) -> int:
    """Change the matrices of a model's layers in place, before it is trained.

    Args:
        model: The target.
        procedure: One that changes weights before training.
        settings: Its options.
        rows: Forget and retain rows.
        seed: Of what is drawn.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.

    Returns:
        Tokens that passed through the model, forward and backward.
    """
    chosen = layer_matrices(model)
    tokens = 0
    gradients: list[dict[str, Tensor] | None] = [None, None]
    if procedure.needs_gradients:
        for kind, own in enumerate(rows):
            gradients[kind], passed = likelihood_gradients(
                model, chosen, own, pad_token=pad_token, batch_tokens=batch_tokens
            )
            tokens += passed
    view = WeightView(
        weights={name: weight.detach() for name, weight in chosen.items()},
        generator=torch.Generator().manual_seed(seed),
        spread=float(getattr(model.config, "initializer_range", 0.02)),
        forget_gradients=gradients[0],
        retain_gradients=gradients[1],
    )
    _write(chosen, procedure.function(view, **_options(procedure, settings)))
    return tokens


def change_after(model: nn.Module, before: nn.Module, procedure: Procedure, settings: UnlearnConfig, seed: int) -> None:
    """Change whatever was trained in place, once it has been.

    Args:
        model: The model after training.
        before: The target.
        procedure: One that changes weights after training.
        settings: Its options.
        seed: Of what is drawn.
    """
    chosen = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    old = dict(before.named_parameters())
    view = WeightView(
        weights={name: weight.detach() for name, weight in chosen.items()},
        generator=torch.Generator().manual_seed(seed),
        spread=0.0,
        before={name: old[name].detach().to(weight) for name, weight in chosen.items()},
    )
    _write(chosen, procedure.function(view, **_options(procedure, settings)))


def likelihood_gradients(
    model: nn.Module, weights: dict[str, nn.Parameter], rows: Sequence[TokenRow], *, pad_token: int, batch_tokens: int
) -> tuple[dict[str, Tensor], int]:
    """Gradients of the mean negative log-likelihood of all answer tokens of some rows, and the tokens passed through.

    Args:
        model: The model.
        weights: The weights in question, by name.
        rows: What is scored; at least one.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.
    """
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count, passed = sum(len(row.answer) for row in rows), 0

    def differentiate(part: list[Item]) -> tuple[int, tuple[Tensor, ...]]:
        batch = collate(part, pad_token)
        logits = answer_logits(model, batch)
        loss = -target_logprobs(logits, answers_of(batch, logits.device).targets).sum() / count
        return batch.padded_tokens, torch.autograd.grad(loss, list(weights.values()))

    items = [Item(0, index, row) for index, row in enumerate(rows)]
    for _, (tokens, gradients) in over_parts(items, PartBound(batch_tokens), differentiate):
        passed += tokens
        for total, own in zip(totals.values(), gradients, strict=True):
            total += own
    return totals, passed


def instruct(tokenizer: PreTrainedTokenizerBase, instruction: str) -> None:
    """Let a tokenizer's chat template put an instruction before the first message of every chat.

    Raises:
        ModelError: It has no chat template.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path or 'the model'} has no chat template to put an instruction into",
            remedy="save one with the model (chat_template.jinja), or use another method",
        )
    text = json.dumps(f"{instruction}\n", ensure_ascii=False)
    tokenizer.chat_template = (
        "{%- if messages -%}{%- set messages = [{'role': messages[0]['role'], 'content': "
        f"{text} + messages[0]['content']}}] + messages[1:] -%}}{{%- endif -%}}{tokenizer.chat_template}"
    )


def _options(procedure: Procedure, settings: UnlearnConfig) -> dict[str, Any]:
    return {name: settings.option(name) for name in procedure.settings}


@torch.no_grad()
def _write(chosen: dict[str, nn.Parameter], changed: dict[str, Tensor]) -> None:
    for name, values in changed.items():
        chosen[name].copy_(values)
