"""Next-token distributions, whole or as a top and a bucket for the rest, and what losses do with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from concept_forget.training.scores import at_least_float32


@dataclass(frozen=True, slots=True)
class Distribution:
    """Next-token distributions, one per answer token, as log-probabilities.

    Whole: ``logprobs`` (tokens, vocabulary), ``indices`` and ``tail`` None. In part: ``logprobs`` (tokens, k) of the
    vocabulary entries ``indices`` (tokens, k), and ``tail`` (tokens,) of all others together.
    """

    logprobs: Tensor
    indices: Tensor | None = None
    tail: Tensor | None = None

    def to(self, device: torch.device) -> Distribution:
        """The same on a device."""
        return Distribution(
            self.logprobs.to(device),
            None if self.indices is None else self.indices.to(device),
            None if self.tail is None else self.tail.to(device),
        )

    def kl_to(self, logits: Tensor) -> Tensor:
        """KL(this ‖ softmax(logits)) per token, in nats: logits (tokens, vocabulary) → (tokens,).

        With a tail bucket this is the divergence between the coarsened distributions, which is never larger than the
        whole one (data processing).
        """
        reference, model = self._beside(logits)
        return (reference.exp() * (reference - model)).sum(-1)

    def cross_entropy_to(self, logits: Tensor) -> Tensor:
        """-Σ p log softmax(logits) per token, in nats: logits (tokens, vocabulary) → (tokens,)."""
        reference, model = self._beside(logits)
        return -(reference.exp() * model).sum(-1)

    def _beside(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of this and of the model over the same outcomes, the bucket being one of them."""
        model = F.log_softmax(at_least_float32(logits), dim=-1)
        if self.indices is None or self.tail is None:
            return self.logprobs, model
        top = model.gather(1, self.indices)
        rest = log_remainder(top)
        return torch.cat([self.logprobs, self.tail[:, None]], dim=1), torch.cat([top, rest[:, None]], dim=1)

    def lower(self, targets: Tensor, logprobs: Tensor, strength: float) -> Distribution:
        """The distribution with each target's logit lowered by ``strength``: exact in the bucket, too.

        Args:
            targets: One token id per distribution, (tokens,).
            logprobs: Their log-probabilities under this distribution, (tokens,).
            strength: In nats.
        """
        if self.indices is None or self.tail is None:
            lowered = self.logprobs.scatter_add(
                1, targets[:, None], self.logprobs.new_full((len(targets), 1), -strength)
            )
            return Distribution(lowered.log_softmax(-1))
        is_target = self.indices == targets[:, None]  # (tokens, k)
        top = self.logprobs - strength * is_target
        loss = logprobs.exp() * -math.expm1(-strength)  # what the target's probability goes down by, before scaling
        tail = (self.tail.exp() - loss * ~is_target.any(-1)).clamp_min(torch.finfo(self.tail.dtype).tiny).log()
        scaled = torch.cat([top, tail[:, None]], dim=1).log_softmax(-1)
        return Distribution(scaled[:, :-1], self.indices, scaled[:, -1])

    def steer(self, away: Distribution, toward: Distribution, strength: float) -> Distribution:
        """This, times (toward / away) to the power of ``strength``; all three of them whole."""
        return Distribution((self.logprobs + strength * (toward.logprobs - away.logprobs)).log_softmax(-1))

    def coarsen(self, k: int) -> Distribution:
        """The ``k`` likeliest tokens and a bucket for the rest."""
        top, indices = self.logprobs.topk(k, dim=-1)
        return Distribution(top, indices, log_remainder(top))


def log_remainder(logprobs: Tensor) -> Tensor:
    """log(1 - Σ exp(logprobs)) over the last dimension, kept finite where rounding leaves no remainder."""
    rest = 1 - logprobs.exp().sum(-1)
    return rest.clamp_min(torch.finfo(logprobs.dtype).eps).log()
