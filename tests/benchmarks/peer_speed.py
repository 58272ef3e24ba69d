"""Speed and memory of unlearning beside locuslab/open-unlearning's own trainers, on the same model, rows and optimiser.

Run it by hand: ``python tests/benchmarks/peer_speed.py --open-unlearning FOLDER``, FOLDER being a checkout of theirs.
Both sides get the same randomly initialised Llama (``--size full``: 110 million parameters, vocabulary 32,000), step by
step the same rows, AdamW (fused), float32 and as many threads. Each run is a process of its own, and they take turns.

Theirs: ``Trainer.train`` of NPO (retain ``NLL`` or ``KL``) and RMU (``EMBED_DIFF``), with the values of their
``configs/trainer``, a padded batch of 8 rows of either kind each step, made by their collator. Ours: the run behind ``unlearn``, without looks at validation
and without checkpoints, as theirs writes none. Both RMU train what their config offers for it, the output projections
of the feed-forward blocks in three layers.

The final norm is scaled so that next-token distributions are as peaked as a trained model's (about 1.4 nats of
entropy). A fresh model's are flat, and no top of them is worth storing. What either side computes is the same.

Steps per second are the median over all steps but each run's first ones. What is compared is the peak of the whole
process' resident memory, interpreter and libraries included; what came on top of the loaded model stands beside it. The
first step's loss is printed for both: with npo it has to be the same up to rounding. Their kl is a mean over other
tokens, but zero at first. Prints a table and one JSON object, and leaves with 1 out of bounds, which ``full`` has.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peer_trainers import enter, make_trainer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from concept_forget.config import UnlearnConfig
from concept_forget.models import load_tokenizer
from concept_forget.records import Example, ModelSpec, named_random, named_seed
from concept_forget.training.batches import Step, StepPlan, TokenRow, encode_examples
from concept_forget.training.fitting import FitSettings, StepReport
from concept_forget.unlearn.unlearning import _Unlearning

METHODS: dict[str, dict[str, Any]] = {
    "npo+nll": {"method": "npo", "retain": "nll", "beta": 0.1},
    "npo+kl": {"method": "npo", "retain": "kl", "beta": 0.1},
    "rmu": {"method": "rmu", "retain": "hidden", "coefficient": 2.0, "parameters": r"mlp\.down_proj"},
}
LEAST_SPEED = {"npo+nll": 1.5, "npo+kl": 1.8, "rmu": 5.0}
MOST_MEMORY = {"npo+nll": 0.75, "npo+kl": 0.6, "rmu": 0.35}
LEARNING_RATE = 1e-5
BATCH_TOKENS = 1024
SEED = 0
LENGTHS = (64, 256)
"""Tokens of a row, the smallest and the largest; uniform between them."""
PROMPT_LENGTHS = (16, 48)
SPREAD = 8.0
"""Standard deviation of the logits of one token."""
SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|> ' + message['content'] + ' ' -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|> ' -}}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of the model."""

    vocabulary: int
    layers: int
    width: int
    inner: int
    heads: int


SIZES = {"full": Size(32_000, 12, 768, 2048, 12), "tiny": Size(500, 2, 64, 128, 4)}


def make_model(size: Size, folder: Path) -> dict[str, object]:
    """Save a fresh model with tied embeddings and a tokenizer that takes every word for a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=size.vocabulary, num_hidden_layers=size.layers, hidden_size=size.width, bos_token_id=None,
        intermediate_size=size.inner, num_attention_heads=size.heads, num_key_value_heads=size.heads,
        max_position_embeddings=1024, tie_word_embeddings=True, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.norm.weight.fill_(SPREAD / (size.width**0.5 * config.initializer_range))
    model.save_pretrained(folder)
    words = [*SPECIAL, *(f"w{number}" for number in range(size.vocabulary - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], chat_template=TEMPLATE,
        additional_special_tokens=list(SPECIAL[2:]),
    ).save_pretrained(folder)  # fmt: skip
    return {"parameters": model.num_parameters()}


def make_examples(name: str, count: int, vocabulary: int) -> list[Example]:
    """Questions and answers of words drawn at random, of varied lengths."""
    rng = named_random(SEED, "peer_speed", name)

    def say(words: int) -> str:
        return " ".join(f"w{rng.randrange(vocabulary - len(SPECIAL))}" for _ in range(words))

    examples = []
    for number in range(count):
        asked = rng.randint(*PROMPT_LENGTHS)
        told = rng.randint(*LENGTHS) - asked
        examples.append(
            Example(
                id=f"{name}-{number}", split="forget" if name == "forget" else "retain", concept="c", subject="c",
                facet="f", fact="", form="direct", family="", tier="",
                prompt=[{"role": "user", "content": say(asked - 2)}], completion=say(told - 1), answer="",
            )
        )  # fmt: skip
    return examples


def measure_ours(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Unlearn with this project's loop."""
    settings = UnlearnConfig.model_validate(
        METHODS[options.method]
        | {
            "retain_weight": 1.0, "learning_rate": LEARNING_RATE, "warmup_steps": 0, "weight_decay": 0.0,
            "max_grad_norm": 1.0, "batch_size": options.batch, "batch_tokens": BATCH_TOKENS, "dtype": "float32",
            "max_steps": options.warm_up + options.steps, "stop": "steps",
        }
    )  # fmt: skip
    forget, retain = examples_of(options)
    with tempfile.TemporaryDirectory() as out:
        target = ModelSpec(path=str(folder))
        run = _Timed(target, target, settings, SEED, Path(out))
        run.read_rows(forget, retain)
        before = memory("VmRSS")
        began = time.monotonic()
        run.prepare((), None)
        reference = time.monotonic() - began
        run.train()
    return {
        "ends": run.ends,
        "first_loss": run.first_loss,
        "before": before,
        "reference_seconds": reference,
        "reference": None if run.reference is None else run.reference.kind,
        "stored_top": getattr(run.reference, "top", None),
        "trained_parameters": run.trained,
    }


class _Timed(_Unlearning):
    """A run that notes when its steps end, and neither looks at validation nor saves."""

    def train(self) -> None:
        self.ends: list[float] = []
        super().train()

    def _fit_settings(self) -> FitSettings:
        return dataclasses.replace(super()._fit_settings(), checkpoint_every=0)

    def _on_step(self, report: StepReport) -> bool:
        self.ends.append(time.monotonic())
        if report.step == 1:
            self.first_loss = report.parts["loss"]
        return False


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
    return {"ends": trainer.ends, "first_loss": trainer.losses[0], "before": before, "trained_parameters": trained}


def steps_of(groups: tuple[tuple[TokenRow, ...], ...], options: argparse.Namespace) -> list[Step]:
    """The steps that our run's plan draws."""
    plan = StepPlan(
        (*groups, ()), (options.batch, options.batch, 0), named_seed(SEED, "unlearn", "rows"),
        pad_token=0, batch_tokens=BATCH_TOKENS,
    )  # fmt: skip
    return [plan(number) for number in range(options.warm_up + options.steps)]


def examples_of(options: argparse.Namespace) -> tuple[list[Example], list[Example]]:
    """Rows to forget and rows to keep."""
    vocabulary = SIZES[options.size].vocabulary
    return make_examples("forget", options.rows, vocabulary), make_examples("retain", options.rows, vocabulary)


def memory(name: str) -> int:
    """Bytes of resident memory of this process: ``VmRSS`` now, ``VmHWM`` at the most.

    Not ``getrusage``, whose peak is handed on from the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the kernel does not tell the peak of resident memory")


def run_one(options: argparse.Namespace) -> dict[str, object]:
    """What a child process does."""
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    if options.one == "model":
        return make_model(SIZES[options.size], options.folder)
    libraries = memory("VmRSS")
    measure = measure_ours if options.one == "ours" else measure_peer
    found = measure(options, options.folder)
    return found | {"libraries": libraries, "peak": memory("VmHWM")}


def start(options: argparse.Namespace, folder: Path, one: str, method: str) -> dict[str, Any]:
    """Run a child and read what it found."""
    command = [sys.executable, __file__, "--one", one, "--folder", str(folder), "--method", method]
    for name in ("open_unlearning", "size", "batch", "rows", "warm_up", "steps", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads),
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{one} {method}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def compare(options: argparse.Namespace, folder: Path, method: str) -> dict[str, Any]:
    """Both sides in turn, and the medians."""
    runs: dict[str, list[dict[str, Any]]] = {"peer": [], "ours": []}
    for _ in range(options.repeats):
        for side, found in runs.items():
            found.append(start(options, folder, side, method))
    sides = {side: summarise(found, options.warm_up) for side, found in runs.items()}
    ours, peer = sides["ours"], sides["peer"]
    return {
        "speed_ratio": ours["steps_per_second"] / peer["steps_per_second"],
        "memory_ratio": ours["peak_mib"] / peer["peak_mib"],
        "increment_ratio": ours["increment_mib"] / peer["increment_mib"],
        **sides,
    }


def summarise(runs: list[dict[str, Any]], warm_up: int) -> dict[str, Any]:
    """Medians over the runs of one side, and whatever is the same in all of them."""
    seconds = [
        end - begin
        for run in runs
        for begin, end in zip(run["ends"][warm_up - 1 : -1], run["ends"][warm_up:], strict=True)
    ]
    summary: dict[str, Any] = {
        "steps_per_second": 1 / statistics.median(seconds),
        "step_seconds": [round(value, 4) for value in seconds],
        "peak_mib": statistics.median(run["peak"] for run in runs) / 2**20,
        "increment_mib": statistics.median(run["peak"] - run["before"] for run in runs) / 2**20,
        "libraries_mib": statistics.median(run["libraries"] for run in runs) / 2**20,
        "first_loss": runs[0]["first_loss"],
        "trained_parameters": runs[0]["trained_parameters"],
    }
    if "reference" in runs[0]:
        summary |= {name: runs[0][name] for name in ("reference", "stored_top")}
        summary["reference_seconds"] = statistics.median(run["reference_seconds"] for run in runs)
    return summary


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
    parser.add_argument("--batch", type=int, default=8, help="forget rows per step, and as many retain rows")
    parser.add_argument("--rows", type=int, default=64, help="rows to forget, and as many to keep")
    parser.add_argument("--warm-up", type=int, default=1, help="first steps of a run that do not count (1 or more)")
    parser.add_argument("--steps", type=int, default=2, help="steps of a run that count")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--one", choices=("model", "peer", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    methods = options.method or list(METHODS)
    if options.one:
        options.method = methods[0]
        print(json.dumps(run_one(options)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = start(options, Path(folder), "model", methods[0])
        found = {method: compare(options, Path(folder), method) for method in methods}
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
