"""The engine ``vllm``: a model in vLLM, in a process of its own, asked everything at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import Pipe
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from pydantic import BaseModel

from concept_forget.engines.encoding import RequestEncoder
from concept_forget.engines.protocol import (
    Capability,
    Draw,
    Reply,
    Request,
    Sampling,
    TokenScores,
    check_capabilities,
)
from concept_forget.engines.streaming import gather_replies, gather_scores
from concept_forget.engines.vllm_worker import END, READY, STOP, Broken, Done, Job, Start
from concept_forget.errors import CapabilityError, DataError, EngineError, ModelError
from concept_forget.model_files import reading
from concept_forget.models import LOADING, load_config, load_tokenizer
from concept_forget.records import ModelSpec, named_seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

VERSION = 2  # raise it when the same request gets another reply
_LOGIT_ELEMENTS = 1 << 27  # of a scoring step: half a gibibyte of float32, and as much again while it is normalised
_MOST_BATCH_TOKENS = 8192
_LEAST_BATCH_TOKENS = 256
_LOOK_SECONDS = 0.1
_LAST_SECONDS = 10.0  # for the process to end by itself
_LOG_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """What the machine decides.

    Args:
        tensor_parallel: Accelerators that share the model.
        memory_share: Share of the accelerator's memory to use.
        lora_rank: Highest rank of the adapters that requests name; 0: none may. An engine with adapters does not score.
        adapters: Folders of adapters by the names that requests give them; any other name is a folder itself.
    """

    tensor_parallel: int = 1
    memory_share: float = 0.9
    lora_rank: int = 0
    adapters: Mapping[str, str] = field(default_factory=dict)


class VllmEngine:
    """A causal language model that vLLM runs.

    All requests of a call are one batch, those that begin alike one after the other, so that what they share is
    computed once. Requests are written in tokens, and replies read, as the engine ``transformers`` does it: greedy
    replies are the same but for ties within rounding. Sampled ones are repeatable by their seeds, and other ones.

    The process is started when something is first asked, and ended, its memory with it, by ``close``.

    Args:
        spec: The model, with a fingerprint.
        settings: What the machine decides.
    """

    def __init__(self, spec: ModelSpec, settings: VllmSettings) -> None:
        self._spec = spec
        self._settings = settings
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        self._on_processor = device.type == "cpu"
        self._dtype = "float32" if spec.dtype == "auto" and self._on_processor else spec.dtype
        self.identity = f"vllm-{VERSION}:{spec.fingerprint}:{self._dtype}:{device.type}"
        # vLLM 0.32 confuses the rows of prompt_logprobs once it may load adapters.
        last: Capability = "adapters" if settings.lora_rank else "logprobs"
        self.capabilities: frozenset[Capability] = frozenset({"generate", "schema", last})
        if spec.adapter is not None and not settings.lora_rank:
            raise ModelError(
                "the model has an adapter, and vLLM is to load none",
                file=spec.adapter,
                key="generator.lora_rank",
                remedy="set it to the adapter's rank",
            )
        self._process: _Process | None = None

    @cached_property
    def flops_per_token(self) -> float:
        """Twice the number of weights that every token meets."""
        from transformers import AutoModelForCausalLM

        with LOADING, torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self._config)
        return 2.0 * float(model.num_parameters(exclude_embeddings=True))

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        """Replies to each request; see ``Engine.generate`` and ``stream``."""
        return gather_replies(self, requests, sampling, schema)

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Scores of each completion; see ``Engine.score`` and ``stream_scores``."""
        return gather_scores(self, pairs, moments)

    def stream(
        self, draws: Sequence[Draw], sampling: Sampling, schema: type[BaseModel] | None, stop: threading.Event
    ) -> Generator[list[tuple[int, Reply]], None, None]:
        """One reply to each draw, as they come; see ``StreamingEngine.stream``.

        Raises:
            CapabilityError: A prefill and a schema at once, which vLLM does not join; or an adapter, with none allowed.
            DataError: A request is too long for the model.
            ModelError: The model cannot be loaded.
            EngineError: The process came to an end.
        """
        requests = [request for request, _ in draws]
        check_capabilities(self, "generate", requests, schema=schema)
        if schema is not None and any(request.prefill for request in requests):
            raise CapabilityError(f"the engine {self.identity} cannot hold a reply with a prefill to a schema")
        openings = self._encoder.encode(requests)
        shape = schema.model_json_schema() if schema is not None else None
        jobs = [
            Job(
                ids=opening,
                limit=self._limit(opening, sampling),
                temperature=sampling.temperature,
                seed=named_seed(request.seed, "reply", number) if sampling.temperature > 0 else None,
                stop_tokens=tuple(sorted(self._stop_tokens)),
                schema=shape,
                adapter=self._adapter(request),
            )
            for (request, number), opening in zip(draws, openings, strict=True)
        ]
        for group in self._compute(jobs, stop):
            yield [(done.place, self._reply(requests[done.place], openings[done.place], done)) for done in group]

    def stream_scores(
        self, pairs: Sequence[tuple[Request, str]], moments: bool, stop: threading.Event
    ) -> Generator[list[tuple[int, TokenScores]], None, None]:
        """Scores of each pair, as they come; see ``StreamingEngine.stream_scores``.

        Raises:
            CapabilityError: Moments, which vLLM does not give; or anything, where adapters are allowed.
            DataError: A pair fills the model's context: vLLM takes no prompt without room for one more token.
            ModelError: The model cannot be loaded.
            EngineError: The process came to an end.
        """
        check_capabilities(self, "logprobs", [request for request, _ in pairs], moments=moments)
        rows = self._encoder.encode_pairs(pairs)
        for ids, _ in rows:
            if self._encoder.room(ids) == 0:
                raise DataError(
                    f"a prompt with its completion takes {len(ids)} tokens, all that the model's context holds",
                    file=self._spec.path,
                    remedy="shorten it by a token, or score with `engine: transformers`",
                )
        jobs = [Job(ids, score_from=start) for ids, start in rows]
        for group in self._compute(jobs, stop):
            yield [(done.place, _scores(done, rows[done.place][1])) for done in group]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """All at once."""
        return [list(range(len(requests)))] if requests else []

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """All at once."""
        return [list(range(len(pairs)))] if pairs else []

    def close(self) -> None:
        """End the process; it is started again if the engine is asked again."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _compute(self, jobs: Sequence[Job], stop: threading.Event) -> Generator[list[Done], None, None]:
        """What comes of the jobs, in groups, each with its place in ``jobs``."""
        if not jobs:
            return
        order = sorted(range(len(jobs)), key=lambda place: (jobs[place].adapter or "", jobs[place].ids))
        if self._process is None:
            self._process = _Process(self._start())
        try:
            for group in self._process.compute([jobs[place] for place in order], stop):
                yield [Done(order[done.place], done.ids, done.finish_reason, done.scores) for done in group]
        except BaseException:
            self.close()  # it may be in the middle of something
            raise

    def _start(self) -> Start:
        most = _LOGIT_ELEMENTS // int(self._config.vocab_size)
        return Start(
            path=self._spec.path,
            revision=self._spec.revision,
            dtype=self._dtype,
            batch_tokens=max(_LEAST_BATCH_TOKENS, min(_MOST_BATCH_TOKENS, most)),
            tensor_parallel=self._settings.tensor_parallel,
            memory_share=self._settings.memory_share,
            lora_rank=self._settings.lora_rank,
            eager=self._on_processor,  # compiling for a processor takes longer than most runs
        )

    def _reply(self, request: Request, opening: Sequence[int], done: Done) -> Reply:
        if done.finish_reason not in ("stop", "length"):
            return Reply("", "failed", len(opening), len(done.ids), f"vLLM ended the reply: {done.finish_reason}")
        stopped = done.ids[-1:] != [] and done.ids[-1] in self._stop_tokens
        text = self._encoder.decode(request, opening, done.ids[:-1] if stopped else done.ids)
        return Reply(text, "stop" if done.finish_reason == "stop" else "length", len(opening), len(done.ids))

    def _adapter(self, request: Request) -> str | None:
        """The folder of a request's adapter."""
        name = request.adapter or self._spec.adapter
        return name and self._settings.adapters.get(name, name)

    def _limit(self, opening: Sequence[int], sampling: Sampling) -> int:
        room = self._encoder.room(opening)
        return sampling.max_new_tokens if room is None else min(sampling.max_new_tokens, room)

    @cached_property
    def _config(self) -> PretrainedConfig:
        return load_config(self._spec)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self._spec)

    @cached_property
    def _encoder(self) -> RequestEncoder:
        context = getattr(self._config, "max_position_embeddings", None)
        return RequestEncoder(self._tokenizer, context, self._spec.path)

    @cached_property
    def _stop_tokens(self) -> frozenset[int]:
        from transformers import GenerationConfig

        settings: Any = self._config
        # A model may be without the file.
        with reading("settings of the model", self._spec.path), contextlib.suppress(OSError):
            settings = GenerationConfig.from_pretrained(self._spec.path, revision=self._spec.revision or "main")
        return self._encoder.stop_tokens(settings.eos_token_id)


class _Process:
    """The process that holds the model, and the pipe to it.

    Raises:
        ModelError: It cannot load the model.
        EngineError: It came to an end.
    """

    def __init__(self, start: Start) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process is
        self._line, other = Pipe()
        # A session of its own: Ctrl-C is for the program, which then tells the process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "concept_forget.engines.vllm_worker", str(other.fileno())],
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=_environment(start),
        )
        other.close()
        try:
            self._send(start)
            answer = self._receive()
            if isinstance(answer, Broken):
                raise ModelError(
                    f"vLLM cannot load the model: {answer.kind}: {answer.message[:_LOG_CHARACTERS]}",
                    file=start.path,
                    remedy="lower `generator.memory_share`, free memory, or use `engine: transformers`",
                )
            assert answer == READY
        except BaseException:
            self.end()
            raise

    def compute(self, jobs: list[Job], stop: threading.Event) -> Generator[list[Done], None, None]:
        """Send jobs, and give what comes back until it is all there or somebody wants to stop."""
        self._send(jobs)
        told = False
        while True:
            if stop.is_set() and not told:
                self._send(STOP)
                told = True
            if not self._line.poll(_LOOK_SECONDS):
                self._check_alive()
                continue
            answer = self._receive()
            if answer == END:
                return
            if isinstance(answer, Broken):
                raise EngineError(f"vLLM cannot go on: {answer.kind}: {answer.message[:_LOG_CHARACTERS]}")
            yield answer

    def end(self) -> None:
        """End the process, and what it has started."""
        self._line.close()  # by which it knows
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _send(self, message: object) -> None:
        try:
            self._line.send(message)
        except OSError as error:
            raise self._ended() from error

    def _receive(self) -> Any:
        try:
            return self._line.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def _check_alive(self) -> None:
        if self._process.poll() is not None and not self._line.poll():
            raise self._ended()

    def _ended(self) -> EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_SECONDS)
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip()[-_LOG_CHARACTERS:]
        return EngineError(
            f"vLLM's process came to an end (exit code {self._process.returncode}); its last words:\n{words}\n"
            "  → what it answered is kept, and the same command goes on from there"
        )


def _environment(start: Start) -> dict[str, str]:
    """The program's own, with what vLLM reads from it; what the user has set stays."""
    package = Path(__file__).resolve().parents[2]
    usual = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # gibibytes; else it takes most of a machine's memory
    }
    # One process inside another is enough, and this one is waited for.
    forced = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if start.tensor_parallel == 1 else {}
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    return {**usual, **os.environ, **forced, "PYTHONPATH": path}


def _scores(done: Done, given: int) -> TokenScores:
    assert done.scores is not None
    return TokenScores(
        tuple(logprob for logprob, _ in done.scores), tuple(rank for _, rank in done.scores), prompt_tokens=given
    )
