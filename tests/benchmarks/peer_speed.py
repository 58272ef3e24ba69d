"""Speed and memory of unlearning beside locuslab/open-unlearning's own trainers, on the same model, rows and optimiser.

Run it by hand: ``python tests/benchmarks/peer_speed.py --open-unlearning FOLDER``, FOLDER being a checkout of theirs.
Both sides get the same randomly initialised Llama (``--size full``: 110 million parameters, vocabulary 32,000), step by
step the same rows, AdamW (fused), float32 and as many threads. Each run is a process of its own, and they take turns.

Theirs: ``Trainer.train`` of NPO (retain ``NLL`` or ``KL``) and RMU (``EMBED_DIFF``), with the values of their
``configs/trainer``, a padded batch of 8 rows of either kind each step, made by their collator. Ours: the run behind ``unlearn``, without looks at validation
and without checkpoints, as theirs writes none. Both RMU train what their config offers for it, the output projections
of the feed-forward blocks in three layers.

Steps per second are the median over all steps but each run's first ones. What is compared is the peak of the whole
process' resident memory, interpreter and libraries included; what came on top of the loaded model stands beside it. The
first step's loss is printed for both: with npo it has to be the same up to rounding. Their kl is a mean over other
tokens, but zero at first. Prints a table and one JSON object, and leaves with 1 out of bounds, which ``full`` has.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from peer_trainers import enter, make_trainer
from transformers import AutoModelForCausalLM
from unlearning_runs import (
    BATCH_TOKENS,
    LEARNING_RATE,
    METHODS,
    SEED,
    SIZES,
    add_run_options,
    compare,
    examples_of,
    memory,
    run_one,
    start,
    steps_of,
    with_values,
)

from concept_forget.models import load_tokenizer
from concept_forget.records import ModelSpec
from concept_forget.training.batches import encode_examples

LEAST_SPEED = {"npo+nll": 1.5, "npo+kl": 1.8, "rmu": 5.0}
MOST_MEMORY = {"npo+nll": 0.75, "npo+kl": 0.6, "rmu": 0.35}
PEER, PASSED = "peer", ("open_unlearning", "size", "method", "steps")


def measure_peer(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Unlearn with the other framework's trainer."""
    enter(options.open_unlearning / "src")
    tokenizer: Any = load_tokenizer(ModelSpec(path=str(folder)))
    forget, retain = [encode_examples(examples, tokenizer, 512).rows for examples in examples_of(options)]
    steps = steps_of((forget, retain), options)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before = memory("VmRSS")
    with tempfile.TemporaryDirectory() as out:
        trainer = make_trainer(
            options.method, model, tokenizer, steps, output_dir=out, per_device_train_batch_size=options.batch,
            learning_rate=LEARNING_RATE, weight_decay=0.0, max_grad_norm=1.0, seed=SEED,
        )  # fmt: skip
        trainer.train()
    trained = sum(weight.numel() for group in trainer.optimizer.param_groups for weight in group["params"])
    return {
        "ends": trainer.ends,
        "losses": [{"loss": loss} for loss in trainer.losses],
        "before": before,
        "trained_parameters": trained,
    }


def print_table(found: dict[str, dict[str, Any]]) -> None:
    print(
        f"{'method':8} {'peer s/step':>11} {'ours s/step':>11} {'speed':>7} {'peer MiB':>9} {'ours MiB':>9} "
        f"{'memory':>7} {'on top':>7} {'reference s':>11}"
    )
    for method, row in found.items():
        peer, ours = row["peer"], row["ours"]
        print(
            f"{method:8} {1 / peer['steps_per_second']:11.3f} {1 / ours['steps_per_second']:11.3f} "
            f"{row['speed_ratio']:6.2f}x {peer['peak_mib']:9.0f} {ours['peak_mib']:9.0f} "
            f"{row['memory_ratio']:6.2f}x {row['increment_ratio']:6.2f}x {ours['reference_seconds']:11.2f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open-unlearning", type=Path, required=True, help="checkout of the other framework")
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--method", choices=list(METHODS), action="append", help="one or more; all if left out")
    parser.add_argument("--steps", type=int, default=2, help="steps of a run that count")
    add_run_options(parser, repeats=3)
    options = parser.parse_args()
    methods = options.method or list(METHODS)
    if options.one:
        print(json.dumps(run_one(with_values(options, method=methods[0]), PEER, measure_peer)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        model = start(with_values(options, method=methods[0]), PASSED, "model")
        found = {method: compare(with_values(options, method=method), PASSED, PEER) for method in methods}
    print_table(found)
    conditions = {name: getattr(options, name) for name in ("size", "batch", "rows", "steps", "repeats", "threads")}
    print(json.dumps(conditions | model | {"batch_tokens": BATCH_TOKENS, "methods": found}))
    within = all(
        row["speed_ratio"] >= LEAST_SPEED[name] and row["memory_ratio"] <= MOST_MEMORY[name]
        for name, row in found.items()
    )
    return 0 if within or options.size != "full" else 1


if __name__ == "__main__":
    sys.exit(main())
