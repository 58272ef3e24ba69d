"""Random numbers that depend on a key and a place alone: not on what is computed beside them."""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIERS = (-2048144789, -1028477387)  # 0x85EBCA6B and 0xC2B2AE35 as signed 32-bit numbers
_SPREAD = 2654435761  # odd, near 2³² / golden ratio
_CACHED_ELEMENTS = 1 << 16  # a block that stays in a processor's cache is three times as fast as a whole batch
_DEVICE_ELEMENTS = 1 << 24


def add_gumbel_noise(logits: Tensor, keys: Tensor, step: int) -> Tensor:
    """Add standard Gumbel noise in place, so that ``argmax`` draws from the softmax of the logits.

    The noise of an entry is a function of its row's key, the step and its column: integer hashing (the finaliser of
    MurmurHash3, keyed before each multiplication), the same on every device, in every batch and order.

    Args:
        logits: (rows, vocabulary), float32, already divided by the temperature.
        keys: (rows,), int64: any 64 bits.
        step: Which token of the reply is drawn, counted from 0.

    Returns:
        The same tensor.

    Source:
        Maddison et al. 2014, "A* sampling", for the Gumbel-max trick.
    """
    columns = _as_int32(torch.arange(logits.shape[1], device=logits.device) * _SPREAD)  # (vocabulary,)
    first, second = _step_keys(keys, step)
    limit = _CACHED_ELEMENTS if logits.device.type == "cpu" else _DEVICE_ELEMENTS
    size = max(1, limit // logits.shape[1])
    for start in range(0, len(logits), size):
        rows = slice(start, start + size)
        bits = _hash(columns, first[rows, None], second[rows, None])
        # 23 bits and a half are exact in float32, and so never 0 or 1, whose noise would be infinite
        uniform = bits.bitwise_and_(0x7FFFFF).to(torch.float32).add_(0.5).mul_(2**-23)
        logits[rows].sub_(uniform.log_().neg_().log_())
    return logits


def _hash(columns: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """(rows, vocabulary) of 32 random bits."""
    bits = columns ^ first
    spare = torch.empty_like(bits)
    for shift, multiplier, key in ((16, _MULTIPLIERS[0], second), (13, _MULTIPLIERS[1], None)):
        bits ^= _shifted(bits, shift, spare)
        bits *= multiplier
        if key is not None:
            bits += key
    bits ^= _shifted(bits, 16, spare)
    return bits


def _shifted(bits: Tensor, shift: int, out: Tensor) -> Tensor:
    """A logical shift to the right; torch's own carries the sign along."""
    torch.bitwise_right_shift(bits, shift, out=out)
    return out.bitwise_and_((1 << (32 - shift)) - 1)


def _step_keys(keys: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Two 32-bit keys per row and step, (rows,) each, by the finaliser of SplitMix64."""
    offset = (step + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = keys + (offset - 2**64 if offset >= 2**63 else offset)
    mixed = (mixed ^ ((mixed >> 30) & ((1 << 34) - 1))) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    mixed = (mixed ^ ((mixed >> 27) & ((1 << 37) - 1))) * -7723592293110705685  # 0x94D049BB133111EB
    mixed = mixed ^ ((mixed >> 31) & ((1 << 33) - 1))
    return _as_int32(mixed), _as_int32(mixed >> 32)


def _as_int32(values: Tensor) -> Tensor:
    """The low 32 bits as a signed number."""
    low = values & 0xFFFFFFFF
    return torch.where(low >= 1 << 31, low - (1 << 32), low).to(torch.int32)
