"""Replies and scores as the JSON that is kept of them, and back."""

from __future__ import annotations

from typing import Any

from concept_forget.engines.protocol import Reply, TokenScores


def pack(result: Reply | TokenScores) -> list[Any]:
    """A result as JSON holds it."""
    if isinstance(result, TokenScores):
        return [result.logprobs, result.ranks, result.means, result.variances, result.prompt_tokens]
    value = [result.text, result.finish_reason, result.prompt_tokens, result.completion_tokens]
    return [*value, result.problem] if result.problem else value


def unpack_reply(value: list[Any]) -> Reply:
    """The reply that ``pack`` was given."""
    return Reply(*value)


def unpack_scores(value: list[Any]) -> TokenScores:
    """The scores that ``pack`` was given."""
    logprobs, ranks, means, variances, prompt_tokens = value
    return TokenScores(
        tuple(logprobs),
        tuple(ranks),
        None if means is None else tuple(means),
        None if variances is None else tuple(variances),
        prompt_tokens,
    )
