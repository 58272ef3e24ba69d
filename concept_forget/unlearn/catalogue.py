"""The table of methods, made from their registration: formula, paper, needs, and what a step costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from concept_forget.config import METHOD_OPTIONS, MethodName, UnlearnConfig
from concept_forget.unlearn.methods import TERM_NAMES
from concept_forget.unlearn.objectives import FORGET_TERMS, RETAIN_TERMS, Objective
from concept_forget.unlearn.procedures import PROCEDURES, Procedure
from concept_forget.unlearn.trainings import TRAININGS


@dataclass(frozen=True, slots=True)
class Entry:
    """A method, or a retain objective.

    ``cost`` counts forward and backward passes for each of its own rows in a step, and those made once per row before
    training. ``options`` are its settings in the section ``unlearn``, ``retain`` the objective that stands beside it
    where the config names none.
    """

    name: str
    summary: str
    formula: str
    source: str
    needs: tuple[str, ...]
    cost: str
    options: tuple[str, ...] = ()
    retain: str = ""


def list_methods() -> list[Entry]:
    """Every method that a config can name, in the config's order."""
    entries = []
    for name in get_args(MethodName):
        options = tuple(option for option, methods in METHOD_OPTIONS.items() if name in methods)
        if (own := TRAININGS.get(name)) is not None:
            summary, formula = _told(own.function)
            entries.append(Entry(name, summary, formula, own.source, own.needs, own.cost, options))
            continue
        found: Objective | Procedure = PROCEDURES.get(name) or FORGET_TERMS[TERM_NAMES.get(name, name)]
        retain = UnlearnConfig(method=name).retain_term
        entries.append(_entry(name, found, options, retain))
    return entries


def list_retain_terms() -> list[Entry]:
    """Every retain objective."""
    return [_entry(name, term, (), "") for name, term in RETAIN_TERMS.items()]


def print_methods() -> None:
    """Print both tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for title, entries in (("method", list_methods()), ("retain", list_retain_terms())):
        table = Table(show_lines=True)
        for column in (title, "formula and paper", "needs", "passes for each row"):
            table.add_column(column, overflow="fold")
        for entry in entries:
            name = "\n".join([entry.name, *(f"  {option}" for option in entry.options)])
            needs = "\n".join([*entry.needs, *([f"retain: {entry.retain}"] if entry.retain else ())]) or "–"
            about = f"{entry.summary}\n{entry.formula}\n{entry.source}"
            table.add_row(*(Text(cell) for cell in (name, about, needs, entry.cost)))
        console.print(table)
    console.print(
        "A retain term costs its passes besides, for each retain row. References that are not stored "
        "(unlearn.reference: adapter_off or resident) cost a forward pass in every step instead of once.",
        markup=False,
        highlight=False,
    )


def _entry(name: str, found: Objective | Procedure, options: tuple[str, ...], retain: str) -> Entry:
    summary, formula = _told(found.function)
    if isinstance(found, Procedure):
        needs: tuple[str, ...] = (f"{found.trains_on} rows",) if found.trains_on != "nothing" else ()
        return Entry(name, summary, formula, found.source, needs, _procedure_cost(found), options)
    return Entry(name, summary, formula, found.source, found.needs, _objective_cost(found), options, retain)


def _told(function: Callable[..., Any]) -> tuple[str, str]:
    """The first sentence of a docstring and the formula in it: the paragraph that begins with L or θ."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]
    formula = next((part for part in paragraphs if part.startswith(("L = ", "θ"))), "")
    return paragraphs[0], formula


def _objective_cost(term: Objective) -> str:
    rows = term.reads_answers + ("alternatives" in term.needs)
    whole = not {"logprobs", "logits", "alternatives"}.isdisjoint(term.needs)
    reach = "" if whole else ", up to its layer"
    text = f"{rows} forward, {rows} backward{reach}"
    if "reference.contrast" in term.needs:
        return f"{text}; once {3 * rows} forward"
    if any(need.startswith("reference.") for need in term.needs):
        return f"{text}; once {rows} forward{reach}"
    return text


def _procedure_cost(procedure: Procedure) -> str:
    if procedure.trains_on == "nothing":
        return "none"
    once = "; once 1 forward, 1 backward over forget and retain rows" if procedure.needs_gradients else ""
    return f"1 forward, 1 backward{once}"
