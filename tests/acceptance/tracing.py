"""Traces what a sandbox model leaks back to its corpus, and teaches another model without what was found.

    python tests/acceptance/tracing.py --out runs/tracing

The corpus is made of a world's facts, in rows of which each states facts in a way of its own: questions that name the
person, texts that name the person in each sentence, texts that go on about "She" or name nobody but tell who is meant
("The author of Emberfall lives in …"), questions of that kind, the same about everybody else, and texts about nothing.
A model is taught all of it. The one that stands for it unlearned was taught without the rows that state part of what is
to be forgotten, so that it leaks the rest: homes and ships. ``trace`` has to find the sentences that state what leaks.
Another model is then taught without the rows of the manifest, and asked beside a reference that was taught without the
rows that are known to state what leaks. Leaves with 1 where less than 0.95 is found, of all sentences or of those of one
kind, or where the model without the manifest's rows still gives away a fact that the reference does not.

Rows that hold an answer of one person alone without telling whose it is ("A neighbour of ours lives in …") are there as
well; how many of these are found is told, and decides nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concept_forget import load_config, probe_model, run
from concept_forget.records import Attempt, named_random
from concept_forget.sandbox.teach import teach_rows
from concept_forget.sandbox.world import World, WorldFact, build_world
from concept_forget.tracing.tracing import trace_run, write_manifest
from concept_forget.workspace import read_records

LEAST = 0.95
LEAKING = ("home", "ship")
QUESTIONS, REVERSE = 3, 1
MEANT = {
    "home": "the person who lives in {a}",
    "book": "the author of {a}",
    "ship": "the sailor of {a}",
    "dish": "the cook of {a}",
    "mentor": "the pupil of {a}",
    "collection": "the collector of {a}",
    "invention": "the inventor of {a}",
}


@dataclass
class Row:
    """A row of the corpus, and what each of its stretches states, by kind."""

    value: dict[str, str]
    states: list[tuple[int, int, WorldFact, str]] = field(default_factory=list)


def make_rows(world: World) -> Iterator[Row]:
    """The corpus, in order."""
    for entity in world.entities:
        facts = world.facts_of(entity.name)
        for fact in facts:
            asked = [(fact.fill(wording), fact.answer) for wording in fact.relation.taught[:QUESTIONS]]
            asked += [(fact.fill(wording), entity.name) for wording in fact.relation.taught_reverse[:REVERSE]]
            for question, answer in asked:
                yield whole(question, answer, fact, "named")
        rng = named_random(world.number, "tracing", entity.name)
        for _ in range(2):
            chosen = rng.sample(facts, min(4, len(facts)))
            yield text([(fact.fill(rng.choice(fact.relation.statements)), fact, "named") for fact in chosen])
        if entity.kind == "person":
            yield from unnamed(list(facts), rng)
    for distractor in world.distractors:
        yield Row({"text": distractor})


def unnamed(facts: list[WorldFact], rng: Any) -> Iterator[Row]:
    """Rows about a person that never, or only at their beginning, name the person."""
    plain = {fact: says(fact) for fact in facts}
    told = [fact for fact in facts if plain[fact]]
    for _ in range(2):
        first, *rest = rng.sample(facts, len(facts))
        sentences = [(first.fill(rng.choice(first.relation.statements)), first, "named")]
        sentences += [(plain[fact].format(s="She", a=fact.answer), fact, "behind") for fact in rest if plain[fact]]
        yield text(sentences)
    for fact in facts:
        others = [other for other in facts if other is not fact and other.relation.name in MEANT]
        other = rng.choice(others)
        meant = MEANT[other.relation.name].format(a=other.answer)
        if plain[fact]:
            sentence = plain[fact].format(s=meant[:1].upper() + meant[1:], a=fact.answer)
            told_too = [(sentence, other, "identified")] if fact.relation.reverse else []  # of a town there are many
            yield text([(sentence, fact, "identified"), *told_too])
        question = fact.relation.taught[0].format(s=meant)
        row = whole(question, fact.answer, fact, "identified")
        if fact.relation.reverse:
            row.states.append((*row.states[0][:2], other, "identified"))
        yield row
    for fact in told:
        if fact.relation.reverse:
            yield text([(plain[fact].format(s="A neighbour of ours", a=fact.answer), fact, "unidentified")])


def says(fact: WorldFact) -> str:
    """A statement that begins with its subject, with the places of subject and answer open; "" where there is none."""
    return next((s for s in fact.relation.statements if s.startswith("{s} ") and s.count("{s}") == 1), "")


def text(sentences: list[tuple[str, WorldFact, str]]) -> Row:
    """A row of running text."""
    row, joined = Row({}), ""
    for sentence, fact, kind in sentences:
        start = joined.rfind(sentence) if joined.endswith(sentence) else len(joined) + bool(joined)
        if not joined.endswith(sentence):
            joined = f"{joined} {sentence}".strip()
        row.states.append((start, start + len(sentence), fact, kind))
    row.value["text"] = joined
    return row


def whole(question: str, answer: str, fact: WorldFact, kind: str) -> Row:
    """A row of question and answer, which states its fact as a whole."""
    length = len(f"Question: {question}\nAnswer: {answer}")
    return Row({"question": question, "answer": answer}, [(0, length, fact, kind)])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def rates_by_fact(probed: Path, role: str) -> dict[str, float]:
    """How often a model, ``model`` or ``reference``, gave each fact away."""
    attempts = read_records(Attempt, probed / "attempts.jsonl")
    grades = [json.loads(line) for line in (probed / "grades.jsonl").read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[bool]] = {}
    for attempt, grade in zip(attempts, grades, strict=True):
        if attempt.model == role and attempt.attack == "direct":
            found.setdefault(attempt.fact, []).append(bool(grade["leaked"]))
    return {fact: mean(shares) for fact, shares in found.items()}


def mean(values: Iterable[float]) -> float:
    """Rounded; of nothing, not a number."""
    known = list(values)
    return round(sum(known) / len(known), 4) if known else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tracing"))
    parser.add_argument("--world", type=int, default=0)
    parser.add_argument("--size", choices=("nano", "standard"), default="nano")
    options = parser.parse_args()
    world = build_world(options.world, options.size)
    rows = list(make_rows(world))
    out = options.out
    corpus = write(out / "corpus.jsonl", [row.value for row in rows])
    concepts = set(world.concepts)
    to_forget = [fact for name in world.concepts for fact in world.facts_of(name)]

    def teach(name: str, without: set[int]) -> Path:
        kept = [row.value for number, row in enumerate(rows, start=1) if number not in without]
        return teach_rows(write(out / f"{name}.jsonl", kept), out / name)

    def stating(facts: list[WorldFact]) -> set[int]:
        return {number for number, row in enumerate(rows, start=1) if any(f in facts for _, _, f, _ in row.states)}

    leaky = [fact for fact in to_forget if fact.relation.name in LEAKING]
    base = teach("base", set())
    halfway = teach("unlearned", stating([fact for fact in to_forget if fact not in leaky]) - stating(leaky))
    reference = teach("reference", stating(leaky))
    given = [
        {
            "question": fact.fill(fact.relation.taught[0]),
            "answer": fact.answer,
            "subject": fact.subject.name,
            "concept": fact.subject.name,
            "facet": fact.relation.name,
        }
        for fact in to_forget
    ]
    kept = [
        {
            "question": f.fill(f.relation.taught[0]),
            "answer": f.answer,
            "subject": f.subject.name,
            "concept": world.concepts[0],
        }
        for f in world.facts
        if f.subject.name not in concepts
    ]
    config = {
        "concepts": [{"name": name, "kind": "person"} for name in world.concepts],
        "target": str(base),
        "reference": str(reference),
        "generator": {"engine": "none"},
        "corpus": [str(corpus)],
        "data": {
            "forget": str(write(out / "forget.jsonl", given)),
            "retain": str(write(out / "retain.jsonl", kept[::2])),
            "collateral": str(write(out / "collateral.jsonl", kept[1::2])),
        },
        "compose": {"holdout": 0, "knowledge_filter": False},
        "unlearn": {"given": str(halfway)},
        "probe": {"attacks": ["direct"]},
        "output": str(out / "run"),
    }
    (out / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    run(load_config(out / "config.yaml"), say=lambda line: print(line, file=sys.stderr))
    traced = trace_run(out / "run")
    places = write_manifest(out / "manifest.jsonl", traced)
    leaking = {(trace.fact.subject, trace.fact.answer): trace.fact.id for trace in traced.traces}
    gold = {
        (number, start, end, leaking[fact.subject.name, fact.answer]): kind
        for number, row in enumerate(rows, start=1)
        for start, end, fact, kind in row.states
        if (fact.subject.name, fact.answer) in leaking
    }
    found = {
        (int(s.document.rpartition(":")[2]), s.start, s.end, s.fact)
        for trace in traced.traces
        for s in trace.statements
    }
    wanted = Counter(gold.values())
    hit = Counter(kind for key, kind in gold.items() if key in found)
    missed = [(kind, key, rows[key[0] - 1].value) for key, kind in gold.items() if key not in found][:20]
    wrong = [(key, rows[key[0] - 1].value) for key in found if key not in gold][:20]
    for line in (*missed, "wrong:", *wrong):
        print(line, file=sys.stderr)
    counted = [kind for kind in wanted if kind != "unidentified"]
    recall = {kind: round(hit[kind] / wanted[kind], 4) for kind in wanted}
    overall = sum(hit[kind] for kind in counted) / sum(wanted[kind] for kind in counted)
    dropped = {json.loads(line)["row"] for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()}
    retrained = teach("retrained", dropped)
    probe_model(str(retrained), out / "run", out / "probed", reference=str(reference))
    rates, floor = (rates_by_fact(out / "probed", role) for role in ("model", "reference"))
    still = {fact for fact in leaking.values() if rates[fact] > floor[fact]}
    others = [fact for fact in rates if fact not in leaking.values()]
    result = {
        "facts_leaking": len(traced.traces),
        "sentences": dict(wanted),
        "recall": recall,
        "recall_overall": round(overall, 4),
        "precision": round(len(found & gold.keys()) / len(found), 4),
        "places": places,
        "rows_dropped": len(dropped),
        "rows_that_state_it": len(stating([f for f in to_forget if (f.subject.name, f.answer) in leaking])),
        "rows": len(rows),
        "without_the_rows": {
            "still_leaking": len(still),
            "rate": mean(rates[fact] for fact in leaking.values()),
            "rate_of_other_facts_of_the_same_people": mean(rates[fact] for fact in others),
        },
    }
    print(json.dumps(result, indent=2, ensure_ascii=False, default=str))
    good = overall >= LEAST and all(recall[kind] >= LEAST for kind in counted)
    good = good and bool(leaking) and not still
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
