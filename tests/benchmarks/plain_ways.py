"""Generation beside what anybody would write: ``model.generate``, prompt by prompt, or a bare ``LLM.chat`` of vLLM.

``generation_speed.py`` and ``probe_speed.py`` say what is asked; here both ways do it in turns, over several sizes.

- ``transformers``: ``model.generate`` gets the same token ids and limits, in this process and on the same threads. What
  is sampled gets its noise from the program's own function, in a logits processor, so that the replies can be compared.
- ``vllm``: ``LLM.chat`` gets the same prompts, seeds and limits from an ``LLM`` that is set up alike. It runs in this
  process, the program's in one of its own, whose processor time is counted with this one's.

On a machine that others use too, the ratio of processor time is the steadier one.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from sizes import add_options, growth, kept_in, once, publish, table
from transformers import LogitsProcessor

from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.noise import add_gumbel_noise
from concept_forget.engines.protocol import Engine, Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine, _noise_key
from concept_forget.models import load_model
from concept_forget.records import ModelSpec, named_seed
from concept_forget.workspace import Costs

SIZES = (250, 500, 1000, 2000)
LEAST_EQUAL = 0.99
"""Share of the replies that have to be the same where rounding alone can tell them apart."""
WARM_UP = 50

Plain = Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured: done the program's way, and as requests for another.

    ``ours`` gives the text of each reply in the order of ``requests``, and computes all of them each time. ``notes``
    are further figures of its last call.
    """

    ours: Plain
    requests: Sequence[Request]
    sampling: Sampling
    notes: dict[str, float] = field(default_factory=dict)


class Beside(Protocol):
    """An engine of the program, and the plain way of asking the same model."""

    @property
    def engine(self) -> Engine:
        """The program's."""

    def plain(self, work: Work) -> Plain:
        """Does the same work, and nothing else."""

    def close(self) -> None:
        """End what was started."""


class OneByOne:
    """``model.generate``, prompt by prompt."""

    def __init__(self, spec: ModelSpec) -> None:
        self.engine = TransformersEngine(spec)
        self._model: Any = load_model(spec)

    def plain(self, work: Work) -> Plain:
        """One reply after the other."""
        return lambda: [self._reply(request, work.sampling) for request in work.requests]

    def _reply(self, request: Request, sampling: Sampling) -> str:
        encoder, stop = self.engine._encoder, sorted(self.engine._stop_tokens)
        (ids,) = encoder.encode([request])
        given = torch.tensor([ids])
        noise = _SameNoise(sampling.temperature, _noise_key(request, 0), len(ids)) if sampling.temperature else None
        with torch.inference_mode():
            whole = self._model.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, num_beams=1, eos_token_id=stop,
                pad_token_id=self.engine._filler, max_new_tokens=self.engine._limit(ids, sampling),
                logits_processor=[noise] if noise else None,
            )[0].tolist()  # fmt: skip
        reply = whole[len(ids) :]
        return encoder.decode(request, ids, reply[:-1] if reply[-1] in stop else reply)

    def close(self) -> None:
        """Drop the weights."""
        self.engine.close()


class _SameNoise(LogitsProcessor):
    """Makes the likeliest token the one that the program draws."""

    def __init__(self, temperature: float, key: int, given: int) -> None:
        self._temperature, self._key, self._given = temperature, torch.tensor([key]), given

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        return add_gumbel_noise(scores.div(self._temperature), self._key, input_ids.shape[1] - self._given)


class BareVllm:
    """``LLM.chat``, of all prompts at once."""

    def __init__(self, spec: ModelSpec) -> None:
        from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings, _environment
        from concept_forget.engines.vllm_worker import load_llm

        self.engine = VllmEngine(spec, VllmSettings())
        start = self.engine._start()
        os.environ.update(_environment(start))  # vLLM reads it when it is imported
        self._llm = load_llm(start)

    def plain(self, work: Work) -> Plain:
        """All replies in one call; what it is given is made beforehand."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        chats: list[Any] = [request.prompt for request in work.requests]
        sampling = [
            SamplingParams(
                temperature=work.sampling.temperature, max_tokens=work.sampling.max_new_tokens,
                seed=named_seed(request.seed, "reply", 0) if work.sampling.temperature else None,
                stop_token_ids=sorted(self.engine._stop_tokens), output_kind=RequestOutputKind.FINAL_ONLY,
            )
            for request in work.requests
        ]  # fmt: skip
        return lambda: [output.outputs[0].text for output in self._llm.chat(chats, sampling, use_tqdm=False)]

    def close(self) -> None:
        """End the engine's process."""
        self.engine.close()


ENGINES: dict[str, Callable[[ModelSpec], Beside]] = {"transformers": OneByOne, "vllm": BareVllm}


def with_new_cache(engine: Engine, folder: Path) -> CachedEngine:
    """The engine behind a request cache in which there is nothing yet."""
    return CachedEngine(engine, RequestCache(Path(tempfile.mkdtemp(dir=folder)) / "replies.sqlite"), Costs())


def measure(way: Plain) -> tuple[list[str], float, float]:
    """What a way gives, its seconds, and the seconds of processor time that it took with its children."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    before = sum(sum(process.cpu_times()[:2]) for process in family)
    began = time.monotonic()
    given = way()
    seconds = time.monotonic() - began
    return given, seconds, sum(sum(process.cpu_times()[:2]) for process in family) - before


def compare(work: Work, plain: Plain, turns: int) -> dict[str, Any]:
    """Both ways in turns; ratios are medians over the turns."""
    timed = []
    for _ in range(turns):
        timed.append((measure(plain), measure(work.ours)))
        print(len(work.requests), [[round(figure, 2) for figure in way[1:]] for way in timed[-1]], file=sys.stderr)
    equal = sum(one.strip() == other.strip() for one, other in zip(timed[-1][0][0], timed[-1][1][0], strict=True))
    return {
        "prompts": len(work.requests),
        "plain_seconds": round(statistics.median(plain[1] for plain, _ in timed), 3),
        "ours_seconds": round(statistics.median(ours[1] for _, ours in timed), 3),
        "speed_up": round(statistics.median(plain[1] / ours[1] for plain, ours in timed), 3),
        "processor_speed_up": round(statistics.median(plain[2] / ours[2] for plain, ours in timed), 3),
        "turns": [[[round(figure, 2) for figure in way[1:]] for way in turn] for turn in timed],
        "equal_replies": equal,
        **{name: round(value, 3) for name, value in work.notes.items()},
    }


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The engine, ``--sizes``, ``--turns`` and ``--out``."""
    parser.add_argument("engine", choices=ENGINES, nargs="?", default="transformers")
    add_options(parser, SIZES, "prompts")
    parser.add_argument("--turns", type=int, default=2, help="how often each way does each size")


def run(
    options: argparse.Namespace,
    spec: ModelSpec,
    make: Callable[[Engine, int, Path], Work],
    least: dict[str, float],
    **conditions: object,
) -> int:
    """Measure all sizes, print the table and the JSON.

    Args:
        options: See ``add_engine_options``.
        spec: The model that both ways ask.
        make: Makes the work, given the engine, the number of prompts, and a folder for caches.
        least: The speed-up, by its name in a size's figures, that the largest size has to reach.
        conditions: What else the figures depend on.

    Returns:
        1 where the largest size misses its bound, or two ways that have to give the same replies do not.
    """
    conditions |= {"engine": options.engine, "turns": options.turns}
    with kept_in(options.out, **conditions) as folder, tempfile.TemporaryDirectory() as temporary:
        caches = Path(temporary)

        @functools.cache
        def started() -> Beside:
            beside = ENGINES[options.engine](spec)
            work = make(beside.engine, WARM_UP, caches)
            compare(work, beside.plain(work), 1)
            return beside

        def measure_size(size: int) -> dict[str, Any]:
            work = make(started().engine, size, caches)
            return compare(work, started().plain(work), options.turns)

        try:
            rows = [
                once(folder / f"{size}.json", functools.partial(measure_size, size)) for size in sorted(options.sizes)
            ]
        finally:
            if started.cache_info().currsize:
                started().close()
        sizes = [row["prompts"] for row in rows]
        ways = {name: growth(sizes, [row[f"{name}_seconds"] for row in rows]) for name in ("plain", "ours")}
        publish(folder, _shown(rows), {"sizes": rows, "growth": ways, "least": least})
    last = rows[-1]
    same = last["equal_replies"] >= LEAST_EQUAL * last["prompts"] or options.engine != "transformers"
    return 0 if same and all(last[name] >= bound for name, bound in least.items()) else 1


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("prompts", "plain", "ours", "faster", "in processor time", "equal replies")
    return table(
        heads,
        [
            (
                f"{row['prompts']:,}", f"{row['plain_seconds']:.2f} s", f"{row['ours_seconds']:.2f} s",
                f"{row['speed_up']:.2f} ×", f"{row['processor_speed_up']:.2f} ×", f"{row['equal_replies']:,}",
            )
            for row in rows
        ],
    )  # fmt: skip
