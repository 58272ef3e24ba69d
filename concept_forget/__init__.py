"""concept_forget: write the data that makes a language model forget a concept, unlearn it, measure what is left."""

from __future__ import annotations

from concept_forget.api import (
    compare,
    compose,
    expand,
    export,
    keep_verbs,
    load_config,
    mine,
    plan,
    probe,
    probe_model,
    report,
    run,
    unlearn,
)
from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.protocol import Request
from concept_forget.errors import ConceptForgetError, UserError
from concept_forget.pipeline import RunResult, Step
from concept_forget.probe.attacks import attack

__all__ = [
    "Concept",
    "ConceptForgetError",
    "Config",
    "Request",
    "RunResult",
    "Step",
    "UserError",
    "attack",
    "compare",
    "compose",
    "expand",
    "export",
    "load_config",
    "mine",
    "plan",
    "probe",
    "probe_model",
    "report",
    "run",
    "unlearn",
]

keep_verbs(__name__)
