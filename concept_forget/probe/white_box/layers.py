"""What each layer of a model would say next: its state through the final norm and the unembedding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from concept_forget.engines.decoding import optional_inputs, pad_left, positions
from concept_forget.errors import ModelError
from concept_forget.training.scores import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_REMEDY = "leave `lens` out of `probe.attacks`"
_TOLERANCE = 0.02  # half precision computes the same thing twice with such a difference


@dataclass(frozen=True, slots=True)
class LayerReading:
    """A token as each layer sees it: layer 0 is the embeddings, the last one what the model itself says.

    A rank is the number of tokens that the layer holds likelier, 0 at the top.
    """

    probabilities: tuple[float, ...]  # (layers + 1,)
    ranks: tuple[int, ...]


@dataclass(slots=True)
class _Passage:
    """What one forward pass left behind: the last place's state before every layer and after the last one."""

    states: list[Tensor] = field(default_factory=list)  # each (rows, 1, hidden)
    behind: list[nn.Module] = field(default_factory=list)  # what the decoder does after its last layer
    is_over: bool = False


@torch.inference_mode()
def read_layers(model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], int]], filler: int) -> list[LayerReading]:
    """Read the first token that is not given of each row at every layer, in one forward pass.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".

    Args:
        model: A decoder.
        rows: Token ids, and how many of them are given, fewer than all.
        filler: Token id for padding.

    Raises:
        ModelError: The model has no list of layers, or what it does behind the last one cannot be done to others.
    """
    ids, mask = pad_left([row[:given] for row, given in rows], filler, model.device)
    targets = torch.tensor([row[given] for row, given in rows], device=model.device)
    optional = optional_inputs(model, position_ids=positions(mask), logits_to_keep=1)
    with _seeing_all_layers(model) as layers:
        logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False, **optional).logits
    if logits.shape[0] != (layers + 1) * len(rows):
        raise ModelError(f"{type(model).__name__} does not get its logits from its output embeddings", remedy=_REMEDY)
    logprobs = logits[:, -1].float().log_softmax(dim=-1).unflatten(0, (layers + 1, len(rows)))
    chosen = logprobs.gather(2, targets.expand(layers + 1, -1)[..., None])  # (layers + 1, rows, 1)
    ranks = (logprobs > chosen).sum(dim=-1).T.tolist()
    probabilities = chosen[..., 0].exp().T.tolist()
    return [LayerReading(tuple(likely), tuple(places)) for likely, places in zip(probabilities, ranks, strict=True)]


@contextlib.contextmanager
def _seeing_all_layers(model: PreTrainedModel) -> Iterator[int]:
    """Let the unembedding see the states of all layers, below each other: (layers + 1) · rows; gives the layers.

    Hooks keep whatever the model does to its logits afterwards (soft caps, scales).
    """
    try:
        layers = decoder_layers(model)
    except ModelError as error:
        raise ModelError(error.problem, remedy=_REMEDY) from error
    passage = _Passage()

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passage.states.append((args[0] if args else kwargs["hidden_states"])[:, -1:])

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        passage.states.append((output if isinstance(output, Tensor) else output[0])[:, -1:])

    def follow(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if len(passage.states) > len(layers) and not passage.is_over:
            passage.behind.append(module)

    def say(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        passage.is_over = True
        return (_through(passage, args[0][:, -1:], type(model).__name__), *args[1:])

    decoder: Any = model.get_decoder()
    head: Any = model.get_output_embeddings()
    with contextlib.ExitStack() as stack:
        stack.callback(layers[0].register_forward_pre_hook(enter, with_kwargs=True).remove)
        for layer in layers:
            stack.callback(layer.register_forward_hook(leave).remove)
        for child in decoder.children():
            if child is not layers:
                stack.callback(child.register_forward_hook(follow).remove)
        stack.callback(head.register_forward_pre_hook(say).remove)
        yield len(layers)


def _through(passage: _Passage, last: Tensor, name: str) -> Tensor:
    """Every layer's state as the unembedding takes it, the model's own last one at the end."""

    def finish(state: Tensor) -> Tensor:
        for module in passage.behind:
            state = module(state)
        return state

    own = finish(passage.states[-1])
    if own.shape != last.shape or not torch.allclose(own, last, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelError(
            f"what {name} does between its last layer and its output embeddings cannot be done to other layers",
            remedy=_REMEDY,
        )
    return torch.cat([*map(finish, passage.states[:-1]), last])
