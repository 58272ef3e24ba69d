"""What the benchmarks share: several sizes, each measured once and kept; how a cost grows; a table and JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from concept_forget.precision import machine
from concept_forget.workspace import read_json, write_json

CONDITIONS, RESULTS = "conditions.json", "results.json"


def add_options(parser: argparse.ArgumentParser, sizes: Sequence[int] | Sequence[str], unit: str) -> None:
    """``--sizes``, in ``unit`` where they are numbers and among the given ones where they are names, and ``--out``."""
    kind = type(sizes[0])
    choices = sizes if kind is str else None
    parser.add_argument("--sizes", type=kind, nargs="+", default=sizes, choices=choices, help=f"{unit}, one or more")
    parser.add_argument("--out", type=Path, help="a folder that keeps what is measured; else one that goes away")


@contextlib.contextmanager
def kept_in(out: Path | None, **conditions: object) -> Iterator[Path]:
    """The folder in which what is measured is kept, so that an interrupted run goes on.

    Args:
        out: Where; None: a folder that goes away.
        conditions: What all measurements there have in common, beside the machine.

    Raises:
        SystemExit: What is kept there was measured otherwise.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        now = {"machine": machine(), **conditions}
        kept = once(folder / CONDITIONS, lambda: now)
        if differing := [name for name in now if kept.get(name) != now[name]]:
            named = ", ".join(f"{name} {kept.get(name)!r}, not {now[name]!r}" for name in differing)
            raise SystemExit(f"{folder} keeps what was measured otherwise ({named}): empty it, or name another --out")
        yield folder


def once(path: Path, run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What ``run`` finds: from the file that an earlier call wrote, if it is there."""
    if not path.is_file():
        write_json(path, run())
    kept: dict[str, Any] = read_json(path)
    return kept


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The power of the size with which a cost grows, by least squares on logarithms; None for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), deg=1)
    return round(float(slope), 3)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def publish(folder: Path, shown: str, result: Mapping[str, Any]) -> None:
    """Print a table and one JSON object, with the conditions first; write the latter to ``results.json``."""
    whole = {**read_json(folder / CONDITIONS), **result}
    write_json(folder / RESULTS, whole)
    print(shown)
    print(json.dumps(whole))
