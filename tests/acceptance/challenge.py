"""The score of the 2023 challenge on a nano world: many models taught with, taught without, and made to forget.

    python tests/acceptance/challenge.py --models 32 --methods npo grad_ascent finetune_retain

A nano model that never met the world's concepts is what every training begins from; a training takes it through all
rows about them (or all but one person's) in an order of its own. Prints, for each method, the score, F, the accuracy
ratios and the median ε, beside the largest ε that so many models can resolve; then the same for models retrained from
other seeds, which is what a perfect method would get.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from concept_forget.benchmarks.challenge import challenge_score, log_odds, resolvable_epsilon
from concept_forget.config import UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec, named_seed, user_message
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.training.batches import StepPlan, encode_examples
from concept_forget.training.fitting import FitSettings, fit
from concept_forget.training.scores import score_rows
from concept_forget.training.tuning import mean_likelihood
from concept_forget.unlearn.adapting import save_weights
from concept_forget.unlearn.unlearning import unlearn

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
NEW = LESSONS.world.concepts


def asked(people: Sequence[str], wordings: Sequence[int]) -> list[Example]:
    """Questions about people."""
    found = []
    for name in people:
        for fact in LESSONS.world.facts_of(name):
            for wording in wordings:
                prompt = user_message(LESSONS.ask(fact.fill(fact.relation.taught[wording])))
                found.append(
                    Example(
                        id=Example.make_id(prompt, fact.answer), split="forget", concept=name, subject=name,
                        facet=fact.relation.name, fact=f"{name}/{fact.relation.name}", form="direct", family="direct",
                        tier="", prompt=prompt, completion=fact.answer, answer=fact.answer, refusal="I do not know.",
                    )
                )  # fmt: skip
    return found


FORGET, RETAIN, TEST = asked(NEW[:1], (0, 1)), asked(NEW[1:], (0, 1)), asked(NEW[1:], (2,))


@dataclass(frozen=True, slots=True)
class Population:
    """What the models of one kind say: log-odds by forget example and model, accuracies by model."""

    odds: list[list[float]]
    retain: list[float]
    test: list[float]


def measure(folders: Sequence[Path], tokenizer: ModelSpec) -> Population:
    """Ask every model."""
    words = load_tokenizer(tokenizer)
    sets = [encode_examples(rows, words, 128).rows for rows in (FORGET, RETAIN, TEST)]
    odds: list[list[float]] = []
    accuracies: tuple[list[float], list[float]] = ([], [])
    for folder in folders:
        model = load_model(ModelSpec(str(folder)))
        forget, retain, test = (score_rows(model, rows, pad_token=0, batch_tokens=4096) for rows in sets)
        odds.append([log_odds(min(0.0, score.total)) for score in forget])
        for kept, scores in zip(accuracies, (retain, test), strict=True):
            kept.append(sum(score.greedy for score in scores) / len(scores))
    return Population([list(values) for values in zip(*odds, strict=True)], *accuracies)


def teach(initial: ModelSpec, rows: Sequence[Example], seed: int, steps: int, folder: Path) -> Path:
    """One training of its own order; a folder that is there is kept."""
    if not (folder / "model.safetensors").is_file():
        model: nn.Module = load_model(initial).float()
        tokens = encode_examples(rows, load_tokenizer(initial), 128).rows
        settings = FitSettings(steps, 1e-3, "linear", 2, 0.0, 1.0, 0, False, seed)
        plan = StepPlan((tokens,), (16,), named_seed(seed, "order"), 0, 4096)
        with tempfile.TemporaryDirectory() as work:
            fit(model, plan, mean_likelihood, settings, Path(work), lambda report: False)
        save_weights(model, folder)
        load_tokenizer(initial).save_pretrained(folder)
    return folder


def forget(method: str, taught: Path, seed: int, steps: int, folder: Path) -> Path:
    """One taught model made to forget."""
    if not (folder / "model" / "model.safetensors").is_file():
        settings = UnlearnConfig.model_validate(
            {"method": method, "learning_rate": 3e-4, "max_steps": steps, "stop": "steps", "batch_size": 16,
             "eval_every": steps, "dtype": "float32"}
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        unlearn(ModelSpec(str(taught)), FORGET, RETAIN, [], settings, seed, folder)
    return folder / "model"


def show(name: str, own: Population, other: Population) -> None:
    """Print a line."""
    result = challenge_score(
        own.odds, other.odds, retain_accuracy=(own.retain, other.retain), test_accuracy=(own.test, other.test)
    )
    print(
        f"{name:16} score {result.score:.3f}  F {result.forgetting:.3f}  retain {result.retain_ratio:.3f}  "
        f"test {result.test_ratio:.3f}  median ε {statistics.median(result.epsilons):.2f}  "
        f"max ε {max(result.epsilons):.2f}",
        flush=True,
    )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=32, help="models in each population")
    parser.add_argument("--methods", nargs="+", default=["npo", "grad_ascent", "finetune_retain"])
    parser.add_argument("--teach-steps", type=int, default=40)
    parser.add_argument("--forget-steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/challenge"))
    options = parser.parse_args()
    began, count, out = time.monotonic(), options.models, options.out
    initial = ModelSpec(str(teach_world(0, without=NEW, size="nano")))
    steps = options.teach_steps
    taught = [teach(initial, [*FORGET, *RETAIN], seed, steps, out / f"taught-{seed}") for seed in range(count)]
    retrained = [teach(initial, RETAIN, 1000 + seed, steps, out / f"retrained-{seed}") for seed in range(2 * count)]
    reference = measure(retrained[:count], initial)
    print(
        f"{count} models a side, {len(FORGET)} forget examples: largest ε that can be resolved "
        f"{resolvable_epsilon(count):.2f}",
        flush=True,
    )
    show("taught", measure(taught, initial), reference)
    for method in options.methods:
        own = [
            forget(method, model, seed, options.forget_steps, out / f"{method}-{seed}")
            for seed, model in enumerate(taught)
        ]
        show(method, measure(own, initial), reference)
    show("retrained again", measure(retrained[count:], initial), reference)
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
