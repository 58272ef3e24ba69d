"""Attacks: small registered functions that turn a row of the probe into requests."""

from __future__ import annotations

from concept_forget.probe.attacks import asking, persuading, repeating, weights
from concept_forget.probe.attacks.change import Change, Material
from concept_forget.probe.attacks.files import find_attacks
from concept_forget.probe.attacks.registry import ATTACKS, Attack, attack, attacks_named
from concept_forget.probe.attacks.rewording import asked, say_instead
from concept_forget.probe.attacks.scene import Scene, holds_answer, set_scene, wordings

__all__ = [
    "ATTACKS",
    "Attack",
    "Change",
    "Material",
    "Scene",
    "asked",
    "asking",
    "attack",
    "attacks_named",
    "find_attacks",
    "holds_answer",
    "persuading",
    "repeating",
    "say_instead",
    "set_scene",
    "weights",
    "wordings",
]
