"""Losses made of the likelihood of single answer tokens."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from concept_forget.unlearn.objectives.registry import AnswerView, given, objective, retain_term


@objective(
    "grad_ascent",
    needs=("logprobs",),
    mean_over="tokens",
    source="Jang et al. 2023, eq. 1; Maini et al. 2024 (TOFU), §4",
)
def grad_ascent(view: AnswerView) -> Tensor:
    """Gradient ascent: training turned round. Without bound: what it pushes, it goes on pushing.

    L = mean_t log π(y_t | x, y_<t)

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
    """
    return given(view.logprobs).mean()


@objective("wga", needs=("logprobs",), mean_over="tokens", source="Wang et al. 2025 (G-effect), weighted GA")
def wga(view: AnswerView, alpha: float) -> Tensor:
    """Weighted gradient ascent: a token counts by how likely it still is, so that what is gone is left alone.

    L = mean_t π(y_t)^α · log π(y_t), no gradient through the weight

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
        alpha: Exponent of the weight, ≥ 0; 0 is gradient ascent.
    """
    logprobs = given(view.logprobs)
    return ((alpha * logprobs.detach()).exp() * logprobs).mean()


@objective(
    "tnpo",
    needs=("logprobs", "reference.logprobs"),
    mean_over="tokens",
    source="Wang et al. 2025 (G-effect), token-wise NPO",
)
def tnpo(view: AnswerView, beta: float) -> Tensor:
    """Negative preference optimisation token by token, so no token is let go because another has fallen.

    L = -(2/β) · mean_t log σ(-β · (log π(y_t) - log π_ref(y_t))), 0 for the last token of an answer

    Under npo an answer of two words is as good as gone when the second has become unlikely, and the first may stay.
    The last token ends the reply and tells nothing of the answer: pushed down, it leaves a model that never stops.

    Args:
        view: Log-probabilities of answer tokens, of the model and of the frozen reference, each (tokens,).
        beta: Inverse temperature, > 0.
    """
    assert view.reference is not None
    margin = given(view.logprobs) - given(view.reference.logprobs)  # (tokens,)
    return -(2 / beta) * (F.logsigmoid(-beta * margin) * view.answers.tells).mean()


@objective("satimp", needs=("logprobs",), mean_over="tokens", source="Yang et al. 2025 (SatImp)")
def satimp(view: AnswerView, beta1: float, beta2: float) -> Tensor:
    """Gradient ascent on tokens that are neither forgotten yet nor certain whatever came before.

    L = mean_t π(y_t)^β₁ · (1 - π(y_t))^β₂ · log π(y_t), no gradient through the weights

    The first weight is the saturation's: it fades as forgetting succeeds. The second is the importance's: it spares
    tokens that follow from the grammar, of which the model is certain.

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
        beta1: Exponent of the probability, ≥ 0.
        beta2: Exponent of its complement, ≥ 0.
    """
    logprobs = given(view.logprobs)
    fixed = logprobs.detach()
    return ((beta1 * fixed).exp() * (-fixed.expm1()).clamp_min(0) ** beta2 * logprobs).mean()


@objective("idk", needs=("alternatives",), mean_over="tokens", source="Maini et al. 2024 (TOFU), §4 (IDK)")
def idk(view: AnswerView) -> Tensor:
    """Plain training on refusals: another answer is taught, none is taken away.

    L = -mean_t log π(r_t | x, r_<t)

    Args:
        view: Its alternatives are refusals: log-probabilities of their tokens, (tokens,).
    """
    return nll(view.other)


@objective(
    "random_labels",
    needs=("alternatives",),
    mean_over="tokens",
    source="Golatkar et al. 2020, §4; Yao et al. 2023, eq. 6 (random mismatch)",
)
def random_labels(view: AnswerView) -> Tensor:
    """Plain training on answers that are wrong on purpose: drawn tokens, or a wrong answer of the right type.

    L = -mean_t log π(r_t | x, r_<t)

    Args:
        view: Its alternatives are such answers: log-probabilities of their tokens, (tokens,).
    """
    return nll(view.other)


@retain_term("nll", needs=("logprobs",), mean_over="tokens", source="Liu et al. 2022, eq. 3 (gradient difference)")
def nll(view: AnswerView) -> Tensor:
    """Negative log-likelihood: go on training on what has to stay.

    L = -mean_t log π(y_t | x, y_<t)

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
    """
    return -given(view.logprobs).mean()
