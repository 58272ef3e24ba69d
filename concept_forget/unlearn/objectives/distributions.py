"""Losses on whole next-token distributions."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from concept_forget.training.scores import at_least_float32
from concept_forget.unlearn.objectives.registry import AnswerView, given, objective, retain_term


@objective(
    "undial",
    needs=("logits", "reference.logits", "reference.logprobs"),
    mean_over="tokens",
    source="Dong et al. 2025 (UNDIAL), eq. 3",
)
def undial(view: AnswerView, strength: float) -> Tensor:
    """Distil the reference with the answer's own logit lowered: the target is fixed, so nothing runs away.

    L = mean_t -Σ_v p*_t(v) · log π(v), p*_t = softmax(z_ref - γ · onehot(y_t))

    Args:
        view: Logits of the model, (tokens, vocabulary), and the distributions of the reference.
        strength: γ, in nats, > 0.
    """
    assert view.reference is not None
    target = view.reference_distribution.lower(view.answers.targets, given(view.reference.logprobs), strength)
    return target.cross_entropy_to(given(view.logits)).mean()


@objective("ceu", needs=("logits",), mean_over="tokens", source="Yang 2025 (CE-U)")
def ceu(view: AnswerView) -> Tensor:
    """Distil the model into itself without the answer: what was the answer's share goes to the others as they stand.

    L = mean_t -Σ_v q_t(v) · log π(v), q_t = softmax(z with z(y_t) = -∞), no gradient through q

    The gradient on the logits is π - q: it falls as the answer's probability does.

    Args:
        view: Logits, (tokens, vocabulary).
    """
    logits = at_least_float32(given(view.logits))
    others = logits.detach().scatter(1, view.answers.targets[:, None], -math.inf).softmax(-1)  # (tokens, vocabulary)
    return -(others * F.log_softmax(logits, dim=-1)).sum(-1).mean()


@objective("max_entropy", needs=("logits",), mean_over="tokens", source="Yuan et al. 2025 (ME), eq. 5")
def max_entropy(view: AnswerView) -> Tensor:
    """Let the model be undecided where the answer stood.

    L = mean_t KL(π(· | x, y_<t) ‖ uniform) = log V - mean_t H(π(· | x, y_<t))

    Args:
        view: Logits, (tokens, vocabulary).
    """
    logprobs = F.log_softmax(at_least_float32(given(view.logits)), dim=-1)
    return math.log(logprobs.shape[-1]) + (logprobs.exp() * logprobs).sum(-1).mean()


@objective(
    "jensen_shannon", needs=("alternatives",), mean_over="tokens", source="Singh et al. 2025 (JensUn), forget term"
)
def jensen_shannon(view: AnswerView) -> Tensor:
    """Move to an alternative answer by the Jensen-Shannon divergence, which is bounded and so is its gradient.

    L = mean_t JSD(π(· | x, r_<t) ‖ onehot(r_t)) = mean_t ½ · (p·log(2p/(1+p)) + (1-p)·log 2 + log(2/(1+p))), p = π(r_t)

    Against a distribution on a single token the divergence depends on that token's probability alone. At most log 2.

    Args:
        view: Its alternatives' log-probabilities, (tokens,).
    """
    logprobs = given(view.other.logprobs)
    p = logprobs.exp()
    return (math.log(2) + (p * logprobs - (1 + p) * p.log1p()) / 2).mean()


@objective(
    "elm",
    needs=("logits", "reference.contrast"),
    mean_over="tokens",
    source="Gandikota et al. 2024 (ELM), erasing term",
)
def elm(view: AnswerView) -> Tensor:
    """Erasure of language memory: answer as the model itself would, were it told to know little of the concept.

    L = mean_t KL(p*_t ‖ π_t), p*_t ∝ π_ref(· | x, y_<t) · (π_ref(· | novice, x, y_<t) / π_ref(· | expert, x, y_<t))^η

    The fluency term of the paper, for continuations of a concept's text by a model that has lost it, is not part of
    this; the retain term stands beside it as everywhere. η is ``unlearn.strength``.

    Args:
        view: Logits of the model, (tokens, vocabulary), and p* as the reference's distribution.
    """
    return view.reference_distribution.kl_to(given(view.logits)).mean()


@retain_term("kl", needs=("logits", "reference.logits"), mean_over="tokens", source="Maini et al. 2024 (TOFU), §4")
def kl(view: AnswerView) -> Tensor:
    """Stay with the reference: its whole distribution, not only the token that was right.

    L = mean_t KL(π_ref(· | x, y_<t) ‖ π(· | x, y_<t)), in nats per answer token

    In this direction the reference weighs the tokens: whatever it held likely has to stay likely, and the gradient on
    the logits is π - π_ref, bounded however far the model has gone. The other direction would let the model drop
    tokens that the reference held likely, which is the damage that this term is there to prevent.

    Args:
        view: Logits of the model, (tokens, vocabulary), and the distributions of the reference.
    """
    return view.reference_distribution.kl_to(given(view.logits)).mean()
