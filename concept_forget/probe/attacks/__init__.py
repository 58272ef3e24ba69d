"""Attacks: small registered functions that turn a row of the probe into requests."""

from __future__ import annotations

from concept_forget.probe.attacks import asking, persuading, weights
from concept_forget.probe.attacks.change import Change, Material
from concept_forget.probe.attacks.registry import ATTACKS, Attack, attacks_named
from concept_forget.probe.attacks.scene import Scene, set_scene, wordings

__all__ = [
    "ATTACKS",
    "Attack",
    "Change",
    "Material",
    "Scene",
    "asking",
    "attacks_named",
    "persuading",
    "set_scene",
    "weights",
    "wordings",
]
