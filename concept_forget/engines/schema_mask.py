"""Keeps replies to a JSON schema while they are decoded: xgrammar says which tokens may come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import xgrammar
from pydantic import BaseModel
from torch import Tensor

from concept_forget.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class SchemaCompiler:
    """Turns schemas into masks for one tokenizer; each schema is compiled once.

    Args:
        tokenizer: The model's tokenizer.
        vocabulary: Width of the model's logits, which may be over the tokenizer's own.
        stop_tokens: Tokens that end a reply.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, stop_tokens: Sequence[int]) -> None:
        described = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocabulary, stop_token_ids=list(stop_tokens)
        )
        self._vocabulary = vocabulary
        self._compiler = xgrammar.GrammarCompiler(described)
        # No JSON on one line holds a control character, but the grammar of a string of bounded length lets it pass.
        self._never = torch.tensor(
            [token for token, text in enumerate(described.decoded_vocab) if any(byte < 0x20 for byte in text)],
            dtype=torch.long,
        )

    def mask(self, schema: type[BaseModel], prefills: Sequence[str]) -> SchemaMask:
        """A mask for a batch of replies.

        Args:
            schema: What every reply has to be.
            prefills: Each reply's forced opening, which is part of the JSON.

        Raises:
            DataError: A prefill cannot open a reply of the schema.
        """
        # White space without bound is what a small model loses itself in.
        grammar = self._compiler.compile_json_schema(schema, any_whitespace=False)
        matchers = [xgrammar.GrammarMatcher(grammar) for _ in prefills]
        for matcher, prefill in zip(matchers, prefills, strict=True):
            if prefill and not matcher.accept_string(prefill):
                raise DataError(
                    f"no JSON of {schema.__name__} begins with {prefill!r}", remedy="change the prefill or the schema"
                )
        return SchemaMask(matchers, self._vocabulary, self._never)


class SchemaMask:
    """How far each reply of a batch is in its schema."""

    def __init__(self, matchers: list[xgrammar.GrammarMatcher], vocabulary: int, never: Tensor) -> None:
        self._matchers = matchers
        self._never = never
        self._bits = xgrammar.allocate_token_bitmask(len(matchers), vocabulary)  # (replies, vocabulary / 32)

    def apply(self, logits: Tensor, replies: Sequence[int]) -> None:
        """Set the logits of tokens that may not come next to minus infinity, in place.

        Args:
            logits: (rows, vocabulary), float32.
            replies: (rows,): which reply of the batch each row belongs to. Rows of finished replies mean nothing.
        """
        for reply in replies:
            if not self._matchers[reply].is_terminated():
                self._matchers[reply].fill_next_token_bitmask(self._bits, reply)
        xgrammar.apply_token_bitmask_inplace(logits, self._bits[list(replies)].to(logits.device))
        logits[:, self._never.to(logits.device)] = -torch.inf

    def accept(self, reply: int, token: int) -> None:
        """``token`` was chosen for ``reply``; it is one that the mask left open."""
        accepted = self._matchers[reply].accept_token(token)
        assert accepted, f"token {token} was masked"
