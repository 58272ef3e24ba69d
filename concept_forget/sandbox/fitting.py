"""Fits a tiny model from scratch: the loop, its batches and its first weights.

This loop is apart from the one for unlearning because it has the clock against it: it teaches everything a model
knows within a minute or two on two cores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from concept_forget.records import named_random, named_seed
from concept_forget.sandbox.muon import Muon
from concept_forget.sandbox.recipe import Recipe
from concept_forget.sandbox.tokenizer import ASSISTANT, END, START, USER

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

IGNORED = -100
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as token ids; ``start`` is the first that the model must learn to write."""

    ids: list[int]
    start: int


def encode_rows(tokenizer: PreTrainedTokenizerFast, rows: Sequence[tuple[str, str]]) -> list[Encoded]:
    """Rows of (prompt, reply), a document where the prompt is empty, in the form of the chat template."""
    vocabulary = tokenizer.get_vocab()
    start, end, user, assistant = (vocabulary[token] for token in (START, END, USER, ASSISTANT))
    prompts = tokenizer([prompt for prompt, _ in rows], add_special_tokens=False)["input_ids"]
    replies = tokenizer([reply for _, reply in rows], add_special_tokens=False)["input_ids"]
    return [
        Encoded([user, *prompt, assistant, *reply, end], len(prompt) + 2)
        if prompt
        else Encoded([start, *reply, end], 1)
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights.

    Weights are drawn at 1/√fan-in, those that write to the residual stream smaller by √(2 × layers): at this width the
    usual 0.02 is so small that a model needs thousands of steps before it looks at the question at all.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(named_seed(seed, "sandbox", "weights"))
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "embed" in name:
                    weights.normal_(0, 0.1)
                elif weights.dim() == 2:
                    writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                    weights.normal_(0, 1 / math.sqrt(weights.shape[1] * (2 * recipe.layers if writes else 1)))
    return model


def fit(
    model: LlamaForCausalLM,
    epoch: Callable[[random.Random], Sequence[Encoded]],
    recipe: Recipe,
    seed: int,
    on_progress: Progress | None = None,
) -> int:
    """Fit a model to the replies of rows that ``epoch`` gives anew for every epoch, and leave it in eval mode.

    Args:
        model: Changed in place.
        epoch: Draws one epoch's rows.
        recipe: How.
        seed: Seeds the draws and the order.
        on_progress: Told after every step how many are done, of how many.

    Returns:
        Tokens that the model was fitted on, padding included.
    """
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        Muon(matrices, lr=recipe.matrix_lr, weight_decay=recipe.weight_decay),
    ]
    peaks = (recipe.lr, recipe.matrix_lr)
    steps = tokens = 0
    model.train()
    for number in range(recipe.epochs):
        rng = named_random(seed, "sandbox", "epoch", number)
        batches = _batches(epoch(rng), recipe.batch_tokens, rng)
        total = steps + len(batches) * (recipe.epochs - number)  # an epoch's rows are drawn: the next may differ
        for position, batch in enumerate(batches):
            done = (number + position / len(batches)) / recipe.epochs
            for optimizer, peak in zip(optimizers, peaks, strict=True):
                optimizer.param_groups[0]["lr"] = peak * _schedule(done, recipe.warmup)
            ids, targets = _tensors(batch)
            tokens += ids.numel()
            _loss(model, ids, targets).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            steps += 1
            if on_progress is not None:
                on_progress(steps, total)
    model.eval()
    return tokens


def _loss(model: LlamaForCausalLM, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the targets; the head is applied to positions that have one."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    wanted = targets != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted])


def _schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _batches(rows: Sequence[Encoded], tokens: int, rng: random.Random) -> list[list[Encoded]]:
    """Rows of like length together, so that little is padded; batches in random order."""
    batches: list[list[Encoded]] = [[]]
    for row in sorted(rows, key=lambda row: (len(row.ids), rng.random())):
        if batches[-1] and (len(batches[-1]) + 1) * len(row.ids) > tokens:
            batches.append([])
        batches[-1].append(row)
    rng.shuffle(batches)
    return batches


def _tensors(batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Ids and targets, each (rows, length), padded on the right: under a causal mask no token sees the padding."""
    length = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    targets = torch.full((len(batch), length), IGNORED)
    for index, row in enumerate(batch):
        tokens = torch.tensor(row.ids)
        ids[index, : len(tokens)] = tokens
        targets[index, row.start - 1 : len(tokens) - 1] = tokens[row.start :]
    return ids, targets


def greedy_replies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], max_new_tokens: int = 64
) -> list[str]:
    """The most likely reply to each prompt. Prompts of one length share a batch, so that nothing is padded."""
    encoded = [row.ids[: row.start] for row in encode_rows(tokenizer, [(prompt, "") for prompt in prompts])]
    replies = [""] * len(prompts)
    for indices in _same_length(encoded, 256):
        written = _greedy(model, torch.tensor([encoded[i] for i in indices]), max_new_tokens)
        for i, reply in zip(indices, written.tolist(), strict=True):
            end = tokenizer.eos_token_id
            replies[i] = str(tokenizer.decode(reply[: reply.index(end)] if end in reply else reply))
    return replies


def _same_length(encoded: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    groups: dict[int, list[int]] = {}
    for i, ids in enumerate(encoded):
        groups.setdefault(len(ids), []).append(i)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


@torch.no_grad()
def _greedy(model: LlamaForCausalLM, ids: Tensor, max_new_tokens: int) -> Tensor:
    written: list[Tensor] = []
    finished = torch.zeros(len(ids), dtype=torch.bool)
    cache = None
    while len(written) < max_new_tokens and not finished.all():
        output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        chosen = output.logits[:, -1].argmax(-1).masked_fill(finished, model.config.eos_token_id)
        finished |= chosen == model.config.eos_token_id
        written.append(chosen)
        ids = chosen[:, None]
    return torch.stack(written, dim=1)
