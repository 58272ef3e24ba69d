"""Membership inference against training with and without differential privacy, over several seeds.

    python tests/acceptance/private.py --seeds 5

A nano model that never met some people is taught half of the facts about them, once with clipping and noise and once
with clipping alone. An attacker tells rows that it was taught from those that it was not by their likelihood: the area
under the curve (AUC) is 0.5 where that cannot be done. Prints each seed's AUCs, ε, and the mean difference with its 95 %
interval (Student's t over seeds).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import t

from concept_forget.engines.prompts import load_prompts
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec, named_random, user_message
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.training.batches import TokenRow, encode_examples
from concept_forget.training.scores import score_rows
from concept_forget.unlearn.trainings.private import PrivateSettings, fit_privately

DELTA = 1e-5


def rows_of_new_people(tokenizer_of: ModelSpec) -> list[TokenRow]:
    """One question for every fact about the people whom the initial model never met."""
    lessons = Lessons(build_world(0, "nano"), load_prompts("compact"))
    examples = []
    for name in lessons.world.concepts:
        for fact in lessons.world.facts_of(name):
            for wording in fact.relation.taught[:2]:
                prompt = user_message(lessons.ask(fact.fill(wording)))
                examples.append(
                    Example(
                        id=f"{name}/{fact.relation.name}", split="forget", concept=name, subject=name, facet="",
                        fact="", form="", family="", tier="", prompt=prompt, completion=fact.answer, answer=fact.answer,
                    )
                )  # fmt: skip
    return list(encode_examples(examples, load_tokenizer(tokenizer_of), 128).rows)


def auc(members: list[float], others: list[float]) -> float:
    """The chance that a member scores above another row, ties counting half."""
    pairs = np.subtract.outer(np.array(members), np.array(others))
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def membership(initial: ModelSpec, rows: list[TokenRow], settings: PrivateSettings) -> tuple[float, float]:
    """AUC and ε of one training."""
    facts = sorted({row.id for row in rows})
    taught = set(named_random(settings.seed, "members").sample(facts, len(facts) // 2))
    members, others = ([row for row in rows if (row.id in taught) == kind] for kind in (True, False))
    model = load_model(initial).float()
    with tempfile.TemporaryDirectory() as folder:
        spent = fit_privately(model, members, settings, DELTA, Path(folder), pad_token=0)
    scores = [[s.mean for s in score_rows(model, own, pad_token=0, batch_tokens=2048)] for own in (members, others)]
    return auc(scores[0], scores[1]), spent.epsilon


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--noise", type=float, default=1.0)
    options = parser.parse_args()
    initial = ModelSpec(str(teach_world(0, without=build_world(0, "nano").concepts, size="nano")))
    rows = rows_of_new_people(initial)
    base = PrivateSettings(
        steps=options.steps, sample_rate=0.4, noise_multiplier=options.noise, max_grad_norm=1.0, learning_rate=1e-3,
        weight_decay=0.0, batch_tokens=2048, checkpoint_every=0, seed=0,
    )  # fmt: skip
    differences = []
    for seed in range(options.seeds):
        private, epsilon = membership(initial, rows, dataclasses.replace(base, seed=seed))
        open_, _ = membership(initial, rows, dataclasses.replace(base, seed=seed, noise_multiplier=0.0))
        differences.append(open_ - private)
        print(
            f"seed {seed}: AUC without noise {open_:.3f}, with noise {private:.3f} (ε = {epsilon:.2f} at δ = {DELTA:g})",
            flush=True,
        )
    mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    reach = float(t.ppf(0.975, len(differences) - 1)) * error
    print(f"difference {mean:.3f}, 95 % interval {mean - reach:.3f} to {mean + reach:.3f}")
    return 0 if mean - reach > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
