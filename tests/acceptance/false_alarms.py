"""How often models that never learned the concepts are taken for one that did: each is probed as the unlearned one.

    python tests/acceptance/false_alarms.py
    python tests/acceptance/false_alarms.py --size nano --models 20 --worlds 5 --out runs/false-alarms

Every model is retrained without the concepts, from a seed that neither target nor reference has, and takes a turn as
`unlearn.given` of the quickstart. A model alarms where some attack's p-value against the reference, adjusted by Holm
over all attacks and tiers that the verdict rests on, is under 5 %. At most three of twenty may. Finished models are not
run again. Exits 1 where there are more. A nano world has about 11 facts for each attack, 8 of which would have to differ:
it shows that the script runs, not that the test holds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from concept_forget import load_config, run
from concept_forget.measures.metrics import Metrics, pooled_concept
from concept_forget.measures.significance import plan_comparison
from concept_forget.report.wording import tier_rows
from concept_forget.sandbox.world import Size, build_world

LEVEL = 0.05
MOST_PER_TWENTY = 3
NANO = {  # a nano world has too few neighbours for the quickstart's numbers
    "expand.neighbours": {"near": 8, "middle": 4, "far": 3},
    "compose.collateral": {"near": 2, "middle": 2, "far": 1},
    "compose.validation_neighbours": 2,
}


def settings(world: int, seed: int, size: Size, folder: Path) -> list[str]:
    """What a run has that the quickstart has not."""
    sandbox = {"world": world, "size": size}
    values: dict[str, Any] = {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(world, size).concepts],
        "target": {"sandbox": sandbox},
        "reference": {"sandbox": sandbox},
        "unlearn.given": {"sandbox": {**sandbox, "seed": seed}},
        "output": str(folder / f"world-{world}-seed-{seed}"),
        **(NANO if size == "nano" else {}),
    }
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def probe_model(world: int, seed: int, size: Size, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """One model's tests against the reference."""
    result = run(load_config("pipelines/quickstart.yaml", [*settings(world, seed, size, folder), *overrides]))
    assert result.metrics is not None
    metrics = Metrics.model_validate(result.metrics)
    tests = {}
    for attack, tier, _, found in tier_rows(metrics, pooled_concept(metrics.concepts)):
        if found.tests is not None and found.tests.reference is not None and found.reference is not None:
            assert found.tests.equivalence is not None
            tests[f"{attack}, {tier}"] = {
                "unlearned": round(found.unlearned.rate, 3),
                "reference": round(found.reference.rate, 3),
                "facts": found.tests.equivalence.n,
                "p": round(found.tests.reference.p, 4),
                "adjusted": round(found.tests.reference.adjusted, 4),
                "equivalence": found.tests.equivalence.outcome,
            }
    alarms = [name for name, test in tests.items() if test["adjusted"] < LEVEL]
    return {"world": world, "seed": seed, "alarms": alarms, "verdict": metrics.verdict.outcome, "tests": tests}


def fewest_for_alarm(tests: int) -> int:
    """Facts that have to differ before an alarm is possible; the margin has no part in it."""
    return plan_comparison(0, tests, 0.5).facts_different


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--worlds", type=int, default=5, help="models take turns over worlds 0 to N-1")
    parser.add_argument("--size", choices=("standard", "nano"), default="standard")
    parser.add_argument("--out", type=Path, default=Path("runs/false-alarms"))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    rows = []
    for number in range(options.models):
        world, seed = number % options.worlds, 1 + number // options.worlds
        rows.append(probe_model(world, seed, options.size, options.out / options.size, options.overrides))
        print(json.dumps(rows[-1]), flush=True)
    alarmed = [row for row in rows if row["alarms"]]
    for row in alarmed:
        print(f"world {row['world']}, seed {row['seed']}: {', '.join(row['alarms'])}")
    smallest = min((test["facts"] for row in rows for test in row["tests"].values()), default=0)
    print(f"{len(alarmed)} of {len(rows)} models alarm")
    most = max((len(row["tests"]) for row in rows), default=0)
    if most:
        print(f"every test has {smallest} facts at least; {fewest_for_alarm(most)} that differ in one sense can alarm")
    return 1 if len(alarmed) * 20 > MOST_PER_TWENTY * len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
