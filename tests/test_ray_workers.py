"""All that starts Ray, in one file: its tests share one cluster, with two workers on this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from concept_forget import load_config, plan, run
from concept_forget.config import Config, CorpusSource, ExecutionConfig
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Engine, ParallelEngine, Reply, Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.engines.versions import engine_problem
from concept_forget.engines.workers_engine import WorkersEngine, slices
from concept_forget.errors import ConceptForgetError, ConfigError, DataError, EngineError
from concept_forget.execution import Workers, current_workers, handing_out_to, working
from concept_forget.mine import stage as mine
from concept_forget.mine.corpus import Corpus, find_sources
from concept_forget.out_of_memory import in_halves, recording_halvings
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs, StageContext, read_json

ray_workers = pytest.importorskip("concept_forget.ray_workers")

pytestmark = pytest.mark.long

TWO = ExecutionConfig(engine="ray", workers=2)
SAMPLED = Sampling(temperature=1.0, n=2, max_new_tokens=12)
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A Ray on this machine with room for the shared workers and those of a run, stopped with all its processes."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers know the package, not its tests
    patch = pytest.MonkeyPatch()
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("EC2_METADATA_DISABLED", "true")):
        patch.setenv(f"AWS_{name}", value)  # of the store below; the workers have the environment of now

    folder = tempfile.mkdtemp(prefix="ray-")  # not pytest's own: the path of a socket may have 107 characters
    before = _children()
    try:
        ray_workers.join_ray(TWO, num_cpus=4, object_store_memory=150 << 20, _temp_dir=folder)
        started = _children() - before
        yield
    finally:
        ray.shutdown()
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)
    assert started
    assert _ended(started, 20.0)


@pytest.fixture(scope="session")
def workers(cluster: None) -> Iterator[Workers]:
    """Two workers that have loaded what takes long to load once one test made them; nothing is handed out to them yet."""
    with contextlib.closing(ray_workers.RayWorkers(TWO)) as found:
        yield found


@pytest.fixture(autouse=True)
def _as_many_threads_as_a_worker() -> Iterator[None]:
    """One, for the last bits of a product depend on their number."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def spec(nano_model: Path) -> ModelSpec:
    return ModelSpec(str(nano_model), dtype="float32", fingerprint="nano")


@pytest.fixture(scope="module")
def questions() -> list[Request]:
    """A hundred questions to the nano model."""
    world = build_world(0, "nano")
    texts = [fact.fill(wording) for fact in world.facts for wording in fact.relation.questions]
    return [Request(user_message(text), seed=number) for number, text in enumerate(texts[:100])]


def _children() -> set[int]:
    """Processes below this one, that is the ones of Ray, for it is asked before and after."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _ended(processes: set[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(Path(f"/proc/{process}").exists() for process in processes):
        time.sleep(0.1)
    return not any(Path(f"/proc/{process}").exists() for process in processes)


def no_preparation() -> str:
    return "held"


def tell_process(held: str, job: int) -> int:
    time.sleep(0.3)  # so that the other worker takes a job too
    return os.getpid()


def processes_of(workers: Workers) -> set[int]:
    return {process for _, process in workers.compute("process", no_preparation, tell_process, [0, 1])}


def kill_one(workers: Workers) -> int:
    """Kill the process of a worker, as the machine would for want of memory."""
    process = min(processes_of(workers))
    os.kill(process, signal.SIGKILL)
    return process


# --- what the workers do ---


def square(held: str, job: int) -> int:
    assert held == "held"
    return job * job


def test_each_job_is_done_once_by_several_processes(workers: Workers) -> None:
    done = list(workers.compute("squares", no_preparation, square, range(30)))
    assert sorted(done) == [(job, job * job) for job in range(30)]
    assert workers.count == len(processes_of(workers)) == 2
    assert os.getpid() not in processes_of(workers)


def die_at_three(folder: str, job: int) -> int:
    if job == 3:
        (Path(folder) / f"{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_job_over_which_every_worker_dies_is_given_up_in_words(workers: Workers, tmp_path: Path) -> None:
    done: list[int] = []
    results = workers.compute("deadly", lambda: str(tmp_path), die_at_three, [1, 3, 5, 7])
    with pytest.raises(EngineError, match="4 workers came to an end over the same job") as caught:
        done.extend(result for _, result in results)
    assert "lower `batch_tokens`" in str(caught.value)
    assert len(list(tmp_path.iterdir())) == ray_workers.RETRIES + 1  # each time another process
    assert {1, 5, 7} >= set(done)
    assert sorted(workers.compute("squares", no_preparation, square, range(4))) == [(n, n * n) for n in range(4)]


def tell_accelerators(held: str, job: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_workers_without_accelerators_see_none(workers: Workers) -> None:
    assert list(workers.compute("accelerators", no_preparation, tell_accelerators, [0])) == [(0, "")]


class Stillborn:
    """An actor that a machine without the program makes of it."""

    def __init__(self, has_accelerator: bool) -> None:
        raise ModuleNotFoundError("No module named 'concept_forget'")

    def ready(self) -> None:
        return None


def test_workers_that_cannot_start_are_given_up_in_words(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_Worker", Stillborn)
    with working(ExecutionConfig(engine="ray", workers=1)):
        workers = current_workers()
        assert workers is not None
        with pytest.raises(EngineError, match="before they did anything") as caught:
            list(workers.compute("squares", no_preparation, square, [1]))
    assert "No module named 'concept_forget'" in str(caught.value)
    assert "the same program" in str(caught.value)


def fail_for_the_user(held: str, job: int) -> int:
    raise DataError("a row is too long", file="rows.jsonl", line=7, key="data.forget", remedy="shorten it")


def fail_by_mistake(held: str, job: int) -> int:
    return 1 // job


def test_a_users_mistake_arrives_as_it_was_raised(workers: Workers) -> None:
    with pytest.raises(DataError) as caught:
        list(workers.compute("mistake", no_preparation, fail_for_the_user, [0]))
    expected = DataError("a row is too long", file="rows.jsonl", line=7, key="data.forget", remedy="shorten it")
    assert str(caught.value) == str(expected)
    assert (caught.value.file, caught.value.line, caught.value.key) == ("rows.jsonl", 7, "data.forget")


def test_a_fault_in_a_worker_is_told_with_its_traceback(workers: Workers) -> None:
    with pytest.raises(ConceptForgetError, match="fail_by_mistake") as caught:
        list(workers.compute("fault", no_preparation, fail_by_mistake, [0]))
    assert "ZeroDivisionError" in str(caught.value)
    assert caught.value.exit_code == 3


def give_in_halves(held: str, job: int) -> list[int]:
    import torch

    def give(batch: Sequence[int]) -> Sequence[int]:
        if len(batch) > 2:
            torch.empty(1 << 50)  # more than there is
        return batch

    return in_halves(give, list(range(job)), "numbers", "batch_tokens")


def test_what_was_halved_in_a_worker_is_told_and_recorded_here(
    workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    with recording_halvings() as told:
        (found,) = workers.compute("halves", no_preparation, give_in_halves, [4])
    assert found == (0, [0, 1, 2, 3])
    assert [line.partition(":")[0] for line in told] == ["Memory does not suffice for 4 numbers"]
    assert capsys.readouterr().err.count("for 4 numbers") == 1


class Closing:
    """Something that says in a file that it was closed."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def close(self) -> None:
        (self.folder / f"{os.getpid()}").touch()


def hold(held: Closing, job: int) -> int:
    return tell_process("", job)


def test_what_is_dropped_is_closed_in_every_worker(workers: Workers, tmp_path: Path) -> None:
    folder = str(tmp_path)
    holders = {process for _, process in workers.compute("held", lambda: Closing(folder), hold, [0, 1])}
    workers.drop("held")
    assert {int(path.name) for path in tmp_path.iterdir()} == holders == processes_of(workers)


def letters(job: str) -> Iterator[str]:
    for number in range(700):
        yield f"{job}{number}"


def test_what_is_read_comes_in_the_order_of_one_process(workers: Workers) -> None:
    jobs = ["c", "a", "b"]
    assert list(workers.read(letters, jobs)) == [
        (place, text) for place, job in enumerate(jobs) for text in letters(job)
    ]


def killed_once(folder: str) -> Iterator[int]:
    for number in range(600):
        if number == 400 and not (mark := Path(folder) / "killed").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def test_a_reader_killed_in_the_middle_loses_and_repeats_nothing(workers: Workers, tmp_path: Path) -> None:
    found = list(workers.read(killed_once, [str(tmp_path)]))
    assert (tmp_path / "killed").exists()
    assert found == [(0, number) for number in range(600)]


def kill_its_reader(job: int) -> Iterator[int]:
    yield job
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_kills_every_process_that_reads_it_is_given_up_in_words(workers: Workers) -> None:
    with pytest.raises(EngineError, match="4 processes came to an end over the same file") as caught:
        list(workers.read(kill_its_reader, [1]))
    assert "the same command goes on from there" in str(caught.value)


def read_by_mistake(job: int) -> Iterator[float]:
    yield 1 / job


def test_a_fault_in_reading_is_told_with_its_traceback(workers: Workers) -> None:
    with pytest.raises(ConceptForgetError, match="read_by_mistake") as caught:
        list(workers.read(read_by_mistake, [0]))
    assert "ZeroDivisionError" in str(caught.value)


def read_without_memory(job: int) -> Iterator[int]:
    yield job
    raise MemoryError("a block")


def test_too_little_memory_for_reading_is_told_as_by_one_process(workers: Workers) -> None:
    with pytest.raises(MemoryError, match=r"^a block$"):
        list(workers.read(read_without_memory, [1]))


def read_and_fail(job: int) -> Iterator[int]:
    yield job
    raise DataError("no text", file=f"file {job}")


def test_what_stood_before_an_unreadable_place_is_read(workers: Workers) -> None:
    found = workers.read(read_and_fail, [1, 2])
    assert next(found) == (0, 1)
    with pytest.raises(DataError, match="file 1: no text"):
        next(found)


# --- engines ---


def test_replies_and_scores_are_those_of_one_process_to_the_last_bit(
    workers: Workers, spec: ModelSpec, questions: list[Request]
) -> None:
    alone = TransformersEngine(spec, 300)
    assert len(alone.plan(questions, GREEDY)) > 4
    engine = WorkersEngine(lambda: TransformersEngine(spec, 300), workers)
    assert isinstance(engine, ParallelEngine)
    assert engine.identity == alone.identity
    assert engine.capabilities == alone.capabilities
    for sampling in (GREEDY, SAMPLED):
        assert engine.generate(questions, sampling) == alone.generate(questions, sampling)
    pairs = [(question, f"It is number {question.seed}.") for question in questions]
    assert engine.score(pairs, moments=True) == _batchwise(alone, pairs)
    assert engine.flops_per_token == alone.flops_per_token > 0


def _batchwise(engine: TransformersEngine, pairs: Sequence[tuple[Request, str]]) -> list[Any]:
    found = {}
    for batch in engine.plan_scores(pairs):
        found.update(zip(batch, engine.score([pairs[place] for place in batch], moments=True), strict=True))
    return [found[place] for place in range(len(pairs))]


def test_a_worker_killed_in_the_middle_of_the_replies_loses_none(
    workers: Workers, spec: ModelSpec, questions: list[Request], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = TransformersEngine(spec, 300).generate(questions, SAMPLED)
    before = processes_of(workers)
    killed: list[int] = []

    def kill_at_first(told: list[tuple[int, Reply]]) -> None:
        if told and not killed:
            killed.append(min(before))
            os.kill(killed[0], signal.SIGKILL)

    costs = Costs()
    with (
        handing_out_to(workers),
        contextlib.closing(
            open_engine(spec, cache=tmp_path / "replies.sqlite", costs=costs, batch_tokens=300)
        ) as engine,
    ):
        assert isinstance(engine, CachedEngine)
        assert isinstance(engine.inner, WorkersEngine)
        with caplog.at_level(logging.WARNING):
            assert engine.generate(questions, SAMPLED, told=kill_at_first) == expected
    assert "another one does its work" in caplog.text
    assert not Path(f"/proc/{killed[0]}").exists()
    assert killed[0] not in (after := processes_of(workers))
    assert len(after) == 2
    again = CachedEngine(TransformersEngine(spec, 300), RequestCache(tmp_path / "replies.sqlite"), Costs())
    with contextlib.closing(again):
        assert again.generate(questions, SAMPLED) == expected  # all are kept, and under the keys of one process
        assert again.inner.flops_per_token == 0  # nothing was loaded
    alone = CachedEngine(TransformersEngine(spec, 300), RequestCache(tmp_path / "alone.sqlite"), other := Costs())
    with contextlib.closing(alone):
        alone.generate(questions, SAMPLED)
    assert costs == other


def test_what_is_made_of_a_model_in_this_process_stays_in_it(workers: Workers, spec: ModelSpec, tmp_path: Path) -> None:
    from concept_forget.models import load_model

    with handing_out_to(workers):
        opened = open_engine(
            spec, cache=tmp_path / "c.sqlite", costs=Costs(), batch_tokens=512, load=lambda spec: load_model(spec)
        )
        with contextlib.closing(opened):
            assert isinstance(opened, CachedEngine)
            assert isinstance(opened.inner, TransformersEngine)


def test_what_looks_inside_a_model_does_so_here(workers: Workers, spec: ModelSpec, tmp_path: Path) -> None:
    from concept_forget.probe.white_box.lens import lens
    from concept_forget.probe.white_box.registry import View

    prompt = user_message("Where was Mira Kestrel born?")
    row = Example(
        id=Example.make_id(prompt, "Dunholm"), split="probe", concept="Mira Kestrel", subject="Mira Kestrel",
        facet="birth", fact="birth", form="direct", family="direct", tier="new_form", prompt=prompt,
        completion="Dunholm", answer="Dunholm", counterfactual="Nowhere",
    )  # fmt: skip
    view = View([], [], [], [row], [], seed=0, max_new_tokens=8)
    alone = lens(TransformersEngine(spec), view)
    costs = Costs()
    with handing_out_to(workers):
        opened = open_engine(spec, cache=tmp_path / "c.sqlite", costs=costs, batch_tokens=512)
        with contextlib.closing(opened):
            assert lens(opened, view) == alone
    assert costs.flops > 0


def test_a_request_that_is_too_long_is_refused_in_the_words_of_the_engine(workers: Workers, spec: ModelSpec) -> None:
    engine = WorkersEngine(lambda: TransformersEngine(spec, 600), workers)
    long = [Request(user_message("where " * 5000))]
    with pytest.raises(DataError) as alone:
        TransformersEngine(spec, 600).generate(long, GREEDY)
    with pytest.raises(DataError) as caught:
        list(engine.generate_batches([long], GREEDY, None))
    assert str(caught.value) == str(alone.value)


@pytest.mark.parametrize(("count", "workers"), [(1, 2), (10, 2), (5000, 2), (100_000, 8), (0, 3)])
def test_slices_are_all_of_a_batch_in_its_order(count: int, workers: int) -> None:
    parts = slices(range(count), workers)
    assert [place for part in parts for place in part] == list(range(count))
    assert all(len(part) <= 1024 for part in parts)
    if count >= workers:
        assert len(parts) >= workers  # nobody is idle
    if count >= 256 * workers:
        assert min(len(part) for part in parts[:-1]) >= 256


@pytest.mark.vllm
def test_workers_that_hold_vllm_reply_as_it_does_alone(
    workers: Workers, spec: ModelSpec, questions: list[Request]
) -> None:
    if problem := engine_problem("vllm"):
        pytest.skip(problem)
    from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings

    def make() -> Engine:
        return VllmEngine(spec, VllmSettings(memory_share=0.05))

    with contextlib.closing(WorkersEngine(make, workers)) as spread:
        assert len(spread.plan(questions, GREEDY)) == 2
        found = spread.generate(questions, GREEDY)
    with contextlib.closing(make()) as alone:
        assert found == alone.generate(questions, GREEDY)


# --- mining ---


def mining_context(folder: Path, corpus: Sequence[str]) -> StageContext:
    config = Config.model_validate(
        {
            "concepts": [{"name": "Mira Kestrel", "kind": "person"}, {"name": "Tobias Wren", "kind": "person"}],
            "target": "models/base",
            "generator": {"engine": "target"},
            "corpus": list(corpus),
            "mine": {"batch_tokens": 256},
        }
    )
    work = folder / "mine"
    work.mkdir(parents=True)
    return StageContext(config, work, {}, {}, folder / "replies.sqlite", Costs())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the nano world's documents in files of several formats, with broken rows and one file that is no JSON."""
    from concept_forget.sandbox import teach

    folder = tmp_path_factory.mktemp("corpus")
    rows = [json.loads(line) for line in teach.documents_jsonl(0, size="nano").splitlines()]
    texts = [row["text"] if "text" in row else f"{row['question']} {row['answer']}" for row in rows]
    third = len(texts) // 3
    lines = [json.dumps({"text": text}) for text in texts[:third]]
    lines[3:3] = ["{broken", json.dumps({"other": 1}), json.dumps({"text": ""})]
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")
    (folder / "b.txt").write_text("\n\n".join(texts[third : 2 * third]), encoding="utf-8")
    (folder / "c.jsonl").write_text("".join(json.dumps({"text": t}) + "\r\n" for t in texts[2 * third :]))
    (folder / "d.jsonl").write_text("no JSON at all\n")
    return folder


def test_a_corpus_is_mined_as_by_one_process_though_a_worker_is_killed(
    workers: Workers, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus)  # where the workers are not
    alone, spread = (mining_context(tmp_path / name, ["*.jsonl", "b.txt"]) for name in ("alone", "spread"))
    mine.run(alone)
    killed = []
    compute = workers.compute

    def killing(*arguments: Any) -> Iterator[Any]:
        for number, result in enumerate(compute(*arguments)):
            if arguments[0] != "process" and not killed and number == 1:
                killed.append(kill_one(workers))
            yield result

    monkeypatch.setattr(workers, "compute", killing)
    with handing_out_to(workers):
        mine.run(spread)
    assert killed
    for name in ("snippets.jsonl", "skipped.jsonl", "summary.json"):
        assert (spread.folder / name).read_bytes() == (alone.folder / name).read_bytes()
    assert len((alone.folder / "snippets.jsonl").read_text().splitlines()) > 20
    assert len((alone.folder / "skipped.jsonl").read_text().splitlines()) == 4
    assert spread.costs.flops == pytest.approx(alone.costs.flops)
    assert _vectors(spread) == _vectors(alone) != {}


def _vectors(context: StageContext) -> dict[bytes, bytes]:
    import sqlite3

    with contextlib.closing(sqlite3.connect(context.cache.with_name(VECTORS))) as database:
        return dict(database.execute("SELECT key, vector FROM vectors"))


def test_workers_read_an_object_store_as_one_process_does(
    workers: Workers, corpus: Path, serve_objects: Callable[..., Any]
) -> None:
    objects = {f"texts/{path.name}": path.read_bytes() for path in corpus.iterdir()}
    with serve_objects(objects) as store:
        sources = find_sources([CorpusSource(path=store.address("texts/*"))])
        alone, spread = Corpus(sources, 100_000), Corpus(sources, 100_000, workers)
        pieces = list(alone.pieces())
        assert list(spread.pieces()) == pieces != []
    assert (spread.skipped, spread.documents, spread.bytes_read) == (alone.skipped, alone.documents, alone.bytes_read)
    assert spread.bytes_read == spread.size == sum(len(content) for content in objects.values())
    assert set(store.fetched) == set(objects)


def test_known_vectors_are_asked_of_nobody(workers: Workers, tmp_path: Path) -> None:
    texts = [f"Text number {number}." for number in range(50)]
    with contextlib.closing(Embedder(find_encoder("auto"), tmp_path / "v.sqlite", 64)) as alone:
        expected = alone.encode(texts[::2])
    spread = Embedder(find_encoder("auto"), tmp_path / "v.sqlite", 64, workers)
    with contextlib.closing(spread):
        spread.encode(texts[::2])
        assert spread.flops == 0
        assert (spread.encode(texts)[::2] == expected).all()
        assert spread.flops > 0


# --- a run ---


def nano_config(folder: Path, **changes: object) -> Config:
    import yaml

    values: dict[str, object] = {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(0, "nano").concepts[:1]],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 32, "batch_tokens": 1024},
        "corpus": [{"sandbox": True}],
        "expand": {"facets": 3, "paraphrases": 1, "neighbours": {"near": 1, "middle": 1, "far": 1}},
        "output": str(folder / "runs" / "nano"),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_config(folder / "config.yaml")


def test_a_run_writes_what_one_process_writes_and_names_its_workers(
    cluster: None, nano_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = nano_config(tmp_path / "alone")
    spread = nano_config(tmp_path / "spread", execution={"engine": "ray", "workers": 2})
    assert [step.fingerprint for step in plan(spread)] == [step.fingerprint for step in plan(alone)]
    for config in (alone, spread):
        run(config, until="mine")
    for name in ("expand/facts", "expand/questions", "expand/passages", "expand/rejected", "mine/snippets"):
        assert (spread.output / f"{name}.jsonl").read_bytes() == (alone.output / f"{name}.jsonl").read_bytes()
    assert (spread.output / "expand" / "facts.jsonl").stat().st_size > 0
    record = read_json(spread.output / "run.json")
    assert record["execution"] | {"version": ""} == {"engine": "ray", "version": "", "workers": 2, "nodes": 1}
    assert read_json(alone.output / "run.json")["execution"] == {"engine": "process"}
    assert record["config"]["execution"]["workers"] == 2
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


# --- what is refused ---


def test_more_workers_than_there_is_room_for_are_refused(cluster: None) -> None:
    for settings, words in (({"workers": 5}, "room for 4 workers"), ({"num_gpus": 1}, "0 accelerators")):
        with working(ExecutionConfig(engine="ray", **settings)):
            workers = current_workers()
            assert workers is not None
            with pytest.raises(ConfigError, match=words) as caught:
                list(workers.compute("k", no_preparation, square, [1]))
            assert caught.value.key is not None


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "room"),
    [
        (1, 0, {"CPU": 4}, 4),
        (3, 0, {"CPU": 8, "GPU": 2}, 2),
        (0.1, 0, {"CPU": 1}, 10),
        (1, 0.1, {"CPU": 64, "GPU": 1}, 10),
        (1, 0.4, {"CPU": 64, "GPU": 3}, 6),  # two to each: what is left of one cannot be joined to another
        (1, 2, {"CPU": 64, "GPU": 3}, 1),
        (1, 1, {"CPU": 2, "GPU": 8}, 2),
        (1, 1, {"CPU": 8}, 0),
    ],
)
def test_a_machine_has_room_for_whole_workers(cpus: float, gpus: float, resources: dict[str, float], room: int) -> None:
    config = ExecutionConfig(engine="ray", num_cpus=cpus, num_gpus=gpus)
    assert ray_workers.RayWorkers(config)._room_on(resources) == room


def test_as_many_workers_as_there_is_room_for_is_the_default(cluster: None) -> None:
    with working(ExecutionConfig(engine="ray", num_cpus=2)):
        workers = current_workers()
        assert workers is not None
        assert workers.count == 2


def test_without_a_run_nobody_is_asked_elsewhere(spec: ModelSpec) -> None:
    assert current_workers() is None
    with working(ExecutionConfig()):
        assert current_workers() is None
