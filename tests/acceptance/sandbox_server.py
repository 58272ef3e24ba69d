"""A taught sandbox model behind OpenAI's protocol, in a process that can be killed and is there again at once.

The model is loaded once, in the process that starts servers; each of them is a fork of it. What was answered is kept
in a file, so that a reply costs its latency alone from the second time on, and is the same each time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.records import ModelSpec

LATENCY = 0.02


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SandboxServers:
    """Starts servers of one model, one after the other, on one port.

    Args:
        model: The model's folder.
        kept: A file of JSON lines: every request and its reply.
        port: Where they listen.
    """

    def __init__(self, model: Path, kept: Path, port: int) -> None:
        self._engine = TransformersEngine(ModelSpec(str(model), fingerprint="sandbox"))
        self._kept = kept
        self.port = port

    @property
    def known(self) -> int:
        """How many different requests were answered so far."""
        return len(_read(self._kept))

    def start(self, dies_at: int | None = None) -> ForkProcess:
        """Start one; it kills itself with SIGKILL when request number ``dies_at`` is half answered."""
        process = multiprocessing.get_context("fork").Process(target=self._serve, args=(dies_at,), daemon=True)
        process.start()
        while process.is_alive():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.02)
        return process

    def _serve(self, dies_at: int | None) -> None:
        known, lock = _read(self._kept), threading.Lock()
        asked = 0
        engine, kept = self._engine, self._kept

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                nonlocal asked
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(LATENCY)
                with lock:
                    asked += 1
                    if asked == dies_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    key = json.dumps(body, sort_keys=True)
                    if key not in known:
                        known[key] = _answer(engine, body)
                        with kept.open("a", encoding="utf-8") as file:
                            file.write(json.dumps([key, known[key]]) + "\n")
                answer = json.dumps(known[key]).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                return None

        ThreadingHTTPServer(("127.0.0.1", self.port), Handler).serve_forever()


def _read(path: Path) -> dict[str, Any]:
    """What is kept; a line that a killed server left half written is none."""
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            key, answer = json.loads(line)
        except ValueError:
            continue
        known[key] = answer
    return known


def _answer(engine: TransformersEngine, body: dict[str, Any]) -> dict[str, Any]:
    messages = body["messages"]
    prefill = messages.pop()["content"] if body.get("continue_final_message") else ""
    sampling = Sampling(temperature=body["temperature"], max_new_tokens=body["max_tokens"])
    [[reply]] = engine.generate([Request(messages, prefill, seed=body.get("seed") or 0)], sampling)
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens, "total_tokens": 0}
    choice = {
        "index": 0, "finish_reason": reply.finish_reason, "logprobs": None,
        "message": {"role": "assistant", "content": reply.text},
    }  # fmt: skip
    return {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice],
            "usage": usage}  # fmt: skip
