"""Steps and memory of unlearning beside the usual step, written out in torch, over four sizes of the model.

    python tests/benchmarks/unlearning_speed.py
    python tests/benchmarks/unlearning_speed.py --sizes 1M 4M --repeats 1 --out runs/bench/unlearning

Both sides train the same model with random weights (``unlearning_runs.py``; sizes are in parameters) on the same rows,
step by step, with AdamW (fused), in float32, on as many threads. Each run is a process of its own, and they take turns.

- ``usual``: one batch of 8 forget and 8 retain rows, padded on the right; the logits of every position; and a frozen
  twin of the model, run in each step on the same batch. RMU takes the states of its layer from whole passes likewise.
- ``ours``: the run behind ``unlearn``. What it once computes before its first step stands apart (``reference``).

Over sizes of the model and not of the batch, because the model is what a user has, and because what is saved depends on
it: small ones show what a step costs beside the arithmetic, large ones what a second model and whole logits take.

Steps per second are the median over all steps but each run's first one. Memory is the peak of the whole process,
interpreter and libraries included. The first step's losses have to be the same up to rounding, and those of the last
one near each other, for else it is not the same that is measured; of distributions over a large vocabulary ours knows
the likeliest tokens and what the others have together.

Prints a table and one JSON object, also written to ``results.json`` in ``--out``, where what is measured is kept: an
interrupted run goes on. Leaves with 1 where a model of 60 million parameters misses a bound, or losses differ.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sizes import add_options, growth, kept_in, once, publish, table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM
from unlearning_runs import (
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
from concept_forget.records import ModelSpec, named_seed
from concept_forget.training.batches import Step, encode_examples
from concept_forget.unlearn.methods import FORGET, RETAIN

STEPS = {"1M": 8, "4M": 6, "15M": 3, "60M": 2}
"""Steps of a run that count: short ones are many."""
LEAST_SPEED = {"npo+nll": 1.5, "npo+kl": 1.7, "rmu": 4.0}
MOST_MEMORY = {"npo+nll": 0.6, "npo+kl": 0.55, "rmu": 0.4}
BOUND = "60M"
"""The size that the bounds are for: what Python and the libraries take weighs more on smaller ones."""
FIRST_TOLERANCE, LAST_TOLERANCE = 1e-4, 0.01
"""How far losses may lie apart, relative to the larger one."""
USUAL, PASSED = "usual", ("size", "method", "steps")
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """All rows of a step: forget rows first.

    ``inputs`` are the model's; ``targets`` (rows, width) the answer tokens, each where it is predicted, else ``IGNORED``.
    """

    inputs: dict[str, Tensor]
    targets: Tensor
    forget_rows: int


def make_batch(step: Step, pad_token: int) -> Batch:
    """Rows side by side, padded on the right to the longest."""
    items = [item for part in step.batches for item in part.items]
    forget, retain = [[item.row for item in items if item.group == group] for group in (FORGET, RETAIN)]
    rows = [*forget, *retain]
    tokens = pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True, padding_value=pad_token)
    labels = pad_sequence(
        [torch.tensor([IGNORED] * row.answer_start + list(row.answer)) for row in rows],
        batch_first=True, padding_value=IGNORED,
    )  # fmt: skip
    lengths = torch.tensor([[len(row.tokens)] for row in rows])
    mask = (torch.arange(tokens.shape[1]) < lengths).long()
    targets = F.pad(labels, (0, 1), value=IGNORED)[:, 1:]
    return Batch({"input_ids": tokens, "attention_mask": mask}, targets, len(forget))


def npo_losses(model: nn.Module, twin: nn.Module, batch: Batch, *, beta: float, retain: str) -> tuple[Tensor, Tensor]:
    """The forget and the retain term, from the logits of every position."""
    logits = model(**batch.inputs, use_cache=False).logits  # (rows, width, vocabulary)
    with torch.no_grad():
        before = twin(**batch.inputs, use_cache=False).logits
    now, then = (_target_logprobs(one, batch.targets) for one in (logits, before))  # (rows, width)
    margin = (now - then).sum(1)[: batch.forget_rows]
    forgotten = -2 / beta * F.logsigmoid(-beta * margin).mean()
    keeps = slice(batch.forget_rows, None)
    answers = batch.targets[keeps] != IGNORED
    if retain == "nll":
        return forgotten, -now[keeps][answers].mean()
    distance = F.kl_div(logits[keeps].log_softmax(-1), before[keeps].log_softmax(-1), log_target=True, reduction="none")
    return forgotten, distance.sum(-1)[answers].mean()


def rmu_losses(model: nn.Module, twin: nn.Module, batch: Batch, *, layer: int, goal: Tensor) -> tuple[Tensor, Tensor]:
    """The forget and the retain term, from the states behind a layer."""
    states = model(**batch.inputs, use_cache=False, output_hidden_states=True).hidden_states[layer + 1]
    with torch.no_grad():
        before = twin(**batch.inputs, use_cache=False, output_hidden_states=True).hidden_states[layer + 1]
    answers = batch.targets != IGNORED
    forgets, keeps = answers.clone(), answers.clone()
    forgets[batch.forget_rows :], keeps[: batch.forget_rows] = False, False
    return (states[forgets] - goal).square().mean(), F.mse_loss(states[keeps], before[keeps])


def _target_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return -flat.view_as(targets)


def measure_usual(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Train with the usual step."""
    tokenizer: Any = load_tokenizer(ModelSpec(path=str(folder)))
    forget, retain = [encode_examples(examples, tokenizer, 512).rows for examples in examples_of(options)]
    batches = [make_batch(step, tokenizer.pad_token_id) for step in steps_of((forget, retain), options)]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    before = memory("VmRSS")
    twin = copy.deepcopy(model).requires_grad_(False).eval()
    method = METHODS[options.method]
    if options.method == "rmu":
        layer = SIZES[options.size].layers // 4
        generator = torch.Generator().manual_seed(named_seed(SEED, "unlearn", "direction"))
        direction = F.normalize(torch.randn(SIZES[options.size].width, generator=generator), dim=0)
        trained = re.compile(rf"layers\.({'|'.join(map(str, range(max(0, layer - 2), layer + 1)))})\.mlp\.down_proj")
        for name, weight in model.named_parameters():
            weight.requires_grad_(bool(trained.search(name)))
        losses = functools.partial(rmu_losses, model, twin, layer=layer, goal=method["coefficient"] * direction)
    else:
        losses = functools.partial(npo_losses, model, twin, beta=method["beta"], retain=method["retain"])
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    ends, parts = [], []
    for batch in batches:
        forgotten, kept = losses(batch)
        loss = forgotten + kept
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        parts.append({"loss": loss.item(), "forget_loss": forgotten.item(), "retain_loss": kept.item()})
        del loss, forgotten, kept  # and with them the graph, before the next batch makes its own
        ends.append(time.monotonic())
    trained_count = sum(weight.numel() for weight in weights)
    return {"ends": ends, "losses": parts, "before": before, "trained_parameters": trained_count}


def differing_losses(row: dict[str, Any]) -> list[str]:
    """Which losses of the two sides lie too far apart; a part of next to nothing may differ in its rounding."""
    wrong = []
    for when, tolerance in (("first_losses", FIRST_TOLERANCE), ("last_losses", LAST_TOLERANCE)):
        usual, ours = row[USUAL][when], row["ours"][when]
        rounding = 1e-6 * abs(usual["loss"])
        wrong += [
            f"{when}, {name}: {usual[name]:.6g} usual, {ours[name]:.6g} ours"
            for name in ("forget_loss", "retain_loss")
            if not math.isclose(usual[name], ours[name], rel_tol=tolerance, abs_tol=rounding)
        ]
    return wrong


def measure(options: argparse.Namespace, size: str, kept: Path) -> list[dict[str, Any]]:
    """All methods at one size, on a model that is made where something is left to be measured."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        options = with_values(options, size=size, folder=Path(folder), steps=STEPS[size])

        @functools.cache
        def model() -> dict[str, Any]:
            return start(with_values(options, method="rmu"), PASSED, "model")

        def find(method: str) -> dict[str, Any]:
            made = {"method": method, "size": size, **model()}
            return made | compare(with_values(options, method=method), PASSED, USUAL)

        for method in METHODS:
            rows.append(once(kept / f"{size}-{method}.json", functools.partial(find, method)))
    return rows


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    heads = (
        "method", "parameters", "usual step", "ours", "faster", "reference, once", "usual memory", "ours", "of it",
        "first loss, both",
    )  # fmt: skip
    return table(
        heads,
        [
            (
                row["method"], f"{row['parameters'] / 1e6:.1f} M",
                f"{1 / row[USUAL]['steps_per_second']:.3f} s", f"{1 / row['ours']['steps_per_second']:.3f} s",
                f"{row['speed_ratio']:.2f} ×", f"{row['ours']['reference_seconds']:.1f} s",
                f"{row[USUAL]['peak_mib']:.0f} MiB", f"{row['ours']['peak_mib']:.0f} MiB",
                f"{row['memory_ratio']:.2f} ×",
                " ".join(f"{row[side]['first_losses']['loss']:.5f}" for side in (USUAL, "ours")),
            )
            for row in rows
        ],
    )  # fmt: skip


def _growth(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How the seconds of a step, and the peak of memory on top of the loaded model, grow with the parameters."""
    sizes = [row["parameters"] for row in rows]
    return {
        side: {
            "seconds": growth(sizes, [1 / row[side]["steps_per_second"] for row in rows]),
            "memory": growth(sizes, [row[side]["increment_mib"] for row in rows]),
        }
        for side in (USUAL, "ours")
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, list(STEPS), "parameters of the model")
    add_run_options(parser, repeats=2)
    parser.add_argument("--size", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--method", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options, USUAL, measure_usual)))
        return 0
    conditions = {name: getattr(options, name) for name in ("batch", "rows", "warm_up", "repeats", "threads")}
    by_method: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    with kept_in(options.out, **conditions) as folder:
        for size in sorted(set(options.sizes), key=list(STEPS).index):
            for row in measure(options, size, folder):
                by_method[row["method"]].append(row)
        rows = [row for found in by_method.values() for row in found]
        ways = {method: _growth(found) for method, found in by_method.items()}
        bounds = {"least_speed": LEAST_SPEED, "most_memory": MOST_MEMORY}
        publish(folder, _shown(rows), {"sizes": rows, "growth": ways, **bounds})
    wrong = [f"{row['method']} {row['size']}, {what}" for row in rows for what in differing_losses(row)]
    for what in wrong:
        print(f"not the same is measured: {what}", file=sys.stderr)
    within = all(
        row["speed_ratio"] >= LEAST_SPEED[row["method"]] and row["memory_ratio"] <= MOST_MEMORY[row["method"]]
        for row in rows
        if row["size"] == BOUND
    )
    return 0 if within and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
