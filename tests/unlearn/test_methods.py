from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.config import UnlearnConfig
from concept_forget.records import Example
from concept_forget.training.batches import Item, MicroBatch, Step, TokenRow, collate, encode_examples
from concept_forget.training.references import open_reference
from concept_forget.unlearn.methods import FORGET, RETAIN, MethodLoss, build_method

Groups = tuple[tuple[TokenRow, ...], tuple[TokenRow, ...]]


@pytest.fixture
def groups(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> Groups:
    rows = encode_examples(examples, tokenizer, 64).rows
    return rows[:2], rows[2:]


def make_step(groups: Groups, parts: list[list[tuple[int, int]]], width: int | None = None) -> Step:
    """A step of all rows, parted as told."""
    batches = tuple(
        collate([Item(group, index, groups[group][index]) for group, index in part], pad_token=1, width=width)
        for part in parts
    )
    return Step(
        batches, tuple(len(rows) for rows in groups), tuple(sum(len(r.answer) for r in rows) for rows in groups)
    )


def loss_and_gradient(
    loss: MethodLoss, model: LlamaForCausalLM, step: Step
) -> tuple[float, dict[str, float], torch.Tensor]:
    model.zero_grad()
    total, parts = 0.0, {"forget_loss": 0.0, "retain_loss": 0.0}
    for batch in step.batches:
        share = loss(model, batch, step)
        share.loss.backward()
        total += float(share.loss.detach())
        for name, value in share.parts.items():
            parts[name] += float(value.detach())
    return total, parts, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def disturbed(model: LlamaForCausalLM) -> LlamaForCausalLM:
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    return model


def make_loss(model: LlamaForCausalLM, groups: Groups, **settings: object) -> MethodLoss:
    method = build_method(UnlearnConfig.model_validate(settings))
    reference = (
        open_reference("stored", model, groups, method.distribution_groups, pad_token=0, batch_tokens=50)
        if method.needs_reference
        else None
    )
    return MethodLoss(method, reference)


ALL = [(FORGET, 0), (FORGET, 1), (RETAIN, 0), (RETAIN, 1), (RETAIN, 2)]
SETTINGS = [
    {"method": "grad_ascent"},
    {"method": "grad_diff"},
    {"method": "npo", "retain": "nll", "beta": 0.2},
    {"method": "npo", "retain": "kl", "beta": 0.5, "retain_weight": 3.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_padding_order_and_parting_change_neither_loss_nor_gradient(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups, settings: dict[str, object]
) -> None:
    model = make_model()
    loss = make_loss(model, groups, **settings)
    disturbed(model)
    shuffled = random.Random(3).sample(ALL, len(ALL))
    single, parts, gradient = loss_and_gradient(loss, model, make_step(groups, [ALL]))
    for step in (
        make_step(groups, [ALL], width=80),
        make_step(groups, [shuffled]),
        make_step(groups, [[one] for one in ALL]),
        make_step(groups, [shuffled[:2], shuffled[2:]], width=70),
    ):
        other, other_parts, other_gradient = loss_and_gradient(loss, model, step)
        assert other == pytest.approx(single, abs=1e-5)
        assert other_parts == pytest.approx(parts, abs=1e-5)
        assert other_gradient == pytest.approx(gradient, abs=1e-5)


def one_row_logits(model: LlamaForCausalLM, row: TokenRow) -> torch.Tensor:
    """Logits that predict the answer, from the row alone and without any of the code under test."""
    return model(torch.tensor([row.tokens])).logits[0, row.answer_start - 1 : -1]


def one_row_total(model: LlamaForCausalLM, row: TokenRow) -> torch.Tensor:
    return -F.cross_entropy(one_row_logits(model, row), torch.tensor(row.answer), reduction="sum")


def test_the_loss_is_the_forget_term_plus_the_weighted_retain_term(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups
) -> None:
    base, model = make_model(), make_model()
    loss = make_loss(model, groups, method="npo", retain="kl", beta=0.5, retain_weight=3.0)
    disturbed(model)
    with torch.no_grad():
        margins = [one_row_total(model, row) - one_row_total(base, row) for row in groups[FORGET]]
        forget = sum(2 / 0.5 * F.softplus(0.5 * margin) for margin in margins) / len(margins)
        divergences = []
        for row in groups[RETAIN]:
            before, now = one_row_logits(base, row).log_softmax(-1), one_row_logits(model, row).log_softmax(-1)
            divergences += (before.exp() * (before - now)).sum(-1).tolist()
    retain = sum(divergences) / len(divergences)
    total, parts, _ = loss_and_gradient(loss, model, make_step(groups, [ALL]))
    assert parts["forget_loss"] == pytest.approx(float(forget), abs=1e-4)
    assert parts["retain_loss"] == pytest.approx(retain, abs=1e-5)
    assert total == pytest.approx(float(forget) + 3.0 * retain, abs=1e-4)


def test_at_the_start_npo_stands_at_its_value_for_no_margin_and_kl_at_zero(
    model: LlamaForCausalLM, groups: Groups
) -> None:
    _, parts, _ = loss_and_gradient(make_loss(model, groups, beta=0.5), model, make_step(groups, [ALL]))
    assert parts["forget_loss"] == pytest.approx(2 / 0.5 * 0.693147, abs=1e-5)
    assert parts["retain_loss"] == pytest.approx(0, abs=1e-6)


def test_gradient_difference_is_gradient_ascent_with_likelihood_on_what_stays(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups
) -> None:
    step = make_step(groups, [ALL])
    named = loss_and_gradient(make_loss(make_model(), groups, method="grad_diff"), make_model(), step)
    spelled_out = loss_and_gradient(
        make_loss(make_model(), groups, method="grad_ascent", retain="nll"), make_model(), step
    )
    assert named[0] == spelled_out[0]
    assert torch.equal(named[2], spelled_out[2])


def test_gradient_ascent_alone_looks_at_forget_rows_only(model: LlamaForCausalLM, groups: Groups) -> None:
    loss = make_loss(model, groups, method="grad_ascent")
    both = loss_and_gradient(loss, model, make_step(groups, [ALL]))
    alone = loss_and_gradient(loss, model, make_step(groups, [ALL[:2]]))
    assert both[0] == pytest.approx(alone[0], abs=1e-6)
    assert both[1]["retain_loss"] == 0


def test_reference_scores_are_asked_for_only_where_a_term_needs_them() -> None:
    def needs(**settings: object) -> tuple[bool, tuple[int, ...]]:
        method = build_method(UnlearnConfig.model_validate(settings))
        return method.needs_reference, method.distribution_groups

    assert needs(method="grad_diff") == (False, ())
    assert needs(method="npo", retain="nll") == (True, ())
    assert needs(method="npo", retain="kl") == (True, (RETAIN,))
    assert needs(method="npo", retain="kl", retain_weight=0) == (True, ())


def test_a_batch_without_answers_of_a_kind_is_no_obstacle(model: LlamaForCausalLM, groups: Groups) -> None:
    loss = make_loss(model, groups, retain="kl")
    batch: MicroBatch = make_step(groups, [ALL[2:]]).batches[0]
    share = loss(model, batch, make_step(groups, [ALL]))
    assert set(share.parts) == {"retain_loss"}
    assert torch.isfinite(share.loss)
