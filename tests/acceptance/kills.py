"""Kills the quickstart at instants spread over it, runs the same command again, and compares what came out.

    python tests/acceptance/kills.py --kills 10 --fresh 2 --out runs/kills

An uninterrupted run comes first. Every kill is `kill -9` of the whole program; ``--fresh`` of the runs start without
taught models, so that teaching is interrupted too. Data sets, attempts, grades and the unlearned weights must be equal
byte for byte, every time; leaves with 1 where they are not.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SAME_BYTES = (
    *(f"expand/{name}.jsonl" for name in ("facts", "questions", "rejected")),
    *(f"mine/{name}.jsonl" for name in ("snippets", "skipped")),
    *(f"compose/{name}.jsonl" for name in ("forget", "retain", "validation", "probe", "collateral")),
    "unlearn/adapter/adapter_model.safetensors",
    "probe/attempts.jsonl",
    "probe/grades.jsonl",
)


def start(folder: Path, cache: Path | None) -> subprocess.Popen[bytes]:
    """The quickstart's command, writing to ``folder``."""
    command = [
        sys.executable,
        "-m",
        "concept_forget.cli",
        "run",
        "pipelines/quickstart.yaml",
        "--set",
        f"output={folder}",
    ]
    env = {**os.environ, **({"CONCEPT_FORGET_CACHE": str(cache)} if cache else {})}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True
    )


def finish(folder: Path, cache: Path | None) -> float:
    """Run to the end; the seconds it took."""
    began = time.monotonic()
    code = start(folder, cache).wait()
    if code != 0:
        raise SystemExit(f"{folder}: the run left with {code}")
    return time.monotonic() - began


def kill_after(seconds: float, folder: Path, cache: Path | None) -> bool:
    """Start, wait, kill; whether there was still something to kill."""
    process = start(folder, cache)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def main() -> int:
    """Run, kill, run again, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--fresh", type=int, default=2, help="of these, with no taught model at the start")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    options = parser.parse_args()
    whole = options.out / "whole" / "run"
    finish(whole, None)  # the models are taught by now
    lasts = finish(options.out / "timed" / "run", None)
    failed = 0
    for number in range(options.kills):
        folder = options.out / f"kill-{number}" / "run"
        cache = (options.out / f"kill-{number}" / "models").resolve() if number < options.fresh else None
        if cache is not None:
            instant = 20.0 + 60.0 * number  # while a model is taught
        else:
            place = (number - options.fresh + 0.5) / max(1, options.kills - options.fresh)
            instant = place * lasts
        killed = kill_after(instant, folder, cache)
        there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "nothing"
        seconds = finish(folder, cache)
        differing = [name for name in SAME_BYTES if (folder / name).read_bytes() != (whole / name).read_bytes()]
        failed += bool(differing) or not killed
        print(
            f"kill {number} after {instant:.1f} s {'' if killed else '(too late) '}found {there}; the rest took "
            f"{seconds:.0f} s: {'differs in ' + ', '.join(differing) if differing else 'same bytes'}",
            flush=True,
        )
    print(f"{options.kills - failed} of {options.kills} kills came to the same bytes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
