"""Workers of a Ray cluster, the only module that imports Ray: actors that hold engines and encoders, and Ray Data.

Ray Data would start its actors, and load what they hold, anew for every data set, and a run asks a model dozens of
times. So the actors here live as long as the run, and each holds what was opened and not closed yet, as one process
would. What is read from first to last in one go, the corpus, is a Ray Data pipeline.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported: a run reports to nobody
os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from concept_forget.config import ExecutionConfig
from concept_forget.errors import ConceptForgetError, ConfigError, EngineError, first_line
from concept_forget.execution import Held, Item, Job, Result
from concept_forget.out_of_memory import Elsewhere, compute_elsewhere, tell_halvings
from concept_forget.resuming import BrokenOffError, Part, read_on

RETRIES = 3
"""Times that a job is done again whose worker came to an end."""
PATIENCE = 600.0
"""Seconds without any worker after which a run gives up; a cluster that grows by itself takes minutes for a machine."""
_OBJECT_STORE = 512 << 20  # bytes; of a Ray of the run's own, in which little is under way at once
_LOOPBACK = "127.0.0.2"
"""An address of this machine alone. Ray takes 127.0.0.1 for one to be replaced by that of the network."""
_BLOCK = 8 << 20  # bytes of a block of what is read, so that the first texts come soon
_ROUNDING = 1e-9  # 0.1 goes ten times into 1
_TASKS = 1000  # of reading, at most: each costs Ray some milliseconds, whatever there is to read
_ITEMS = 256  # read things that travel together
_log = logging.getLogger(__name__)
_LOST = (RayActorError, ObjectLostError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a worker could not do, for reasons that the user is told."""

    error: Exception


class _Worker:
    """The actor: makes what it is to hold, and works with it."""

    def __init__(self, has_accelerator: bool) -> None:
        if not has_accelerator:  # Ray shows it those of the machine, and several workers would share them unasked
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._held: dict[str, Any] = {}

    def ready(self) -> None:
        """Returns once the process is there."""

    def work(self, key: str, make: Callable[[], Any], work: Callable[[Any, Any], Any], job: Any) -> Any:
        """Do one job."""
        try:
            if key not in self._held:
                self._held[key] = make()
            return compute_elsewhere(lambda: work(self._held[key], job))
        except ConceptForgetError as error:
            return _Failed(error)

    def drop(self, key: str) -> None:
        """Close what is held."""
        held = self._held.pop(key, None)
        if hasattr(held, "close"):
            held.close()


class RayWorkers:
    """The workers that a config asks for: see ``concept_forget.execution.Workers``.

    Ray is joined, or started, when there is something to do. Several threads may hand out work.

    Args:
        config: Where the cluster is and what a worker takes of it.
    """

    def __init__(self, config: ExecutionConfig) -> None:
        self._config = config
        self._slots: list[Any] = []  # a handle of the actor in each place; a lost one is replaced
        self._there: set[int] = set()  # places whose actor has answered; the cluster may have no room for the others
        self._lock = threading.RLock()
        self._is_own = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._actors())

    def compute(
        self, key: str, make: Callable[[], Held], work: Callable[[Held, Job], Result], jobs: Sequence[Job]
    ) -> Generator[tuple[int, Result], None, None]:
        """Do each job once, several at a time; see ``Workers.compute``."""
        if not jobs:
            return
        waiting = deque(range(len(jobs)))
        lost: Counter[int | None] = Counter()
        # Each worker has one call under way: first whether it is there (None), then a job.
        calls: dict[Any, tuple[int, Any, int | None]] = {
            actor.ready.remote(): (slot, actor, None) for slot, actor in enumerate(self._actors())
        }
        heard = time.monotonic()
        while waiting or any(job is not None for _, _, job in calls.values()):
            done, _ = ray.wait(list(calls), timeout=1.0)
            heard = self._require_life(heard, calls, done)
            for call in done:
                slot, actor, job = calls.pop(call)
                try:
                    result = _fetch(call)
                except _LOST as error:
                    lost[job] += 1
                    if lost[job] > (RETRIES if job is not None else RETRIES * len(self._slots)):
                        raise _given_up(job, lost[job], error) from error
                    if job is not None:
                        waiting.appendleft(job)
                    _log.warning("A worker came to an end, and another one does its work: %s", first_line(error))
                    actor = self._replace(slot, actor)
                    calls[actor.ready.remote()] = (slot, actor, None)
                    continue
                self._there.add(slot)
                if waiting:
                    following = waiting.popleft()
                    calls[actor.work.remote(key, make, work, jobs[following])] = (slot, actor, following)
                if job is not None:
                    yield job, result

    def drop(self, key: str) -> None:
        """Close what the workers hold under a key; see ``Workers.drop``."""
        calls = [self._slots[slot].drop.remote(key) for slot in self._there]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=60.0)

    def read(
        self, work: Callable[[Job], Iterator[Item]], jobs: Sequence[Job]
    ) -> Generator[tuple[int, Item], None, None]:
        """What a function gives for each job, in order, through Ray Data; see ``Workers.read``."""
        with contextlib.closing(
            read_on(lambda *start: self._read_parts(work, jobs, *start), len(jobs), RETRIES)
        ) as found:
            for place, item in found:
                if isinstance(item, _Failed):
                    raise item.error
                yield place, item

    def _read_parts(
        self, work: Callable[[Job], Iterator[Item]], jobs: Sequence[Job], place: int, given: int
    ) -> Generator[Part[Item | _Failed], None, None]:
        """What a function gives from a job's place on, without so many things of that job."""
        self._actors()
        import ray.data

        _quieten_data()
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        context.target_max_block_size = _BLOCK
        context.target_min_block_size = 1
        # Pickled, for Ray Data would make numbers of NumPy's, or of Arrow's, of what it knows.
        left = [
            pickle.dumps((number, jobs[number], given if number == place else 0)) for number in range(place, len(jobs))
        ]
        with ray.data.DataContext.current(context):
            # Reading takes no place of a worker's: these sit on theirs as long as the run lasts.
            tasks = min(len(left), _TASKS)
            rows = ray.data.from_items(left, override_num_blocks=tasks).map_batches(
                cast("Any", _read),  # its type has no room for arguments
                fn_kwargs={"work": work},
                batch_size=1,
                num_cpus=0,
                compute=ray.data.TaskPoolStrategy(min(tasks, self.count)),
            )
            try:
                for row in rows.iter_rows():
                    yield pickle.loads(row["part"])
            except Exception as error:  # of Ray Data's own machinery, which raises what it met
                raise BrokenOffError(f"{type(error).__name__}: {first_line(error)}") from error

    def describe(self) -> dict[str, Any]:
        """What they are, for the record of a run."""
        found: dict[str, Any] = {"engine": "ray", "version": ray.__version__}
        if self._slots:
            found |= {"workers": len(self._slots), "nodes": sum(bool(node["Alive"]) for node in ray.nodes())}
        return found

    def close(self) -> None:
        """End the workers, and Ray where it is the run's own."""
        with self._lock:
            for actor in self._slots:
                with contextlib.suppress(RayError):
                    ray.kill(actor)
            self._slots, self._there = [], set()
            if self._is_own:
                ray.shutdown()
                self._is_own = False

    def _actors(self) -> list[Any]:
        """A handle of the actor in each place, after starting them where that was not done yet."""
        with self._lock:
            if not self._slots:
                if not ray.is_initialized():
                    join_ray(self._config)
                    self._is_own = True
                self._slots = [self._start() for _ in range(self._room())]
            return list(self._slots)

    def _room(self) -> int:
        """How many workers the cluster has room for, or as many as the config asks for."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(self._room_on(node) for node in nodes)
        wanted = self._config.workers
        if wanted is not None and (room >= wanted or self._config.address is not None):
            return wanted  # a cluster may grow
        if not room or wanted is not None:
            raise ConfigError(
                f"Ray has {_sum(nodes, 'CPU'):g} cores and {_sum(nodes, 'GPU'):g} accelerators in all: room for {room} "
                f"workers with {self._config.num_cpus:g} and {self._config.num_gpus:g} each",
                key="execution.workers" if wanted is not None else "execution",
                remedy="ask for fewer workers, or for less in `num_cpus` and `num_gpus`",
            )
        return room

    def _room_on(self, resources: Mapping[str, float]) -> int:
        """How many workers one machine has room for."""
        room = int(resources.get("CPU", 0) / self._config.num_cpus + _ROUNDING)
        gpus, share = int(resources.get("GPU", 0)), self._config.num_gpus
        if not share:
            return room
        # Shares of two accelerators do not add up to one.
        return min(room, gpus * int(1 / share + _ROUNDING) if share < 1 else int(gpus / share))

    def _start(self) -> Any:
        actor = ray.remote(_Worker).options(
            num_cpus=self._config.num_cpus, num_gpus=self._config.num_gpus, max_restarts=0, max_task_retries=0
        )
        return actor.remote(self._config.num_gpus > 0)

    def _replace(self, slot: int, actor: Any) -> Any:
        """The actor that stands in the place of one that came to an end; another thread may have put it there."""
        with self._lock:
            if self._slots[slot] is actor:
                self._there.discard(slot)
                self._slots[slot] = self._start()
            return self._slots[slot]

    def _require_life(
        self, heard: float, calls: Mapping[Any, tuple[int, Any, int | None]], done: Sequence[Any]
    ) -> float:
        """When a worker was last known to live: one that has a job does, until Ray says otherwise."""
        now = time.monotonic()
        if done or any(job is not None for _, _, job in calls.values()):
            return now
        if now - heard > PATIENCE:
            raise EngineError(
                f"no worker has started for {PATIENCE:.0f} s\n"
                "  → see with `ray status` that the cluster has room for one; what was finished is kept, and the same "
                "command goes on from there"
            )
        return heard


def join_ray(config: ExecutionConfig, **own: Any) -> None:
    """Join the cluster that a config names, or start one on this machine, which listens to this machine alone.

    Args:
        config: Where it is.
        own: Arguments of ``ray.init`` for one of the run's own.

    Raises:
        ConfigError: There is no cluster at the address.
    """
    # What it prints of lost workers is told by the one who replaces them.
    ray._private.worker.print_to_stdstream = lambda *lines, **how: None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.address is None:
        here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        if sys.platform == "linux":
            here["_node_ip_address"] = _LOOPBACK
        ray.init(**quiet, **here | own)
        return
    try:
        ray.init(address=config.address, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster can be joined at {config.address!r}: {first_line(error)}",
            key="execution.address",
            remedy="start one with `ray start --head`, give HOST:PORT of its head, or leave the address away",
        ) from error


def _sum(nodes: Sequence[Mapping[str, float]], resource: str) -> float:
    return sum(node.get(resource, 0) for node in nodes)


def _fetch(call: Any) -> Any:
    """What a call came to."""
    try:
        result = ray.get(call)
    except RayTaskError as error:
        raise ConceptForgetError(f"a worker failed: {error}") from error
    if isinstance(result, _Failed):
        raise result.error
    return tell_halvings(result) if isinstance(result, Elsewhere) else result


def _given_up(job: int | None, times: int, error: Exception) -> EngineError:
    if job is None:
        return EngineError(
            f"{times} workers came to an end before they did anything: {error}\n"
            "  → see that every machine of the cluster has the same program, installed with its extras"
        )
    return EngineError(
        f"{times} workers came to an end over the same job: {first_line(error)}\n"
        "  → where memory does not suffice, lower `batch_tokens` or give each worker more; what was finished is kept, "
        "and the same command goes on from there"
    )


def _read(batch: Mapping[str, Any], work: Callable[[Any], Iterator[Any]]) -> Iterator[dict[str, list[bytes]]]:
    """The things that one job gives, many to a row, for Ray Data."""
    (packed,) = batch["item"]
    place, job, given = pickle.loads(packed)
    if _times_lost() > RETRIES:  # Ray Data would go on for ever with what kills its readers
        yield {"part": [pickle.dumps(Part(place, given, [_Failed(_unreadable())], is_last=True))]}
        return
    first = given
    held: list[Any] = []

    def row(is_last: bool) -> dict[str, list[bytes]]:
        return {"part": [pickle.dumps(Part(place, first, held, is_last))]}

    try:
        for item in itertools.islice(work(job), given, None):
            held.append(item)
            if len(held) == _ITEMS:
                yield row(is_last=False)
                first, held = first + len(held), []
    except (ConceptForgetError, OSError, MemoryError) as error:  # what one process would be told
        held.append(_Failed(error))
    except Exception:
        held.append(_Failed(ConceptForgetError(f"a worker failed: {traceback.format_exc()}")))
    yield row(is_last=True)


def _times_lost() -> int:
    """How many processes came to an end over the task that this one is at; Ray tells it in no public way."""
    worker: Any = ray._private.worker.global_worker
    return int(worker.core_worker.get_current_task_attempt_number())


def _unreadable() -> EngineError:
    return EngineError(
        f"{RETRIES + 1} processes came to an end over the same file of the corpus\n"
        "  → where memory does not suffice, lower `mine.max_line_bytes` or give each worker more; what was "
        "finished is kept, and the same command goes on from there"
    )


def _quieten_data() -> None:
    """Keep Ray Data off the terminal: the run has bars of its own."""
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL + 1)
