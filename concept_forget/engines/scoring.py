"""Scores of given tokens: how likely the model holds each one, and against what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from concept_forget.engines.decoding import optional_inputs, pad_left, positions
from concept_forget.engines.protocol import TokenScores

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def score_rows(
    model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], int]], *, filler: int, moments: bool
) -> list[TokenScores]:
    """Score the end of each row in one forward pass.

    Args:
        model: A decoder.
        rows: Token ids, and how many of them are given and not scored, at least one.
        filler: Token id for padding.
        moments: Compute means and variances over the vocabulary too.

    Returns:
        One record per row.
    """
    ids, mask = pad_left([row for row, _ in rows], filler, model.device)
    wanted = max(len(row) - start for row, start in rows)
    # the place before a token says how likely it is
    optional = optional_inputs(model, position_ids=positions(mask), logits_to_keep=wanted + 1)
    output = model(input_ids=ids, attention_mask=mask, use_cache=False, **optional)
    logits: Tensor = output.logits[:, -(wanted + 1) : -1]  # (rows, wanted, vocabulary)
    targets = ids[:, ids.shape[1] - wanted :]
    scores = []
    for number, (row, start) in enumerate(rows):
        length = len(row) - start
        places = slice(wanted - length, wanted)
        scores.append(_score_row(logits[number, places], targets[number, places], start, moments))
    return scores


def _score_row(logits: Tensor, targets: Tensor, given: int, moments: bool) -> TokenScores:
    """Scores from (length, vocabulary) logits and (length,) tokens."""
    logprobs = logits.to(torch.float32).log_softmax(dim=-1)
    chosen = logprobs.gather(1, targets[:, None])  # (length, 1)
    ranks = (logprobs > chosen).sum(dim=-1)
    means = variances = None
    if moments:
        # A token that cannot come has log-probability minus infinity and weight 0: it counts for nothing.
        weights = logprobs.exp()
        finite = logprobs.masked_fill(weights == 0, 0)
        mean = (weights * finite).sum(dim=-1, keepdim=True)
        spread = (weights * (finite - mean) ** 2).sum(dim=-1)
        means, variances = tuple(mean[:, 0].tolist()), tuple(spread.tolist())
    return TokenScores(tuple(chosen[:, 0].tolist()), tuple(ranks.tolist()), means, variances, given)
