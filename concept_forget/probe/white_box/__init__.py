"""White-box scores: what can be read from the models themselves, in a table of its own beside the verdict."""

from __future__ import annotations

from concept_forget.probe.white_box import lens, membership, memory
from concept_forget.probe.white_box.reading import count_readings, measure_white_box
from concept_forget.probe.white_box.registry import WHITE_BOX, View, WhiteBoxAttack, white_box_named

__all__ = [
    "WHITE_BOX",
    "View",
    "WhiteBoxAttack",
    "count_readings",
    "lens",
    "measure_white_box",
    "membership",
    "memory",
    "white_box_named",
]
