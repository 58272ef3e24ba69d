"""How much a generator may be asked: requests and tokens, counted whether they come from the cache or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Request

OVER_BUDGET = "over the budget: not asked"
_BYTES_PER_TOKEN = 3  # fewer than in English, as many as in scripts of three bytes a character
_TEMPLATE_TOKENS = 16  # what a chat template puts around the messages


@dataclass(slots=True)
class Budget:
    """What may be spent, and what is.

    What comes from the request cache counts like all else, so that an interrupted run gives what an uninterrupted one
    does. A request's tokens are reckoned at their most before it is asked, and counted as they were after.

    Args:
        max_requests: Requests at most; None: as many as the steps want.
        max_tokens: Tokens of prompts and replies together, at most; None likewise.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    requests: int = 0
    tokens: int = 0
    not_asked: int = 0

    def fitting(self, reckoned: Sequence[int]) -> int:
        """How many of the next requests, in their order, may be asked.

        Args:
            reckoned: Tokens that each may take.
        """
        count, tokens = 0, self.tokens
        for cost in reckoned:
            tokens += cost
            if self.max_requests is not None and self.requests + count >= self.max_requests:
                break
            if self.max_tokens is not None and tokens > self.max_tokens:
                break
            count += 1
        return count

    def spend(self, requests: int, tokens: int) -> None:
        """Put requests that were asked, and their tokens, down to the account."""
        self.requests += requests
        self.tokens += tokens

    def summary(self) -> dict[str, int | None]:
        """The account as it stands in ``summary.json``."""
        return {
            "max_requests": self.max_requests,
            "max_tokens": self.max_tokens,
            "requests": self.requests,
            "tokens": self.tokens,
            "not_asked": self.not_asked,
        }


def reckon_tokens(request: Request, limit: int) -> int:
    """Tokens that a request may take at most, its reply included, without a tokenizer."""
    prompt = request.prompt
    text = prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)
    return len((text + request.prefill).encode("utf-8", "replace")) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS + limit
