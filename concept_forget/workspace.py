"""The run folder: atomic writes, fingerprints, the shared store, the lock, and what a stage is handed.

runs/NAME/                       one run: run.json, .lock, and a relative link per finished stage
runs/.store/VERB/FINGERPRINT/    a finished stage, shared by every run that asks for the same
runs/.store/VERB/FINGERPRINT.partial/   a stage under way; survives a kill, and the same command goes on in it
runs/.store/replies.sqlite       replies of language models, by request
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import ValidationError

from concept_forget.config import Config
from concept_forget.errors import ConceptForgetError, ConfigError, RunLockedError
from concept_forget.records import ModelSpec, Record, content_hash, dump_jsonl, json_ready, load_jsonl

STORE = ".store"
RUN_FORMAT = 1
R = TypeVar("R", bound=Record)


def data_folder(name: str) -> Path:
    """A folder that travels with the program: ``prompts`` or ``pipelines``, in a wheel or beside the package."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConceptForgetError(f"the folder {name!r} that belongs to the program is missing; install it again")


def cache_folder() -> Path:
    """Where taught models and the like are kept: ``CONCEPT_FORGET_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("CONCEPT_FORGET_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "concept_forget"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "concept_forget"


def write_text(path: Path, text: str) -> None:
    """Write a file so that it appears whole or not at all, and survives a power cut once this returns."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """``write_text`` for what is no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    write_text(path, json.dumps(json_ready(value), ensure_ascii=False, indent=2) + "\n")


def write_records(path: Path, records: list[R]) -> None:
    """Write records as JSON lines."""
    write_text(path, dump_jsonl(records))


def read_json(path: Path) -> Any:
    """Read what ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; only a line feed ends a line, whatever else its texts hold."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_records(kind: type[R], path: Path) -> list[R]:
    """Read what ``write_records`` wrote."""
    return load_jsonl(kind, path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_hashes(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    """SHA-256 of each file under a folder, by its path there."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def folder_hash(folder: Path, pattern: str = "**/*") -> str:
    """A hash of the names and bytes of the files under a folder."""
    return content_hash(*([name, digest] for name, digest in file_hashes(folder, pattern).items()))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclasses.dataclass(slots=True)
class Costs:
    """What a stage spent beyond its seconds; the stage adds to it as it goes."""

    flops: float = 0.0
    requests: int = 0
    cached_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    gate_seconds: float = 0.0  # in gates and measures rather than in a generator
    hidden_gate_seconds: float = 0.0  # of these, those in which the stage did not wait for them


@dataclasses.dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is handed.

    Args:
        config: The whole effective config.
        folder: Where the stage writes. What an earlier, interrupted try left there is still in it.
        inputs: Finished folders of the stages before it, by verb; ``sandbox`` holds ``documents.jsonl``.
        models: The models it may need: ``base``, ``generator``, ``unlearned``, ``reference``.
        cache: The file of the request cache.
        costs: The running account.
    """

    config: Config
    folder: Path
    inputs: Mapping[str, Path]
    models: Mapping[str, ModelSpec]
    cache: Path
    costs: Costs

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.seed


class Run:
    """One run folder, held by this process while its ``lock`` is open.

    Args:
        root: The folder.
        store: Where finished stages are kept; None: beside the folder.
    """

    def __init__(self, root: Path, store: Path | None = None) -> None:
        self.root = root
        self.store = store or root.parent / STORE

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run; the lock goes with the process, however it ends.

        Raises:
            RunLockedError: Another process holds it.
            ConfigError: A newer version made the run.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the run folder {self.root} cannot be made: {error.strerror}",
                key="output",
                remedy="name another",
            ) from error
        with _held(self.root / ".lock", f"the run {self.root}"):
            self._refuse_newer()
            for stale in self.root.glob(".*.tmp"):
                stale.unlink()
            yield

    def finished(self, verb: str, fingerprint: str) -> Path | None:
        """The folder of a finished stage, or None."""
        folder = self.store / verb / fingerprint
        return folder if (folder / "stage.json").is_file() else None

    @contextlib.contextmanager
    def shared(self, kind: str, fingerprint: str) -> Iterator[Path]:
        """A folder of the store that is no stage's, without what a kill left half written; others wait for it."""
        folder = self.store / kind / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder.parent / f".{fingerprint}.lock", f"{kind} {fingerprint}", wait=True):
            _remove_half_written(folder)
            yield folder

    @contextlib.contextmanager
    def stage(self, verb: str, fingerprint: str) -> Iterator[Path]:
        """The folder in which a stage works until ``finish``; what an interrupted try finished is still in it.

        Files and folders that were half written, ``*.tmp``, are not: neither those of a process that was killed, nor
        those of this one where it fails.
        """
        partial = self.store / verb / f"{fingerprint}.partial"
        partial.parent.mkdir(parents=True, exist_ok=True)
        with _held(partial.parent / f".{fingerprint}.lock", f"the stage {verb} {fingerprint}"):
            if partial.is_symlink():
                raise _is_link(partial)
            _remove_half_written(partial)
            partial.mkdir(exist_ok=True)
            try:
                yield partial
            except BaseException:
                _remove_half_written(partial)
                raise
            finally:
                with contextlib.suppress(OSError):  # it holds something, or has got its final name
                    partial.rmdir()

    def finish(self, verb: str, fingerprint: str, manifest: Mapping[str, Any]) -> Path:
        """Declare the stage done: write its manifest, with a hash of every file, and give the folder its final name."""
        partial = self.store / verb / f"{fingerprint}.partial"
        final = self.store / verb / fingerprint
        (partial / "stage.json").unlink(missing_ok=True)
        write_json(partial / "stage.json", {**manifest, "files": file_hashes(partial)})
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
        _sync_folder(final.parent)
        return final

    def discard(self, verb: str, fingerprint: str) -> None:
        """Forget a stage, finished or not, so that it runs again."""
        for name in (fingerprint, f"{fingerprint}.partial"):
            folder = self.store / verb / name
            if folder.exists():
                shutil.rmtree(folder)

    def link(self, verb: str, folder: Path) -> None:
        """Let ``runs/NAME/VERB`` lead to a finished stage, by a relative link replaced in one step."""
        beside = self.root / f".{verb}.{os.getpid()}.tmp"
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(folder, self.root), target_is_directory=True)
        beside.replace(self.root / verb)

    def unlink(self, verb: str) -> None:
        """Take away the link to a stage that no longer belongs to this run."""
        (self.root / verb).unlink(missing_ok=True)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        write_json(self.root / "run.json", {"format": RUN_FORMAT, **manifest})

    def read_manifest(self) -> dict[str, Any]:
        """Read ``run.json``.

        Raises:
            ConfigError: This is no run, or one of another format.
        """
        path = self.root / "run.json"
        try:
            manifest: dict[str, Any] = read_json(path)
        except FileNotFoundError as error:
            raise ConfigError(
                "there is no run.json here",
                file=self.root,
                remedy="give the folder of a run, such as runs/quickstart",
            ) from error
        except NotADirectoryError as error:
            raise ConfigError(
                "this is a file", file=self.root, remedy="give the folder of a run, which the config's `output` names"
            ) from error
        except ValueError as error:
            raise ConfigError(f"this is not JSON: {error}", file=path, remedy="run the config again") from error
        _check_format(manifest.get("format"), path)
        return manifest

    def _refuse_newer(self) -> None:
        """Leave a run alone that a newer version made; what an older one made is made anew where it is stale."""
        path = self.root / "run.json"
        with contextlib.suppress(FileNotFoundError, ValueError):  # what is no manifest is written anew
            found = read_json(path)
            made = found.get("format") if isinstance(found, dict) else None
            if isinstance(made, int) and made > RUN_FORMAT:
                _check_format(made, path)

    def read_config(self) -> Config:
        """The whole effective config that ``run.json`` holds.

        Raises:
            ConfigError: This is no run, or another version made it.
        """
        try:
            return Config.model_validate(self.read_manifest()["config"])
        except (ValidationError, KeyError) as error:
            raise ConfigError(
                "the config in this run is not one of this version",
                file=self.root / "run.json",
                remedy="run the config again with this version",
            ) from error


def _check_format(made: object, path: Path) -> None:
    if made == RUN_FORMAT:
        return
    newer = isinstance(made, int) and made > RUN_FORMAT
    raise ConfigError(
        f"the run has format {made!r}, this version reads {RUN_FORMAT}"
        + (": a newer version of the program made it" if newer else ""),
        file=path,
        remedy="use that version, or choose another `output`"
        if newer
        else "run the config again with this version: what the older one left is kept where it still counts",
    )


def _remove_half_written(folder: Path) -> None:
    """Remove what was being written: everything is written beside its place, as ``*.tmp``, and renamed at the end."""
    for path in sorted(folder.rglob("*.tmp"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file. The kernel keeps it, not the text: that of a dead process is nobody's any more."""
    with _open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise RunLockedError(
                f"{what} is held by another process (pid {holder})\n  → wait for it, or choose another `output`"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _open_lock(path: Path) -> IO[str]:
    """The lock's file, made where there is none; what a link leads to would be overwritten, and is left alone."""
    try:
        return os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), "a+", encoding="utf-8"
        )
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _is_link(path) from error


def _is_link(path: Path) -> ConfigError:
    return ConfigError(
        "this is a link, and the program makes none here: what it leads to could be overwritten",
        file=path,
        remedy="remove the link",
    )


def folder_name(text: str) -> str:
    """A name that is safe as one folder's name: word characters, and a hash where something had to go."""
    text = unicodedata.normalize("NFC", text)
    plain = text.casefold()
    kept = "".join(character if character.isalnum() else "-" for character in plain).strip("-")
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept[:60] if kept and kept.replace("-", " ") == plain else f"{kept[:48]}-{content_hash(text)[:8]}".strip("-")
