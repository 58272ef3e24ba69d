"""Counts every number of a bundle again from its attempts, and says what does not match."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.evidence.asking import SUMMARY
from concept_forget.evidence.bundling import MANIFEST, VERBS, flatten, line_hash
from concept_forget.evidence.contents import Contents, read_bundle
from concept_forget.evidence.recounting import Recounted, recount
from concept_forget.evidence.telling import COUNTED_WHERE_PRESENT
from concept_forget.shown import escape_controls
from concept_forget.workspace import file_hash

_ABSENT = object()
_TOLERANCE = 1e-9
"""Numbers that differ by less, as a part of the larger one, are the same: libraries round the last bits differently."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something in a bundle that does not go with the rest of it."""

    place: str
    problem: str

    def __str__(self) -> str:
        return escape_controls(f"{self.place}: {self.problem}")


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking a bundle came to.

    Attributes:
        sha256: Of the bundle, in hexadecimal.
        mismatches: What does not match; none: all that was checked does.
        counts: What was checked, in words, each with its number.
        unchecked: What could not be counted again, with the reason.
    """

    sha256: str
    mismatches: tuple[Mismatch, ...]
    counts: Mapping[str, int]
    unchecked: tuple[str, ...]


def verify_bundle(path: Path) -> Verification:
    """Check a bundle: files against its manifest, hashes against each other, grades and numbers by counting again.

    Whoever changes a bundle can make its manifest anew, but not so that the hash of the bundle stays: compare
    ``sha256`` with the one that was published.

    Args:
        path: What ``write_bundle`` wrote.

    Raises:
        DataError: It is no bundle, or one that cannot be read.
    """
    contents = read_bundle(path)
    found = list(_changed_files(contents))
    found += _broken_chain(contents)
    again = recount(contents)
    found += [Mismatch(place, problem) for place, problem in again.wrong]
    found += _other_numbers(contents, again)
    return Verification(
        sha256=file_hash(path),
        mismatches=tuple(dict.fromkeys(found)),
        counts={"files": len(contents.files), **again.counts},
        unchecked=tuple(map(escape_controls, again.unchecked)),
    )


def _changed_files(contents: Contents) -> Iterator[Mismatch]:
    """Files that are not what the manifest says, down to the line or the key where it says so much."""
    manifest = contents.json(MANIFEST)
    known, lines = _mapping(manifest, "files", contents), _mapping(manifest, "lines", contents)
    for name in sorted(known.keys() - contents.files.keys()):
        yield Mismatch(name, "is in the manifest and not in the bundle")
    for name in sorted(contents.files.keys() - known.keys() - {MANIFEST}):
        yield Mismatch(name, "is in the bundle and not in its manifest")
    for name in sorted(known.keys() & contents.files.keys()):
        if hashlib.sha256(contents.files[name]).hexdigest() == known[name]:
            continue
        if isinstance(lines.get(name), list):
            yield from _changed_lines(contents, name, lines[name])
        elif name == "run.json":
            told = _mapping(manifest, "config", contents)
            differing = list(_differing(flatten(contents.json(name).get("config")), told))
            for key, now, then in differing:
                yield Mismatch(f"{name}: config {key}", f"is {_told(now)}; when it was packed it was {_told(then)}")
            if not differing:
                yield Mismatch(name, "was changed after it was packed")
        else:
            yield Mismatch(name, "was changed after it was packed")


def _changed_lines(contents: Contents, name: str, then: list[Any]) -> Iterator[Mismatch]:
    now = contents.lines(name)
    if len(now) != len(then):
        yield Mismatch(name, f"has {len(now)} lines; when it was packed it had {len(then)}")
        return
    rows = contents.rows(name)
    for number, (line, known) in enumerate(zip(now, then, strict=True), start=1):
        if line_hash(line) != known:
            row = rows[number - 1]
            named = row.get("id") or row.get("attempt")
            of = f" (attempt {named})" if isinstance(named, str) else ""
            yield Mismatch(f"{name}, line {number}{of}", "was changed after it was packed")


def _broken_chain(contents: Contents) -> Iterator[Mismatch]:
    """Hashes and fingerprints that different files state of the same thing."""
    manifest = contents.json("run.json")
    stages = {verb: contents.json(f"{verb}/stage.json") for verb in VERBS if f"{verb}/stage.json" in contents}
    for verb, stage in stages.items():
        own = _mapping(manifest, "stages", contents).get(verb)
        fingerprint = own.get("fingerprint") if isinstance(own, Mapping) else None
        if fingerprint != stage.get("fingerprint"):
            yield Mismatch(f"{verb}/stage.json", "is not of the stage that run.json names")
        for before, known in _mapping(stage, "inputs", contents).items():
            if before in stages and stages[before].get("fingerprint") != known:
                yield Mismatch(f"{verb}/stage.json", f"rests on another {before} than the bundle holds")
        for name, digest in _mapping(stage, "files", contents).items():
            content = contents.files.get(f"{verb}/{name}")
            if content is not None and hashlib.sha256(content).hexdigest() != digest:
                yield Mismatch(f"{verb}/{name}", f"is not what the stage {verb} wrote")
    yield from _broken_commitment(manifest, stages)


def _broken_commitment(manifest: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> Iterator[Mismatch]:
    """The hashes of the sets that run.json held before unlearning, and what unlearning and composing say of them."""
    committed = manifest.get("data")
    if not isinstance(committed, Mapping) or "probe" not in committed:
        yield Mismatch("run.json: data", "does not commit to the set of the probe")
        return
    written = stages.get("compose", {}).get("files", {})
    trained = stages.get("unlearn", {}).get("committed", committed)  # a model that was given was not unlearned here
    for split, digest in committed.items():
        if written.get(f"{split}.jsonl") != digest:
            yield Mismatch("compose/stage.json", f"the set {split} is not the one that run.json commits to")
        if not isinstance(trained, Mapping) or trained.get(split) != digest:
            yield Mismatch("unlearn/stage.json", f"the set {split} was another when unlearning began")


def _other_numbers(contents: Contents, again: Recounted) -> Iterator[Mismatch]:
    """Numbers in the bundle's files that are others when they are counted again."""
    if again.numbers is None:
        return
    for name in ("probe/measurements.json", "report/metrics.json"):
        told = contents.json(name)
        counted = {key: value for key, value in again.numbers.items() if key in told or name.startswith("probe")}
        same = {key: value for key, value in told.items() if key in again.numbers}
        for key, now, then in _differing(flatten(counted), flatten(same)):
            yield Mismatch(f"{name}: {key}", f"is {_told(then)}, and {_told(now)} when it is counted again")
    told = contents.json(SUMMARY)
    same = {key: value for key, value in told.items() if key in again.summary or key in COUNTED_WHERE_PRESENT}
    for key, now, then in _differing(flatten(again.summary), flatten(same)):
        yield Mismatch(f"{SUMMARY}: {key}", f"is {_told(then)}, and {_told(now)} when it is counted again")
    for key, told_cost, counted_cost in _differing(flatten(_cost(contents)), flatten(again.cost)):
        yield Mismatch(
            f"report/metrics.json: cost.{key}", f"is {_told(told_cost)}, and {_told(counted_cost)} in the stages"
        )


def _cost(contents: Contents) -> Mapping[str, Any]:
    return _mapping(contents.json("report/metrics.json"), "cost", contents)


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys((*first, *second)):
        here, there = first.get(key, _ABSENT), second.get(key, _ABSENT)
        if not _same(here, there):
            yield key, here, there


def _same(here: Any, there: Any) -> bool:
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in (here, there)]
    if all(numbers):
        return here == there or math.isclose(here, there, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(here == there)


def _told(value: object) -> str:
    if value is _ABSENT:
        return "absent"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _mapping(values: Mapping[str, Any], key: str, contents: Contents) -> Mapping[str, Any]:
    found = values.get(key, {})
    if not isinstance(found, Mapping):
        contents.refuse(f"{key!r} is not a JSON object")
    return found
