from __future__ import annotations

import pytest
from pydantic import BaseModel

from concept_forget.engines.protocol import Request, Sampling, check_capabilities
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import CapabilityError


class Answer(BaseModel):
    answer: str


@pytest.mark.parametrize("settings", [{"temperature": -0.1}, {"n": 0}, {"max_new_tokens": 0}])
def test_sampling_that_draws_nothing_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no replies"):
        Sampling(**settings)  # type: ignore[arg-type]


class TextOnlyEngine(TransformersEngine):
    """As an engine behind a server that gives text and nothing else."""

    capabilities = frozenset({"generate"})


def test_an_engine_does_what_it_says_it_can(engine: TransformersEngine) -> None:
    check_capabilities(engine, "generate", [Request("a")], schema=Answer)
    check_capabilities(engine, "logprobs", [Request("a")], moments=True)


def test_each_missing_capability_is_refused_by_name(untaught_spec: object) -> None:
    engine = TextOnlyEngine(untaught_spec)  # type: ignore[arg-type]
    with pytest.raises(CapabilityError, match="cannot do schema; it can do generate"):
        engine.generate([Request("a")], Sampling(), Answer)
    with pytest.raises(CapabilityError, match="cannot do logprobs, moments"):
        engine.score([(Request("a"), "b")], moments=True)


def test_an_adapter_per_request_is_refused_before_anything_is_asked(engine: TransformersEngine) -> None:
    with pytest.raises(CapabilityError, match="adapters"):
        engine.generate([Request("a"), Request("a", adapter="other")], Sampling())
    with pytest.raises(CapabilityError, match="adapters"):
        engine.score([(Request("a", adapter="other"), "b")])
