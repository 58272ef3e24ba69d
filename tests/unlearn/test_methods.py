from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.config import PROCEDURES, TRAININGS, MethodName, UnlearnConfig
from concept_forget.records import Example
from concept_forget.training.batches import Item, MicroBatch, Step, StepPlan, TokenRow, collate, encode_examples
from concept_forget.training.references import Steering, open_reference
from concept_forget.unlearn.methods import ALTERNATIVE, FORGET, RETAIN, MethodLoss, build_method

Groups = tuple[tuple[TokenRow, ...], ...]


@pytest.fixture
def groups(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> Groups:
    rows = encode_examples(examples, tokenizer, 64).rows
    others = encode_examples(
        [dataclasses.replace(examples[0], completion="Silent Harbour by the long river"),
         dataclasses.replace(examples[1], completion="Dunholm")],
        tokenizer, 64,
    ).rows  # fmt: skip
    return rows[:2], rows[2:], others


def make_step(groups: Groups, parts: list[list[tuple[int, int]]], width: int | None = None) -> Step:
    """A step of all rows, parted as told."""
    batches = tuple(
        collate([Item(group, index, groups[group][index]) for group, index in part], pad_token=1, width=width)
        for part in parts
    )
    drawn = [{index for part in parts for own, index in part if own == group} for group in range(3)]
    rows = [[groups[group][index] for index in own] for group, own in enumerate(drawn)]
    return Step(batches, tuple(map(len, rows)), tuple(sum(len(r.answer) for r in own) for own in rows))


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
    steering = None
    if "reference.contrast" in method.needs:
        contexts = [
            tuple(TokenRow(r.id, tokens + r.tokens, r.answer_start + len(tokens)) for r in groups[FORGET])
            for tokens in ((7, 8, 9), (4, 5))
        ]
        steering = Steering(FORGET, contexts[0], contexts[1], 2.0)
    reference = (
        open_reference("stored", model, groups, method.wanted(0, steering), pad_token=0, batch_tokens=50)
        if method.needs_reference
        else None
    )
    direction = torch.nn.functional.normalize(torch.arange(-9.0, 23.0), dim=0)
    return MethodLoss(method, reference, 0, direction)


ALL = [(FORGET, 0), (FORGET, 1), (RETAIN, 0), (RETAIN, 1), (RETAIN, 2)]
PAIRS = [[(FORGET, 0), (ALTERNATIVE, 0)], [(FORGET, 1), (ALTERNATIVE, 1)]]
SETTINGS: list[dict[str, object]] = [
    *({"method": name} for name in get_args(MethodName) if name not in (*PROCEDURES, *TRAININGS)),
    {"method": "npo", "retain": "nll", "beta": 0.2},
    {"method": "npo", "retain": "kl", "beta": 0.5, "retain_weight": 3.0},
    {"method": "npo", "retain": "hidden"},
    {"method": "rmu", "retain": "kl"},
    {"method": "simnpo", "retain": "none", "beta": 0.1, "gamma": 1.0},
]


def units(settings: dict[str, object]) -> list[list[tuple[int, int]]]:
    """All rows that a method looks at, as far as they may be parted."""
    method = build_method(UnlearnConfig.model_validate(settings))
    forget: list[list[tuple[int, int]]] = [[one] for one in ALL[:2]]
    if method.needs_alternatives:
        forget = PAIRS if method.is_paired else [[(ALTERNATIVE, 0)], [(ALTERNATIVE, 1)]]
    return forget + ([[one] for one in ALL[2:]] if method.retain else [])


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_padding_order_and_parting_change_neither_loss_nor_gradient(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups, settings: dict[str, object]
) -> None:
    """In float64, so that what is left is a difference of formulas."""
    model = make_model().double()
    loss = make_loss(model, groups, **settings)
    disturbed(model)
    parts = units(settings)
    shuffled = random.Random(3).sample(parts, len(parts))

    def flat(some: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
        return [one for unit in some for one in unit]

    single, single_parts, gradient = loss_and_gradient(loss, model, make_step(groups, [flat(parts)]))
    assert gradient.abs().max() > 1e-4
    for step in (
        make_step(groups, [flat(parts)], width=80),
        make_step(groups, [flat(shuffled)]),
        make_step(groups, parts),
        make_step(groups, [flat(shuffled[:2]), flat(shuffled[2:])] if shuffled[2:] else [flat(shuffled)], width=70),
    ):
        other, other_parts, other_gradient = loss_and_gradient(loss, model, step)
        assert other == pytest.approx(single, abs=1e-9)
        assert other_parts == pytest.approx(single_parts, abs=1e-9)
        assert other_gradient == pytest.approx(gradient, abs=1e-9)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_padding_on_the_left_changes_neither_loss_nor_gradient(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups, settings: dict[str, object]
) -> None:
    """Padded on the left by hand, with masks and positions, and one row at a time through the model."""
    model = make_model().double()
    loss = make_loss(model, groups, **settings)
    disturbed(model)
    step = make_step(groups, [[one for unit in units(settings) for one in unit]])
    single, _, gradient = loss_and_gradient(loss, model, step)
    batch = step.batches[0]
    shift = [batch.tokens.shape[1] - len(item.row.tokens) for item in batch.items]
    left = MicroBatch(
        batch.items,
        torch.stack([tokens.roll(by) for tokens, by in zip(batch.tokens, shift, strict=True)]),
        torch.stack([marks.roll(by) for marks, by in zip(batch.is_answer, shift, strict=True)]),
    )
    mask = torch.tensor([[int(place >= by) for place in range(batch.tokens.shape[1])] for by in shift])
    masked = functools.partial(model.forward, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(model, "forward", masked)
        other, _, other_gradient = loss_and_gradient(loss, model, Step((left,), step.rows, step.tokens))
    assert other == pytest.approx(single, abs=1e-9)
    assert other_gradient == pytest.approx(gradient, abs=1e-9)


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
        return method.needs_reference, method.wanted().distributions

    assert needs(method="grad_diff") == (False, ())
    assert needs(method="npo", retain="nll") == (True, ())
    assert needs(method="npo", retain="kl") == (True, (RETAIN,))
    assert needs(method="npo", retain="kl", retain_weight=0) == (True, ())
    assert needs(method="undial", retain="none") == (True, (FORGET,))
    dpo = build_method(UnlearnConfig(method="dpo", retain="nll"))
    assert dpo.wanted().logprobs == (FORGET, ALTERNATIVE)
    assert build_method(UnlearnConfig(method="idk", retain="nll")).wanted().groups == frozenset()


def test_a_batch_without_answers_of_a_kind_is_no_obstacle(model: LlamaForCausalLM, groups: Groups) -> None:
    loss = make_loss(model, groups, retain="kl")
    batch: MicroBatch = make_step(groups, [ALL[2:]]).batches[0]
    share = loss(model, batch, make_step(groups, [ALL]))
    assert set(share.parts) == {"retain_loss"}
    assert torch.isfinite(share.loss)


def test_a_row_without_answer_tokens_is_left_out_before_it_can_do_harm(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    crowded_out = make_example("Where was Mira Kestrel born? " * 5, "Dunholm")
    fine = make_example("Who wrote that?", "Dunholm")
    rows = encode_examples([crowded_out, fine], tokenizer, 16)
    assert rows.empty == (crowded_out.id,)
    step = make_step((rows.rows, (), ()), [[(FORGET, 0)]])
    share = make_loss(model, (rows.rows, (), ()), method="simnpo", retain="none")(model, step.batches[0], step)
    assert torch.isfinite(share.loss)


def test_a_pair_stays_together_and_counts_as_one_row(groups: Groups) -> None:
    plan = StepPlan(groups, (2, 1, 2), seed=0, pad_token=0, batch_tokens=1, follows={ALTERNATIVE: FORGET})
    step = plan(0)
    assert step.rows == (2, 1, 2)
    places = [[(item.group, item.index) for item in batch.items] for batch in step.batches]
    assert sorted(places)[:2] == PAIRS


class Fresh(TorchDispatchMode):
    """Notes the operations that make a new tensor as wide as the vocabulary, and not a view of another."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        first = made[0] if isinstance(made, tuple) else made
        returns = function._schema.returns
        is_view = "view" in function._schema.name or any(given.alias_info is not None for given in returns)
        if isinstance(first, torch.Tensor) and first.shape[-1:] == (self._vocabulary,) and not is_view:
            self.names.append(function._schema.name.removeprefix("aten::"))
        return made


def test_rows_of_two_kinds_are_told_apart_without_copies_of_the_logits(model: LlamaForCausalLM, groups: Groups) -> None:
    """Of a large vocabulary they are most of the memory, and so is every gradient of theirs."""
    loss = make_loss(model, groups, method="npo", retain="nll")
    step = make_step(groups, [ALL])
    with Fresh(model.config.vocab_size) as fresh:
        loss_and_gradient(loss, model, step)
    assert fresh.names == ["mm", "_log_softmax", "nll_loss_backward", "_log_softmax_backward_data"]


def test_only_what_a_term_needs_is_worked_out(model: LlamaForCausalLM, groups: Groups) -> None:
    """Next to whole distributions of retain rows nobody reads the log-probabilities of their tokens."""
    loss = make_loss(model, groups, method="npo", retain="kl")
    retain_alone = make_step(groups, [[one for one in ALL if one[0] == RETAIN]])
    with Fresh(model.config.vocab_size) as fresh:
        loss(model, retain_alone.batches[0], retain_alone)
    assert fresh.names.count("_log_softmax") == 1


def test_steering_hidden_states_runs_no_further_than_their_layer(
    make_model: Callable[..., LlamaForCausalLM], groups: Groups
) -> None:
    model = make_model()
    loss = make_loss(model, groups, method="rmu")
    for value in model.model.layers[1].parameters():
        value.data.fill_(float("nan"))
    share = loss(model, make_step(groups, [ALL]).batches[0], make_step(groups, [ALL]))
    share.loss.backward()
    assert torch.isfinite(share.loss)
    assert all(value.grad is None for value in model.model.layers[1].parameters())
    assert share.unused_parameters == sum(value.numel() for value in model.model.layers[1].parameters())
