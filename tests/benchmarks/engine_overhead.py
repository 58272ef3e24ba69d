"""What the way through the program costs over vLLM alone: render, cache, engine and parse, against a bare ``LLM.chat``.

Run it by hand: ``python tests/benchmarks/engine_overhead.py``. Both ways get the same prompts, seeds and limits from the
sandbox's nano model, with vLLM set up alike, warm, and take turns. ``LLM.chat`` runs in this process; the program's
engine in a process of its own, whose processor time is counted with this one's. Every turn of the program has a cache
of its own, so that it asks for everything. On a machine that others use too, the ratio of processor time is the steadier
one: both ways compute one after the other, on one core in full. The program reads and gates replies in a thread of its
own while the engine is at the next ones; ``gates_seconds`` are that thread's, and ``gates_hidden`` is the share of them
for which nothing waited. Prints one JSON object and leaves with 1 over the bound.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from concept_forget.concept import Concept
from concept_forget.config import GeneratorConfig
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings, _environment
from concept_forget.engines.vllm_worker import Start, load_llm
from concept_forget.expand.gates import check_question
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import FRAME_TOKENS, ITEM_TOKENS, Wish, Writer
from concept_forget.records import ModelSpec, named_seed
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs

MOST_RATIO = 1.10
STEP = "questions"


class Ours:
    """The program's way, from wishes to items."""

    def __init__(self, model: Path, wishes: list[Wish], folder: Path) -> None:
        self.engine = VllmEngine(ModelSpec(str(model), dtype="float32", fingerprint="nano"), VllmSettings())
        self.prompts = load_prompts("compact")
        self.settings = GeneratorConfig.model_validate({"engine": "vllm", "model": str(model), "prompts": "compact"})
        self.wishes = wishes
        self.folder = folder
        self.turns = 0
        self.gates_seconds = 0.0
        self.gates_hidden = 0.0

    def __call__(self) -> list[str]:
        self.turns += 1
        cached = CachedEngine(self.engine, RequestCache(self.folder / f"{self.turns}.sqlite"), Costs())
        writer = Writer(cached, self.prompts, self.settings, 0, Ledger())
        items = writer.gather(STEP, STEP, self.wishes, gate=self._gate)
        self.gates_seconds, self.gates_hidden = writer.ahead.seconds, writer.ahead.hidden
        return [item[0] if item else "" for (item, *_) in (several or [()] for several in items)]

    def _gate(self, place: int, item: Item) -> None:
        wish = self.wishes[place]
        check_question(item[0], [wish.parents[0]], str(wish.variables["fact"]["answer"]))  # type: ignore[index]


class Bare:
    """``LLM.chat`` of the same prompts under the same seeds, and nothing else."""

    def __init__(self, start: Start, ours: Ours) -> None:
        os.environ.update(_environment(start))  # vLLM reads it when it is imported

        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.llm = load_llm(start)
        prompt = ours.prompts.get(STEP)
        self.chats: list[Any] = [list(prompt.render(**wish.variables, n=1)) for wish in ours.wishes]
        limit = min(FRAME_TOKENS + ITEM_TOKENS[STEP], ours.settings.max_new_tokens)
        self.sampling = [
            SamplingParams(
                temperature=ours.settings.temperature,
                max_tokens=limit,
                seed=named_seed(named_seed(0, "expand", STEP, *wish.parents, wish.draw, 0), "reply", 0),
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            for wish in ours.wishes
        ]

    def __call__(self) -> list[str]:
        return [output.outputs[0].text for output in self.llm.chat(self.chats, self.sampling, use_tqdm=False)]


def make_wishes(count: int) -> list[Wish]:
    """Questions about the facts of a world, as the stage wishes for them; beyond the facts, further draws."""
    facts = build_world(0, "nano").facts
    return [
        Wish(
            (fact.subject.name, fact.relation.name),
            {
                "concept": Concept(name=fact.subject.name, kind="person"),
                "fact": {"facet": fact.relation.name, "answer": fact.answer},
                "form": "direct",
            },
            draw=place // len(facts),
        )
        for place, fact in ((place, facts[place % len(facts)]) for place in range(count))
    ]


def measure(way: Callable[[], list[str]]) -> tuple[list[str], float, float]:
    """What a way gives, its seconds, and the seconds of processor time that it took with its children."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    before = sum(sum(process.cpu_times()[:2]) for process in family)
    began = time.monotonic()
    given = way()
    seconds = time.monotonic() - began
    return given, seconds, sum(sum(process.cpu_times()[:2]) for process in family) - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    wishes = make_wishes(options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        model = teach_world(0, size="nano")
        ours = Ours(model, wishes, Path(folder))
        bare = Bare(ours.engine._start(), ours)
        ours(), bare()
        turns = []
        for _ in range(options.turns):
            turns.append((measure(bare), measure(ours)))
            print([[round(figure, 2) for figure in way[1:]] for way in turns[-1]], file=sys.stderr, flush=True)
        ours.engine.close()
    same = sum(one == other.strip() for one, other in zip(turns[-1][1][0], turns[-1][0][0], strict=True))
    processor = [other[2] / one[2] for one, other in turns]
    wall = [other[1] / one[1] for one, other in turns]
    found = {
        "prompts": options.prompts,
        "equal_replies": same,
        "processor_seconds_bare": [round(one[2], 2) for one, _ in turns],
        "processor_seconds_ours": [round(other[2], 2) for _, other in turns],
        "processor_ratio": round(statistics.median(processor), 3),
        "wall_ratio": round(statistics.median(wall), 3),
        "wall_ratios": [round(ratio, 3) for ratio in wall],
        "gates_seconds": round(ours.gates_seconds, 3),
        "gates_hidden": round(ours.gates_hidden / ours.gates_seconds, 3),
    }
    print(json.dumps(found))
    return 0 if found["processor_ratio"] <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
