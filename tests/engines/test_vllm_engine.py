from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import BaseModel

from concept_forget.engines.protocol import Reply, Request, Sampling, StreamingEngine
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.engines.versions import engine_problem
from concept_forget.errors import CapabilityError, DataError, EngineError, ModelError
from concept_forget.records import ModelSpec, user_message

if problem := engine_problem("vllm"):
    pytest.skip(f"vLLM cannot be used: {problem}", allow_module_level=True)

from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings

pytestmark = pytest.mark.vllm
GREEDY = Sampling(max_new_tokens=48)
SAMPLED = Sampling(temperature=1.0, n=3, max_new_tokens=16)


class Names(BaseModel):
    names: list[str]


@pytest.fixture(scope="module")
def spec(nano_model: Path) -> ModelSpec:
    return ModelSpec(path=str(nano_model), dtype="float32", fingerprint="nano")


@pytest.fixture(scope="module")
def vllm(spec: ModelSpec) -> Iterator[VllmEngine]:
    """One engine for all tests: it takes most of a minute to start."""
    engine = VllmEngine(spec, VllmSettings())
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local(spec: ModelSpec) -> TransformersEngine:
    return TransformersEngine(spec)


def flat(replies: list[list[Reply]]) -> list[Reply]:
    return [reply for several in replies for reply in several]


def test_greedy_replies_are_those_of_the_transformers_engine(
    vllm: VllmEngine, local: TransformersEngine, nano_questions: list[Request]
) -> None:
    assert isinstance(vllm, StreamingEngine)
    requests = [*nano_questions[:160], *(Request(r.prompt, prefill="It") for r in nano_questions[160:180])]
    requests += [Request(str(r.prompt[0]["content"])) for r in nano_questions[180:200]]  # type: ignore[index]
    expected = flat(local.generate(requests, GREEDY))
    replies = flat(vllm.generate(requests, GREEDY))
    assert sum(one == other for one, other in zip(replies, expected, strict=True)) >= 196
    assert {reply.finish_reason for reply in replies} >= {"stop"}
    cut = flat(vllm.generate(requests[:20], Sampling(max_new_tokens=2)))
    assert [(r.finish_reason, r.completion_tokens) for r in cut] == [
        (r.finish_reason, r.completion_tokens) for r in flat(local.generate(requests[:20], Sampling(max_new_tokens=2)))
    ]


def test_scores_are_those_of_the_transformers_engine(
    vllm: VllmEngine, local: TransformersEngine, nano_questions: list[Request]
) -> None:
    pairs = [
        (request, f"It is {word} Dunholm.") for request, word in zip(nano_questions[:40], "abcd" * 10, strict=True)
    ]
    pairs += [(Request(" ".join(["river"] * 150), prefill=" and"), " town"), (Request("Mira"), " Kestrel")]
    for one, other in zip(vllm.score(pairs), local.score(pairs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        assert one.prompt_tokens == other.prompt_tokens
        assert sum(a != b for a, b in zip(one.ranks, other.ranks, strict=True)) <= 1


def test_sampled_replies_depend_on_their_seeds_alone(vllm: VllmEngine, nano_questions: list[Request]) -> None:
    replies = vllm.generate(nano_questions[:20], SAMPLED)
    assert vllm.generate(nano_questions[19:4:-1], SAMPLED) == replies[19:4:-1]
    other = [Request(request.prompt, seed=request.seed + 1000) for request in nano_questions[:20]]
    assert vllm.generate(other, SAMPLED) != replies
    assert vllm.generate(other, GREEDY) == vllm.generate(nano_questions[:20], GREEDY)


def test_the_first_of_more_replies_are_those_of_fewer(vllm: VllmEngine) -> None:
    request = [Request("the old", seed=3)]
    [five] = vllm.generate(request, Sampling(temperature=2.0, n=5, max_new_tokens=12))
    [two] = vllm.generate(request, Sampling(temperature=2.0, n=2, max_new_tokens=12))
    assert five[:2] == two
    assert len({reply.text for reply in five}) > 2


def test_replies_are_held_to_a_schema(vllm: VllmEngine, nano_questions: list[Request]) -> None:
    whole = 0
    for reply in flat(vllm.generate(nano_questions[:10], Sampling(temperature=1.0, max_new_tokens=120), Names)):
        assert reply.text.startswith("{")
        if reply.finish_reason == "stop":
            assert Names.model_validate_json(reply.text)
            whole += 1
    assert whole
    with pytest.raises(CapabilityError, match="prefill"):
        vllm.generate([Request(user_message("a"), prefill="{")], GREEDY, Names)


@pytest.fixture(scope="module")
def adapter(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was never trained, and changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model

    from concept_forget.models import load_model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter")
    settings = LoraConfig(r=8, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(load_model(spec), settings).save_pretrained(folder)
    return folder


def test_an_adapter_is_the_requests_own_and_the_process_does_not_outlive_the_program(
    spec: ModelSpec, adapter: Path
) -> None:
    """One engine for two claims, since it takes most of a minute to start."""
    requests = [Request(user_message(f"Where was {name} born?")) for name in ("Mira", "Vell", "Ostra", "Tarn")]
    adapted = [Request(request.prompt, adapter=str(adapter)) for request in requests]
    engine = VllmEngine(spec, VllmSettings(lora_rank=8))
    with pytest.raises(CapabilityError, match="logprobs"):
        engine.score([(Request("a"), "b")])
    before = workers()
    together = flat(engine.generate([*requests, *adapted], GREEDY))
    alone = flat(engine.generate(requests, GREEDY))
    [child] = [worker for worker in workers() if worker not in before]
    assert engine._process is not None
    engine._process._line.close()  # as the end of the program does it
    deadline = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    engine.close()
    merged = TransformersEngine(ModelSpec(spec.path, dtype="float32", adapter=str(adapter), fingerprint="adapted"))
    assert [r.text for r in together[4:]] == [r.text for r in flat(merged.generate(requests, GREEDY))]
    assert together[:4] == alone != together[4:]


def test_what_it_cannot_do_is_refused(vllm: VllmEngine, spec: ModelSpec) -> None:
    with pytest.raises(CapabilityError, match="moments"):
        vllm.score([(Request("a"), "b")], moments=True)
    plain = VllmEngine(spec, VllmSettings())
    with pytest.raises(CapabilityError, match="adapters"):
        plain.generate([Request("a", adapter="x")], GREEDY)
    with pytest.raises(DataError, match="context holds"):
        plain.generate([Request("river " * 3000)], GREEDY)
    with pytest.raises(ModelError, match=r"lora_rank[\s\S]*the adapter's rank"):
        VllmEngine(ModelSpec(spec.path, adapter="x", fingerprint="x"), VllmSettings())


def test_replies_come_as_they_are_finished_and_stop_when_told(vllm: VllmEngine) -> None:
    stop, groups = threading.Event(), 0
    draws = [(Request("the old river", seed=number), 0) for number in range(600)]
    seen: set[int] = set()
    for group in vllm.stream(draws, Sampling(temperature=1.5, max_new_tokens=60), None, stop):
        groups += 1
        seen |= {place for place, _ in group}
        stop.set()
    assert groups >= 1
    assert len(seen) < 600
    assert flat(vllm.generate([Request("the old")], GREEDY))  # and it can be asked again


def test_a_process_that_dies_is_an_error_and_the_next_call_starts_another(
    vllm: VllmEngine, nano_questions: list[Request]
) -> None:
    before = flat(vllm.generate(nano_questions[:3], GREEDY))
    [child] = workers()
    memory = child.memory_info().rss
    child.send_signal(signal.SIGKILL)
    with pytest.raises(EngineError, match=r"came to an end[\s\S]*goes on"):
        vllm.generate(nano_questions[:3], GREEDY)
    assert not workers()
    assert memory > 200 * 2**20  # what is given back
    assert flat(vllm.generate(nano_questions[:3], GREEDY)) == before
    vllm.close()
    assert not workers()


def workers() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children()
    return [c for c in children if c.status() != psutil.STATUS_ZOMBIE and "vllm_worker" in " ".join(c.cmdline())]


def test_a_model_that_cannot_be_loaded_is_named(nano_model: Path, tmp_path: Path) -> None:
    for file in nano_model.glob("*"):
        if file.is_file():
            (tmp_path / file.name).write_bytes(b"none" if file.suffix == ".safetensors" else file.read_bytes())
    engine = VllmEngine(ModelSpec(str(tmp_path), fingerprint="gone"), VllmSettings())
    with pytest.raises(ModelError, match="vLLM cannot load the model"):
        engine.generate([Request("the old")], GREEDY)
    assert not workers()
