"""Attacks: small registered functions that turn a row of the probe into requests."""

from __future__ import annotations

from concept_forget.probe.attacks import asking
from concept_forget.probe.attacks.registry import ATTACKS, Attack, attacks_named

__all__ = ["ATTACKS", "Attack", "asking", "attacks_named"]
