"""vLLM in a process of its own: it is told what to compute over a pipe, and gives its memory back when it ends.

Started by ``concept_forget.engines.vllm_engine`` as ``python -m concept_forget.engines.vllm_worker FILE-DESCRIPTOR``.
It ends by itself when the other end of the pipe is closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

_GROUP = 64  # finished jobs sent at once, at most


@dataclass(frozen=True, slots=True)
class Start:
    """How the model is loaded."""

    path: str
    revision: str | None
    dtype: str
    batch_tokens: int
    tensor_parallel: int
    memory_share: float
    lora_rank: int
    eager: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt: to be gone on with, or, where ``score_from`` is set, to be scored from that token on."""

    ids: list[int]
    limit: int = 1
    temperature: float = 0.0
    seed: int | None = None
    stop_tokens: tuple[int, ...] = ()
    schema: dict[str, Any] | None = None
    adapter: str | None = None
    score_from: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: the tokens of the reply, or the log-probability and the rank of each token scored."""

    place: int
    ids: list[int]
    finish_reason: str
    scores: tuple[tuple[float, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The work cannot go on."""

    kind: str
    message: str


READY, STOP, END = "ready", "stop", "end"


def load_llm(start: Start) -> Any:
    """The model, in vLLM."""
    from vllm import LLM

    adapters: dict[str, Any] = {}
    if start.lora_rank:
        adapters = {"enable_lora": True, "max_lora_rank": _rank_that_vllm_knows(start.lora_rank)}
    return LLM(
        model=start.path,
        revision=start.revision,
        dtype=cast(Any, start.dtype),
        trust_remote_code=False,
        tensor_parallel_size=start.tensor_parallel,
        gpu_memory_utilization=start.memory_share,
        max_num_batched_tokens=start.batch_tokens,
        max_num_seqs=min(256, start.batch_tokens),
        enable_chunked_prefill=True,
        enable_prefix_caching=True,
        enforce_eager=start.eager,
        # White space without bound is what a small model loses itself in.
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        generation_config="vllm",  # what the model's own settings say of sampling is not heeded
        disable_log_stats=True,
        seed=0,
        **adapters,
    )


class Worker:
    """A loaded model, and the adapters it was asked for."""

    def __init__(self, start: Start) -> None:
        self._engine = load_llm(start).llm_engine
        self._adapters: dict[str, Any] = {}

    def work(self, jobs: Sequence[Job], line: Connection) -> None:
        """Compute the jobs of each adapter as one batch, and send each as it is done.

        One adapter after another: on a processor, vLLM 0.32 gives a request without an adapter the weights of another
        one's where both are in one step.
        """
        by_adapter: dict[str | None, list[int]] = {}
        for place, job in enumerate(jobs):
            by_adapter.setdefault(job.adapter, []).append(place)
        for places in by_adapter.values():
            if not self._work_through(places, jobs, line):
                break
        line.send(END)

    def _work_through(self, places: Sequence[int], jobs: Sequence[Job], line: Connection) -> bool:
        """Compute some of the jobs together; whether nobody said stop."""
        from vllm import TokensPrompt

        for place in places:
            job = jobs[place]
            prompt = TokensPrompt(prompt_token_ids=job.ids)
            self._engine.add_request(str(place), prompt, _settings(job), lora_request=self._adapter(job.adapter))
        while self._engine.has_unfinished_requests():
            if line.poll() and line.recv() == STOP:
                self._engine.abort_request([str(place) for place in places])
                return False
            done = [
                _done(int(output.request_id.split("-")[0]), jobs, output)
                for output in self._engine.step()
                if output.finished
            ]
            for first in range(0, len(done), _GROUP):
                line.send(done[first : first + _GROUP])
        return True

    def _adapter(self, path: str | None) -> Any:
        from vllm.lora.request import LoRARequest

        if path is None:
            return None
        if path not in self._adapters:
            self._adapters[path] = LoRARequest(path, len(self._adapters) + 1, path)
        return self._adapters[path]


def _rank_that_vllm_knows(rank: int) -> int:
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), 512)


def _settings(job: Job) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        temperature=job.temperature,
        max_tokens=job.limit,
        seed=job.seed,
        stop_token_ids=list(job.stop_tokens),
        prompt_logprobs=0 if job.score_from is not None else None,
        structured_outputs=StructuredOutputsParams(json=job.schema) if job.schema is not None else None,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _done(place: int, jobs: Sequence[Job], output: Any) -> Done:
    job, reply = jobs[place], output.outputs[0]
    scores = None
    if job.score_from is not None:
        given = zip(output.prompt_logprobs[job.score_from :], job.ids[job.score_from :], strict=True)
        found = [entries[token] for entries, token in given]
        scores = tuple((float(entry.logprob), int(entry.rank) - 1) for entry in found)
    return Done(place, list(reply.token_ids), str(reply.finish_reason), scores)


def serve(line: Connection) -> None:
    """Load what the first message says, and do what the others say, until there are no more."""
    worker: Worker | None = None
    while True:
        try:
            message = line.recv()
        except EOFError:
            return
        try:
            if isinstance(message, Start):
                worker = Worker(message)
                line.send(READY)
            elif worker is not None and message != STOP:
                worker.work(message, line)
        except (EOFError, BrokenPipeError, ConnectionError):
            return
        except Exception as error:
            line.send(Broken(type(error).__name__, str(error)))


def main() -> None:
    """Serve the pipe whose file descriptor the command line names."""
    # By its own name, for a message of a class of ``__main__`` says nothing to the other end.
    from concept_forget.engines import vllm_worker

    vllm_worker.serve(Connection(int(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # nothing is left to be said to anybody, and vLLM's own end takes seconds


if __name__ == "__main__":
    main()
