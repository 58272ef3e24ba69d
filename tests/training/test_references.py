from __future__ import annotations

import math
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
    Distribution,
    ReferenceProvider,
    Stored,
    choose_reference,
    log_remainder,
    open_reference,
)
from concept_forget.training.scores import answer_logits


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
    return open_reference(kind, model, groups, distribution_groups, pad_token=0, batch_tokens=60)


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


def test_divergence_is_the_sum_over_the_vocabulary() -> None:
    torch.manual_seed(0)
    reference, model = torch.randn(3, 11, dtype=torch.float64), torch.randn(3, 11, dtype=torch.float64)
    p, q = reference.softmax(-1), model.softmax(-1)
    expected = [sum(float(p[t, v] * math.log(p[t, v] / q[t, v])) for v in range(11)) for t in range(3)]
    assert Distribution(reference.log_softmax(-1)).kl_to(model) == pytest.approx(
        torch.tensor(expected, dtype=torch.float64), abs=1e-12
    )


def test_divergence_of_a_coarsened_distribution_is_that_of_the_coarsened_pair() -> None:
    torch.manual_seed(0)
    reference, model = torch.randn(5, 50, dtype=torch.float64) * 3, torch.randn(5, 50, dtype=torch.float64) * 3
    exact = Distribution(reference.log_softmax(-1))
    for k in (1, 7, 49):
        coarse = exact.coarsen(k).kl_to(model)
        p, q = reference.softmax(-1), model.softmax(-1)
        top = p.topk(k).indices
        expected = []
        for t in range(5):
            pairs = [(float(p[t, v]), float(q[t, v])) for v in top[t]]
            pairs.append((1 - sum(a for a, _ in pairs), 1 - sum(b for _, b in pairs)))
            expected.append(sum(a * math.log(a / b) for a, b in pairs))
        assert coarse == pytest.approx(torch.tensor(expected, dtype=torch.float64), abs=1e-9)
        assert (coarse <= exact.kl_to(model) + 1e-9).all()
    assert exact.coarsen(49).kl_to(model) == pytest.approx(exact.kl_to(model), abs=1e-9)


def test_a_distribution_on_one_token_leaves_a_finite_remainder() -> None:
    logprobs = torch.tensor([[0.0, -200.0, -200.0]])
    assert torch.isfinite(log_remainder(logprobs[:, :2])).all()
    assert torch.isfinite(Distribution(logprobs).coarsen(1).kl_to(torch.tensor([[60.0, -60.0, -60.0]]))).all()


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
