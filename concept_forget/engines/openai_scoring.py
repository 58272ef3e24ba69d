"""Scores of a given text from a server: vLLM's, which adds ``/tokenize`` and ``prompt_logprobs`` to the protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from concept_forget.engines.protocol import Request, TokenScores
from concept_forget.errors import CapabilityError, DataError

Send = Callable[[str, dict[str, Any]], Awaitable[Any]]


async def score_pair(send: Send, base_url: str, request: Request, completion: str) -> TokenScores:
    """Score one completion.

    The server tokenises prompt, prefill and completion together; what is the completion's is found as
    ``RequestEncoder.encode_pairs`` finds it.

    Args:
        send: Posts a body to a path or an address and gives the JSON that comes back.
        base_url: The server's.
        request: The prompt and the prefill.
        completion: What is scored. Of a chat, the token that ends the turn is scored too.

    Raises:
        CapabilityError: What comes back holds no such scores.
        DataError: There is no prompt before the completion.
    """
    tokenize = base_url.rstrip("/").removesuffix("/v1") + "/tokenize"

    async def read(body: dict[str, Any]) -> list[int]:
        found = await send(tokenize, body)
        tokens = found.get("tokens") if isinstance(found, dict) else None
        if not isinstance(tokens, list):
            raise CapabilityError(f"the server {base_url} cannot score a given text: {tokenize} gives no tokens")
        return tokens

    if isinstance(request.prompt, str):
        text = request.prompt + request.prefill
        opening = await read({"prompt": text, "add_special_tokens": True}) if text else []
        ids = await read({"prompt": text + completion, "add_special_tokens": True})
    else:
        chat = list(request.prompt)
        ask = {"add_generation_prompt": True, "add_special_tokens": False}
        go_on = {"add_generation_prompt": False, "continue_final_message": True, "add_special_tokens": False}
        close = {"add_generation_prompt": False, "add_special_tokens": False}
        said = [*chat, {"role": "assistant", "content": request.prefill + completion}]
        if request.prefill:
            opening = await read({"messages": [*chat, {"role": "assistant", "content": request.prefill}], **go_on})
        else:
            opening = await read({"messages": chat, **ask})
        ids = await read({"messages": said, **go_on})
        closed = await read({"messages": said, **close})
        ids = [*ids, *closed[len(ids) : len(ids) + 1]]
    start = next((n for n, (a, b) in enumerate(zip(opening, ids, strict=False)) if a != b), min(len(opening), len(ids)))
    if start == 0:
        raise DataError("a text is scored from its first token on, and there is none before it", remedy="give a prompt")
    body = {"prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
    return _read_scores(await send("/completions", body), ids, start, base_url)


def _read_scores(answer: Any, ids: list[int], start: int, base_url: str) -> TokenScores:
    try:
        places = answer["choices"][0]["prompt_logprobs"][start:]
        found = [place[str(token)] for place, token in zip(places, ids[start:], strict=True)]
        logprobs = tuple(float(entry["logprob"]) for entry in found)
        ranks = tuple(int(entry["rank"]) - 1 for entry in found)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CapabilityError(
            f"the server {base_url} cannot score a given text: it gives no `prompt_logprobs` ({error!r})"
        ) from error
    return TokenScores(logprobs, ranks, prompt_tokens=start)
