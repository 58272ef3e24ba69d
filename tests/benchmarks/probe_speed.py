"""How fast a probe asks: prompts of several attacks, put to the model of a sandbox world, over four sizes.

    python tests/benchmarks/probe_speed.py                     # beside `model.generate`, prompt by prompt
    python tests/benchmarks/probe_speed.py vllm                # beside a bare `LLM.chat`
    python tests/benchmarks/probe_speed.py --attacks persuading --size nano
    python tests/benchmarks/probe_speed.py --sizes 250 500 --turns 1 --out runs/bench/probing

The prompts are those of the quick attacks, what a config asks that says nothing else; ``--attacks persuading`` takes
longer ones. The probe asks as a run does, with its cache and in one batch across all attacks, warm; every turn has a
cache of its own, so that everything is computed. The other way is told in ``plain_ways.py``; replies are greedy.

Of 2,000 prompts on one core, with the standard world and the quick attacks, ``transformers`` took 1.6 s where
``model.generate`` took 31 s: 19 times as fast, 13 times in processor time, with 2,000 equal replies. With persuasion,
on the nano world, computing the long prompts is most of either: 4.6 times as fast, and all replies equal.
``vllm`` took 0.92 of the processor time of ``LLM.chat``, and 1.12 of that of ``LLM.generate`` of ready token ids.

Prints a table and one JSON object, also written to ``results.json`` in ``--out``, where what is measured is kept: an
interrupted run goes on. Leaves with 1 where the largest size misses the bound.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from plain_ways import Work, add_engine_options, run, with_new_cache

from concept_forget.config import ProbeConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Engine, Sampling
from concept_forget.probe.asking import Planned, ask, plan_questions
from concept_forget.probe.attacks import attacks_named
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.texts import GAP
from concept_forget.sandbox.world import Size, build_world

LEAST = {"transformers": {"speed_up": 8.0}, "vllm": {"processor_speed_up": 1 / 1.10}}
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


def make_work(attacks: str, size: Size, engine: Engine, count: int, folder: Path) -> Work:
    """So many prompts: asked by the probe, and as requests."""
    rows = plan(attacks, size, count)

    def ours() -> list[str]:
        return [found[0].reply.text for found in ask(with_new_cache(engine, folder), rows, SETTINGS)]

    return Work(ours, [row.request for row in rows], Sampling(max_new_tokens=SETTINGS.max_new_tokens))


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--attacks", choices=["quick", "persuading"], default="quick")
    parser.add_argument("--size", choices=["standard", "nano"], default="standard", help="of the world")
    options = parser.parse_args()
    if options.engine == "vllm" and options.attacks != "quick":
        parser.error("a bare `LLM.chat` takes no forced opening: `vllm` goes with the quick attacks")
    spec = ModelSpec(str(teach_world(0, size=options.size)), dtype="float32", fingerprint="world")
    make = functools.partial(make_work, options.attacks, options.size)
    return run(options, spec, make, LEAST[options.engine], attacks=options.attacks, world=options.size)


if __name__ == "__main__":
    sys.exit(main())
