from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="the extra `openai` is not installed")

from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.errors import EngineError
from concept_forget.workspace import Costs
from tests.engines.test_openai_engine import SAMPLED, Start, chats, kept
from tests.engines.test_openai_engine import start as start


@pytest.mark.parametrize("back_after", [None, 0.5])
def test_a_server_killed_in_the_middle_costs_nothing_that_it_had_answered(
    start: Start, tmp_path: Path, back_after: float | None
) -> None:
    """It is dead for good, and the next try asks the rest; or it is back soon, and the same try goes on."""
    server, path = start("--latency", 0.03), tmp_path / "replies.sqlite"
    early: list[str] = []

    def end_it() -> None:
        while len(server.log()) < 60:
            time.sleep(0.02)
        server.process.kill()
        server.process.wait()
        early.append(str(kept(path)))
        if back_after is not None:
            time.sleep(back_after)
            start("--port", server.port)

    ending = threading.Thread(target=end_it)
    ending.start()
    patience = {"attempts": 3} if back_after is None else {"attempts": 12, "backoff": 0.1}
    engine = CachedEngine(server.engine(concurrency=8, **patience), RequestCache(path), Costs())
    with pytest.raises(EngineError, match="does not answer") if back_after is None else contextlib.nullcontext():
        engine.generate(chats(300), SAMPLED)
    ending.join()
    assert 20 < int(early[0]) < 300
    if back_after is None:
        assert int(early[0]) <= kept(path) < 300
        start("--port", server.port)
    costs = Costs()
    again = CachedEngine(server.engine(), RequestCache(path), costs)
    replies = [reply.text for (reply,) in again.generate(chats(300), SAMPLED)]
    assert replies == [f"it is word{n}" for n in range(300)]
    assert costs.cached_requests >= int(early[0]) if back_after is None else costs.cached_requests == 300
    engine.close()
    again.close()
