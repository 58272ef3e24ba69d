"""Orders of texts to the generator: put all at once, and again for what is missing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from concept_forget.errors import StageError
from concept_forget.expand.gates import comparable
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import Wish, Writer

ROUNDS = 3
"""Rounds of asking at most."""

REPEATED = "came already in these words"
TOO_MANY = "more than were asked for"


@dataclass(slots=True)
class Order:
    """Texts wanted from one prompt, and what came of them.

    Args:
        parents: What the texts come from.
        variables: What the prompt is filled in with.
        count: Texts wanted.
        check: Why a text is none of them, or None; it looks at nothing but the text.
        texts: Those that came and got through.
    """

    parents: tuple[str, ...]
    variables: Mapping[str, object]
    count: int
    check: Callable[[str], str | None]
    texts: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Texts that are still wanted."""
        return self.count - len(self.texts)


def fill_orders(writer: Writer, step: str, orders: Sequence[Order], taken: set[str] | None = None) -> None:
    """Put every order to the generator, round after round while some are open.

    Args:
        writer: The generator; the step's prompt has the step's name.
        step: The step.
        orders: What is wanted; their ``texts`` are filled.
        taken: Comparable forms of texts that no order may have, to which those that come are added; None: each order
            looks at its own texts only.
    """
    for number in range(ROUNDS):
        waiting = [order for order in orders if order.missing > 0]
        if not waiting:
            return
        wishes = [Wish(order.parents, order.variables, order.missing, number) for order in waiting]
        checks = [functools.cache(order.check) for order in waiting]

        def gate(place: int, item: Item, checks: Sequence[Callable[[str], str | None]] = checks) -> None:
            checks[place](*item)

        replies = writer.gather(step, step, wishes, gate=gate)
        for order, check, items in zip(waiting, checks, replies, strict=True):
            for (text,) in items:
                known = {comparable(each) for each in order.texts} if taken is None else taken
                reason = TOO_MANY if order.missing <= 0 else check(text)
                if reason is None and comparable(text) in known:
                    reason = REPEATED
                if reason:
                    writer.ledger.reject(step, reason, text, order.parents)
                    continue
                order.texts.append(text)
                known.add(comparable(text))
                writer.ledger.accept(step)


def nothing_came(writer: Writer, step: str, problem: str, setting: str) -> StageError | None:
    """The error for a step that was asked and gave nothing; None where it gave something or the budget left no room."""
    account = writer.ledger.step(step)
    if account.accepted or not account.requests:
        return None
    return writer.ledger.fail(step, problem, f"look at rejected.jsonl, set `{setting}: 0`, or try another generator")
