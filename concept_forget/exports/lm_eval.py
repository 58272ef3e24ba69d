"""The questions of a run as a task of lm-eval, graded by the run's own rules.

A task is a YAML file beside its rows. The rules travel with it, as a copy of the modules that hold them, so that the
task needs lm-eval alone and gives the same figures under every later version of this program.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import Layout, Subset, read_turns
from concept_forget.exports.registry import target
from concept_forget.records import Example, content_hash

RULES = "concept_forget.exports.lm_eval_rules"
COMPLETION = "completion"
ENTRY = "task_rules"
"""The module that a task's YAML file names."""

_NOT_ASKED = "lm-eval measures and does not train: nothing of this set is asked afterwards"
_TEXT = "a text without a question"
_TURNS = "the prompt has several turns, and lm-eval puts a system message and one question"
_PACKAGE = Path(__file__).resolve().parents[1]


@target(
    "lm-eval",
    source="EleutherAI/lm-evaluation-harness 0.4.13, docs/task_guide.md, lm_eval/config/task.py and "
    "lm_eval/tasks/_yaml_loader.py",
)
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """lm-eval: a task for each form and tier of the probe and for the neighbours, graded by this run's rules."""
    for split in ("forget", "retain", "validation"):
        layout.leave_out(sets.rows[split], _NOT_ASKED)
    names: dict[str, list[str]] = {"questions": [], "texts": []}
    for (part, form, tier), rows in _parts(sets).items():
        asked = [row for row in rows if _is_asked(row)]
        layout.leave_out([row for row in rows if not row.prompt], _TEXT)
        layout.leave_out([row for row in rows if not _is_asked(row)], _TURNS)
        if not asked:
            continue
        raw = form == COMPLETION
        name = "_".join(filter(None, (sets.name, part, form, tier)))
        grader = "span" if raw else sets.config.probe.plain_grader
        about = f"{part}: {form.replace('_', ' ')} questions, {tier.replace('_', ' ')}"
        layout.add_lines(f"{name}.jsonl", asked, _maker(grader), about, Subset(name, "test"))
        layout.add_file(f"{name}.yaml", _task(name, sets, stays=part == "collateral"), f"the task `{name}`")
        names["texts" if raw else "questions"].append(name)
    for kind, tasks in names.items():
        if tasks:
            group = sets.name if kind == "questions" else f"{sets.name}_texts"
            layout.add_file(f"_{group}.yaml", yaml.safe_dump({"group": group, "task": tasks}), f"all {kind} at once")
    _add_rules(layout)
    layout.notes += _notes(sets, names)


def _parts(sets: FinishedSets) -> dict[tuple[str, str, str], list[Example]]:
    """The rows that are asked afterwards, by set, form and tier, or for neighbours by distance."""
    parts: dict[tuple[str, str, str], list[Example]] = {}
    for row in sets.rows["probe"]:
        parts.setdefault(("probe", row.family, row.tier), []).append(row)
    for row in sets.rows["collateral"]:
        parts.setdefault(("collateral", "", row.tier), []).append(row)
    return parts


def _is_asked(row: Example) -> bool:
    if row.family == COMPLETION:
        return bool(row.prompt)
    turns = read_turns(row.prompt)
    return turns is not None and not turns.history


def _maker(grader: str) -> Any:
    def make(row: Example) -> dict[str, Any]:
        turns = read_turns(row.prompt) if row.family != COMPLETION else None
        return {
            "question": turns.question if turns else row.prompt[-1]["content"],
            "system": turns.system if turns else "",
            "answer": row.answer,
            "aliases": list(row.aliases),
            "options": list(row.options),
            "subject": row.subject,
            "fact": row.fact,
            "grader": grader,
            "id": row.id,
            "concept": row.concept,
            "form": row.form,
            "tier": row.tier,
        }

    return make


def _task(name: str, sets: FinishedSets, *, stays: bool) -> str:
    """The YAML file of a task. ``question`` and ``system`` are columns, which lm-eval puts as they are."""
    better = json.dumps(stays)  # what has to stay is better known than not
    settings: dict[str, Any] = {
        "task": name,
        "dataset_kwargs": {"file": f"{name}.jsonl"},
        "test_split": "test",
        "output_type": "generate_until",
        "description": "system",
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "num_fewshot": 0,
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": sets.config.probe.max_new_tokens},
    }
    functions = (
        f"custom_dataset: !function {ENTRY}.read_rows\n"
        f"process_results: !function {ENTRY}.grade_reply\n"
        "metric_list:\n"
        f"  - {{metric: accuracy, aggregation: mean, higher_is_better: {better}}}\n"
        f"  - {{metric: rate, aggregation: !function {ENTRY}.rate_over_facts, higher_is_better: {better}}}\n"
        "metadata: {version: 1}\n"
    )
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) + functions


def _add_rules(layout: Layout) -> None:
    """Add the modules that the rules are made of, under a name that tells one state of them from another."""
    modules = dict(sorted(_imported(RULES)))
    package = f"concept_forget_rules_{content_hash(modules)[:8]}"
    for module, source in modules.items():
        path = module.replace("concept_forget", package, 1).replace(".", "/")
        is_package = module_path(module).name == "__init__.py"
        text = re.sub(r"^(\s*(?:from|import) )concept_forget\b", rf"\g<1>{package}", source, flags=re.MULTILINE)
        layout.add_file(f"{path}/__init__.py" if is_package else f"{path}.py", text, "a part of the rules")
    entry = (
        '"""The functions that the tasks name; the rules are in the package beside this file."""\n\n'
        "import sys\n"
        "from pathlib import Path\n\n"
        "FOLDER = Path(__file__).resolve().parent\n"
        "if str(FOLDER) not in sys.path:\n"
        "    sys.path.insert(0, str(FOLDER))\n\n"
        f"from {RULES.replace('concept_forget', package, 1)} import grade_reply, rate_over_facts, read_task\n\n"
        '__all__ = ["grade_reply", "rate_over_facts", "read_rows"]\n\n\n'
        "def read_rows(file, **others):\n"
        '    """The rows of a task; lm-eval passes what it knows of the model too."""\n'
        "    return read_task(FOLDER, file)\n"
    )
    layout.add_file(f"{ENTRY}.py", entry, "what the tasks call")


def _imported(module: str) -> Iterator[tuple[str, str]]:
    """A module of this program and all that it imports of it, with their sources; packages around them are empty."""
    waiting, seen = [module], {"concept_forget"}
    yield "concept_forget", ""
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = module_path(name)
        source = path.read_text(encoding="utf-8") if path.name != "__init__.py" else ""
        yield name, source
        waiting.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("concept_forget."):
                module = str(node.module)
                waiting.append(module)
                waiting += [f"{module}.{alias.name}" for alias in node.names if _is_module(f"{module}.{alias.name}")]


def module_path(name: str) -> Path:
    """The file of a module of this program."""
    plain = _PACKAGE.joinpath(*name.split(".")[1:])
    return plain / "__init__.py" if plain.is_dir() else plain.with_suffix(".py")


def _is_module(name: str) -> bool:
    return module_path(name).is_file()


def _notes(sets: FinishedSets, names: Mapping[str, Sequence[str]]) -> list[str]:
    settings = sets.config.probe
    command = "lm_eval run --model hf --model_args pretrained=MODEL,add_bos_token=False --include_path FOLDER"
    notes = [
        f"Ask the questions with `{command} --tasks {sets.name} --apply_chat_template`: each task by itself has the "
        "name of its file. `--apply_chat_template` puts each question through the model's chat template, as this run "
        "did; `add_bos_token=False` because the template brings its own special tokens. In float32 on one machine the "
        "replies are the run's own.",
        "`accuracy` is the share of rows whose reply gives the answer away, each row graded as this run grades it "
        f"(grader `{settings.plain_grader}`); `rate` is the mean over facts, as in the run's report. On `probe` tasks "
        "high is bad, on `collateral` tasks good: there the answer has to stay.",
        f"Nothing but lm-eval is needed: `{ENTRY}.py` and the package beside it are this program's own grader.",
        "The attacks that put a question in other words of their own are not among the tasks: `concept-forget probe "
        "--model MODEL --probes RUN --attacks all` asks those of any model.",
    ]
    if names["texts"]:
        notes.append(
            f"Openings of texts are continued as raw text: `{command.replace(',add_bos_token=False', '')} --tasks "
            f"{sets.name}_texts`, without `--apply_chat_template`."
        )
    if settings.temperature:
        notes.append(f"The run drew replies at temperature {settings.temperature:g}; the tasks ask greedily.")
    return notes
