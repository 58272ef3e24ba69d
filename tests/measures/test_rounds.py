from __future__ import annotations

import pytest

from concept_forget.measures.metrics import Estimate, RoundResult
from concept_forget.measures.rounds import GAIN, why_over


def result(number: int, left: float | None, before: float | None = None, outcome: str = "inconclusive") -> RoundResult:
    def estimate(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(value=value, low=value - 0.1, high=value + 0.1)

    return RoundResult(
        number=number, outcome=outcome, worst_attack="direct", residual=estimate(left), before=estimate(before),
        attacks={}, kept={}, forget_rows=1, added_rows=0,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (result(1, 0.98), None),  # the first round began from base, and however little it did, it told what leaks
        (result(2, 0.3, 0.5), None),
        (result(2, 0.3, 0.5, "failed"), None),
        (result(2, 0.3, 0.5, "passed"), "passed after round 2"),
        (result(2, 0.5, 0.5 + GAIN / 2), "gained nothing: of the worst attack 0.50 is left"),
        (result(2, 0.6, 0.5), "gained nothing"),
        (result(2, 0.5, 0.5 + 2 * GAIN), None),
        (result(2, 0.5, None), None),  # of the model before, nothing could be measured
        (result(2, None, 0.5), "no attack whose residual could be measured"),
        (result(3, 0.1, 0.5), "3 rounds are done"),
    ],
)
def test_rounds_end_where_another_has_no_use(last: RoundResult, why: str | None) -> None:
    over = why_over([result(1, 0.9), last] if last.number > 1 else [last], 3)
    assert over is None if why is None else why in str(over)
