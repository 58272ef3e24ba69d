from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

pytest.importorskip("openai", reason="the extra `openai` is not installed")

from concept_forget.config import GeneratorConfig
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.openai_engine import OpenAIEngine, Server
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Request, Sampling, StreamingEngine
from concept_forget.errors import CapabilityError, ConceptForgetError, EngineError, ModelError
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.replies import EMPTY, NOT_JSON
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import user_message
from concept_forget.workspace import Costs

PROGRAM = Path(__file__).with_name("loopback_server.py")
GREEDY = Sampling(max_new_tokens=16)
SAMPLED = Sampling(temperature=1.0, max_new_tokens=16)


class Word(BaseModel):
    model_config = ConfigDict(extra="forbid")

    word: str


class Running:
    """A loopback server in a process of its own."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}/v1"

    def log(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/log") as answer:
            entries: list[dict[str, Any]] = json.load(answer)
        return entries

    def engine(self, **settings: Any) -> OpenAIEngine:
        usual = Server(
            base_url=self.url, model="parrot", api_key_env="TEST_SERVER_KEY", concurrency=32, timeout=20.0, attempts=12,
            structured="json_schema", room=4, backoff=0.02,
        )  # fmt: skip
        return OpenAIEngine(replace(usual, **settings))


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers, and ends them after the test."""
    with contextlib.ExitStack() as stack:

        def begin(*options: object) -> Running:
            command = [sys.executable, str(PROGRAM), *map(str, options)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdout is not None
            stack.callback(process.kill)
            return Running(int(process.stdout.readline()), process)

        yield begin


def chats(count: int, word: str = "word") -> list[Request]:
    return [Request(user_message(f"repeat {word}{n}"), seed=n) for n in range(count)]


def kept(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM entries").fetchone()[0])


# ---- replies


def test_each_request_gets_its_own_reply_in_order(start: Start) -> None:
    engine = start("--latency", 0.01).engine()
    assert isinstance(engine, StreamingEngine)
    replies = engine.generate(chats(100), Sampling(temperature=1.0, n=2))
    assert [[reply.text for reply in several] for several in replies] == [[f"it is word{n}"] * 2 for n in range(100)]
    assert replies[0][0].finish_reason == "stop"
    assert (replies[0][0].prompt_tokens, replies[0][0].completion_tokens) == (2, 3)


def test_the_space_before_a_chats_first_word_is_not_the_replys(start: Start) -> None:
    engine = start("--space").engine()
    whole, opened, text = (
        Request(user_message("repeat tern")),
        Request(user_message("tern"), prefill="Now"),
        Request("tern"),
    )
    replies = [reply.text for (reply,) in engine.generate([whole, opened, text], GREEDY)]
    assert replies[0] == "it is tern"
    assert [reply[0] for reply in replies[1:]] == [" ", " "]  # what goes on in the middle of a text needs its space


def test_what_is_sent_is_what_was_asked(start: Start) -> None:
    server = start()
    chat, text = Request(user_message("say it"), prefill="Well", seed=5, adapter="other"), Request("go on", seed=6)
    server.engine().generate([chat, text], Sampling(temperature=0.7, n=2, max_new_tokens=9))
    server.engine().generate([text], Sampling(max_new_tokens=9))
    asked = {(entry["path"], entry["body"].get("seed")): entry["body"] for entry in server.log()}
    assert len(asked) == 5  # every reply under a seed of its own, and the greedy one under none
    for (path, seed), body in asked.items():
        assert body["max_tokens"] == 9
        assert body["temperature"] == (0.7 if seed is not None else 0)
        if path == "/v1/chat/completions":
            assert [m["role"] for m in body["messages"]] == ["user", "assistant"]
            assert body["continue_final_message"] is True
            assert body["model"] == "other"
        else:
            assert body["prompt"] == "go on"
            assert body["model"] == "parrot"


def test_a_schema_is_asked_for_and_checked(start: Start) -> None:
    server = start()
    [[reply]] = server.engine().generate([Request(user_message("repeat tern"))], GREEDY, Word)
    assert json.loads(reply.text) == {"word": "tern"}
    shape = server.log()[0]["body"]["response_format"]["json_schema"]
    assert shape["strict"] is True
    assert shape["schema"]["required"] == ["word"]
    with pytest.raises(CapabilityError, match="schema"):
        server.engine(structured="none").generate(chats(1), GREEDY, Word)


def test_a_reply_that_was_cut_off_is_asked_for_again_with_more_room(start: Start) -> None:
    server = start()
    requests = [Request(user_message(f"repeat long-{needed}")) for needed in (16, 20, 60, 1000)]
    replies = [reply for (reply,) in server.engine().generate(requests, GREEDY)]
    rooms: dict[str, list[int]] = {}
    for entry in server.log():
        rooms.setdefault(entry["prompt"].split("-")[1], []).append(entry["body"]["max_tokens"])
    assert rooms == {"16": [16], "20": [16, 32], "60": [16, 32, 64], "1000": [16, 32, 64]}
    assert [reply.finish_reason for reply in replies] == ["stop", "stop", "stop", "length"]
    assert [reply.completion_tokens for reply in replies] == [16, 16 + 20, 16 + 32 + 60, 16 + 32 + 64]


def test_a_server_that_calls_the_limit_otherwise_is_followed(start: Start) -> None:
    server = start("--new-limit-name")
    [[reply]] = server.engine(concurrency=1).generate(chats(1), GREEDY)
    assert reply.text == "it is word0"
    assert server.log()[-1]["body"]["max_completion_tokens"] == 16


# ---- faults


def test_under_all_faults_nothing_is_lost_and_nothing_is_asked_twice(start: Start, tmp_path: Path) -> None:
    server = start("--faults", 0.2, "--latency", 0.01, "--stall", 30)
    requests, path = chats(400), tmp_path / "replies.sqlite"
    for turn in range(2):
        engine = CachedEngine(server.engine(timeout=1.5), RequestCache(path), Costs())
        replies = [reply for (reply,) in engine.generate(requests, SAMPLED, Word)]
        engine.close()
        log = server.log()
        if turn == 0:
            before = len(log)
            faults = Counter(entry["did"] for entry in log)
            assert set(faults) == {"good", "429", "500", "dropped", "half", "empty", "schema", "stall"}
    assert [json.loads(reply.text) for reply in replies] == [{"word": f"word{n}"} for n in range(400)]
    good = Counter(entry["prompt"] for entry in log if entry["did"] == "good")
    assert good == Counter({request.prompt[0]["content"]: 1 for request in requests})  # type: ignore[index]
    assert len(log) == before
    assert kept(path) == 400


PROMPT = "---\ndescription: Says a word.\nreturns: json\n---\nrepeat {{ question }}\n"


def test_under_all_faults_every_item_is_obtained_or_rejected_with_a_reason(start: Start, tmp_path: Path) -> None:
    server = start("--faults", 0.2, "--latency", 0.01, "--stall", 30, "--seed", 1)
    (tmp_path / "paraphrases.jinja").write_text(PROMPT, encoding="utf-8")
    hopeless = {
        "always-400": "the request was refused", "always-filtered": "the request was refused",
        "always-schema": NOT_JSON, "always-empty": EMPTY,
    }  # fmt: skip
    words = [f"word{n}" for n in range(150)] + [f"{kind}-{n}" for kind in hopeless for n in range(5)]
    words.sort(key=lambda word: word[::-1])  # those that are answered and the others by turns
    wishes = [Wish((word,), {"question": word}) for word in words]
    settings = GeneratorConfig.model_validate({"engine": "openai", "base_url": server.url, "model": "parrot"})
    sent = []
    for _ in range(2):
        engine = CachedEngine(server.engine(timeout=1.5), RequestCache(tmp_path / "replies.sqlite"), Costs())
        ledger = Ledger()
        writer = Writer(engine, load_prompts(tmp_path), settings, 0, ledger)
        items = writer.gather("paraphrases", "paraphrases", wishes)
        engine.close()
        sent.append(len(server.log()))
        assert items == [[(word,)] if word.startswith("word") else [] for word in words]
        rejected = [json.loads(line) for line in ledger.rejected_jsonl().splitlines()]
        assert {row["parents"][0]: row["reason"] for row in rejected} == {
            word: hopeless[word.rpartition("-")[0]] for word in words if not word.startswith("word")
        }
        assert len(rejected) == 20
    assert sent[0] == sent[1]


def test_what_stays_wrong_is_given_as_it_is_and_kept(start: Start, tmp_path: Path) -> None:
    server = start()
    texts = ["always-empty", "always-schema", "always-400", "always-filtered", "always-500", "tern"]
    requests = [Request(user_message(f"repeat {text}")) for text in texts]
    replies = []
    for _ in range(2):
        engine = CachedEngine(server.engine(attempts=3), RequestCache(tmp_path / "replies.sqlite"), Costs())
        replies.append([reply for (reply,) in engine.generate(requests, GREEDY, Word)])
        engine.close()
    assert replies[0] == replies[1]
    assert [reply.text for reply in replies[0]] == ["", '{"wrong": 1}', "", "", "", '{"word": "tern"}']
    assert [r.finish_reason for r in replies[0]] == ["stop", "stop", "refused", "refused", "failed", "stop"]
    assert "told to say 400" in replies[0][2].problem
    assert "content filter" in replies[0][3].problem
    assert "told to say 500" in replies[0][4].problem
    times = Counter(entry["prompt"].split()[1] for entry in server.log())
    # What failed is tried again another time, and nothing else is.
    assert times == {"always-empty": 4, "always-schema": 4, "always-400": 1, "always-filtered": 1, "always-500": 6, "tern": 1}  # fmt: skip


def test_a_wait_that_the_server_asks_for_is_kept(start: Start) -> None:
    server = start("--retry-after", 0.6)
    server.engine(backoff=0.001).generate(chats(6), GREEDY)
    first: dict[str, float] = {}
    for entry in server.log():
        if entry["did"] == "429":
            first[entry["prompt"]] = entry["done"]
        else:
            assert entry["at"] - first[entry["prompt"]] >= 0.6


def test_a_server_with_few_places_is_not_overrun(start: Start) -> None:
    server = start("--places", 4, "--latency", 0.05)
    replies = server.engine(attempts=50, backoff=0.05).generate(chats(300), GREEDY)
    assert [reply.text for (reply,) in replies] == [f"it is word{n}" for n in range(300)]
    did = Counter(entry["did"] for entry in server.log())
    assert did["good"] == 300
    assert did["429"] < 150  # 32 at once would be turned away seven times of eight


def test_a_server_that_is_down_is_an_error(start: Start, tmp_path: Path) -> None:
    server, path = start(), tmp_path / "replies.sqlite"
    engine = CachedEngine(server.engine(base_url="http://127.0.0.1:9/v1", attempts=2), RequestCache(path), Costs())
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1 does not answer: Connection error[\s\S]*goes on"):
        engine.generate(chats(20), GREEDY)
    [[reply]] = engine.generate(chats(1), GREEDY)  # of a single one nobody can tell
    assert (reply.finish_reason, reply.text) == ("failed", "")
    assert "Connection error" in reply.problem
    engine.close()
    assert kept(path) == 0


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        (("--key", "secret"), {}, r"refuses the key[\s\S]*TEST_SERVER_KEY"),
        ((), {"model": "unknown"}, "has no model 'unknown'"),
    ],
)
def test_a_wrong_setting_ends_it_at_once(
    start: Start, options: tuple[object, ...], settings: dict[str, Any], message: str
) -> None:
    server = start(*options, "--latency", 0.05)
    with pytest.raises(ModelError, match=message):
        server.engine(**settings).generate(chats(500), GREEDY)
    assert len(server.log()) <= 64


def test_the_key_comes_from_the_environment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SERVER_KEY", "secret")
    engine = start("--key", "secret").engine()
    assert engine.generate(chats(1), GREEDY)[0][0].text == "it is word0"
    assert "secret" not in engine.identity


def test_a_server_that_refuses_everything_is_a_wrong_setting(start: Start) -> None:
    server = start("--latency", 0.02)
    with pytest.raises(ModelError, match=r"answers none of \d+ requests: 400[\s\S]*structured"):
        server.engine().generate(chats(500, "always-400-"), GREEDY)
    assert len(server.log()) < 150


# ---- interruption

ASKING = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from concept_forget.engines.cache import CachedEngine, RequestCache
    from concept_forget.engines.openai_engine import OpenAIEngine, Server
    from concept_forget.engines.protocol import Request, Sampling
    from concept_forget.records import user_message
    from concept_forget.workspace import Costs

    server = Server(sys.argv[1], "parrot", "NO_KEY", 8, 20.0, 5, "json_schema", 4)
    engine = CachedEngine(OpenAIEngine(server), RequestCache(Path(sys.argv[2])), Costs())
    requests = [Request(user_message(f"repeat word{n}"), seed=n) for n in range(400)]
    print("asking", flush=True)
    try:
        engine.generate(requests, Sampling(temperature=1.0, max_new_tokens=16))
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
    """
)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_what_was_answered_before_the_end_is_kept_and_not_asked_again(
    start: Start, tmp_path: Path, ending: signal.Signals
) -> None:
    server, path = start("--latency", 0.1), tmp_path / "replies.sqlite"
    command = [sys.executable, "-c", ASKING, server.url, str(path)]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    asking.stdout.readline()
    while len(server.log()) < 60:
        time.sleep(0.05)
    at = time.time()
    asking.send_signal(ending)
    rest = asking.communicate(timeout=60)[0]
    assert (asking.returncode, rest) == ((130, "stopped\n") if ending is signal.SIGINT else (-9, ""))
    early = {entry["prompt"] for entry in server.log() if 0 < entry["done"] < at - 0.5}
    assert len(early) > 5
    assert len(early) <= kept(path) < 400
    first = len(server.log())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = {entry["prompt"] for entry in server.log()[first:]}
    assert not again & early
    assert kept(path) == 400
    served = Counter(entry["prompt"] for entry in server.log())
    assert max(served.values()) <= 2
    assert sum(count - 1 for count in served.values()) <= 16  # only what was under way


# ---- scores


def test_a_server_without_scores_says_so(start: Start) -> None:
    engine = start().engine()
    with pytest.raises(CapabilityError, match=r"cannot score a given text[\s\S]*vLLM's server can"):
        engine.score([(Request(user_message("repeat tern")), "it is tern")])
    with pytest.raises(CapabilityError, match="moments"):
        engine.score([(Request("repeat"), " tern")], moments=True)


def test_its_errors_are_the_programs_own(start: Start) -> None:
    with pytest.raises(ConceptForgetError):
        start().engine(model="unknown").generate(chats(1), GREEDY)
