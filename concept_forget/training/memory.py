"""How much memory training will take, from the shapes of the weights alone: no weight is read."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]
_ACTIVATION_BYTES = 68
"""Bytes that a layer keeps for each token and unit of width in float32 (Korthikanti et al. 2022, §4: 34 in half)."""
_LAYER = re.compile(r"\blayers?\.(\d+)\.|\bh\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak: of the weights, of gradients and optimiser together, and of what a forward pass keeps."""

    weights: int
    training: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.training + self.activations


def read_shapes(folder: Path) -> Shapes:
    """The shapes of a model's weights by name, from the headers of its safetensors files."""
    shapes: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        shapes.update({name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"})
    return shapes


def estimate_memory(
    shapes: Shapes,
    *,
    layers: tuple[int, int] | None,
    parameters: str | None,
    rank: int | None,
    weight_bytes: int,
    copies: int,
    batch_tokens: int,
    half_activations: bool,
    checkpointed: bool,
    parts: int = 1,
) -> MemoryEstimate:
    """What training takes at its peak, with AdamW in float32.

    Where the weights are divided, those outside the layers and two layers, the one that runs and the next, are whole.

    Args:
        shapes: Of all weights.
        layers: First and last layer that are trained; None: all, embeddings too.
        parameters: Expression that must be found in the names of trained weights.
        rank: Of an adapter beside every matrix of the layers; None: the weights themselves are trained.
        weight_bytes: Bytes of a weight in memory.
        copies: Models held at once, the trained one included.
        batch_tokens: Tokens that pass through at once; all of them are taken to be answer tokens.
        half_activations: Whether the model runs in half precision.
        checkpointed: Whether only the layers' ends are kept.
        parts: Processes that the weights are divided among; the estimate is for one of them.
    """
    count = sum(_size(shape) for shape in shapes.values())
    trained = 0
    for name, shape in shapes.items():
        number = _layer_of(name)
        inside = layers is None or (number is not None and layers[0] <= number <= layers[1])
        if not inside or not re.search(parameters or "", name):
            continue
        if rank is None:
            trained += _size(shape)
        elif len(shape) == 2 and number is not None:
            trained += rank * sum(shape)
    depth = 1 + max((number for name in shapes if (number := _layer_of(name)) is not None), default=0)
    width, vocabulary = _width_and_vocabulary(shapes)
    per_layer = _ACTIVATION_BYTES // (2 if half_activations else 1) * batch_tokens * width
    ends = 4 * batch_tokens * width
    kept = depth * ends + per_layer if checkpointed else depth * per_layer
    logits = 3 * 4 * batch_tokens * vocabulary  # themselves, their log-softmax and its gradient
    adapter = 4 * trained if rank is not None else 0
    weights = count * weight_bytes * copies + adapter
    if parts > 1:
        in_layers = sum(_size(shape) for name, shape in shapes.items() if _layer_of(name) is not None)
        gathered = count - in_layers + 2 * in_layers // depth
        weights = weights // parts + gathered * weight_bytes
    return MemoryEstimate(weights, training=12 * trained // parts, activations=kept + logits)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _layer_of(name: str) -> int | None:
    match = _LAYER.search(name)
    return int(match.group(1) or match.group(2)) if match else None


def _width_and_vocabulary(shapes: Shapes) -> tuple[int, int]:
    """Of the largest matrix outside the layers: the embeddings."""
    outside = [shape for name, shape in shapes.items() if _layer_of(name) is None and len(shape) == 2]
    vocabulary, width = max(outside, key=_size, default=(0, 0))
    return width, vocabulary
