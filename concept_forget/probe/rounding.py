"""Weights rounded to the nearest of few values, as in a quantised copy of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from concept_forget.training.scores import decoder_layers


def round_to_nearest(weights: Tensor, bits: int, output_dim: int = 0) -> Tensor:
    """Symmetric round-to-nearest with one scale per output channel.

    s = max|w| / (2^(bits - 1) - 1) over a channel, w ↦ s · round(w / s): 15 values in 4 bits, 255 in 8. A channel of
    zeros stays as it is. Ties go to the even value.

    Args:
        weights: A matrix, or several of one shape below each other: (…, out, in), or (in, out) with ``output_dim`` 1.
        bits: 2 or more.
        output_dim: Which dimension of a plain matrix counts its outputs.
    """
    largest = 2 ** (bits - 1) - 1
    wide = weights.float()
    scale = wide.abs().amax(dim=-1 if output_dim == 0 else 0, keepdim=True) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return ((wide / scale).round().clamp(-largest, largest) * scale).to(weights.dtype)


@torch.no_grad()
def round_weights(model: nn.Module, bits: int) -> None:
    """Round every matrix of a model's layers in place.

    Embeddings, the output layer, biases and norms stay as they are, as in the formats in which models are passed on
    (Dettmers et al. 2022, LLM.int8(); Frantar et al. 2022, GPTQ).

    Args:
        model: A causal language model.
        bits: 2 or more.

    Raises:
        ModelError: Its layers are not to be found.
    """
    layers = decoder_layers(model)
    turned = {id(module.weight) for module in layers.modules() if isinstance(module, Conv1D)}  # (in, out), as in GPT-2
    for weights in layers.parameters():
        if weights.dim() >= 2:
            weights.copy_(round_to_nearest(weights, bits, output_dim=1 if id(weights) in turned else 0))
