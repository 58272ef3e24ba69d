"""Replies and scores kept by request: nothing is computed twice, and a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from concept_forget.engines.batchwise import generate_batches, score_batches
from concept_forget.engines.interruption import deferred_interrupt
from concept_forget.engines.packing import pack, unpack_reply, unpack_scores
from concept_forget.engines.protocol import (
    Capability,
    Engine,
    Reply,
    Request,
    Sampling,
    StreamingEngine,
    TokenScores,
    check_capabilities,
)
from concept_forget.errors import DataError
from concept_forget.progress import track
from concept_forget.records import content_hash
from concept_forget.workspace import Costs

FORMAT = 1
_APPLICATION = 0x43464F52  # "CFOR", by which SQLite files of this program are told from others
_WAIT_SECONDS = 60.0  # for another process that is writing
_KEYS_PER_QUERY = 500

Told = Callable[[list[tuple[int, Reply]]], None]
"""Is told of replies as they come, each with its request's place."""

_Entry = tuple[str, Reply | TokenScores]  # a key, and what is kept under it


class RequestCache:
    """JSON values by key, in one SQLite file that several processes may use at once.

    What is put together appears together or not at all, however the process ends.

    Args:
        path: The file; it is made if it is not there.

    Raises:
        DataError: The file is damaged, of another program or another version, or cannot be used. So for every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None
        with self._errors_named():
            self._connection()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        wanted = list(keys)
        found: dict[str, Any] = {}
        with self._errors_named():
            for start in range(0, len(wanted), _KEYS_PER_QUERY):
                some = wanted[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(some))
                rows = self._connection().execute(f"SELECT key, value FROM entries WHERE key IN ({marks})", some)
                found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep values, in one transaction.

        Returns:
            What is kept now under these keys. What another process put there first stays, so that everybody reads
            the same from then on.
        """
        with self._errors_named(), self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO entries (key, value) VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in values.items()],
            )
        return self.get(values)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Lay out a new file; refuse one that was laid out otherwise."""
        connection.execute("BEGIN IMMEDIATE")  # of several processes that find a new file, one lays it out
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0 and application == 0:
            connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            application, version = _APPLICATION, FORMAT
        connection.execute("COMMIT")
        if application != _APPLICATION:
            raise DataError("this is a database of another program", file=self._path, remedy="move it elsewhere")
        if version != FORMAT:
            raise DataError(
                f"the request cache has format {version}, this version reads {FORMAT}",
                file=self._path,
                remedy="delete the file; what it holds is asked again",
            )
        connection.execute("PRAGMA journal_mode = WAL")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise DataError(
                f"the request cache cannot be used: {error}",
                file=self._path,
                remedy="see that the disk has room, that the file may be written, and that no other process holds it",
            ) from error
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            raise DataError(
                f"the request cache is damaged: {error}",
                file=self._path,
                remedy=f"delete it, with {self._path.name}-wal and {self._path.name}-shm if there; "
                "what it holds is asked again",
            ) from error


class CachedEngine:
    """An engine that asks another only what nobody has asked it before, and keeps each batch as it is done.

    Of a streaming engine each reply is kept as it comes. Of any other, batches are planned over everything that is
    asked in one call, known or not, and only what is missing in a batch is asked: a call that is interrupted and made
    again computes the batches that it would have computed.

    Args:
        engine: The engine that does the work.
        cache: Where replies and scores are kept.
        costs: The account. ``requests`` counts replies and scores, ``cached_requests`` those of them that cost
            nothing; tokens and FLOPs are of the others.
    """

    def __init__(self, engine: Engine, cache: RequestCache, costs: Costs) -> None:
        self._engine = engine
        self._cache = cache
        self._costs = costs

    @property
    def inner(self) -> Engine:
        """The engine that does the work."""
        return self._engine

    @property
    def identity(self) -> str:
        """The inner engine's."""
        return self._engine.identity

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The inner engine's."""
        return self._engine.capabilities

    @property
    def flops_per_token(self) -> float:
        """The inner engine's."""
        return self._engine.flops_per_token

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        schema: type[BaseModel] | None = None,
        told: Told | None = None,
    ) -> list[list[Reply]]:
        """Replies to each request; see ``Engine.generate``.

        Args:
            requests: What is asked.
            sampling: How replies are drawn.
            schema: What replies are held to.
            told: Is told of each reply once it is kept, while others are still to come: of those that were known,
                then of groups as they are finished, in no order. Of nothing where all were known.

        Raises:
            KeyboardInterrupt: It was asked for, and what the engine had finished by then is kept.
        """
        check_capabilities(self, "generate", requests, schema=schema)
        shape = None if schema is None else schema.model_json_schema()
        keys = [self._reply_keys(request, sampling, shape) for request in requests]

        def compute(places: list[int], known: Mapping[str, Any]) -> Generator[list[_Entry], None, None]:
            engine = self._engine
            if isinstance(engine, StreamingEngine):
                wanted = [(p, n) for p in places for n in range(sampling.n) if keys[p][n] not in known]
                draws = [(requests[place], number) for place, number in wanted]
                with (
                    deferred_interrupt() as stop,
                    contextlib.closing(engine.stream(draws, sampling, schema, stop)) as groups,
                ):
                    for group in groups:
                        yield [(keys[wanted[d][0]][wanted[d][1]], reply) for d, reply in group]
                return
            plan = self._engine.plan([requests[place] for place in places], sampling)
            chosen = _wanted(plan, places, keys, known)
            with contextlib.closing(
                generate_batches(engine, [[requests[place] for place in batch] for batch in chosen], sampling, schema)
            ) as batches:
                for number, replies in batches:
                    yield [
                        entry for p, several in zip(chosen[number], replies, strict=True)
                        for entry in zip(keys[p], several, strict=True)
                    ]  # fmt: skip

        values = self._answer("asking the model", keys, compute, _telling(told, keys) if told is not None else None)
        return [[unpack_reply(value) for value in several] for several in values]

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Scores of each completion; see ``Engine.score``.

        Raises:
            KeyboardInterrupt: It was asked for, and what the engine had finished by then is kept.
        """
        check_capabilities(self, "logprobs", [request for request, _ in pairs], moments=moments)
        keys = [(self._score_key(request, completion, moments),) for request, completion in pairs]

        def compute(places: list[int], known: Mapping[str, Any]) -> Generator[list[_Entry], None, None]:
            engine = self._engine
            if isinstance(engine, StreamingEngine):
                wanted = _unknown(places, keys, known)
                with (
                    deferred_interrupt() as stop,
                    contextlib.closing(
                        engine.stream_scores([pairs[place] for place in wanted], moments, stop)
                    ) as groups,
                ):
                    for group in groups:
                        yield [(keys[wanted[number]][0], score) for number, score in group]
                return
            plan = self._engine.plan_scores([pairs[place] for place in places])
            chosen = _wanted(plan, places, keys, known)
            with contextlib.closing(
                score_batches(engine, [[pairs[place] for place in batch] for batch in chosen], moments)
            ) as batches:
                for number, scores in batches:
                    yield [(keys[place][0], score) for place, score in zip(chosen[number], scores, strict=True)]

        values = self._answer("scoring replies", keys, compute)
        return [unpack_scores(value) for (value,) in values]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """The inner engine's batches."""
        return self._engine.plan(requests, sampling)

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """The inner engine's batches."""
        return self._engine.plan_scores(pairs)

    def spend(self, tokens: int) -> None:
        """Put down to the account what the inner engine computed past this one, in tokens of prompts."""
        self._costs.prompt_tokens += tokens
        self._costs.flops += self._engine.flops_per_token * tokens

    def close(self) -> None:
        """Give back the inner engine's memory, and the file."""
        self._engine.close()
        self._cache.close()

    def _answer(
        self,
        description: str,
        keys: Sequence[tuple[str, ...]],
        compute: Callable[[list[int], Mapping[str, Any]], Generator[list[_Entry], None, None]],
        kept_now: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> list[list[Any]]:
        """The values under each item's keys, after computing those that are missing.

        Args:
            description: What the progress bar says.
            keys: One tuple per item; equal items have equal tuples and are computed once.
            compute: Gives results in groups, from the items' positions and from what is known so far. A group is kept
                before the next one is asked for.
            kept_now: Is told of values, by key, once they are kept, if some have to be computed.
        """
        firsts: dict[tuple[str, ...], int] = {}
        for place, several in enumerate(keys):
            firsts.setdefault(several, place)
        values = self._cache.get(key for several in firsts for key in several)
        missing = {key for several in firsts for key in several if key not in values}
        computed = 0
        if missing:
            if kept_now is not None:
                kept_now(values)
            with (
                track(description, len(missing), "requests") as progress,
                contextlib.closing(compute(list(firsts.values()), values)) as groups,
            ):
                for group in groups:
                    self._spend(result for _, result in group)
                    kept = self._cache.put({key: pack(result) for key, result in group if _is_lasting(result)})
                    fresh = {key: pack(result) for key, result in group} | kept
                    values.update(fresh)
                    if kept_now is not None:
                        kept_now(fresh)
                    computed += len(group)
                    progress.advance(len(group))
        self._costs.requests += sum(len(several) for several in keys)
        self._costs.cached_requests += sum(len(several) for several in keys) - computed
        return [[values[key] for key in several] for several in keys]

    def _spend(self, results: Iterable[Reply | TokenScores]) -> None:
        for result in results:
            completion = result.completion_tokens if isinstance(result, Reply) else len(result.logprobs)
            self._costs.prompt_tokens += result.prompt_tokens
            self._costs.completion_tokens += completion
            self._costs.flops += self._engine.flops_per_token * (result.prompt_tokens + completion)

    def _reply_keys(self, request: Request, sampling: Sampling, shape: dict[str, Any] | None) -> tuple[str, ...]:
        seed = request.seed if sampling.temperature > 0 else 0  # a greedy reply is the same under every seed
        how = [sampling.temperature, sampling.max_new_tokens]
        return tuple(
            content_hash("reply", self.identity, *_content(request), seed, how, shape, sample)
            for sample in range(sampling.n)
        )

    def _score_key(self, request: Request, completion: str, moments: bool) -> str:
        return content_hash("score", self.identity, *_content(request), completion, moments)


def _telling(told: Told, keys: Sequence[tuple[str, ...]]) -> Callable[[Mapping[str, Any]], None]:
    """Tells of values by the places of those who asked for them."""
    places: dict[str, list[int]] = {}
    for place, several in enumerate(keys):
        for key in several:
            places.setdefault(key, []).append(place)

    def tell(values: Mapping[str, Any]) -> None:
        replies = [(place, unpack_reply(value)) for key, value in values.items() for place in places[key]]
        if replies:
            told(replies)

    return tell


def _content(request: Request) -> tuple[object, ...]:
    return request.prompt, request.prefill, request.adapter


def _unknown(places: list[int], keys: Sequence[tuple[str, ...]], known: Mapping[str, Any]) -> list[int]:
    return [place for place in places if not all(key in known for key in keys[place])]


def _wanted(
    plan: Sequence[Sequence[int]], places: Sequence[int], keys: Sequence[tuple[str, ...]], known: Mapping[str, Any]
) -> list[list[int]]:
    """What is missing of each planned batch, without the batches of which nothing is."""
    batches = (_unknown([places[number] for number in batch], keys, known) for batch in plan)
    return [batch for batch in batches if batch]


def _is_lasting(result: Reply | TokenScores) -> bool:
    """Whether asking again would give the same: a server that failed may be well another time."""
    return not (isinstance(result, Reply) and result.finish_reason == "failed")
