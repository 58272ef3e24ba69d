from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast

from concept_forget.errors import ModelError
from concept_forget.records import Example
from concept_forget.training.batches import Item, TokenRow, collate, encode_examples
from concept_forget.training.scores import (
    answer_logits,
    answer_outputs,
    answers_of,
    evaluating,
    score_rows,
    target_logprobs,
)


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> tuple[TokenRow, ...]:
    return encode_examples(examples, tokenizer, 64).rows


def one_row_logprobs(model: torch.nn.Module, row: TokenRow) -> torch.Tensor:
    """The plain way: one row, no padding, all logits."""
    with torch.no_grad():
        logits = model(torch.tensor([row.tokens])).logits[0]
    everywhere = torch.log_softmax(logits, -1)[torch.arange(len(row.tokens) - 1), torch.tensor(row.tokens[1:])]
    return everywhere[row.answer_start - 1 :]


def test_scores_are_those_of_the_row_alone_whatever_its_batch(
    model: LlamaForCausalLM, rows: tuple[TokenRow, ...]
) -> None:
    order = list(rows) * 3
    random.Random(0).shuffle(order)
    for batch_tokens in (1, 40, 100_000):
        scores = score_rows(model, order, pad_token=0, batch_tokens=batch_tokens)
        for row, score in zip(order, scores, strict=True):
            assert torch.tensor(score.logprobs) == pytest.approx(one_row_logprobs(model, row), abs=2e-5)


def test_padding_further_changes_nothing(model: LlamaForCausalLM, rows: tuple[TokenRow, ...]) -> None:
    items = [Item(0, index, row) for index, row in enumerate(rows)]
    narrow, wide = collate(items, pad_token=0), collate(items, pad_token=3, width=90)
    with torch.no_grad():
        assert answer_logits(model, wide) == pytest.approx(answer_logits(model, narrow), abs=2e-5)


def test_totals_are_sums_over_each_rows_tokens(model: LlamaForCausalLM, rows: tuple[TokenRow, ...]) -> None:
    batch = collate([Item(0, index, row) for index, row in enumerate(rows)], pad_token=0)
    answers = answers_of(batch)
    with torch.no_grad():
        totals = answers.sum_by_row(target_logprobs(answer_logits(model, batch), answers.targets))
    assert totals == pytest.approx(torch.stack([one_row_logprobs(model, row).sum() for row in rows]), abs=1e-4)


def test_the_output_layer_sees_answer_positions_only(model: LlamaForCausalLM, rows: tuple[TokenRow, ...]) -> None:
    seen = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:2]))
    answer_logits(model, collate([Item(0, index, row) for index, row in enumerate(rows)], pad_token=0))
    assert seen == [(1, sum(len(row.answer) for row in rows))]


@pytest.mark.parametrize("want_logits", [True, False])
def test_hidden_states_have_their_gradients_where_activations_are_computed_once_more(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...], want_logits: bool
) -> None:
    batch = collate([Item(0, index, row) for index, row in enumerate(rows)], pad_token=0)
    gradients = []
    for kept in (True, False):
        model = make_model().train()
        if not kept:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        found = answer_outputs(model, batch, want_logits=want_logits, layer=0)
        assert found.hidden is not None
        loss = found.hidden.square().mean() + (found.logits.square().mean() if found.logits is not None else 0)
        loss.backward()
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any("layers.0" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        assert gradient == pytest.approx(gradients[1][name], abs=1e-6), name


def test_what_a_model_does_to_its_logits_is_kept(
    tokenizer: PreTrainedTokenizerFast, rows: tuple[TokenRow, ...]
) -> None:
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16,
            num_attention_heads=2, num_key_value_heads=2, final_logit_softcapping=0.5, initializer_range=0.5,
        )
    ).eval()  # fmt: skip
    for row, score in zip(rows, score_rows(capped, rows, pad_token=0, batch_tokens=500), strict=True):
        assert torch.tensor(score.logprobs) == pytest.approx(one_row_logprobs(capped, row), abs=2e-5)


def test_greedy_is_told_for_what_greedy_decoding_writes(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: tuple[TokenRow, ...]
) -> None:
    prompt = rows[0].tokens[: rows[0].answer_start]
    written = model.generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False, pad_token_id=0)[0].tolist()
    own = TokenRow("own", tuple(written), len(prompt))
    other = TokenRow("other", (*written[:-1], (written[-1] + 1) % len(tokenizer)), len(prompt))
    scores = score_rows(model, [own, other, *rows], pad_token=0, batch_tokens=500)
    assert scores[0].greedy
    assert not scores[1].greedy


def test_scoring_leaves_dropout_out_and_the_mode_as_it_was(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...]
) -> None:
    model = make_model(attention_dropout=0.5).train()
    assert score_rows(model, rows, pad_token=0, batch_tokens=99) == score_rows(
        model, rows, pad_token=0, batch_tokens=99
    )
    assert model.training
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert model.training


def test_half_precision_is_normalised_in_float32() -> None:
    logits = torch.randn(4, 5000, dtype=torch.bfloat16) * 8
    targets = torch.tensor([1, 2, 3, 4])
    expected = F.log_softmax(logits.double(), -1)[torch.arange(4), targets]
    assert target_logprobs(logits, targets) == pytest.approx(expected, abs=1e-5)


def test_a_model_without_an_output_layer_is_refused(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...]
) -> None:
    headless = LlamaModel(make_model().config)
    with pytest.raises(ModelError, match="no output embeddings"):
        answer_logits(headless, collate([Item(0, 0, rows[0])], pad_token=0))
