"""Runs of unlearning that are timed: the model, the rows, and the program's own run, each in a process of its own.

``unlearning_speed.py`` and ``peer_speed.py`` say what stands beside it. Each model is a Llama with random weights and
tied embeddings. Its final norm is scaled so that next-token distributions are as peaked as a trained model's (about 1.4
nats of entropy): a fresh model's are flat, and no top of them is worth storing. What either side computes is the same.

The program's run is the one behind ``unlearn``, without looks at validation and without checkpoints.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from concept_forget.config import UnlearnConfig
from concept_forget.records import Example, ModelSpec, named_random, named_seed
from concept_forget.training.batches import Step, StepPlan, TokenRow
from concept_forget.training.fitting import FitSettings, StepReport
from concept_forget.unlearn.unlearning import _Unlearning

METHODS: dict[str, dict[str, Any]] = {
    "npo+nll": {"method": "npo", "retain": "nll", "beta": 0.1},
    "npo+kl": {"method": "npo", "retain": "kl", "beta": 0.1},
    "rmu": {"method": "rmu", "retain": "hidden", "coefficient": 2.0, "parameters": r"mlp\.down_proj"},
}
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


SIZES = {
    "tiny": Size(500, 2, 64, 128, 4),
    "1M": Size(4000, 4, 128, 344, 4),
    "4M": Size(8000, 6, 192, 512, 6),
    "15M": Size(16_000, 8, 320, 854, 10),
    "60M": Size(32_000, 11, 576, 1536, 9),
    "full": Size(32_000, 12, 768, 2048, 12),
}
"""``full`` has 110 million parameters; the vocabulary grows with the model, as it does in practice."""


Measure = Callable[[argparse.Namespace, Path], dict[str, object]]
"""One run: of the model in a folder."""


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
        "losses": run.losses,
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
        self.losses: list[dict[str, float]] = []
        super().train()

    def _fit_settings(self) -> FitSettings:
        return dataclasses.replace(super()._fit_settings(), checkpoint_every=0)

    def _on_step(self, report: StepReport) -> bool:
        self.ends.append(time.monotonic())
        self.losses.append(dict(report.parts))
        return False


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


def add_run_options(parser: argparse.ArgumentParser, repeats: int) -> None:
    """What all runs have in common; and, hidden, which run a process is to do."""
    parser.add_argument("--batch", type=int, default=8, help="forget rows per step, and as many retain rows")
    parser.add_argument("--rows", type=int, default=64, help="rows to forget, and as many to keep")
    parser.add_argument("--warm-up", type=int, default=1, help="first steps of a run that do not count (1 or more)")
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)


def with_values(options: argparse.Namespace, **values: object) -> argparse.Namespace:
    """The same options with other values for some."""
    return argparse.Namespace(**vars(options) | values)


def run_one(options: argparse.Namespace, other: str, measure_other: Measure) -> dict[str, object]:
    """What a child process does: makes the model, or does one run of either side."""
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    if options.one == "model":
        return make_model(SIZES[options.size], options.folder)
    libraries = memory("VmRSS")
    measure = {"ours": measure_ours, other: measure_other}[options.one]
    found = measure(options, options.folder)
    return found | {"libraries": libraries, "peak": memory("VmHWM")}


def start(options: argparse.Namespace, passed: Sequence[str], one: str) -> dict[str, Any]:
    """Run the same script in a process of its own, and read what it found.

    Args:
        options: What it is told.
        passed: The options that its script has beside those of ``add_run_options``.
        one: What it does.
    """
    command = [sys.executable, sys.argv[0], "--one", one]
    for name in (*passed, "folder", "batch", "rows", "warm_up", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads),
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{one} {options.size} {options.method}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def compare(options: argparse.Namespace, passed: Sequence[str], other: str) -> dict[str, Any]:
    """Both sides in turn, and the medians."""
    runs: dict[str, list[dict[str, Any]]] = {other: [], "ours": []}
    for _ in range(options.repeats):
        for side, found in runs.items():
            found.append(start(options, passed, side))
    sides = {side: _summarise(found, options.warm_up) for side, found in runs.items()}
    ours, beside = sides["ours"], sides[other]
    return {
        "speed_ratio": ours["steps_per_second"] / beside["steps_per_second"],
        "memory_ratio": ours["peak_mib"] / beside["peak_mib"],
        "increment_ratio": ours["increment_mib"] / beside["increment_mib"],
        **sides,
    }


def _summarise(runs: Sequence[Mapping[str, Any]], warm_up: int) -> dict[str, Any]:
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
        "first_losses": runs[0]["losses"][0],
        "last_losses": runs[0]["losses"][-1],
        "trained_parameters": runs[0]["trained_parameters"],
    }
    if "reference" in runs[0]:
        summary |= {name: runs[0][name] for name in ("reference", "stored_top")}
        summary["reference_seconds"] = statistics.median(run["reference_seconds"] for run in runs)
    return summary
