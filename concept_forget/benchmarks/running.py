"""What ``concept-forget bench`` does: a model on a benchmark, its figures in a folder and on the terminal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from concept_forget.benchmarks.tofu import ForgetSet, Wording, chat_wording, evaluate, raw_wording, read_tofu
from concept_forget.benchmarks.tofu_logs import FORGET, TofuScores, read_logs, score_logs, write_logs
from concept_forget.benchmarks.wmdp import HAZARDOUS, PARTS, Choice, Part, accuracy, choose, read_part
from concept_forget.config import ModelChoice
from concept_forget.console import plain_text
from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Engine
from concept_forget.errors import ConfigError
from concept_forget.measures.metrics import Rate
from concept_forget.models import load_tokenizer, resolve_model
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs, write_json, write_text

METRICS = "metrics.json"
CHOICES = "choices.jsonl"
_BATCH_TOKENS = 16384


class WmdpScores(BaseModel):
    """Accuracy by part, over all of WMDP, and for MMLU by subject; a quarter is chance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: dict[str, Rate]
    wmdp: Rate | None
    mmlu_subjects: dict[str, Rate]


def bench_tofu(
    model: str | None,
    out: Path,
    *,
    forget: ForgetSet = "forget10",
    data: Path | None = None,
    reference: str | None = None,
    logs: Path | None = None,
    reference_logs: Path | None = None,
) -> TofuScores:
    """TOFU's scores of a model, or of evaluation logs that are there already.

    ``out`` gets ``metrics.json`` and, of a model that is asked, the logs in the authors' format; those of a reference
    model are in ``reference``. After an interruption the same call goes on where it was.

    Args:
        model: Folder or hub id; None: ``logs`` are scored.
        out: The folder.
        forget: The forget set.
        data: Where copies of the sets lie; None: from the hub.
        reference: A model that was trained without the forget set, for the forget quality.
        logs: Evaluation logs: ``eval_log_aggregated.json``, or its folder.
        reference_logs: Those of such a model, in the place of ``reference``.

    Raises:
        ConfigError: Model and logs are given, or neither.
        DataError: Sets or logs are not there, or cannot be read.
        ModelError: A model is absent or cannot be read.
    """
    if (model is None) == (logs is None):
        raise ConfigError("what is to be scored is not clear", key="--model", remedy="give --model or --logs")
    if reference is not None and reference_logs is not None:
        raise ConfigError("there are two references", key="--reference", remedy="keep it or --reference-logs")
    own = read_logs(logs) if logs is not None else {}
    known = read_logs(reference_logs, (FORGET,)) if reference_logs is not None else None
    named = {"--model": model, "--reference": reference}
    specs = {key: resolve_model(ModelChoice(model=name), key) for key, name in named.items() if name is not None}
    sets = read_tofu(forget, data) if specs else {}
    if "--model" in specs:
        with _engine(specs["--model"], out) as engine:
            own = evaluate(engine, sets, _wording(specs["--model"]))
        write_logs(out, own)
    if "--reference" in specs:
        with _engine(specs["--reference"], out) as engine:
            known = evaluate(engine, {FORGET: sets[FORGET]}, _wording(specs["--reference"]))
        write_logs(out / "reference", known)
    scores = score_logs(own, known)
    write_json(out / METRICS, scores.model_dump(mode="json"))
    return scores


def bench_wmdp(model: str, out: Path, *, parts: Sequence[Part] = PARTS, data: Path | None = None) -> WmdpScores:
    """The accuracy of a model on WMDP, and on MMLU beside it.

    ``out`` gets ``metrics.json``, and ``choices.jsonl`` with what the model made of each question. After an
    interruption the same call goes on where it was.

    Args:
        model: Folder or hub id.
        out: The folder.
        parts: What is asked.
        data: Where copies of the sets lie; None: from the hub.

    Raises:
        DataError: A set is not there, or cannot be read.
        ModelError: The model is absent or cannot be read.
    """
    spec = resolve_model(ModelChoice(model=model), "--model")
    rows = {part: read_part(part, data) for part in PARTS if part in parts}
    with _engine(spec, out) as engine:
        found = {part: choose(engine, some) for part, some in rows.items()}
    write_text(out / CHOICES, "".join(_lines(found)))
    hazardous = [choice for part in HAZARDOUS for choice in found.get(part, [])]
    subjects: dict[str, list[Choice]] = {}
    for choice in found.get("mmlu", []):
        subjects.setdefault(choice.row.subject, []).append(choice)
    scores = WmdpScores(
        parts={part: accuracy(choices) for part, choices in found.items()},
        wmdp=accuracy(hazardous) if hazardous else None,
        mmlu_subjects={subject: accuracy(choices) for subject, choices in sorted(subjects.items())},
    )
    write_json(out / METRICS, scores.model_dump(mode="json"))
    return scores


def print_tofu(scores: TofuScores, console: Console | None = None) -> None:
    """Print TOFU's scores."""
    console = console or Console()
    table = Table(title="TOFU", title_justify="left")
    for column in ("set", "rows", "probability", "ROUGE-L recall", "truth ratio"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, found in scores.sets.items():
        figures = (f"{value:.4f}" for value in (found.probability, found.rouge_l, found.truth_ratio))
        table.add_row(plain_text(name), str(found.rows), *figures)
    console.print(table)
    console.print(f"model utility   {scores.model_utility:.4f}")
    quality = scores.forget_quality
    told = "not known: it takes a model trained without the forget set" if quality is None else f"{quality:.4g}"
    console.print(f"forget quality  {told}")


def print_wmdp(scores: WmdpScores, console: Console | None = None) -> None:
    """Print the accuracies, with their intervals."""
    console = console or Console()
    table = Table(title="WMDP and MMLU", title_justify="left")
    for column in ("part", "questions", "accuracy", "95 %"):
        table.add_column(column, justify="left" if column == "part" else "right")
    rates = {**scores.parts, **({"all of WMDP": scores.wmdp} if scores.wmdp is not None else {})}
    for name, rate in rates.items():
        table.add_row(plain_text(name), str(rate.n), f"{rate.rate:.4f}", f"{rate.low:.4f} to {rate.high:.4f}")
    console.print(table)
    console.print("chance          0.25")


@contextlib.contextmanager
def _engine(spec: ModelSpec, out: Path) -> Iterator[Engine]:
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(
        open_engine(spec, cache=out / "replies.sqlite", costs=Costs(), batch_tokens=_BATCH_TOKENS)
    ) as engine:
        yield engine


def _wording(spec: ModelSpec) -> Wording:
    tokenizer = load_tokenizer(spec)
    return chat_wording() if tokenizer.chat_template else raw_wording(str(tokenizer.eos_token or ""))


def _lines(found: Mapping[Part, Sequence[Choice]]) -> Iterator[str]:
    for part, choices in found.items():
        for number, choice in enumerate(choices):
            line = {
                "part": part,
                "row": number,
                "subject": choice.row.subject,
                "answer": choice.row.answer,
                "picked": choice.picked,
                "logprobs": choice.logprobs,
            }
            yield json.dumps(line, ensure_ascii=False) + "\n"
