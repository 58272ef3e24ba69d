"""TOFU's scores of its logs: against scipy and the authors' formulas, and the logs' way to disk and back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from concept_forget.benchmarks.tofu_logs import (
    AGGREGATED,
    FORGET,
    LOGS,
    REAL_AUTHORS,
    RETAIN,
    WORLD_FACTS,
    EvalLog,
    read_logs,
    score_logs,
    write_logs,
)
from concept_forget.errors import DataError


def draw_log(seed: int, rows: int = 12) -> dict[str, Any]:
    """A log with what the scores are made of."""
    rng = np.random.default_rng(seed)

    def numbered(values: Any) -> dict[str, Any]:
        return {str(number): value for number, value in enumerate(values.tolist())}

    return {
        "avg_gt_loss": numbered(rng.gamma(2, 1, rows)),
        "rougeL_recall": numbered(rng.uniform(0.1, 1, rows)),
        "average_perturb_loss": numbered(rng.gamma(2, 1, (rows, 3))),
        "avg_paraphrased_loss": numbered(rng.gamma(2, 1, rows)),
    }


def draw_logs(seed: int) -> dict[str, EvalLog]:
    return {name: EvalLog.model_validate(draw_log(100 * seed + place)) for place, name in enumerate(LOGS)}


def columns(log: EvalLog) -> tuple[Any, Any, Any, Any]:
    return (
        np.array(list(log.avg_gt_loss.values())),
        np.array(list(log.rougeL_recall.values())),
        np.array(list(log.average_perturb_loss.values())),
        np.array(list(log.avg_paraphrased_loss.values())),
    )


def test_the_scores_are_those_of_the_formulas() -> None:
    logs, other = draw_logs(1), draw_logs(2)
    scores = score_logs(logs, other)
    utility = []
    for name, title in LOGS.items():
        loss, rouge, perturbed, paraphrased = columns(logs[name])
        true_over_false = np.exp(perturbed.mean(axis=1) - paraphrased)
        if name in (REAL_AUTHORS, WORLD_FACTS):
            probability = (np.exp(-loss) / (np.exp(-loss) + np.exp(-perturbed).sum(axis=1))).mean()
        else:
            probability = np.exp(-loss).mean()
        if name == FORGET:
            ratio = np.minimum(true_over_false, 1 / true_over_false).mean()
        else:
            ratio = np.maximum(0, 1 - 1 / true_over_false).mean()
            utility += [probability, rouge.mean(), ratio]
        found = scores.sets[title]
        assert (found.probability, found.rouge_l, found.truth_ratio) == pytest.approx(
            (probability, rouge.mean(), ratio), abs=1e-12
        )
        assert found.rows == 12
    assert scores.model_utility == pytest.approx(stats.hmean(utility), abs=1e-12)
    ratios = [
        np.exp(perturbed.mean(axis=1) - true) for *_, perturbed, true in map(columns, (logs[FORGET], other[FORGET]))
    ]
    assert scores.forget_quality == pytest.approx(stats.ks_2samp(*ratios).pvalue, abs=1e-12)
    assert score_logs(logs).forget_quality is None


def test_rows_are_told_by_their_number_and_not_by_their_place() -> None:
    log = draw_log(3)
    turned = {**log, "avg_paraphrased_loss": dict(reversed(log["avg_paraphrased_loss"].items()))}
    both = [{name: EvalLog.model_validate(some) for name in LOGS} for some in (log, turned)]
    assert score_logs(both[0], both[1]) == score_logs(both[1], both[0])
    assert score_logs(both[0]).sets["forget"].truth_ratio == pytest.approx(
        score_logs(both[1]).sets["forget"].truth_ratio
    )


@pytest.mark.parametrize("place", ["", AGGREGATED], ids=["folder", "file"])
def test_logs_are_read_as_they_were_written(place: str, tmp_path: Path) -> None:
    logs = draw_logs(4)
    write_logs(tmp_path, logs)
    assert read_logs(tmp_path / place) == logs
    assert read_logs(tmp_path, (FORGET,)) == {FORGET: logs[FORGET]}
    (tmp_path / AGGREGATED).unlink()
    assert read_logs(tmp_path) == logs


def broken(name: str, **changes: Any) -> dict[str, Any]:
    logs = {known: draw_log(5) for known in LOGS}
    logs[name] = {key: value for key, value in {**logs[name], **changes}.items() if value is not None}
    return logs


BROKEN: dict[str, tuple[Any, str, str | None]] = {
    "no log of a set": ({name: draw_log(5) for name in list(LOGS)[:3]}, f"no log '{FORGET}'", None),
    "a measure is missing": (broken(RETAIN, rougeL_recall=None), "Field required", f"{RETAIN}.rougeL_recall"),
    "a row is missing": (broken(FORGET, avg_paraphrased_loss={"0": 1.0}), "not of the rows", FORGET),
    "no rows": (broken(FORGET, **{key: {} for key in draw_log(5)}), "has no row", FORGET),
    "not a number": (broken(RETAIN, avg_gt_loss={"0": "much"}), "valid number", f"{RETAIN}.avg_gt_loss.0"),
    "less than nothing": (broken(RETAIN, avg_gt_loss={"0": -1e9}), "greater than or equal", f"{RETAIN}.avg_gt_loss.0"),
    "no end": (broken(RETAIN, avg_gt_loss={"0": math.inf}), "finite", f"{RETAIN}.avg_gt_loss.0"),
    "a recall above 1": (broken(RETAIN, rougeL_recall={"0": 3.0}), "less than or equal", f"{RETAIN}.rougeL_recall.0"),
    "no wrong answer": (
        broken(FORGET, average_perturb_loss={"0": []}),
        "at least 1 item",
        f"{FORGET}.average_perturb_loss.0",
    ),
    "no object": ([1], "a log is a JSON object", None),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_log_is_refused_by_file_and_key(case: str, tmp_path: Path) -> None:
    data, words, key = BROKEN[case]
    file = tmp_path / AGGREGATED
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        read_logs(file)
    assert (caught.value.file, caught.value.key) == (str(file), key)


def test_absent_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_logs(tmp_path)
    for text in ("{", "[" * 100_000):
        (tmp_path / AGGREGATED).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="cannot be read"):
            read_logs(tmp_path)


def test_more_measures_than_the_scores_need_are_kept() -> None:
    log = {**draw_log(6), "generated_text": {"0": ["a", "b", "c"]}, "bleu": {"0": 0.5}}
    kept = EvalLog.model_validate(log).model_dump(mode="json", exclude_none=True)
    assert kept["bleu"] == {"0": 0.5}
    assert kept["generated_text"] == {"0": ["a", "b", "c"]}
    assert math.isfinite(sum(kept["avg_gt_loss"].values()))
