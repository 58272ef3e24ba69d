"""The engine ``openai``: a model behind any server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, cast

import openai
from openai.types import Completion
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from concept_forget.credentials import hide_keys, hide_values
from concept_forget.engines.openai_scoring import score_pair
from concept_forget.engines.persistence import Failed, Persistence, Setback, Throttle, read_retry_after
from concept_forget.engines.protocol import (
    Capability,
    Draw,
    Reply,
    Request,
    Sampling,
    TokenScores,
    check_capabilities,
)
from concept_forget.engines.streaming import gather_replies, gather_scores, stream_from_loop
from concept_forget.engines.strict_schema import strict_schema
from concept_forget.errors import CapabilityError, EngineError, ModelError
from concept_forget.records import named_seed

VERSION = 2  # raise it when the same request gets another reply
_BAD_REPLIES = 4  # times that a reply may be empty or of the wrong form before it is taken as it is
_REFUSALS = 8  # requests refused with none answered: then it is the settings, not the requests
_OVERLOADED = frozenset({429, 503, 529})
_PASSING = frozenset({408, 409, 425, 429})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the model is and how to ask for it.

    Args:
        base_url: As in ``http://localhost:8000/v1``.
        model: Its name on the server.
        api_key_env: Name of the environment variable that holds the key; a server at home needs none.
        concurrency: Requests under way at once, at most.
        timeout: Seconds for one attempt.
        attempts: Times that a request is sent before it counts as failed.
        backoff: Seconds before the second attempt.
        structured: How a schema is put to the server: by ``response_format`` of this type, or not at all.
        room: Times ``max_new_tokens`` that a reply may take which was cut off; 1: it stays cut off.
    """

    base_url: str
    model: str
    api_key_env: str
    concurrency: int
    timeout: float
    attempts: int
    structured: Literal["json_schema", "json_object", "none"]
    room: int
    backoff: float = 0.5


class OpenAIEngine:
    """A model on a server, asked many requests at once, each as often as it takes.

    An attempt that meets a fault of the server or of the line is made again later. A reply that is empty, or not of
    the schema, is asked for again too, under another seed where it is sampled; one that was cut off is asked for again
    with twice the room. After the last of these it is given as it is. The tokens of a reply count all of them.

    A chat's prefill goes to the server as the beginning of the assistant's message, to be gone on with, as vLLM
    understands it. An adapter is a model of its own name on the server. Replies of a server need not be repeatable:
    what they are once, the request cache keeps.

    Args:
        server: Where it is.
    """

    flops_per_token = 0.0

    def __init__(self, server: Server) -> None:
        self._server = server
        self.identity = f"openai-{VERSION}:{server.base_url}:{server.model}:{server.structured}:{server.room}"
        self.capabilities: frozenset[Capability] = frozenset(
            {"generate", "logprobs", "adapters", *(("schema",) if server.structured != "none" else ())}
        )
        self._limit_name = "max_tokens"

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        """Replies to each request; see ``Engine.generate``."""
        return gather_replies(self, requests, sampling, schema)

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Scores of each completion; see ``Engine.score`` and ``stream_scores``."""
        return gather_scores(self, pairs, moments)

    def stream(
        self, draws: Sequence[Draw], sampling: Sampling, schema: type[BaseModel] | None, stop: threading.Event
    ) -> Generator[list[tuple[int, Reply]], None, None]:
        """One reply to each draw, as they come; see ``StreamingEngine.stream``.

        Raises:
            CapabilityError: A schema, and ``structured`` is none.
            ModelError: The server knows neither key nor model, or refuses whatever it is asked.
            EngineError: The server does not answer any more.
        """
        check_capabilities(self, "generate", [request for request, _ in draws], schema=schema)

        async def answer(line: _Line, place: int) -> Reply:
            return await self._reply(line, draws[place], sampling, schema)

        return self._stream(len(draws), answer, stop)

    def stream_scores(
        self, pairs: Sequence[tuple[Request, str]], moments: bool, stop: threading.Event
    ) -> Generator[list[tuple[int, TokenScores]], None, None]:
        """Scores of each pair, as they come; see ``StreamingEngine.stream_scores``.

        The protocol has no way to score a given text. vLLM's server adds one: ``/tokenize`` and ``prompt_logprobs``.

        Raises:
            CapabilityError: The server does not offer it, or moments are asked for.
            ModelError: The server knows neither key nor model, or a pair has no prompt.
            EngineError: The server does not answer any more.
        """
        check_capabilities(self, "logprobs", [request for request, _ in pairs], moments=moments)

        async def answer(line: _Line, place: int) -> TokenScores:
            request, completion = pairs[place]
            model = request.adapter or self._server.model

            async def send(path: str, body: dict[str, Any]) -> Any:
                return await line.obtain(lambda: line.post(path, {"model": model, **body}))

            try:
                return await score_pair(send, self._server.base_url, request, completion)
            except Failed as failed:
                raise EngineError(f"the server {self._server.base_url} could not score a pair: {failed}") from failed
            except _Refused as refused:
                raise self._no_scores(str(refused)) from refused

        return self._stream(len(pairs), answer, stop)

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """All at once: the engine bounds by itself what is under way."""
        return [list(range(len(requests)))] if requests else []

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """All at once."""
        return [list(range(len(pairs)))] if pairs else []

    def close(self) -> None:
        """Nothing is held between two calls."""

    def _stream(
        self, count: int, answer: Callable[[_Line, int], Awaitable[T]], stop: threading.Event
    ) -> Generator[list[tuple[int, T]], None, None]:
        def work(hand_over: Callable[[tuple[int, T]], None]) -> Coroutine[Any, Any, None]:
            return self._work(count, answer, hand_over)

        return stream_from_loop(work, stop)

    async def _work(
        self, count: int, answer: Callable[[_Line, int], Awaitable[T]], hand_over: Callable[[tuple[int, T]], None]
    ) -> None:
        places = iter(range(count))
        refused = answered = 0

        async def ask_on(line: _Line) -> None:
            nonlocal refused, answered
            for place in places:
                result = await answer(line, place)
                if isinstance(result, Reply) and result.problem:
                    refused += 1
                    if refused >= _REFUSALS and not answered:
                        raise self._refusing(refused, result.problem)
                else:
                    answered += 1
                hand_over((place, result))

        async with self._line() as line, asyncio.TaskGroup() as group:
            # Twice as many as may be under way: some are waiting for their next attempt.
            for _ in range(min(count, 2 * self._server.concurrency)):
                group.create_task(ask_on(line))

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[_Line]:
        key = os.environ.get(self._server.api_key_env, "").strip() or "none"  # the client insists on one
        if not (key.isascii() and key.isprintable()):
            raise ModelError(
                f"the environment variable {self._server.api_key_env} holds no key: it has characters that none has",
                key="generator.api_key_env",
                remedy="copy the key into it again, and nothing else",
            )
        client = openai.AsyncOpenAI(
            api_key=key, base_url=self._server.base_url, timeout=self._server.timeout, max_retries=0
        )
        async with client:
            yield _Line(client, self._server)

    async def _reply(self, line: _Line, draw: Draw, sampling: Sampling, schema: type[BaseModel] | None) -> Reply:
        """The reply to one draw, asked for until it is whole and of the schema."""
        request, _ = draw
        room, most = sampling.max_new_tokens, sampling.max_new_tokens * self._server.room
        prompt_tokens = completion_tokens = bad = 0
        while True:
            try:
                said = await line.obtain(partial(self._send, line, draw, sampling, schema, room, bad))
            except (Failed, _Refused) as error:
                reason: Literal["refused", "failed"] = "refused" if isinstance(error, _Refused) else "failed"
                return Reply("", reason, prompt_tokens, completion_tokens, str(error))
            prompt_tokens += said.prompt_tokens
            completion_tokens += said.completion_tokens
            if said.finish_reason == "length" and room < most:
                room = min(2 * room, most)
                continue
            if said.finish_reason == "stop" and not _is_sound(request.prefill, said.text, schema):
                bad += 1
                if bad < _BAD_REPLIES:
                    continue
            return Reply(said.text, said.finish_reason, prompt_tokens, completion_tokens)

    async def _send(
        self,
        line: _Line,
        draw: Draw,
        sampling: Sampling,
        schema: type[BaseModel] | None,
        room: int,
        bad: int,
    ) -> Reply:
        request, number = draw
        body: dict[str, Any] = {
            "model": request.adapter or self._server.model,
            "temperature": sampling.temperature,
            self._limit_name: room,
        }
        if sampling.temperature > 0:
            body["seed"] = named_seed(request.seed, "reply", number, bad) % 2**31  # some servers read 32 bits
        if schema is not None:
            body["response_format"] = self._response_format(schema)
        try:
            return await line.complete(request, body)
        except _Refused as refused:
            if refused.param == "max_tokens" and self._limit_name == "max_tokens":
                self._limit_name = "max_completion_tokens"  # as OpenAI's own newer models call it
                raise Setback(str(refused), wait=0.0) from refused
            raise

    def _response_format(self, schema: type[BaseModel]) -> dict[str, Any]:
        if self._server.structured == "json_object":
            return {"type": "json_object"}
        shape = {"name": schema.__name__, "schema": strict_schema(schema), "strict": True}
        return {"type": "json_schema", "json_schema": shape}

    def _refusing(self, count: int, reason: str) -> ModelError:
        return ModelError(
            f"the server {self._server.base_url} answers none of {count} requests: {reason}",
            key="generator",
            remedy="see that `base_url`, `model` and `structured` are what the server knows",
        )

    def _no_scores(self, reason: str) -> CapabilityError:
        return CapabilityError(
            f"the server {self._server.base_url} cannot score a given text ({reason})\n"
            "  → vLLM's server can; or score with `engine: transformers` or `engine: vllm`"
        )


class _Refused(Exception):
    """The server will not answer this request, however often it is asked."""

    def __init__(self, reason: str, param: str | None = None) -> None:
        super().__init__(reason)
        self.param = param


class _Line:
    """An open client, and the persistence with which it is used."""

    def __init__(self, client: openai.AsyncOpenAI, server: Server) -> None:
        self._client = client
        self._server = server
        self._persistence = Persistence(Throttle(server.concurrency), server.attempts, server.backoff, server.base_url)
        self.obtain = self._persistence.obtain

    async def complete(self, request: Request, body: dict[str, Any]) -> Reply:
        """Send a request once."""
        if isinstance(request.prompt, str):
            body = {"prompt": request.prompt + request.prefill, **body}
            text = await self._checked(self._client.post("/completions", cast_to=Completion, body=body))
            return self._read(text, getattr(_only_choice(text), "text", None))
        messages: list[Any] = list(request.prompt)
        if request.prefill:
            messages.append({"role": "assistant", "content": request.prefill})
            body = {"continue_final_message": True, "add_generation_prompt": False, **body}
        body = {"messages": messages, **body}
        chat = await self._checked(self._client.post("/chat/completions", cast_to=ChatCompletion, body=body))
        message = getattr(_only_choice(chat), "message", None)
        if getattr(message, "refusal", None):
            raise _Refused(self._hide(f"the model declines: {message.refusal}"))  # type: ignore[union-attr]  # it has one: just asked
        content = getattr(message, "content", None)
        # Some tokenizers write a text's first word with a space before it; where the reply is the whole text, it is not
        # the reply's.
        return self._read(
            chat, content.removeprefix(" ") if isinstance(content, str) and not request.prefill else content
        )

    def _read(self, completion: ChatCompletion | Completion, text: object) -> Reply:
        reason = getattr(_only_choice(completion), "finish_reason", None)
        if reason == "content_filter":
            raise _Refused("the server's content filter withheld the reply")
        if text is not None and not isinstance(text, str):
            raise Setback("the response holds no text")
        usage = completion.usage
        return Reply(
            hide_values(text or "", self._server.api_key_env),
            "length" if reason == "length" else "stop",
            getattr(usage, "prompt_tokens", None) or 0,
            getattr(usage, "completion_tokens", None) or 0,
        )

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send something that the client has no method for, once."""
        return await self._checked(self._client.post(path, cast_to=cast("Any", object), body=body))

    async def _checked(self, sent: Awaitable[T]) -> T:
        """What came back, or the reason why nothing did, as the rest of the engine understands it."""
        try:
            return await sent
        except openai.APIStatusError as error:
            raise self._judge(error) from error
        except openai.APIError as error:  # no connection, no time left, or no JSON
            cause = error.__cause__
            raise Setback(self._hide(f"{error.message} ({cause})" if cause else error.message)) from error
        except (ValueError, UnicodeError) as error:
            raise Setback(self._hide(f"the response is not JSON: {error}")) from error

    def _hide(self, text: str) -> str:
        """What a server says, which may hold the key that it was sent."""
        return hide_keys(text, self._server.api_key_env)

    def _judge(self, error: openai.APIStatusError) -> Exception:
        said = self._hide(error.message)
        status, reason = error.status_code, f"{error.status_code}: {said}"
        if status in (401, 403):
            return ModelError(
                f"the server {self._server.base_url} refuses the key: {said}",
                key="generator.api_key_env",
                remedy=f"put the key into the environment variable {self._server.api_key_env}",
            )
        if status == 404 and error.request.url.path.endswith("/completions"):
            return ModelError(
                f"the server {self._server.base_url} has no model {self._server.model!r}: {said}",
                key="generator.model",
                remedy="`curl BASE_URL/models` lists what it has; `base_url` ends in /v1 on most servers",
            )
        if error.code == "insufficient_quota":
            return EngineError(f"the account at {self._server.base_url} is used up: {said}")
        if status in _PASSING or status >= 500:
            wait = read_retry_after(error.response.headers, time.time())
            return Setback(reason, wait=wait, overloaded=status in _OVERLOADED)
        return _Refused(reason, error.param)


def _only_choice(completion: object) -> object:
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise Setback("the response holds no choice")
    return choices[0]


def _is_sound(prefill: str, text: str, schema: type[BaseModel] | None) -> bool:
    """Whether a reply says something, and is of the schema where there is one."""
    if schema is None:
        return bool(text.strip())
    try:
        schema.model_validate(json.loads(prefill + text))
    except (ValueError, RecursionError, ValidationError):
        return False
    return True
