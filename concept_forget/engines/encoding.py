"""Requests to token ids and replies back to text, through the model's own tokenizer and chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from concept_forget.engines.protocol import Request
from concept_forget.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RequestEncoder:
    """Writes requests in a model's tokens.

    A chat goes through the tokenizer's chat template. A tokenizer without one takes raw text only: a made-up template
    would measure what the model makes of the template. A chat of no messages is raw text of no characters. No message
    can end its turn or open another one: special tokens that stand in it are text.

    Args:
        tokenizer: The model's tokenizer.
        context: Tokens that fit in the model's context; None where it has no bound.
        name: What the model is called in messages.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: int | None, name: str) -> None:
        self._tokenizer = tokenizer
        self._context = context
        self._name = name
        self._end_of_turn: list[int] | None = None
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        either = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True) if len(token) > 1)
        self._special = re.compile(either) if either else None

    def encode(self, requests: Sequence[Request]) -> list[list[int]]:
        """The token ids after which each reply begins.

        Raises:
            DataError: A prompt leaves no room for a reply in the model's context.
            ModelError: A chat, and the tokenizer has no chat template.
        """
        rows = self._tokenize([(self._text(request), _is_chat(request)) for request in requests])
        rows = [ids or [self._start_token()] for ids in rows]
        for request, ids in zip(requests, rows, strict=True):
            self._check_length(len(ids) + 1, request, "and a reply of one token")
        return rows

    def encode_pairs(self, pairs: Sequence[tuple[Request, str]]) -> list[tuple[list[int], int]]:
        """The token ids of prompt, prefill and completion, and how many of them are not the completion's.

        The parts are read by the tokenizer at once, as the model would meet them. A token that holds the end of the
        one and the beginning of the other is the completion's.

        Raises:
            DataError: The parts do not fit in the model's context.
            ModelError: A chat, and the tokenizer has no chat template.
        """
        texts = [(self._text(request), _is_chat(request)) for request, _ in pairs]
        openings = self._tokenize(texts)
        wholes = self._tokenize(
            [(text + completion, chat) for (text, chat), (_, completion) in zip(texts, pairs, strict=True)]
        )
        rows = []
        for (request, _), opening, ids in zip(pairs, openings, wholes, strict=True):
            start = _common_beginning(opening, ids)
            if start == 0:
                ids, start = [self._start_token(), *ids], 1
            if _is_chat(request):
                ids = [*ids, *self.end_of_turn()]
            self._check_length(len(ids), request, "with its completion")
            rows.append((ids, start))
        return rows

    def decode(self, request: Request, opening: Sequence[int], reply: Sequence[int]) -> str:
        """The reply's text. Where it goes on in the middle of a text, the space at the seam is the reply's."""
        if _is_chat(request) and not request.prefill:
            return self._decode(reply)
        return self._decode([*opening, *reply])[len(self._decode(opening)) :]

    def room(self, opening: Sequence[int]) -> int | None:
        """Tokens that fit in the context after ``opening``; None where there is no bound."""
        return None if self._context is None else self._context - len(opening)

    def end_of_turn(self) -> list[int]:
        """The one token that ends an assistant's turn in the chat template, or else a text: a reply has to end."""
        if self._end_of_turn is None:
            mark = "reply"
            chat = [{"role": "user", "content": "prompt"}, {"role": "assistant", "content": mark}]
            text = self._render(chat).rstrip()
            after = text[text.rindex(mark) + len(mark) :] if mark in text else ""
            ids = self._tokenizer.encode(after, add_special_tokens=False) or [self._tokenizer.eos_token_id]
            self._end_of_turn = [token for token in ids[:1] if token is not None]
        return self._end_of_turn

    def stop_tokens(self, named: int | list[int] | None) -> frozenset[int]:
        """Where a reply ends: what the model's settings name, its tokenizer's end, and the end of a turn.

        Args:
            named: ``eos_token_id`` of the model's settings.
        """
        tokens = {*(named if isinstance(named, list) else [named]), self._tokenizer.eos_token_id}
        if self._tokenizer.chat_template:
            tokens |= {*self.end_of_turn()} & {*self._tokenizer.all_special_ids}
        return frozenset(int(token) for token in tokens if token is not None)

    def _text(self, request: Request) -> str:
        if isinstance(request.prompt, str):
            return request.prompt + request.prefill
        if not request.prompt:
            return request.prefill
        chat: list[Any] = [{**message, "content": self._say(message["content"])} for message in request.prompt]
        if request.prefill:
            return self._render([*chat, {"role": "assistant", "content": self._say(request.prefill)}], go_on=True)
        return self._render(chat, ask=True)

    def _say(self, text: str) -> str:
        """What is said in a turn. Words that the tokenizer would read as the end of it are parted: they are text."""
        while self._special is not None and self._special.search(text):
            text = self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return text

    def _render(self, chat: list[Any], *, ask: bool = False, go_on: bool = False) -> str:
        if not self._tokenizer.chat_template:
            raise ModelError(
                "the model's tokenizer has no chat template, and it is asked in chat messages",
                file=self._name,
                remedy="use a chat model, or save the template that the model was trained with beside its tokenizer, "
                "as chat_template.jinja",
            )
        try:
            text = self._tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=ask, continue_final_message=go_on
            )
        except Exception as error:  # a template may raise whatever it likes
            roles = ", ".join(message["role"] for message in chat)
            raise ModelError(
                f"the chat template refuses messages of the roles {roles}: {error}",
                file=self._name,
                remedy="leave out what the model does not know, such as a system message",
            ) from error
        return str(text)

    def _tokenize(self, texts: Sequence[tuple[str, bool]]) -> list[list[int]]:
        """Token ids of (text, whether it is a rendered chat): that brings its own special tokens, raw text does not."""
        for text, _ in texts:
            _check_unicode(text)
        rows: dict[int, list[int]] = {}
        for kind in (True, False):
            places = [place for place, (_, chat) in enumerate(texts) if chat is kind]
            if places:
                some = [texts[place][0] for place in places]
                rows.update(zip(places, self._tokenizer(some, add_special_tokens=not kind)["input_ids"], strict=True))
        end = self._tokenizer.eos_token_id
        for place, (text, chat) in enumerate(texts):
            if not chat and rows[place][-1:] == [end] and not text.endswith(str(self._tokenizer.eos_token)):
                rows[place].pop()  # some tokenizers close every text, and this one goes on
        return [rows[place] for place in range(len(texts))]

    def _start_token(self) -> int:
        """What stands before a text's first token where the tokenizer puts nothing: no model begins with nothing."""
        for token in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise ModelError(
            "a prompt is empty, and the tokenizer has no token to begin a text with",
            file=self._name,
            remedy="ask with a prompt that is not empty",
        )

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def _check_length(self, length: int, request: Request, what: str) -> None:
        if self._context is not None and length > self._context:
            raise DataError(
                f"a prompt {what} takes {length} tokens, and the model's context holds {self._context}: "
                f"{_opening_words(request)!r}",
                file=self._name,
                remedy="shorten the prompt, or use a model with a longer context",
            )


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"a prompt is no valid text: {error.reason} in {text[: error.start + 1]!a}",
            remedy="mend the row that it comes from: half of a surrogate pair is no character",
        ) from error


def _common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length


def _is_chat(request: Request) -> bool:
    return not isinstance(request.prompt, str) and bool(request.prompt)


def _opening_words(request: Request) -> str:
    text = request.prompt if isinstance(request.prompt, str) else " ".join(m["content"] for m in request.prompt)
    return text if len(text) <= 80 else f"{text[:79]}…"
