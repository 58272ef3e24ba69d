"""Every table that the documentation makes of the code: settings, registrations, commands, columns, prompt files.

``make docs`` rewrites the README and the pages of ``docs/``; a test fails where one of them differs.
"""

from __future__ import annotations

import enum
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from concept_forget import records
from concept_forget.cli import app
from concept_forget.compose.card import COLUMNS
from concept_forget.config.graders import GraderName
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConceptForgetError
from concept_forget.exports import TARGETS
from concept_forget.mine.readers import READERS
from concept_forget.probe.attacks import ATTACKS
from concept_forget.probe.white_box import WHITE_BOX
from concept_forget.report.formulas import GRADERS
from concept_forget.unlearn.catalogue import Entry, list_methods, list_retain_terms
from tests.docs.markdown import code, pages, rewrite, table
from tests.docs.settings_tables import settings_table

_FIELD = re.compile(r"^    (?P<name>\w+): (?P<type>[^=#]+?)(?: = .+?)?(?:  # (?P<about>.+))?$")


def make(what: str) -> str:
    """What stands between the markers that name it: a kind of table, and whose.

    Raises:
        ValueError: There is no such table.
    """
    kind, *whose = what.split()
    maker = MAKERS.get(kind)
    if maker is None:
        raise ValueError(f"there is no table called {kind!r}; there are: {', '.join(MAKERS)}")
    return maker(*whose)


def _methods(form: str = "long") -> str:
    if form == "short":
        rows = [(code(entry.name), _sentence(entry.summary), code(entry.retain)) for entry in list_methods()]
        return table(("`unlearn.method`", "what it does", "`retain`"), rows)
    rows = [(*_method(entry), code(entry.retain), _cost(entry)) for entry in list_methods()]
    return table(("method, its options", "what it does", "paper", "retain", "needs, and passes for each row"), rows)


def _retain() -> str:
    rows = [(*_method(entry), _cost(entry)) for entry in list_retain_terms()]
    return table(("`unlearn.retain`", "what it does", "paper", "needs, and passes for each row"), rows)


def _method(entry: Entry) -> tuple[str, str, str]:
    name = ", ".join(code(word) for word in (entry.name, *entry.options))
    formula = f"<br>{code(entry.formula)}" if entry.formula else ""
    return name, entry.summary + formula, entry.source


def _cost(entry: Entry) -> str:
    return "; ".join(filter(None, (", ".join(entry.needs), entry.cost)))


def _attacks(form: str = "long") -> str:
    built_in = [one for one in ATTACKS.values() if not one.file]  # none of a file that a test has read
    if form == "short":
        return table(("attack", "what it does"), [(code(one.name), _sentence(one.summary)) for one in built_in])
    rows = [
        (code(one.name), one.family, "yes" if one.quick else "", code(one.takes), one.summary, one.source)
        for one in built_in
    ]
    return table(("attack", "family", "`quick`", "puts questions of", "what it does", "paper"), rows)


def _white_box(form: str = "long") -> str:
    if form == "short":
        return table(
            ("`white_box`", "what it reads"), [(code(o.name), _sentence(o.summary)) for o in WHITE_BOX.values()]
        )
    rows = [(code(one.name), one.summary, one.source) for one in WHITE_BOX.values()]
    return table(("`white_box`", "what it reads", "paper"), rows)


def _graders() -> str:
    rows = [(code(name), *GRADERS[name]) for name in typing.get_args(GraderName)]
    return table(("`probe.grader`", "what counts as a leak", "paper"), rows)


def _exports() -> str:
    rows = [(code(one.name), one.summary.partition(": ")[2] or one.summary, one.source) for one in TARGETS.values()]
    return table(("`--to`", "what is written", "whose layout"), rows)


def _readers() -> str:
    endings: dict[str, list[str]] = {}
    for ending, reader in READERS.items():
        endings.setdefault(inspect.getdoc(reader) or "", []).append(ending)
    rows = [(", ".join(map(code, names)), about.replace("``", "`")) for about, names in endings.items()]
    return table(("ending; of text, `.gz` behind it or not", "how it is read"), rows)


def _prompts(folder: str) -> str:
    rows = [
        (code(prompt.name), prompt.front.description, prompt.returns)
        for prompt in sorted(load_prompts(folder).prompts.values(), key=lambda one: one.name)
    ]
    return table((f"`prompts/{folder}/`", "what it asks for", "reply"), rows)


def _columns(name: str) -> str:
    """The columns of a record; those of a row as its card explains them, of others as the code does."""
    if name == "Row":
        return table(("column", "what it holds"), [(code(column), about) for column, about in COLUMNS.items()])
    lines = inspect.getsource(getattr(records, name)).splitlines()
    found = [match for line in lines if (match := _FIELD.match(line))]
    rows = [(code(match["name"]), match["type"].strip(), (match["about"] or "").replace("``", "`")) for match in found]
    return table(("column", "type", "what it holds"), rows)


def _commands(group: str = "") -> str:
    """Every command of the program, or of one group, with the first sentence of its help."""
    found = find_command(*([group] if group else []))
    rows = []
    for name, one in found.commands.items():
        rows.append((code(f"{group} {name}".strip()), _sentence(one.help or "")))
    return table(("command", "what it does"), rows)


def _command(*names: str) -> str:
    """The arguments and options of one command."""
    found = find_command(*names)
    kinds = typing.get_type_hints(found.callback)
    rows = []
    for one in found.params:
        option, flag = one.opts[0].startswith("--"), getattr(one, "is_flag", False)
        takes = one.metavar or _placeholder(kinds[one.name])
        name = f"{one.opts[0]} {takes}" if option and not flag else one.opts[0] if option else takes
        default = getattr(one.default, "value", one.default)
        shown = "required" if one.required else code("" if flag or default in (None, ()) else str(default))
        rows.append((code(name), shown, one.help or ""))
    return table((f"`concept-forget {' '.join(names)}`", "default", "what it is"), rows)


def find_command(*names: str) -> Any:
    """A command of the program by its name, or the program itself, as Typer made it."""
    found: Any = typer.main.get_command(app)
    for name in names:
        found = found.commands[name]
    return found


def _placeholder(kind: Any) -> str:
    """What stands for a value of that type: its choices, or a word."""
    of = [one for one in _flat(kind) if isinstance(one, type)]
    for one in of:
        if issubclass(one, enum.Enum):
            return "|".join(str(choice.value) for choice in one)
    return next((word for one, word in ((int, "NUMBER"), (Path, "PATH")) if one in of), "TEXT")


def _flat(kind: Any) -> list[Any]:
    return [kind, *(found for part in typing.get_args(kind) for found in _flat(part))]


def _errors() -> str:
    def below(kind: type[ConceptForgetError]) -> list[type[ConceptForgetError]]:
        own = [one for one in kind.__subclasses__() if one.__module__ == ConceptForgetError.__module__]
        return [kind, *(found for one in own for found in below(one))]

    found = below(ConceptForgetError)
    rows = [(code(one.__name__), str(one.exit_code), _sentence(inspect.getdoc(one) or "")) for one in found]
    return table(("error", "exit code", "when"), rows)


def _sentence(text: str) -> str:
    """A text's first sentence, without its full stop."""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".").replace("``", "`")


MAKERS: dict[str, Callable[..., str]] = {
    "settings": settings_table,
    "methods": _methods,
    "retain": _retain,
    "attacks": _attacks,
    "white_box": _white_box,
    "graders": _graders,
    "exports": _exports,
    "readers": _readers,
    "prompts": _prompts,
    "columns": _columns,
    "commands": _commands,
    "command": _command,
    "errors": _errors,
}


def main() -> None:
    """Rewrite every page that differs from what the code gives."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := rewrite(text, make)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
