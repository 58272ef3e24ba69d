"""Breaks runs at random and finishes them: `kill -9`, a full disk, a server that is gone. Compares with a whole run.

    python tests/acceptance/trials.py kill --trials 50 --out runs/trials
    python tests/acceptance/trials.py disk --trials 20      # as root: each trial mounts a tmpfs
    python tests/acceptance/trials.py server --trials 20    # engine `openai`, a sandbox model behind the server
    python tests/acceptance/trials.py kill --config pipelines/quickstart.yaml --trials 10 --fresh 2

The run is a small one of all six stages, or that of a config. An uninterrupted one comes first. After each break every
file must be readable and every finished stage as it was; where the program told of the fault, it did so in one error and
left nothing half-written. At the end data sets, attempts, grades, measurements, history and weights must be equal byte
for byte. ``--first N`` begins with trial N. Leaves with 1 where anything fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet
import yaml
from safetensors import safe_open

from concept_forget.records import named_random
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import file_hashes, read_rows
from tests.acceptance.tries import Try, preload

FULL = "the disk is full"
GONE = "does not answer"
TIMED = ("seconds",)  # what no two runs share, of history.jsonl


def small_config(generator: dict[str, object]) -> dict[str, object]:
    """All six stages on a nano world, in a few seconds."""
    sandbox = {"sandbox": {"world": 0, "size": "nano"}}
    return {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(0, "nano").concepts[:1]],
        "target": sandbox,
        "reference": sandbox,
        "generator": {"prompts": "compact", "max_new_tokens": 48, **generator},
        "corpus": [{"sandbox": True}],
        "expand": {"paraphrases": 1, "neighbours": {"near": 3, "middle": 1, "far": 1}},
        "compose": {"collateral": {"near": 1, "middle": 1, "far": 1}, "validation_neighbours": 1},
        "unlearn": {"learning_rate": 5e-4, "max_steps": 8, "eval_every": 2, "retain_weight": 2},
        "probe": {"attacks": ["direct", "cloze", "choice", "membership"]},
    }


@dataclass
class Place:
    """Where one run lies, and what became of it."""

    config: Path
    folder: Path
    env: dict[str, str]
    faults: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "run"

    @property
    def store(self) -> Path:
        return self.folder / "runs" / ".store"

    def start(self) -> Try:
        """The same command each time."""
        arguments = ["run", str(self.config), "--set", f"output={self.run}"]
        return Try(arguments, self.env, self.folder.with_name(f"{self.folder.name}.stderr"))

    def finish(self) -> float:
        """Run to the end; the seconds it took."""
        began = time.monotonic()
        tried = self.start()
        code, said = tried.end()
        if code != 0:
            self.faults.append(f"left with {code}: {said[-600:]}")
        return time.monotonic() - began

    def kept(self) -> dict[str, bytes]:
        """What was finished: the record of every finished stage, by its place in the store."""
        found = self.store.glob("*/*/stage.json")
        return {str(path.relative_to(self.store)): path.read_bytes() for path in found
                if not path.parent.name.endswith(".partial")}  # fmt: skip

    def replies(self) -> dict[str, str]:
        """What a model was asked, and its replies, as far as they are kept."""
        path = self.store / "replies.sqlite"
        if not path.is_file():
            return {}
        with contextlib.closing(sqlite3.connect(path)) as database:
            tables = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            return dict(database.execute("SELECT key, value FROM entries").fetchall()) if tables else {}

    def told(self, code: int | None, said: str, expected: str) -> None:
        """A fault that the program met has to be told in one error, and to leave nothing half-written."""
        if code != 3 or expected not in said or "Traceback" in said or "→" not in said:
            self.faults.append(f"left with {code} and said {said[-900:]!r}")
        if left := [str(path) for path in self.folder.rglob("*.tmp")]:
            self.faults.append(f"left half-written: {', '.join(left)}")


def broken(folder: Path) -> list[str]:
    """Files under a folder that cannot be read to their end, or are not those that their stage finished with."""
    found = []
    for path in sorted(folder.rglob("*")):
        unfinished = any(part.endswith(".tmp") for part in path.parts) or (
            path.parent.name.startswith("checkpoint-") and not (path.parent / "complete").exists()
        )
        if unfinished or path.is_symlink() or not path.is_file():
            continue
        try:
            READERS.get(path.suffix, lambda path: None)(path)
        except Exception as error:
            found.append(f"{path}: {type(error).__name__}: {error}")
    return found


def _read_stage(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    if path.name == "stage.json" and not path.parent.name.endswith(".partial"):
        there = {name: value for name, value in file_hashes(path.parent).items() if name != "stage.json"}
        if there != record["files"]:
            raise ValueError("the files are not those that the stage finished with")


def _read_weights(path: Path) -> None:
    with safe_open(path, "np") as file:
        names = file.keys()
        for name in names:
            file.get_tensor(name)


def _read_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        [(answer,)] = database.execute("PRAGMA integrity_check").fetchall()
        if answer != "ok":
            raise ValueError(answer)


def _read_page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("the page ends early")


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _read_stage,
    ".jsonl": read_rows,
    ".safetensors": _read_weights,
    ".sqlite": _read_database,
    ".parquet": pyarrow.parquet.read_table,
    ".html": _read_page,
}


def outcome(run: Path) -> Iterator[tuple[str, bytes]]:
    """All of a run that does not tell of time: each file's name and content."""
    for verb in ("expand", "mine", "compose", "unlearn", "probe"):
        for path in sorted((run / verb).resolve().rglob("*")):
            name = f"{verb}/{path.relative_to((run / verb).resolve())}"
            if path.name == "history.jsonl":
                rows = [{key: value for key, value in row.items() if key not in TIMED} for row in read_rows(path)]
                yield name, json.dumps(rows).encode()
            elif path.suffix in (".jsonl", ".safetensors", ".parquet") or path.name == "measurements.json":
                yield name, path.read_bytes()
    metrics = json.loads((run / "report" / "metrics.json").read_text(encoding="utf-8"))
    yield "verdict", json.dumps([metrics["verdict"], metrics["concepts"]]).encode()


def settle(place: Place, whole: Place, finished: dict[str, bytes], replies: dict[str, str]) -> None:
    """After the last try: nothing lost, nothing broken, nothing different."""
    place.faults += broken(place.folder)
    still = place.kept()
    place.faults += [
        f"was finished and is not the same: {name}" for name in finished if still.get(name) != finished[name]
    ]
    now = place.replies()
    place.faults += [f"lost a reply: {key}" for key, value in replies.items() if now.get(key) != value]
    if place.run.joinpath("report").is_dir():
        ours, theirs = dict(outcome(place.run)), dict(outcome(whole.run))
        place.faults += [f"differs: {name}" for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    if left := [str(path) for path in place.folder.rglob("*.tmp")]:
        place.faults.append(f"still there: {', '.join(left)}")


def kill_trial(place: Place, whole: Place, lasts: float, rng: random.Random) -> str:
    """One to three kills, each at an instant drawn over what a whole run lasts, then to the end."""
    told: list[str] = []
    finished: dict[str, bytes] = {}
    replies: dict[str, str] = {}
    kills = rng.randint(1, 3)
    while len(told) < kills:
        seconds = rng.uniform(0, lasts)
        tried = place.start()
        if tried.end(seconds)[0] is not None:
            if told:
                break
            shutil.rmtree(place.folder)  # it was over before it could be killed
            continue
        tried.kill()
        place.faults += broken(place.folder)
        finished, replies = place.kept(), place.replies()
        under_way = sorted(path.parent.name for path in place.store.glob("*/*.partial"))
        told.append(f"{seconds:.1f} s in {', '.join(under_way) or 'no stage'} ({len(finished)} done)")
    place.finish()
    settle(place, whole, finished, replies)
    return "killed " + "; ".join(told)


def disk_trial(place: Place, whole: Place, rng: random.Random) -> str:
    """A disk of random size, which grows each time it is full, until the run comes to its end."""
    needed = sum(path.stat().st_size for path in whole.folder.rglob("*") if path.is_file() and not path.is_symlink())
    size = round(needed * 2 ** rng.uniform(-7, -0.2))
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place.folder)]
    subprocess.run(mounted, check=True)
    try:
        sizes: list[float] = []
        finished: dict[str, bytes] = {}
        replies: dict[str, str] = {}
        while True:
            sizes.append(size / 1e6)
            (place.folder / "tmp").mkdir(exist_ok=True)
            code, said = place.start().end()
            if code == 0 or len(place.faults) > 3:
                break
            place.told(code, said, FULL)
            copy = Place(place.config, place.folder.with_name(f"{place.folder.name}-copy"), place.env)
            shutil.rmtree(copy.folder, ignore_errors=True)
            if (place.folder / "runs").is_dir():  # a database needs some room to be read
                shutil.copytree(place.folder / "runs", copy.folder / "runs", symlinks=True)
            place.faults += broken(copy.folder)
            finished, replies = {**finished, **copy.kept()}, {**replies, **copy.replies()}
            size = round(size * rng.uniform(1.3, 3))
            subprocess.run(["mount", "-o", f"remount,size={size}", str(place.folder)], check=True)
        settle(place, whole, finished, replies)
    finally:
        subprocess.run(["umount", "-l", str(place.folder)], check=True)
    return f"full at {', '.join(f'{size:.2f}' for size in sizes[:-1]) or 'no size'} MB, done with {sizes[-1]:.2f} MB"


def server_trial(place: Place, whole: Place, servers: Any, rng: random.Random) -> str:
    """The server dies in the middle of a random request; it comes back soon, or only for the next try."""
    dies_at, back = rng.randint(1, servers.known), rng.random() < 0.5
    server = servers.start(dies_at)
    tried = place.start()
    while server.is_alive() and not tried.is_over:
        time.sleep(0.02)
    died = not server.is_alive()
    again = None
    if back and died:
        time.sleep(rng.uniform(0, 1.5))
        again = servers.start()
        code, said = tried.end()
        if code != 0:
            place.faults.append(f"left with {code} though the server was back: {said[-600:]}")
    else:
        place.told(*tried.end(), GONE)
        place.faults += broken(place.folder)
    finished, replies = place.kept(), place.replies()
    again = again or servers.start()
    place.finish()
    settle(place, whole, finished, replies)
    for one in (server, again):
        one.kill()
        one.join()
    return f"died at request {dies_at} of {servers.known}, back {'at once' if back else 'for the next try'}; " + (
        f"{len(replies)} replies kept"
    )


def main() -> int:
    """Run once, break and finish, compare, print."""
    options = _read_options()
    started = time.monotonic()
    preload()
    out = (options.out / options.kind).resolve()
    out.mkdir(parents=True, exist_ok=True)
    env = {"CONCEPT_FORGET_CACHE": str(out.parent / "models"), **os.environ, "HF_HUB_OFFLINE": "1"}
    generator: dict[str, object] = {"engine": "target"}
    servers: Any = None
    if options.kind == "server":
        servers, generator = _open_servers(Path(env["CONCEPT_FORGET_CACHE"]), out)
    config = options.config or out / "config.yaml"
    if options.config is None:
        config.write_text(yaml.safe_dump(small_config(generator)), encoding="utf-8")
    whole = Place(config, out / "whole", env)
    lasts = run_whole(whole, servers)
    failed = done = 0
    for number in range(options.first, options.first + options.trials):
        if time.monotonic() - started > options.seconds:
            break
        done += 1
        place = Place(config, out / str(number), dict(env))
        place.folder.mkdir(parents=True)
        if number < options.fresh:
            place.env["CONCEPT_FORGET_CACHE"] = str(out / f"models-{number}")
        rng = named_random(options.seed, options.kind, number)
        began = time.monotonic()
        if options.kind == "kill":
            told = kill_trial(place, whole, lasts * (3 if number < options.fresh else 1), rng)
        elif options.kind == "disk":
            place.env["TMPDIR"] = str(place.folder / "tmp")
            told = disk_trial(place, whole, rng)
        else:
            told = server_trial(place, whole, servers, rng)
        failed += bool(place.faults)
        came_to = "; ".join(place.faults) or "same bytes"
        print(f"{number} {told}; {time.monotonic() - began:.0f} s: {came_to}", flush=True)
    print(f"{done - failed} of {done} came to the same bytes, with nothing lost or broken")
    return 1 if failed else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("kill", "disk", "server"))
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--fresh", type=int, default=0, help="of the kills, with no taught model at the start")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no trial after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, help="of the run that is broken; by default a small one")
    parser.add_argument("--out", type=Path, default=Path("runs/trials"))
    return parser.parse_args()


def run_whole(whole: Place, servers: Any) -> float:
    """The run that nothing befalls, and another one that has to equal it; the seconds that this one took."""
    told = whole.folder / "lasts"
    if told.is_file():
        return float(told.read_text(encoding="ascii"))
    server = servers.start() if servers else None
    whole.finish()  # the models are taught by now
    timed = Place(whole.config, whole.folder.with_name("timed"), whole.env)
    lasts = timed.finish()
    settle(timed, whole, {}, {})
    if server is not None:
        server.kill()
        server.join()
    if found := [*whole.faults, *timed.faults]:
        raise SystemExit(f"a run that nothing befell: {'; '.join(found)}")
    told.write_text(str(lasts), encoding="ascii")
    print(f"a whole run takes {lasts:.1f} s, and another one comes to the same bytes", flush=True)
    return lasts


def _open_servers(cache: Path, out: Path) -> tuple[Any, dict[str, object]]:
    """Servers of a sandbox model, on a port that stays: it is part of what replies are kept under."""
    from tests.acceptance.sandbox_server import SandboxServers, free_port

    port_file = out / "port"
    if not port_file.is_file():
        port_file.write_text(str(free_port()), encoding="ascii")
    port = int(port_file.read_text(encoding="ascii"))
    servers = SandboxServers(teach_world(0, size="nano", cache_dir=cache), out / "replies.jsonl", port)
    return servers, {
        "engine": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "model": "sandbox", "concurrency": 4,
        "structured": "none", "attempts": 5, "timeout_seconds": 20,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
