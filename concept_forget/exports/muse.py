"""The sets as a corpus of MUSE: raw texts, questions about them, and passages cut in two for recitation."""

from __future__ import annotations

from typing import Any

from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import MORE_THAN_A_QUESTION, Layout, Subset, is_plain_question
from concept_forget.exports.registry import target
from concept_forget.records import Example, Split

SHOTS = 10
"""Questions that MUSE shows before the one it asks."""

RECITED_WORDS = 16
"""Words that a text must have to be cut in two: fewer do not tell recitation from chance."""

_RAW: tuple[tuple[Split, str, str], ...] = (
    ("forget", "forget", "what has to go"),
    ("retain", "retain1", "what has to stay, to train on beside it"),
)


@target(
    "muse",
    source="jaechan-repo/muse_bench, data/hp/readme.md, data/upload_to_hf.py, baselines/baselines/dataset.py and "
    "knowmem/get_rouge_qa.py",
)
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """MUSE: raw forget and retain texts, questions about them, and passages cut in two for verbatim memorisation."""
    for split, name, about in _RAW:
        rows = [row for row in sets.rows[split] if not row.prompt or is_plain_question(row)]
        layout.add_json(f"raw/{name}.json", rows, _raw_row, about, Subset("raw", name))
        if rows:
            text = "\n\n".join(as_text(row) for row in rows)
            layout.add_file(f"raw/{name}.txt", text, f"the same texts in one file: {about}")
        layout.leave_out(sets.rows[split], MORE_THAN_A_QUESTION)
    _add_questions(sets, layout)
    recited = [row for row in sets.passages("forget") if len(row.completion.split()) >= RECITED_WORDS]
    layout.add_json("verbmem/forget.json", recited, _cut_row, "texts to go on with", Subset("verbmem", "forget"))
    layout.notes += [
        "Put the folder under `data` of a clone of MUSE, as a corpus of its own. `raw/forget.txt` is `--data_file` and "
        "`raw/retain1.txt` is `--retain_data_file` of its `unlearn.py`.",
        "MUSE trains on texts alone. A question of the forget and retain sets stands in them as `Question: …` and "
        "`Answer: …`, the form in which MUSE asks.",
        f"`verbmem` holds the texts of the forget set of at least {RECITED_WORDS} words, cut in the middle: `prompt` "
        "and `gt` together are the text. They are cut by words, not by LLaMA's tokens.",
        "There is no `raw/retain2`, `raw/holdout` or `privleak`: they want texts that the model read and may keep, and "
        "texts of the same kind that it never read; the run has neither. What is asked for collateral is in "
        "`knowmem/retain_qa.json`.",
    ]


def as_text(row: Example) -> str:
    """A row as MUSE trains on it: the text, or the question and its answer one below the other."""
    return f"Question: {row.prompt[-1]['content']}\nAnswer: {row.completion}" if row.prompt else row.completion


def cut(text: str) -> tuple[str, str]:
    """A text in two at the space nearest to its middle, the space with the second part."""
    spaces = [place for place, character in enumerate(text) if character.isspace() and text[:place].strip()]
    place = min(spaces, key=lambda place: abs(place - len(text) / 2), default=len(text))
    return text[:place], text[place:]


def _add_questions(sets: FinishedSets, layout: Layout) -> None:
    shots = sets.questions("validation")
    for name, rows, about in (
        ("forget_qa", sets.rows["probe"], "questions about what has to go"),
        ("retain_qa", sets.rows["collateral"], "questions about neighbours"),
        ("forget_qa_icl", _first(shots, stays=False), "examples shown before them, of facts that are not probed"),
        (
            "retain_qa_icl",
            _first(shots, stays=True),
            "examples shown before them, of neighbours that are not asked about",
        ),
    ):
        plain = [row for row in rows if is_plain_question(row)]
        layout.add_json(f"knowmem/{name}.json", plain, _question_row, about, Subset("knowmem", name))
    asked: tuple[Split, ...] = ("probe", "collateral")
    for split in asked:
        rows = sets.rows[split]
        layout.leave_out([row for row in rows if row.prompt], MORE_THAN_A_QUESTION)
        layout.leave_out(rows, "MUSE asks questions here, and this is a text")
    layout.leave_out(shots, f"MUSE shows {SHOTS} examples and has no other use for what validates")
    layout.leave_out(sets.rows["validation"], "MUSE has no texts that validate")


def _first(rows: list[Example], *, stays: bool) -> list[Example]:
    return [row for row in rows if (row.tier == "retain") == stays and is_plain_question(row)][:SHOTS]


def _raw_row(row: Example) -> dict[str, Any]:
    return {"text": as_text(row), "id": row.id}


def _question_row(row: Example) -> dict[str, Any]:
    return {"question": row.prompt[-1]["content"], "answer": row.completion, "id": row.id}


def _cut_row(row: Example) -> dict[str, Any]:
    prompt, rest = cut(row.completion)
    return {"prompt": prompt, "gt": rest, "id": row.id}
