"""The logit lens against the models' own hidden states, for models that are built in different ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from concept_forget.errors import ModelError
from concept_forget.probe.white_box.layers import LayerReading, read_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCABULARY = 60
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}


def llama() -> PreTrainedModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=48, initializer_range=0.3))


def gpt2() -> PreTrainedModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, initializer_range=0.3))


def gemma2() -> PreTrainedModel:
    """It caps its logits behind the unembedding."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        **SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8, initializer_range=0.1,
        final_logit_softcapping=1.5,
    )  # fmt: skip
    return Gemma2ForCausalLM(config)


def build(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    return make().eval()


ROWS = [
    (random.Random(n).choices(range(2, VOCABULARY), k=4 + 2 * (n % 5)), 2 + 2 * (n % 5) - n % 2) for n in range(12)
]  # token ids, and how many of them are given


def by_definition(model: Any, ids: list[int], given: int) -> LayerReading:
    """One row alone: every hidden state but the last through the final norm, all through the unembedding."""
    with torch.no_grad():
        states = model(torch.tensor([ids[:given]]), output_hidden_states=True).hidden_states
        norm = model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm
        ends = [*(norm(state[0, -1]) for state in states[:-1]), states[-1][0, -1]]
        logits: Tensor = model.lm_head(torch.stack(ends)).double()
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    chosen = logits[:, ids[given], None]
    likely = logits.softmax(-1)[:, ids[given]]
    return LayerReading(tuple(likely.tolist()), tuple((logits > chosen).sum(-1).tolist()))


@pytest.mark.parametrize("make", [llama, gpt2, gemma2])
def test_a_layer_says_what_its_state_says_through_the_norm_and_the_unembedding(
    make: Callable[[], PreTrainedModel],
) -> None:
    model = build(make)
    found = read_layers(model, ROWS, 0)
    assert len(found) == len(ROWS)
    for (ids, given), reading in zip(ROWS, found, strict=True):
        expected = by_definition(model, ids, given)
        assert len(reading.ranks) == 4
        assert reading.ranks == expected.ranks
        assert reading.probabilities == pytest.approx(expected.probabilities, rel=1e-4)
    assert len({reading.ranks for reading in found}) > 6  # layers and rows differ
    again = model(torch.tensor([[3, 4]])).logits
    assert again.shape == (1, 2, VOCABULARY)  # nothing of it stays in the model


@pytest.mark.parametrize("make", [llama, gpt2])
def test_padding_order_and_batch_size_change_nothing(make: Callable[[], PreTrainedModel]) -> None:
    model = build(make)
    together = read_layers(model, ROWS, 0)
    for one, other in zip(read_layers(model, ROWS[::-1], 7)[::-1], together, strict=True):
        assert one.ranks == other.ranks
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-4)
    for row, other in zip(ROWS, together, strict=True):
        [alone] = read_layers(model, [row], 0)
        assert alone.ranks == other.ranks
        assert alone.probabilities == pytest.approx(other.probabilities, rel=1e-4)


def test_a_model_that_does_more_behind_its_last_layer_is_refused() -> None:
    model: Any = build(llama)
    model.model.register_forward_hook(
        lambda _, args, output: type(output)(last_hidden_state=3 * output.last_hidden_state)
    )
    with pytest.raises(ModelError, match="cannot be done to other layers"):
        read_layers(model, ROWS, 0)


def test_a_model_whose_layers_are_not_to_be_found_is_refused() -> None:
    model = build(llama)
    model.config.num_hidden_layers = 5
    with pytest.raises(ModelError, match="are not to be found\n  → leave `lens` out"):
        read_layers(model, ROWS, 0)


def test_a_model_that_does_not_use_its_unembedding_is_refused() -> None:
    model: Any = build(llama)
    model.get_output_embeddings = lambda: nn.Linear(32, VOCABULARY)
    with pytest.raises(ModelError, match="does not get its logits"):
        read_layers(model, ROWS, 0)
