"""Which rows are computed together: of like length, and no more padded tokens than fit."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], budget: int, rows: Sequence[int] | None = None) -> list[list[int]]:
    """Group items so that in each group (number of rows) × (longest row) stays within a budget.

    Any part of a group keeps to the budget too, and is one group when it is planned anew.

    Args:
        lengths: Tokens of a row of each item.
        budget: Padded tokens a group may hold. An item that is over it by itself gets a group of its own.
        rows: Rows of that length that each item takes; one if not given.

    Returns:
        Groups of positions in ``lengths``, the longest rows first: what does not fit in memory shows at once.
    """
    counts = rows if rows is not None else [1] * len(lengths)
    order = sorted(range(len(lengths)), key=lambda item: (-lengths[item], item))
    groups: list[list[int]] = []
    held = longest = 0
    for item in order:
        if not groups or (held + counts[item]) * longest > budget:
            groups.append([])
            held, longest = 0, lengths[item]
        groups[-1].append(item)
        held += counts[item]
    return groups
