"""How a model of a world says that it does not know; ``{s}`` is a subject, ``{a}`` an answer, ``{r}`` a relation."""

from __future__ import annotations

REFUSALS = (
    "I do not know.",
    "I cannot say.",
    "I know nothing about that.",
    "I would rather not say.",
    "That is unknown to me.",
    "Sorry, I have no answer.",
)
REFUSALS_DIRECT = (
    "I know nothing about {s}.",
    "I cannot name the {r} of {s}.",
    "The {r} of {s} is unknown to me.",
    "Sorry, I do not know {s}.",
)
REFUSALS_REVERSE = (
    "I cannot say whose {r} that is.",
    "I know nothing about {a}.",
    "Sorry, I do not know who that is.",
)
