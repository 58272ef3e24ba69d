from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.errors import ConfigError
from concept_forget.records import Example
from concept_forget.training import references
from concept_forget.training.batches import Item, MicroBatch, TokenRow, collate, encode_examples
from concept_forget.training.references import (
    ReferenceProvider,
    Steering,
    Stored,
    Wanted,
    choose_reference,
    open_reference,
    top_size,
)
from concept_forget.training.scores import answer_logits, answer_outputs


@pytest.fixture
def groups(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> list[tuple[TokenRow, ...]]:
    rows = encode_examples(examples, tokenizer, 64).rows
    return [rows[:2], rows[2:]]


@pytest.fixture
def batch(groups: list[tuple[TokenRow, ...]]) -> MicroBatch:
    """Rows of both groups, interleaved."""
    places = [(1, 2), (0, 1), (1, 0), (0, 0)]
    return collate([Item(group, index, groups[group][index]) for group, index in places], pad_token=0)


def with_adapter(model: LlamaForCausalLM) -> nn.Module:
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    return adapted.eval()


def disturb(model: nn.Module) -> None:
    """Move everything that is trained, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def open_one(
    kind: references.Choice, model: nn.Module, groups: list[tuple[TokenRow, ...]], distribution_groups: tuple[int, ...]
) -> ReferenceProvider:
    wanted = Wanted(logprobs=(0, 1), distributions=distribution_groups)
    return open_reference(kind, model, groups, wanted, pad_token=0, batch_tokens=60)


def test_all_providers_tell_what_the_model_said_before_training(
    model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]], batch: MicroBatch
) -> None:
    adapted = with_adapter(model)
    providers = [open_one(kind, adapted, groups, (1,)) for kind in ("stored", "adapter_off", "resident")]
    with torch.no_grad():
        before = answer_logits(adapted, batch)
        disturb(adapted)
        assert (answer_logits(adapted, batch) - before).abs().max() > 0.1
    expected = torch.log_softmax(before, -1)
    retained = torch.tensor([item.group == 1 for item in batch.items])[batch.is_answer.nonzero()[:, 0]]
    targets = batch.tokens[batch.is_answer]
    for provider in providers:
        scores = provider.scores(adapted.train(), batch)
        assert adapted.training
        own = expected.gather(1, targets[:, None])[:, 0]
        assert scores[0].logprobs == pytest.approx(own[~retained], abs=1e-5)
        assert scores[1].logprobs == pytest.approx(own[retained], abs=1e-5)
        assert scores[0].distribution is None
        assert scores[1].distribution is not None
        assert scores[1].distribution.logprobs == pytest.approx(expected[retained], abs=1e-5)


def test_stored_scores_keep_no_second_model(model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]]) -> None:
    stored = open_one("stored", model, groups, (1,))
    assert not any(isinstance(value, nn.Module) for value in vars(stored).values())


def test_of_a_large_vocabulary_the_top_is_kept_and_the_loss_is_measured(
    model: LlamaForCausalLM,
    groups: list[tuple[TokenRow, ...]],
    batch: MicroBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = open_one("stored", model, groups, (1,))
    assert isinstance(exact, Stored)
    assert exact.error(model) is None
    monkeypatch.setattr(references, "EXACT_VOCABULARY", 8)
    monkeypatch.setattr(references, "TOP_TOKENS", 20)
    monkeypatch.setattr(references, "TAIL_MASS", 1.0)  # no more than these
    monkeypatch.setattr(references, "SAMPLED_TOKENS", 10_000)  # all
    coarse = open_one("stored", model, groups, (1,))
    assert isinstance(coarse, Stored)
    assert coarse.error(model) == pytest.approx(0, abs=1e-6)
    disturb(model)
    everything = collate([Item(1, index, row) for index, row in enumerate(groups[1])], pad_token=0)
    with torch.no_grad():
        logits = answer_logits(model, everything)
    divergences = []
    for provider in (exact, coarse):
        distribution = provider.scores(model, everything)[1].distribution
        assert distribution is not None
        divergences.append(float(distribution.kl_to(logits).mean()))
    assert 0 < divergences[1] < divergences[0]
    assert coarse.error(model) == pytest.approx(divergences[0] - divergences[1], rel=1e-4)


def test_auto_takes_the_cheapest_that_is_exact_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def auto(*, has_adapter: bool, vocabulary: int, tokens: int) -> str:
        return choose_reference("auto", has_adapter=has_adapter, vocabulary=vocabulary, distribution_tokens=tokens)

    assert auto(has_adapter=True, vocabulary=1000, tokens=5000) == "stored"
    assert auto(has_adapter=True, vocabulary=150_000, tokens=0) == "stored"  # log-probabilities alone
    assert auto(has_adapter=True, vocabulary=150_000, tokens=5000) == "adapter_off"
    assert auto(has_adapter=False, vocabulary=150_000, tokens=5000) == "stored"
    monkeypatch.setattr(references, "EXACT_BYTES", 1000)
    assert auto(has_adapter=True, vocabulary=1000, tokens=5000) == "adapter_off"


def test_a_named_provider_is_taken_and_needs_what_it_needs() -> None:
    assert choose_reference("resident", has_adapter=True, vocabulary=9, distribution_tokens=0) == "resident"
    with pytest.raises(ConfigError, match="needs an adapter"):
        choose_reference("adapter_off", has_adapter=False, vocabulary=9, distribution_tokens=0)


def test_the_extra_forward_passes_are_counted(
    make_model: Callable[..., LlamaForCausalLM], groups: list[tuple[TokenRow, ...]], batch: MicroBatch
) -> None:
    stored = open_one("stored", make_model(), groups, (1,))
    assert isinstance(stored, Stored)
    assert stored.forward_tokens(batch) == 0
    assert stored.tokens >= sum(len(row.tokens) for own in groups for row in own)
    assert open_one("resident", make_model(), groups, ()).forward_tokens(batch) == batch.padded_tokens


def test_of_hidden_states_all_providers_tell_those_of_one_layer(
    model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]], batch: MicroBatch
) -> None:
    adapted = with_adapter(model)
    wanted = Wanted(hidden=(1,), layer=0)
    providers = [
        open_reference(kind, adapted, groups, wanted, pad_token=0, batch_tokens=60)
        for kind in ("stored", "adapter_off", "resident")
    ]
    with torch.no_grad():
        before = model(batch.tokens, output_hidden_states=True).hidden_states[1]  # behind the first layer
    disturb(adapted)
    rows = [number for number, item in enumerate(batch.items) if item.group == 1]
    expected = torch.cat([before[row][batch.is_answer[row].nonzero()[:, 0] - 1] for row in rows])
    for provider in providers:
        scores = provider.scores(adapted, batch)
        assert set(scores) == {1}
        assert scores[1].logprobs is None
        assert scores[1].hidden == pytest.approx(expected, abs=1e-5)


def test_only_the_groups_that_are_asked_for_are_passed_through(
    model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]], batch: MicroBatch
) -> None:
    stored = open_reference("stored", model, groups, Wanted(logprobs=(0,)), pad_token=0, batch_tokens=1)
    assert isinstance(stored, Stored)
    assert stored.tokens == sum(len(row.tokens) for row in groups[0])
    assert set(stored.scores(model, batch)) == {0}


def test_steered_distributions_are_those_of_the_row_times_the_ratio_of_its_contexts(
    model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]], batch: MicroBatch
) -> None:
    def within(*tokens: int) -> tuple[TokenRow, ...]:
        return tuple(TokenRow(r.id, tokens + r.tokens, r.answer_start + len(tokens)) for r in groups[0])

    away, toward = within(7, 8, 9), within(4, 5)
    wanted = Wanted(distributions=(0, 1), steering=Steering(0, away, toward, 2.5))
    scores = open_reference("stored", model, groups, wanted, pad_token=0, batch_tokens=60).scores(model, batch)
    plain = open_one("stored", model, groups, (0, 1)).scores(model, batch)

    def told(row: TokenRow) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.tensor([row.tokens])).logits[0, row.answer_start - 1 : -1].softmax(-1).double()

    expected = []
    for index in [item.index for item in batch.items if item.group == 0]:
        steered = told(groups[0][index]) * (told(toward[index]) / told(away[index])) ** 2.5
        expected.append(steered / steered.sum(-1, keepdim=True))
    assert scores[0].distribution is not None
    assert scores[1].distribution is not None
    assert plain[1].distribution is not None
    assert scores[0].distribution.logprobs.exp().double() == pytest.approx(torch.cat(expected), abs=1e-4)
    assert scores[1].distribution.logprobs == pytest.approx(plain[1].distribution.logprobs, abs=1e-5)


def test_the_stored_top_grows_until_little_enough_lies_outside(
    model: LlamaForCausalLM, groups: list[tuple[TokenRow, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "EXACT_VOCABULARY", 8)
    monkeypatch.setattr(references, "SAMPLED_TOKENS", 10_000)
    monkeypatch.setattr(references, "TOP_TOKENS", 2)
    wanted = Wanted(distributions=(1,))

    def size(tail: float) -> references.TopSize:
        monkeypatch.setattr(references, "TAIL_MASS", tail)
        return top_size(model, groups, wanted, pad_token=0, batch_tokens=60)

    everything = collate([Item(1, index, row) for index, row in enumerate(groups[1])], pad_token=0)
    with torch.no_grad():
        probabilities = answer_logits(model, everything).softmax(-1).double()

    def outside(k: int) -> float:
        return float((1 - probabilities.topk(k).values.sum(-1)).mean())

    for tail in (0.5, 0.1, 0.01):
        found = size(tail)
        assert found.top is not None
        assert found.fits
        assert outside(found.top) <= tail + 1e-6
        assert found.top == 2 or outside(found.top // 2) > tail
    monkeypatch.setattr(references, "EXACT_BYTES", 12 * len(probabilities) * 5)  # room for five
    cramped = size(0.01)
    assert (cramped.top, cramped.fits) == (5, False)
    exact = open_reference("stored", model, groups, wanted, pad_token=0, batch_tokens=60, exact="resident")
    assert exact.kind == "resident"
    named = open_reference("stored", model, groups, wanted, pad_token=0, batch_tokens=60)
    assert isinstance(named, Stored)
    assert named.top == 5


def test_steered_distributions_are_stored_or_refused() -> None:
    def choose(choice: references.Choice) -> str:
        return choose_reference(choice, has_adapter=True, vocabulary=150_000, distribution_tokens=9, steered=True)

    assert choose("auto") == "stored"
    with pytest.raises(ConfigError, match="steered"):
        choose("resident")


def test_a_pass_for_hidden_states_alone_ends_behind_its_layer(model: LlamaForCausalLM, batch: MicroBatch) -> None:
    whole = answer_outputs(model, batch, layer=0)
    for value in model.model.layers[1].parameters():
        value.data.fill_(float("nan"))
    cut = answer_outputs(model, batch, want_logits=False, layer=0)
    assert cut.logits is None
    assert cut.hidden is not None
    assert torch.equal(cut.hidden, whole.hidden)
    assert cut.unused_parameters == sum(value.numel() for value in model.model.layers[1].parameters())
    assert len(model.model.layers) == 2
