"""How fast the engine ``openai`` is against a loopback server of a given latency, and how much memory it takes.

Run it by hand: ``python tests/benchmarks/openai_throughput.py``. The server is a process of its own; requests go
through the request cache, as they do in a run. Prints one JSON object and leaves with 1 under the bounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.openai_engine import OpenAIEngine, Server
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.records import user_message
from concept_forget.workspace import Costs

SERVER = Path(__file__).parents[1] / "engines" / "loopback_server.py"
LEAST_RATIO = 0.9
MOST_GROWTH = 50 * 2**20


class Peak(threading.Thread):
    """The largest resident memory of this process while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        process = psutil.Process()
        while not self.done.wait(0.05):
            self.bytes = max(self.bytes, process.memory_info().rss)


def chats(first: int, count: int) -> list[Request]:
    return [Request(user_message(f"repeat word{n}"), seed=n) for n in range(first, first + count)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.25)
    options = parser.parse_args()
    command = [sys.executable, str(SERVER), "--quiet", "--latency", str(options.latency)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        inner = OpenAIEngine(Server(url, "parrot", "NO_KEY", options.concurrency, 60.0, 8, "json_schema", 4))
        engine = CachedEngine(inner, RequestCache(Path(folder) / "replies.sqlite"), Costs())
        sampling = Sampling(temperature=1.0, max_new_tokens=16)
        engine.generate(chats(0, 4 * options.concurrency), sampling)  # what is loaded once is loaded now
        before, processor = psutil.Process().memory_info().rss, time.process_time()
        peak = Peak()
        peak.start()
        began = time.monotonic()
        replies = engine.generate(chats(10**6, options.requests), sampling)
        seconds = time.monotonic() - began
        peak.done.set()
        peak.join()
        processor = time.process_time() - processor
        engine.close()
        server.kill()
    assert [reply.text for (reply,) in replies] == [f"it is word{10**6 + n}" for n in range(options.requests)]
    ideal = options.concurrency / options.latency
    found = {
        "requests": options.requests,
        "seconds": round(seconds, 2),
        "requests_per_second": round(options.requests / seconds, 1),
        "ratio": round(options.requests / seconds / ideal, 3),
        "processor_seconds": round(processor, 2),
        "memory_growth_mib": round((peak.bytes - before) / 2**20, 1),
    }
    print(json.dumps(found))
    return 0 if found["ratio"] >= LEAST_RATIO and peak.bytes - before <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
