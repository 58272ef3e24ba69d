from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from concept_forget.probe.rounding import round_to_nearest, round_weights


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_a_channel_is_rounded_to_sevenths_of_its_largest_weight() -> None:
    given = torch.tensor([[1.4, -0.7, 0.29, 0.31, 0.0], [0.07, 0.0, -0.069, 0.031, 0.024], [0.0, 0.0, 0.0, 0.0, 0.0]])
    rounded = round_to_nearest(given, 4)
    assert rounded[0].tolist() == pytest.approx([1.4, -0.8, 0.2, 0.4, 0.0])  # -3.5 goes to the even -4, 1.45 to 1
    assert rounded[1].tolist() == pytest.approx([0.07, 0.0, -0.07, 0.03, 0.02])
    assert not rounded[2].any()


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_is_what_numpy_gives_channel_by_channel(bits: int) -> None:
    given = weights(6, 40)
    expected = np.empty((6, 40))
    for number, channel in enumerate(given.double().numpy()):
        scale = np.abs(channel).max() / (2 ** (bits - 1) - 1)
        expected[number] = np.rint(channel / scale) * scale
    rounded = round_to_nearest(given, bits)
    assert np.abs(rounded.numpy() - expected).max() < 1e-6
    assert all(len(channel.unique()) <= 2**bits - 1 for channel in round_to_nearest(weights(3, 5000), bits))
    half = given.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / 2
    assert ((rounded - given).abs() <= half * (1 + 1e-5)).all()
    assert torch.allclose(round_to_nearest(rounded, bits), rounded, rtol=1e-5)
    assert round_to_nearest(given.bfloat16(), bits).dtype == torch.bfloat16


def test_experts_are_rounded_one_by_one_and_a_turned_matrix_along_its_outputs() -> None:
    experts = weights(2, 5, 9)
    assert torch.equal(round_to_nearest(experts, 4)[1], round_to_nearest(experts[1], 4))
    assert torch.equal(round_to_nearest(experts[0].T, 4, output_dim=1), round_to_nearest(experts[0], 4).T)


def test_only_matrices_of_the_layers_change() -> None:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            tie_word_embeddings=False, attention_bias=True,
        )
    )  # fmt: skip
    torch.nn.init.normal_(model.model.layers[0].self_attn.q_proj.bias)
    before = {name: value.clone() for name, value in model.named_parameters()}
    round_weights(model, 4)
    for name, value in model.named_parameters():
        if "proj.weight" in name:
            assert torch.equal(value, round_to_nearest(before[name], 4))
            assert not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name]), name


def test_gpt2_keeps_its_matrices_turned_and_a_channel_is_a_channel() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    before = model.transformer.h[0].mlp.c_fc.weight.clone()  # (in, out)
    round_weights(model, 4)
    assert torch.equal(model.transformer.h[0].mlp.c_fc.weight, round_to_nearest(before.T, 4).T)
