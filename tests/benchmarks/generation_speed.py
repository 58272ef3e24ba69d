"""How fast `expand` writes: questions about the facts of a sandbox world, from wishes to gated items, over four sizes.

    python tests/benchmarks/generation_speed.py                # beside `model.generate`, prompt by prompt
    python tests/benchmarks/generation_speed.py vllm           # beside a bare `LLM.chat`
    python tests/benchmarks/generation_speed.py --sizes 250 500 --turns 1 --out runs/bench/generation

The program's way renders prompts, looks into its request cache, asks, keeps, parses and gates, in one call for all
requests; every turn has a cache of its own, so that everything is computed. The other way is given ready prompts and
does nothing with the replies (``plain_ways.py``). Replies are sampled, as in a run.

``transformers`` asks the model of the standard world, ``vllm`` that of the nano world, where what is done beside the
model weighs most. The program reads and gates replies in a thread of its own while the engine is at the next ones;
``gates_seconds`` are that thread's, and ``gates_hidden`` is the share of them for which nothing waited.

Prints a table and one JSON object, also written to ``results.json`` in ``--out``, where what is measured is kept: an
interrupted run goes on. Leaves with 1 where the largest size misses the bound.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from plain_ways import Work, add_engine_options, run, with_new_cache

from concept_forget.concept import Concept
from concept_forget.config import GeneratorConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Engine, Reply, Request, Sampling
from concept_forget.expand.gates import check_question
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import FRAME_TOKENS, ITEM_TOKENS, Wish, Writer
from concept_forget.records import ModelSpec, named_seed
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import Size, build_world

LEAST = {"transformers": {"speed_up": 8.0}, "vllm": {"processor_speed_up": 1 / 1.10}}
WORLDS: dict[str, Size] = {"transformers": "standard", "vllm": "nano"}
STEP = "questions"


def make_wishes(size: Size, count: int) -> list[Wish]:
    """Questions about the facts of a world, as the stage wishes for them; beyond the facts, further draws."""
    facts = build_world(0, size).facts
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


def make_work(settings: GeneratorConfig, size: Size, engine: Engine, count: int, folder: Path) -> Work:
    """So many questions: written by the program, and as requests."""
    wishes, prompts = make_wishes(size, count), load_prompts(settings.prompts)
    notes: dict[str, float] = {}

    def gate(place: int, item: Item) -> None:
        fact = wishes[place].variables["fact"]
        assert isinstance(item[0], str)
        assert isinstance(fact, dict)
        check_question(item[0], [wishes[place].parents[0]], fact["answer"])

    def ours() -> list[str]:
        texts: list[str] = []

        def watch(_: str, __: Request, reply: Reply) -> None:
            texts.append(reply.text)

        writer = Writer(with_new_cache(engine, folder), prompts, settings, 0, Ledger(), watch)
        writer.gather(STEP, STEP, wishes, gate=gate)
        seconds, hidden = writer.ahead.seconds, writer.ahead.hidden
        notes.update(gates_seconds=seconds, gates_hidden=hidden / seconds)
        return texts

    prompt = prompts.get(STEP)
    requests = [
        Request(prompt.render(**wish.variables, n=1), seed=named_seed(0, "expand", STEP, *wish.parents, wish.draw, 0))
        for wish in wishes
    ]
    limit = min(FRAME_TOKENS + ITEM_TOKENS[STEP], settings.max_new_tokens)
    return Work(ours, requests, Sampling(temperature=settings.temperature, max_new_tokens=limit), notes)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    options = parser.parse_args()
    size = WORLDS[options.engine]
    model = str(teach_world(0, size=size))
    settings = GeneratorConfig.model_validate({"engine": options.engine, "model": model, "prompts": "compact"})
    make = functools.partial(make_work, settings, size)
    spec = ModelSpec(model, dtype="float32", fingerprint="world")
    return run(options, spec, make, LEAST[options.engine], world=size)


if __name__ == "__main__":
    sys.exit(main())
