"""The command line in processes that begin with everything imported, and can be killed."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

from concept_forget import cli
from concept_forget.pipeline import VERBS, stage_module


class Try:
    """The command line in a process of its own, a fork of this one, in which everything is imported already.

    Args:
        arguments: Of the command.
        env: Its environment.
        errors: What it says on its standard error goes there.
    """

    def __init__(self, arguments: list[str], env: dict[str, str], errors: Path) -> None:
        self._errors = errors
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(arguments, env))
        self._process.start()

    def _run(self, arguments: list[str], env: dict[str, str]) -> None:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.environ.update(env)
        tempfile.tempdir = None
        sys.argv = ["concept-forget", *arguments]
        cli.main()

    @property
    def is_over(self) -> bool:
        return not self._process.is_alive()

    def end(self, seconds: float | None = None) -> tuple[int | None, str]:
        """Wait so long for its end; gives the exit code, None where it still runs, and what it said."""
        self._process.join(seconds)
        return self._process.exitcode, self._errors.read_text(encoding="utf-8") if self._errors.exists() else ""

    def kill(self) -> None:
        """`kill -9` for it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
        self._process.join()


def preload() -> None:
    """Import what a run imports, so that a try is the run's own time."""
    for name in ("accelerate", "datasets", "faiss", "openai", "peft", "sentence_transformers", "torch", "trl"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer

    assert all((AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer))
    for verb in VERBS:
        stage_module(verb)
    for name in ("unlearn.unlearning", "probe.measuring", "engines.transformers_engine", "engines.openai_engine"):
        importlib.import_module(f"concept_forget.{name}")
