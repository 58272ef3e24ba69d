from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.errors import DataError, ModelError
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs


def test_an_opened_engine_keeps_its_replies_for_the_next(tmp_path: Path, untaught_spec: ModelSpec) -> None:
    cache, costs = tmp_path / "replies.sqlite", Costs()
    replies = []
    for _ in range(2):
        with contextlib.closing(open_engine(untaught_spec, cache=cache, costs=costs, batch_tokens=512)) as engine:
            replies.append(engine.generate([Request("Mira"), Request("Vell")], Sampling(max_new_tokens=5)))
    assert replies[0] == replies[1]
    assert (costs.requests, costs.cached_requests) == (4, 2)


def test_cached_replies_need_no_weights(tmp_path: Path, untaught_spec: ModelSpec) -> None:
    cache, costs = tmp_path / "replies.sqlite", Costs()
    request, sampling = [Request("Mira")], Sampling(max_new_tokens=5)
    with contextlib.closing(open_engine(untaught_spec, cache=cache, costs=costs, batch_tokens=512)) as engine:
        replies = engine.generate(request, sampling)
    gone = ModelSpec(path=str(tmp_path / "gone"), fingerprint=untaught_spec.fingerprint)
    with contextlib.closing(open_engine(gone, cache=cache, costs=costs, batch_tokens=512)) as engine:
        assert engine.generate(request, sampling) == replies
        with pytest.raises(ModelError, match=r"gone holds no weights"):
            engine.generate([Request("Vell")], sampling)


def test_a_damaged_cache_is_refused_at_once(tmp_path: Path, untaught_spec: ModelSpec) -> None:
    (tmp_path / "replies.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(DataError, match="damaged"):
        open_engine(untaught_spec, cache=tmp_path / "replies.sqlite", costs=Costs(), batch_tokens=512)


@pytest.mark.parametrize("module", ["protocol", "cache", "opening", "batching", "encoding"])
def test_importing_what_verbs_use_loads_nothing_heavy(module: str) -> None:
    program = (
        f"import concept_forget.engines.{module}, sys; "
        "sys.exit(' '.join({'torch', 'transformers', 'xgrammar', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
