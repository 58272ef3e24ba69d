"""The account of a stage: what every step asked, accepted and rejected, so that nothing disappears."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from concept_forget.errors import StageError


@dataclass(frozen=True, slots=True)
class Rejection:
    """An item that did not get through: where, why, what it was, and what it came from."""

    step: str
    reason: str
    text: str
    parents: tuple[str, ...]


@dataclass(slots=True)
class StepAccount:
    """One step in numbers."""

    requests: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Ledger:
    """Accounts by step, and every rejection in the order in which it was made."""

    def __init__(self) -> None:
        self.steps: dict[str, StepAccount] = {}
        self.rejections: list[Rejection] = []

    def step(self, name: str) -> StepAccount:
        """The account of a step, opened when it is first asked for."""
        return self.steps.setdefault(name, StepAccount())

    def accept(self, step: str, count: int = 1) -> None:
        """``count`` items got through."""
        self.step(step).accepted += count

    def reject(self, step: str, reason: str, text: str, parents: Sequence[str]) -> None:
        """An item did not get through."""
        self.step(step).rejected[reason] += 1
        self.rejections.append(Rejection(step, reason, text, tuple(parents)))

    def fail(self, step: str, problem: str, remedy: str) -> StageError:
        """The error for a step that gave too little: how much it asked, and why what came was rejected."""
        account = self.step(step)
        counts = f"{account.requests} requests, {account.rejected.total()} items rejected"
        lines = [f"expand, step {step}: {problem} ({counts})"]
        for reason, count in _most_common(account.rejected, 3):
            example = next(r.text for r in self.rejections if r.step == step and r.reason == reason)
            lines.append(f"  {count} × {reason}, such as {json.dumps(example[:120], ensure_ascii=False)}")
        lines.append(f"  → {remedy}")
        return StageError("\n".join(lines))

    def summary(self) -> dict[str, object]:
        """The accounts as they stand in ``summary.json``."""
        return {
            name: {
                "requests": account.requests,
                "accepted": account.accepted,
                "rejected": dict(_most_common(account.rejected)),
                "prompt_tokens": account.prompt_tokens,
                "completion_tokens": account.completion_tokens,
            }
            for name, account in self.steps.items()
        }

    def rejected_jsonl(self) -> str:
        """Every rejection as a JSON line."""
        return "".join(
            json.dumps(
                {"step": r.step, "reason": r.reason, "text": r.text, "parents": list(r.parents)}, ensure_ascii=False
            )
            + "\n"
            for r in self.rejections
        )


def _most_common(counts: Counter[str], most: int | None = None) -> list[tuple[str, int]]:
    """Commonest first; among equals by name, so that the order never depends on chance."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:most]
