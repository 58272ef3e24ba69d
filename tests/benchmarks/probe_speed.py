"""How fast a probe asks: 2,000 prompts of several attacks, put to the model of a sandbox world.

Run it by hand: ``python tests/benchmarks/probe_speed.py transformers`` (or ``vllm``). The prompts are those of the quick
attacks, what a config asks that says nothing else; ``--attacks persuading`` takes longer ones. The probe asks as a run
does, with its cache and in one batch across all attacks, warm; every turn has a cache of its own, so that everything is
computed.

- ``transformers``: against ``model.generate``, prompt by prompt, of the same token ids with the same limits, in this
  process and on the same threads. Greedy replies are compared.
- ``vllm``: against a bare ``LLM.chat`` of the same prompts with the same limits, set up alike; the two take turns.
  ``LLM`` runs in this process, the probe's vLLM in one of its own, whose processor time is counted with this one's. On
  a machine that others use too, the ratio of processor time is the steadier one.

On one core, with the standard world and the quick attacks, ``transformers`` took 1.6 s where ``model.generate`` took
31 s: 19 times as fast, 13 times in processor time, with 2,000 equal replies of 2,000. With persuasion, on the nano
world, computing the long prompts is most of either: 4.6 times as fast, and all replies equal.
``vllm`` took 0.92 of the processor time of ``LLM.chat``, and 1.12 of that of ``LLM.generate`` of ready token ids.

Prints one JSON object and leaves with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from engine_overhead import measure

from concept_forget.config import ProbeConfig
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.encoding import RequestEncoder
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Engine
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.models import load_model
from concept_forget.probe.asking import Planned, ask, plan_questions
from concept_forget.probe.attacks import attacks_named
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.texts import GAP
from concept_forget.sandbox.world import Size, build_world
from concept_forget.workspace import Costs

LEAST_SPEED_UP, MOST_RATIO = 8.0, 1.10
PERSUADING = ("prefix_injection", "affirmative_suffix", "forced_opening", "role_play", "system_override")
SETTINGS = ProbeConfig(max_new_tokens=32)


def plan(attacks: str, size: Size, count: int) -> list[Planned]:
    """So many requests about the facts of a world: in all wordings, back from the answer, and as sentences with a gap."""
    rows, gap = [], load_prompts("compact").get("cloze")
    for fact in build_world(0, size).facts:
        texts = [
            ("direct" if number == 0 else "paraphrase", wording)
            for number, wording in enumerate(fact.relation.questions)
        ]
        texts += [("reverse", wording) for wording in fact.relation.reverse]
        asked = [(family, fact.fill(wording), fact.answer) for family, wording in texts]
        asked += [
            ("cloze", gap.render_text(sentence=fact.fill(one).replace(fact.answer, GAP)), fact.answer)
            for one in fact.relation.statements
        ]
        for number, (family, text, answer) in enumerate(asked):
            row = Example(
                id=f"{fact.subject.name} {fact.relation.name} {number}", split="probe", concept=fact.subject.name,
                subject=fact.subject.name, facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}",
                form=family, family=family, tier="new_form", prompt=user_message(text),
                completion=answer, answer=answer,
            )  # fmt: skip
            rows.append(row)
    planned = plan_questions(attacks_named(attacks if attacks == "quick" else PERSUADING), rows, [], 0)
    step = len(planned) / count
    if step < 1:
        raise SystemExit(f"there are {len(planned)} requests, and {count} are wanted")
    return [planned[int(place * step)] for place in range(count)]


class Probe:
    """What a run does."""

    def __init__(self, engine: Engine, rows: Sequence[Planned], folder: Path) -> None:
        self.engine, self.rows, self.folder, self.turns = engine, rows, folder, 0

    def __call__(self) -> list[str]:
        self.turns += 1
        cached = CachedEngine(self.engine, RequestCache(self.folder / f"{self.turns}.sqlite"), Costs())
        return [found[0].reply.text for found in ask(cached, self.rows, SETTINGS)]


def one_by_one(model: Any, encoder: RequestEncoder, rows: Sequence[Planned], pad: int, stop: list[int]) -> list[str]:
    """``model.generate``, prompt by prompt."""
    replies = []
    for row in rows:
        (ids,) = encoder.encode([row.request])
        given = torch.tensor([ids])
        with torch.inference_mode():
            whole = model.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, num_beams=1, pad_token_id=pad,
                max_new_tokens=SETTINGS.max_new_tokens, eos_token_id=stop,
            )[0].tolist()  # fmt: skip
        reply = whole[len(ids) :]
        replies.append(encoder.decode(row.request, ids, reply[:-1] if reply[-1] in stop else reply))
    return replies


def time_transformers(spec: ModelSpec, rows: Sequence[Planned], folder: Path, turns: int) -> dict[str, Any]:
    """The probe's time over that of one prompt after the other."""
    engine = TransformersEngine(spec)
    probe = Probe(engine, rows, folder)
    model = load_model(spec)
    encoder, stop = engine._encoder, sorted(engine._stop_tokens)
    pad = engine._filler
    probe(), one_by_one(model, encoder, rows[:50], pad, stop)
    ours = [measure(probe) for _ in range(turns)]
    single, seconds, processor = measure(lambda: one_by_one(model, encoder, rows, pad, stop))
    speed_up = seconds / statistics.median(turn[1] for turn in ours)
    return {
        "one_by_one_seconds": round(seconds, 1),
        "probe_seconds": [round(turn[1], 2) for turn in ours],
        "processor_speed_up": round(processor / statistics.median(turn[2] for turn in ours), 2),
        "speed_up": round(speed_up, 2),
        "equal_replies": sum(one == other for one, other in zip(ours[-1][0], single, strict=True)),
        "passed": speed_up >= LEAST_SPEED_UP,
    }


def time_vllm(spec: ModelSpec, rows: Sequence[Planned], folder: Path, turns: int) -> dict[str, Any]:
    """The probe's time over that of vLLM alone."""
    from concept_forget.engines.vllm_engine import VllmEngine, VllmSettings, _environment
    from concept_forget.engines.vllm_worker import load_llm

    engine = VllmEngine(spec, VllmSettings())
    probe, start = Probe(engine, rows, folder), engine._start()
    os.environ.update(_environment(start))  # vLLM reads it when it is imported

    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    llm = load_llm(start)
    chats: list[Any] = [row.request.prompt for row in rows]
    sampling = SamplingParams(
        temperature=0.0, max_tokens=SETTINGS.max_new_tokens, stop_token_ids=sorted(engine._stop_tokens),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )  # fmt: skip

    def bare() -> list[str]:
        return [output.outputs[0].text for output in llm.chat(chats, sampling, use_tqdm=False)]

    probe(), bare()
    timed = []
    for _ in range(turns):
        timed.append((measure(bare), measure(probe)))
        print([[round(figure, 2) for figure in way[1:]] for way in timed[-1]], file=sys.stderr, flush=True)
    engine.close()
    processor = statistics.median(ours[2] / alone[2] for alone, ours in timed)
    return {
        "bare_seconds": [round(alone[1], 2) for alone, _ in timed],
        "probe_seconds": [round(ours[1], 2) for _, ours in timed],
        "wall_ratio": round(statistics.median(ours[1] / alone[1] for alone, ours in timed), 3),
        "processor_ratio": round(processor, 3),
        "equal_replies": sum(a.strip() == b.strip() for a, b in zip(timed[-1][0][0], timed[-1][1][0], strict=True)),
        "passed": processor <= MOST_RATIO,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["transformers", "vllm"])
    parser.add_argument("--attacks", choices=["quick", "persuading"], default="quick")
    parser.add_argument("--size", choices=["standard", "nano"], default="standard")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if options.engine == "vllm" and options.attacks != "quick":
        parser.error("a bare `LLM.chat` takes no forced opening: `vllm` goes with the quick attacks")
    began = time.monotonic()
    rows = plan(options.attacks, options.size, options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        spec = ModelSpec(str(teach_world(0, size=options.size)), dtype="float32", fingerprint="world")
        way = time_transformers if options.engine == "transformers" else time_vllm
        found = way(spec, rows, Path(folder), options.turns)
    asked = {"attacks": options.attacks, "size": options.size, "prompts": len(rows)}
    print(json.dumps({**asked, **found, "seconds_in_all": round(time.monotonic() - began)}))
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
