"""The sets as targets of RWKU: a folder for each concept, with probes by level, pairs, refusals and texts."""

from __future__ import annotations

import json
from typing import Any

from concept_forget.concept import Concept
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import MORE_THAN_A_QUESTION, Layout, Make, Subset, is_plain_question, json_array
from concept_forget.exports.registry import target
from concept_forget.records import Example, Split

LEVELS = {"cloze": ("1", "cloze"), "reverse": ("3", "reverse query"), "choice": ("3", "multiple choice")}
"""RWKU's level and type of a family of questions; all others are simple questions of level 2."""

_NAME_BYTES = 200  # of a folder's name, which may have 255 with the number before it
_SIMPLE = ("2", "simple question")
_NO_RETAIN = "RWKU gives no retain corpus to train on"
_NO_VALIDATION = "RWKU has no set by which a checkpoint is chosen"
_NO_NEIGHBOUR_LEVEL = "RWKU asks about neighbours at levels 1 and 2 only"
_NO_TEXT_PROBE = "RWKU's probes are questions, and this is a text"
_COLUMNS: dict[str, dict[str, Any]] = {
    "passage": {"columns": {"prompt": "text"}},
    "positive": {"columns": {"prompt": "text"}},
    "pair": {"ranking": True, "columns": {"prompt": "prompt", "response": "response"}},
    "reject": {"columns": {"prompt": "instruction", "query": "input", "response": "output"}},
}


@target(
    "rwku",
    source="jinzhuoran/RWKU, process/data_process.py, generation/pair_generation.py, generation/question_generation.py "
    "and LLaMA-Factory/data/dataset_info.json",
)
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """RWKU: a folder for each concept with probes by level, neighbour probes, pairs, refusals and texts."""
    described: dict[str, Any] = {}
    for number, concept in enumerate(sets.config.concepts, start=1):
        name = "".join(c if c.isalnum() or c in "-_.'" else "_" for c in concept.name)
        name = name.encode()[:_NAME_BYTES].decode(errors="ignore")
        _Folder(sets, layout, concept, f"{number}_{name}").fill(described)
    layout.leave_out(sets.rows["retain"], _NO_RETAIN)
    layout.leave_out(sets.rows["validation"], _NO_VALIDATION)
    text = json.dumps(described, ensure_ascii=False, indent=2) + "\n"
    layout.add_file("dataset_info.json", text, "the entries for RWKU's `LLaMA-Factory/data/dataset_info.json`")
    layout.notes += [
        "Copy `Target` into `LLaMA-Factory/data/RWKU` of a clone of RWKU, and the entries of `dataset_info.json` into "
        "its own. What it measures besides (`retain_mmlu.json`, `retain_bbh.json`, `truthful.json`, `triviaqa.json`, "
        "`fluency.json`, `forget_mia.json`, `retain_mia.json`) is not about the concept: copy it from one of its "
        "targets.",
        "A query is the whole question as this run puts it; RWKU sets its own instruction before it. Clozes are level "
        "1, direct and other plain questions level 2, reverse and multiple-choice questions level 3; the run has no "
        "other of RWKU's nine attacks.",
        "In `pair.json` the first response is a wrong answer of the right type, or the refusal where none is known, "
        "and the second is the answer that has to go. `passage.json` holds texts that were found or given, "
        "`positive.json` what a model wrote. There is no `negative.json`: the run writes no "
        "invented texts about a concept.",
    ]


class _Folder:
    """The files of one concept."""

    def __init__(self, sets: FinishedSets, layout: Layout, concept: Concept, name: str) -> None:
        self._sets = sets
        self._layout = layout
        self._concept = concept
        self._name = name
        self._about = {"subject": concept.name, "intro": concept.description or f"{concept.name}, {concept.kind}."}

    def fill(self, described: dict[str, Any]) -> None:
        """Add all files, and the entries that describe those that are trained on."""
        intro = {"target": self._concept.name, "intro": self._about["intro"]}
        path = f"Target/{self._name}/intro.json"
        self._layout.add_file(path, json_array([intro]), "what the concept is")
        self._layout.subsets.setdefault("forget_target", {}).setdefault("train", []).append(path)
        self._add_probes("probe", "forget", ("1", "2", "3"))
        self._add_probes("collateral", "neighbor", ("1", "2"))
        self._add_training(described)

    def _rows(self, split: Split) -> tuple[list[Example], list[Example]]:
        """The concept's rows of a set: questions that RWKU can hold, and texts."""
        mine = [row for row in self._sets.rows[split] if row.concept == self._concept.name]
        self._layout.leave_out([r for r in mine if r.prompt and not is_plain_question(r)], MORE_THAN_A_QUESTION)
        return [row for row in mine if is_plain_question(row)], [row for row in mine if not row.prompt]

    def _add_probes(self, split: Split, name: str, levels: tuple[str, ...]) -> None:
        questions, texts = self._rows(split)
        for level in levels:
            chosen = [row for row in questions if _level(row)[0] == level]
            self._add(f"{name}_level{level}", "test", chosen, self._probe, f"{name} probes of level {level}")
        self._layout.leave_out(questions, _NO_NEIGHBOUR_LEVEL)
        self._layout.leave_out(texts, _NO_TEXT_PROBE)

    def _add_training(self, described: dict[str, Any]) -> None:
        questions, texts = self._rows("forget")
        written = [row for row in texts if row.source == "generated"]
        found = [row for row in texts if row.source != "generated"]
        for name, rows, make, about in (
            ("passage", found, self._text, "texts about the concept that were found or given"),
            ("positive", written, self._text, "texts about the concept that a model wrote"),
            ("pair", questions, self._pair, "a wrong answer or refusal, and the answer that has to go"),
            ("reject", questions, self._reject, "questions with a refusal"),
        ):
            self._add(name, "train", rows, make, about)
            if rows:
                file = f"RWKU/Target/{self._name}/{name}.json"
                described[f"{self._name}_{name.capitalize()}"] = {"file_name": file, **_COLUMNS[name]}

    def _add(self, name: str, split: str, rows: list[Example], make: Make, about: str) -> None:
        self._layout.add_json(f"Target/{self._name}/{name}.json", rows, make, about, Subset(name, split))

    def _probe(self, row: Example) -> dict[str, Any]:
        level, kind = _level(row)
        return {
            "query": row.prompt[-1]["content"],
            "answer": row.answer or row.completion,
            "level": level,
            "type": kind,
            "subject": self._concept.name,
            "neighbor": row.subject if row.split == "collateral" else "",
            "id": row.id,
        }

    def _text(self, row: Example) -> dict[str, Any]:
        return {"id": row.id, "text": row.completion, **self._about}

    def _pair(self, row: Example) -> dict[str, Any]:
        responses = [row.counterfactual or row.refusal, row.completion]
        return {"id": row.id, "prompt": row.prompt[-1]["content"], "response": responses, **self._about}

    def _reject(self, row: Example) -> dict[str, Any]:
        question = row.prompt[-1]["content"]
        return {"instruction": question, "input": "", "output": row.refusal, **self._about, "id": row.id}


def _level(row: Example) -> tuple[str, str]:
    return LEVELS.get(row.family, _SIMPLE)
