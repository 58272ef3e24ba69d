"""TOFU's evaluation logs, in the authors' format, and the scores that are made of them.

A log holds, for one set and each measure, the figure of every row under the row's number as text. The file
``eval_log_aggregated.json`` holds the four logs under their names. The scores are those of the authors'
``aggregate_eval_stat.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from concept_forget.errors import DataError
from concept_forget.measures.tofu import (
    aggregate_truth_ratios,
    forget_quality,
    model_utility,
    option_probability,
    truth_ratio,
)
from concept_forget.workspace import write_json

RETAIN = "eval_log.json"
REAL_AUTHORS = "eval_real_author_wo_options.json"
WORLD_FACTS = "eval_real_world_wo_options.json"
FORGET = "eval_log_forget.json"
AGGREGATED = "eval_log_aggregated.json"
LOGS = {RETAIN: "retain", REAL_AUTHORS: "real authors", WORLD_FACTS: "real world", FORGET: "forget"}
"""The logs in their order, with what their sets are called in tables."""


Loss = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Recall = Annotated[float, Field(ge=0, le=1)]


class EvalLog(BaseModel):
    """The log of one set: measure → number of the row → figure. Losses are in nats, those called avg per token.

    Of what other programs wrote, only what scores are made of has to be there.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    avg_gt_loss: dict[str, Loss]
    gt_loss: dict[str, Loss] = {}
    num_token_gt: dict[str, int] = {}
    generated_text: dict[str, tuple[str, str, str]] = {}
    rouge1_recall: dict[str, Recall] = {}
    rougeL_recall: dict[str, Recall]
    average_perturb_loss: dict[str, Annotated[list[Loss], Field(min_length=1)]]
    avg_paraphrased_loss: dict[str, Loss]
    truth_ratio: dict[str, float] = {}
    paraphrased_loss: dict[str, float] = {}
    perturb_loss: dict[str, list[float]] = {}
    num_token_paraphrased: dict[str, int] = {}
    num_token_perturb: dict[str, list[int]] = {}
    normalized_gt_loss: dict[str, float] | None = None

    @model_validator(mode="after")
    def _rows_agree(self) -> EvalLog:
        rows = set(self.avg_gt_loss)
        if not rows:
            raise ValueError("the log has no row")
        for name in ("rougeL_recall", "average_perturb_loss", "avg_paraphrased_loss"):
            if set(getattr(self, name)) != rows:
                raise ValueError(f"`{name}` is not of the rows that `avg_gt_loss` is of")
        return self


class SetScores(BaseModel):
    """A set's three scores, each in [0, 1]: on the forget set a truth ratio near 1 is good, elsewhere high is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float
    rouge_l: float
    truth_ratio: float
    rows: int


class TofuScores(BaseModel):
    """All that TOFU says of a model. ``forget_quality`` is null where no model retrained without the set is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: dict[str, SetScores]
    model_utility: float
    forget_quality: float | None


def score_logs(logs: Mapping[str, EvalLog], reference: Mapping[str, EvalLog] | None = None) -> TofuScores:
    """The scores that the authors' aggregation makes of a model's logs.

    Args:
        logs: By their names, all four.
        reference: Those of a model that was trained without the forget set; only that of the forget set is read.
    """
    sets = {title: _score_set(logs[name], name) for name, title in LOGS.items()}
    staying = [scores for name, scores in sets.items() if name != LOGS[FORGET]]
    return TofuScores(
        sets=sets,
        model_utility=model_utility(
            [figure for scores in staying for figure in (scores.probability, scores.rouge_l, scores.truth_ratio)]
        ),
        forget_quality=forget_quality(_ratios(logs[FORGET]), _ratios(reference[FORGET])) if reference else None,
    )


def _score_set(log: EvalLog, name: str) -> SetScores:
    if name in (REAL_AUTHORS, WORLD_FACTS):
        shares = [
            option_probability([-loss], [[-other] for other in log.average_perturb_loss[place]])
            for place, loss in log.avg_gt_loss.items()
        ]
    else:
        shares = [math.exp(-loss) for loss in log.avg_gt_loss.values()]
    return SetScores(
        probability=math.fsum(shares) / len(shares),
        rouge_l=math.fsum(log.rougeL_recall.values()) / len(shares),
        truth_ratio=aggregate_truth_ratios(_ratios(log), "closer_to_1_better" if name == FORGET else "true_better"),
        rows=len(shares),
    )


def _ratios(log: EvalLog) -> list[float]:
    return [
        truth_ratio([-loss], [[-other] for other in log.average_perturb_loss[place]])
        for place, loss in log.avg_paraphrased_loss.items()
    ]


def write_logs(folder: Path, logs: Mapping[str, EvalLog]) -> None:
    """Write each log under its name, and all of them in ``eval_log_aggregated.json``."""
    data = {name: log.model_dump(mode="json", exclude_none=True) for name, log in logs.items()}
    for name, log in data.items():
        write_json(folder / name, log)
    write_json(folder / AGGREGATED, data)


def read_logs(path: Path, needed: Sequence[str] = tuple(LOGS)) -> dict[str, EvalLog]:
    """Read logs that this program or the authors' wrote.

    Args:
        path: A file of all logs, or a folder with one or with each log in a file of its own.
        needed: The names of those that have to be there.

    Raises:
        DataError: One is not there, or is no log; file and key are named.
    """
    file = path / AGGREGATED if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        found = {name: _read_json(path / name) for name in needed}
    else:
        found = _read_json(file)
    logs = {}
    for name in needed:
        if name not in found:
            raise DataError(f"there is no log {name!r} in it", file=file, remedy=f"it needs {', '.join(needed)}")
        try:
            logs[name] = EvalLog.model_validate(found[name])
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join([name, *map(str, first["loc"])])
            raise DataError(first["msg"], file=file, key=key, remedy="evaluate the model again") from error
    return logs


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("there is no such file", file=file, remedy=f"give {AGGREGATED}, or its folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"this cannot be read: {error}", file=file, remedy=f"give {AGGREGATED}") from error
    if not isinstance(data, dict):
        raise DataError("a log is a JSON object", file=file, remedy=f"give {AGGREGATED}")
    return data
