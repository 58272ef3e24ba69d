"""The decoding loop: many replies at once, each as if it were alone.

It stands beside ``model.generate`` because that keeps every row until the last one is done. Rows that are done leave
this loop, which on short replies of mixed length is three times as fast.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from concept_forget.engines.noise import add_gumbel_noise
from concept_forget.engines.schema_mask import SchemaMask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DROP_SHARE = 0.1  # rows leave when this share is done: to leave costs a copy of the cache, to stay costs a row


@dataclass(frozen=True, slots=True)
class Row:
    """One reply to be decoded.

    ``opening`` holds the token ids to go on from, ``limit`` bounds the reply in tokens, and ``key`` (63 bits) is what
    its noise depends on.
    """

    opening: Sequence[int]
    limit: int
    key: int


def optional_inputs(model: PreTrainedModel, **inputs: Any) -> dict[str, Any]:
    """Those of the inputs that the model's ``forward`` has an argument for."""
    arguments = inspect.signature(model.forward).parameters
    return {name: value for name, value in inputs.items() if name in arguments}


def pad_left(rows: Sequence[Sequence[int]], filler: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (rows, longest) each, with the rows' ends below each other."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[number, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def positions(mask: Tensor) -> Tensor:
    """Each token's place in its own row, (rows, length): padding does not count."""
    return (mask.cumsum(dim=1) - 1).clamp_(min=0)


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    rows: Sequence[Row],
    *,
    temperature: float,
    stop_tokens: Collection[int],
    filler: int,
    schema: SchemaMask | None = None,
) -> list[list[int]]:
    """Decode a reply for every row.

    Args:
        model: A decoder with a key-value cache.
        rows: The replies' openings.
        temperature: 0 takes the likeliest token; else tokens are drawn at this temperature with each row's own noise.
        stop_tokens: Tokens that end a reply.
        filler: Token id for padding.
        schema: Keeps the replies, in the order of ``rows``, to a schema.

    Returns:
        Token ids of each reply, the stop token included where there was one.
    """
    from transformers import DynamicCache

    ids, mask = pad_left([row.opening for row in rows], filler, model.device)
    place = positions(mask)
    keys = torch.tensor([row.key for row in rows], dtype=torch.long, device=model.device)
    cache = DynamicCache(config=model.config)
    replies: list[list[int]] = [[] for _ in rows]
    live = list(range(len(rows)))  # the reply that each row of the tensors belongs to
    for step in range(max(row.limit for row in rows)):
        logits = _next_logits(model, ids, mask, place, cache)
        if schema is not None:
            schema.apply(logits, live)
        if temperature > 0:
            add_gumbel_noise(logits.div_(temperature), keys, step)
        ids = logits.argmax(dim=-1, keepdim=True)
        going = []
        for row, token in enumerate(ids[:, 0].tolist()):
            reply = live[row]
            if _is_done(replies[reply], rows[reply].limit, stop_tokens):
                continue
            replies[reply].append(token)
            if schema is not None:
                schema.accept(reply, token)
            if not _is_done(replies[reply], rows[reply].limit, stop_tokens):
                going.append(row)
        if not going:
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        place = place[:, -1:] + 1
        if len(going) <= (1 - _DROP_SHARE) * len(live):
            kept = torch.tensor(going, device=model.device, dtype=torch.long)
            cache.reorder_cache(kept)  # type: ignore[arg-type]  # any tensor of integers will do
            ids, mask, place, keys = ids[kept], mask[kept], place[kept], keys[kept]
            live = [live[row] for row in going]
    return replies


def _next_logits(model: PreTrainedModel, ids: Tensor, mask: Tensor, place: Tensor, cache: object) -> Tensor:
    """Logits of the token after the last, (rows, vocabulary), float32, free to be changed."""
    optional = optional_inputs(model, position_ids=place, logits_to_keep=1)
    output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **optional)
    logits: Tensor = output.logits
    return logits[:, -1].to(torch.float32, copy=True)


def _is_done(reply: list[int], limit: int, stop_tokens: Collection[int]) -> bool:
    return len(reply) >= limit or (bool(reply) and reply[-1] in stop_tokens)
