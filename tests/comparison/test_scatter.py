from __future__ import annotations

import itertools
import re

import pytest

from concept_forget.comparison.scatter import Point, scatter_chart


def label_heights(*points: Point) -> dict[str, float]:
    found = re.findall(r'<text x="[\d.]+" y="([\d.]+)">(\w+)</text></g>', scatter_chart(points, "arms"))
    return {label: float(height) for height, label in found}


def test_labels_of_points_in_one_place_can_all_be_read() -> None:
    heights = label_heights(*(Point(label, 0.99, 0.8, 10.0) for label in ("first", "second", "third")))
    placed = sorted(heights.values())
    assert [b - a for a, b in itertools.pairwise(placed)] == pytest.approx([16.0, 16.0])


def test_a_label_stands_beside_its_point_where_there_is_room() -> None:
    heights = label_heights(Point("low", 1.0, 0.0, None), Point("high", 1.0, 1.0, None))
    assert heights == {"low": pytest.approx(420 - 44 + 4), "high": pytest.approx(16 + 4)}
