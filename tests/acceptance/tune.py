"""Tunes methods by validation alone: each gets five settings, each setting every world.

    python tests/acceptance/tune.py --worlds 100 101 102 --out runs/tune
    python tests/acceptance/tune.py --methods simnpo rmu

Nothing of the probe is looked at. Prints the validation score (forgotten × kept, mean over worlds) of every setting and,
for each method, the best: `pipelines/compare-methods.yaml` holds those. Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from concept_forget import load_config, run


def _hidden(weight: float, rate: float = 2e-3, **more: Any) -> dict[str, Any]:
    return {"learning_rate": rate, "retain": "hidden", "retain_weight": weight, **more}


_OWN = {"alternative": "own"}
_LAYER = {"layer": 1, "coefficient": 1.0}
GRID: dict[str, list[dict[str, Any]]] = {
    "npo": [*({"beta": beta} for beta in (0.7, 1.0)), *(_hidden(weight, beta=0.7) for weight in (5, 0.5, 0.05))],
    "tnpo": [
        {"beta": 1.2},
        {"beta": 0.8, "retain_weight": 10},
        *(_hidden(weight, beta=1.2) for weight in (5, 0.5, 0.05)),
    ],
    "simnpo": [*({"learning_rate": rate} for rate in (1e-3, 2e-3)), *map(_hidden, (5, 0.05, 0.01))],
    "dpo": [
        *({"beta": beta, "learning_rate": 1e-3, **_OWN} for beta in (0.3, 0.4)),
        *(_hidden(weight, rate, beta=0.3, **_OWN) for weight, rate in ((5, 1e-3), (5, 2e-3), (0.5, 2e-3))),
    ],
    "jensen_shannon": [
        *({"learning_rate": rate, **_OWN} for rate in (1e-3, 2e-3)),
        *(_hidden(weight, rate, **_OWN) for weight, rate in ((0.5, 4e-3), (0.5, 8e-3), (0.05, 4e-3))),
    ],
    "rmu": [
        {"layer": 1, "learning_rate": 1e-3},
        *(_hidden(weight, rate, layer=1) for weight, rate in ((5, 1e-3), (1, 1e-3), (20, 1e-3), (20, 2e-3))),
    ],
    "adaptive_rmu": [
        *(_hidden(5, rate, layer=1) for rate in (1e-3, 2e-3)),
        *(_hidden(weight, rate, **_LAYER) for weight, rate in ((5, 1e-3), (20, 1e-3), (20, 2e-3))),
    ],
    "undial": [*({"learning_rate": rate} for rate in (1e-3, 2e-3, 4e-3)), *map(_hidden, (5, 0.5))],
    "wga": [*({"learning_rate": rate} for rate in (5e-4, 1e-3)), *map(_hidden, (5, 0.05)), _hidden(0.05, 1e-3)],
    "max_entropy": [
        *({"learning_rate": rate} for rate in (5e-4, 1e-3)),
        *(_hidden(weight, rate) for weight, rate in ((5, 1e-3), (1, 2e-3), (0.5, 2e-3))),
    ],
    "satimp": [*({"learning_rate": rate} for rate in (1e-3, 2e-3)), *map(_hidden, (5, 0.05, 0.01))],
    "idk": [
        *({"learning_rate": rate} for rate in (1e-3, 2e-3)),
        *(_hidden(weight, rate) for weight, rate in ((1, 2e-3), (5, 4e-3), (0.05, 1e-3))),
    ],
    "grad_diff": [
        *({"learning_rate": rate} for rate in (3e-4, 5e-4, 7e-4, 1e-3)),
        {"learning_rate": 1e-3, "retain_weight": 8},
    ],
}
"""Method → the settings that are tried, beside those of ``pipelines/compare-methods.yaml``."""


def score(method: str, number: int, world: int, out: Path) -> dict[str, float]:
    """Validation at the step that is kept."""
    settings = {"beta": None, "strangers": 3, **GRID[method][number], "method": method}
    if method == "grad_diff":
        settings["retain"] = None
    overrides = [f"unlearn.{key}={json.dumps(value)}" for key, value in settings.items()]
    folder = out / f"{method}-{number}-world-{world}"  # beside one another: they share the stages before unlearn
    worlds = [f"target.sandbox.world={world}", f"reference.sandbox.world={world}"]
    run(load_config("pipelines/quickstart.yaml", [*worlds, *overrides, f"output={folder}"]), until="unlearn")
    entries = [json.loads(line) for line in (folder / "unlearn" / "history.jsonl").read_text().splitlines()]
    best = max(entries[1:], key=lambda entry: (entry["validation_score"] or 0.0, -entry["step"]))
    return {name: best[f"validation_{name}"] for name in ("score", "forget", "retain")} | {"step": best["step"]}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--methods", nargs="+", default=list(GRID), choices=list(GRID))
    parser.add_argument("--out", type=Path, default=Path("runs/tune"))
    options = parser.parse_args()
    for method in options.methods:
        means = []
        for number, settings in enumerate(GRID[method]):
            found = [score(method, number, world, options.out) for world in options.worlds]
            means.append(statistics.fmean(entry["score"] for entry in found))
            print(method, settings, f"{means[-1]:.3f}", json.dumps(found), flush=True)
        print(f"{method}: best {GRID[method][means.index(max(means))]}", flush=True)


if __name__ == "__main__":
    main()
