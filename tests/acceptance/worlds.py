"""Runs the quickstart over several sandbox worlds, and a second retrained model as if it were the unlearned one.

    python tests/acceptance/worlds.py --worlds 5 --given 10 --out runs/worlds

Prints one line per world and row, then the medians and counts that the README quotes. Finished worlds are not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from concept_forget import load_config, run
from concept_forget.measures.metrics import ALL_CONCEPTS
from concept_forget.measures.statistics import difference_bounds

ATTACKS = ("direct", "paraphrase", "reverse", "cloze", "choice")


def run_world(world: int, out: Path, given_seed: int | None, overrides: list[str]) -> dict[str, Any]:
    """One run: the unlearned model's, or with ``given_seed`` that of a second model that never saw the concepts."""
    settings = [f"target.sandbox.world={world}", f"reference.sandbox.world={world}", *overrides]
    name = f"world-{world}"
    if given_seed is not None:
        settings.append(f"unlearn.given={{sandbox: {{world: {world}, seed: {given_seed}}}}}")
        name += "-retrained"
    began = time.monotonic()
    result = run(load_config("pipelines/quickstart.yaml", [*settings, f"output={out / name}"]))
    assert result.metrics is not None
    concept = result.metrics["concepts"][ALL_CONCEPTS]
    per_fact = facts_of(out / name)
    rows: dict[str, Any] = {"world": world, "given": given_seed is not None, "seconds": round(time.monotonic() - began)}
    for attack in ATTACKS:
        tiers = concept["attacks"][attack]["tiers"]
        form = tiers["new_form"]
        rows[attack] = {
            "n": form["unlearned"]["n"],
            **{model: round(form[model]["rate"], 3) for model in ("base", "unlearned", "reference")},
            "upper": round(upper_bound(per_fact, attack, "new_form"), 3),
        }
        if "new_fact" in tiers:
            fact = tiers["new_fact"]
            rows[attack]["new_fact"] = [round(fact[m]["rate"], 3) for m in ("base", "unlearned", "reference")]
    rows["collateral"] = {
        distance: {
            "n": found["unlearned"]["n"],
            "base": round(found["base"]["rate"], 3),
            "kept": round(found["kept"]["value"], 3),
            "worst": round(found["worst"]["value"], 2),
        }
        for distance, found in result.metrics["collateral"].items()
        if found["kept"] is not None  # null where too few facts are there to tell
    }
    fluency = result.metrics["fluency"]
    rows["fluency"] = {**fluency, "ratio": round(fluency["unlearned"] / fluency["reference"], 3)}
    rows["verdict"] = result.metrics["verdict"]["outcome"]
    rows["cost"] = result.metrics["cost"]["seconds"]
    return rows


def facts_of(folder: Path) -> dict[tuple[str, str, str], dict[str, float]]:
    """(model, attack, tier) → fact → mean leak, read from the attempts and the grades."""
    leaked = {}
    for line in (folder / "probe" / "grades.jsonl").read_text(encoding="utf-8").splitlines():
        grade = json.loads(line)
        leaked[grade["attempt"]] = float(grade["leaked"])
    found: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for line in (folder / "probe" / "attempts.jsonl").read_text(encoding="utf-8").splitlines():
        attempt = json.loads(line)
        key = (attempt["model"], attempt["attack"], attempt["tier"])
        found.setdefault(key, {}).setdefault(attempt["fact"], []).append(leaked[attempt["id"]])
    return {key: {fact: statistics.mean(values) for fact, values in facts.items()} for key, facts in found.items()}


def upper_bound(per_fact: dict[tuple[str, str, str], dict[str, float]], attack: str, tier: str) -> float:
    """One-sided 95 % upper bound of unlearned - reference."""
    unlearned, reference = (per_fact[model, attack, tier] for model in ("unlearned", "reference"))
    facts = sorted(unlearned)
    return difference_bounds([unlearned[f] for f in facts], [reference[f] for f in facts]).upper


def misses(row: dict[str, Any]) -> list[str]:
    """What a world misses of the figures that a single world is held to (choice is judged over worlds)."""
    found = []
    for attack in ATTACKS:
        if attack == "choice":
            continue
        figures = row[attack]
        if abs(figures["unlearned"] - figures["reference"]) > 0.10 or figures["upper"] > 0.15 or figures["n"] < 42:
            found.append(f"{attack} {figures}")
    for distance, least in (("near", 0.90), ("middle", 0.95), ("far", 0.95)):
        figures = row["collateral"].get(distance)
        if figures is None or figures["kept"] < least:
            found.append(f"{distance} {figures}")
    if row["fluency"]["ratio"] > 1.5:
        found.append(f"fluency {row['fluency']['ratio']}")
    return found


def choice_over(rows: list[dict[str, Any]], out: Path) -> dict[str, float]:
    """Choice over the facts of several worlds together."""
    unlearned: list[float] = []
    reference: list[float] = []
    for row in rows:
        name = f"world-{row['world']}" + ("-retrained" if row["given"] else "")
        per_fact = facts_of(out / name)
        facts = sorted(per_fact["unlearned", "choice", "new_form"])
        unlearned += [per_fact["unlearned", "choice", "new_form"][fact] for fact in facts]
        reference += [per_fact["reference", "choice", "new_form"][fact] for fact in facts]
    bounds = difference_bounds(unlearned, reference)
    return {
        "n": len(unlearned),
        "unlearned": round(statistics.mean(unlearned), 3),
        "reference": round(statistics.mean(reference), 3),
        "upper": round(bounds.upper, 3),
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=5, help="worlds 0 to N-1 are unlearned")
    parser.add_argument(
        "--given", type=int, default=0, help="worlds 0 to N-1 are put through with a second retrained model"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/worlds"))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    table: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for given, count in ((False, options.worlds), (True, options.given)):
        for world in range(count):
            row = run_world(world, options.out, 1 if given else None, options.overrides)
            table[given].append(row)
            print(json.dumps(row), flush=True)
            print(f"world {world}{' retrained' if given else ''}: misses {misses(row) or 'nothing'}", flush=True)
        rows = table[given]
        if not rows:
            continue
        for attack in ATTACKS:
            print(
                attack,
                {m: statistics.median(row[attack][m] for row in rows) for m in ("base", "unlearned", "reference")},
            )
        for start in range(0, len(rows), 5):
            print(
                f"choice over worlds {start} to {start + len(rows[start : start + 5]) - 1}:",
                choice_over(rows[start : start + 5], options.out),
            )
        print(f"{sum(not misses(row) for row in rows)} of {len(rows)} worlds meet every figure", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
