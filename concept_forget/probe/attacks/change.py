"""What an attack on the weights may use, and what it has done to a model before it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concept_forget.records import Example

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Material:
    """What an attack on the weights may use.

    ``forget`` and ``retain`` are the rows that unlearning read, ``asked`` the plain questions of the probe. ``steps``
    are the numbers of steps after which a model that learns is asked, the last one the whole budget; ``share`` is the
    share of the trained facts that may be taught again. ``has_adapter``: the unlearned model is another one and an
    adapter on it.
    """

    forget: tuple[Example, ...] = ()
    retain: tuple[Example, ...] = ()
    asked: tuple[Example, ...] = ()
    steps: tuple[int, ...] = (1,)
    share: float = 0.0
    has_adapter: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to every model alike.

    ``edit`` changes the weights in place. Or ``rows`` are taught, as many of ``beside`` with them, and the model is
    asked after each of ``steps``; ``taught`` are those of their facts that are not asked any more. Or the adapter is
    taken off.
    """

    edit: Callable[[nn.Module], None] | None = None
    rows: tuple[Example, ...] = ()
    beside: tuple[Example, ...] = ()
    steps: tuple[int, ...] = ()
    taught: frozenset[str] = frozenset()
    without_adapter: bool = False
