"""Exports: the finished sets of a run in the file layout of other programs, one module per family of targets.

``concept_forget.exports.exporting`` is the front door.
"""

from __future__ import annotations

from concept_forget.exports import llama_factory, lm_eval, muse, open_unlearning, plain, rwku, trl
from concept_forget.exports.registry import TARGETS, Target, find_target

__all__ = [
    "TARGETS",
    "Target",
    "find_target",
    "llama_factory",
    "lm_eval",
    "muse",
    "open_unlearning",
    "plain",
    "rwku",
    "trl",
]
