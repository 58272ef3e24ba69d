"""The losses: what pushes answers out of a model, and what holds the rest in place.

Each is a pure function of a view that holds answer positions only, and declares what it needs and over what it is a
mean. That is all that the rest of the program knows about it.
"""

from __future__ import annotations

from concept_forget.unlearn.objectives import distributions, likelihoods, preferences, representations
from concept_forget.unlearn.objectives.registry import (
    FORGET_TERMS,
    RETAIN_TERMS,
    AnswerView,
    Need,
    Objective,
    ReferenceView,
)

__all__ = [
    "FORGET_TERMS",
    "RETAIN_TERMS",
    "AnswerView",
    "Need",
    "Objective",
    "ReferenceView",
    "distributions",
    "likelihoods",
    "preferences",
    "representations",
]
