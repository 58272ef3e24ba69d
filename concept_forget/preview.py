"""A look at what a generator writes before a run is made of it: the text of ``preview``.

The stage ``expand`` itself is run, on the first concept and with small numbers, in a folder that is thrown away.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from concept_forget.config import Config
from concept_forget.console import plain_text
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Reply, Request
from concept_forget.errors import ConfigError, StageError
from concept_forget.pipeline import STAGES, Say, stage_module
from concept_forget.records import Fact, Passage, Question
from concept_forget.run_models import RunModels
from concept_forget.text import counted
from concept_forget.workspace import Costs, StageContext, read_records

REDUCED = ("facets", "facts_per_facet", "paraphrases", "reverse", "neighbour_paraphrases")
"""Numbers of ``expand`` that are cut down to the number of items to show."""

SHORT_LINES = 3
"""A prompt of so many lines is always shown whole; of longer ones, only what differs from the first of its kind."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt that was sent, by the name of its file, and the reply that came."""

    prompt: str
    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class Preview:
    """What was asked, and what came of it.

    ``problem`` is what the stage stopped at; there are then no facts and questions, and the replies tell why.
    """

    config: Config
    exchanges: tuple[Exchange, ...]
    facts: tuple[Fact, ...] = ()
    questions: tuple[Question, ...] = ()
    passages: tuple[Passage, ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()
    problem: StageError | None = None


def reduce_config(config: Config, count: int) -> Config:
    """The config of a preview: its first concept, and no number above ``count``; a third of that at every distance."""
    settings = config.expand
    few = {name: min(getattr(settings, name), count) for name in REDUCED}
    neighbours = {distance: min(number, -(-count // 3)) for distance, number in settings.neighbours.items()}
    expand = settings.model_copy(update={**few, "neighbours": neighbours})
    return config.model_copy(update={"concepts": config.concepts[:1], "expand": expand})


def require_generator(config: Config) -> None:
    """Refuse a config whose rows nobody writes.

    Raises:
        ConfigError: The config names no generator.
    """
    if config.generator.engine == "none":
        with config.naming_places():
            raise ConfigError(
                "there is no generator to look at",
                key="generator.engine",
                remedy="name one; rows of your own and the corpus are read without, and `validate` counts them",
            )


def make_preview(config: Config, count: int, say: Say = lambda line: None) -> Preview:
    """Let the generator write a little.

    Args:
        config: The whole config.
        count: Items of each kind at most.
        say: Called with a line of text before a sandbox model is taught.

    Raises:
        ConfigError: The config names no generator.
        UserError: The generator or the prompts cannot be used.
    """
    require_generator(config)
    reduced = reduce_config(config, count)
    models = RunModels(config, say)
    roles = next(stage.models for stage in STAGES if stage.verb == "expand")
    specs = {role: models.find(role) for role in roles if role in models}
    exchanges: list[Exchange] = []
    with tempfile.TemporaryDirectory(prefix="concept-forget-preview-") as place:
        folder = Path(place) / "expand"
        context = StageContext(
            config=reduced, folder=folder, inputs={}, models=specs, cache=Path(place) / "replies.sqlite", costs=Costs()
        )
        try:
            stage_module("expand").run(context, lambda *exchange: exchanges.append(Exchange(*exchange)))
        except StageError as error:
            return Preview(reduced, tuple(exchanges), problem=error)
        return Preview(
            reduced,
            tuple(exchanges),
            facts=tuple(read_records(Fact, folder / "facts.jsonl")),
            questions=tuple(read_records(Question, folder / "questions.jsonl")),
            passages=tuple(_passages(folder / "passages.jsonl")),
            rejected=tuple(_read_lines(folder / "rejected.jsonl")),
        )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _passages(path: Path) -> list[Passage]:
    return read_records(Passage, path) if path.is_file() else []


def print_preview(config: Config, count: int, console: Console | None = None) -> None:
    """Print the prompts that were sent, the replies that came, and what was kept of them.

    Args:
        config: The whole config.
        count: Items of each kind at most.
        console: Where to; the standard output by default.

    Raises:
        UserError: There is no generator, or it or the prompts cannot be used.
        StageError: A step gave nothing that the next one could work with; printed is what was asked until then.
    """
    require_generator(config)
    console = console or Console(width=None if Console().is_terminal else 130)
    first, *others = config.concepts
    more = f", the first of {1 + len(others)} concepts" if others else ""
    _print(
        console,
        f"A preview of {first.name}{more}: at most {counted(count, 'item')} of each kind. Nothing is kept of it.",
    )
    found = make_preview(config, count, lambda line: _print(console, line))
    show_preview(found, count, console)
    if found.problem is not None:
        raise found.problem


def show_preview(preview: Preview, count: int, console: Console) -> None:
    """Print a preview: exchanges by prompt, then what was kept, then what was not.

    Args:
        preview: What was asked, and what came of it.
        count: Items of each kind at most.
        console: Where to.
    """
    printer = _Printer(console, preview, count)
    for name in dict.fromkeys(exchange.prompt for exchange in preview.exchanges):
        printer.print_exchanges(name)
    if preview.problem is None:
        printer.print_kept()
        printer.print_rejected()


class _Printer:
    """Prints a preview."""

    def __init__(self, console: Console, preview: Preview, count: int) -> None:
        self._console = console
        self._preview = preview
        self._count = count

    def print_exchanges(self, name: str) -> None:
        """What was sent from one prompt file, and the replies."""
        prompt = load_prompts(self._preview.config.generator.prompts).get(name)
        sent = [exchange for exchange in self._preview.exchanges if exchange.prompt == name]
        self._console.print()
        self._console.print(Rule(plain_text(f"prompt {name}: {len(sent)} sent", "bold"), align="left"))
        _print(self._console, prompt.front.description)
        distinct: dict[str, Exchange] = {}
        for exchange in sent:
            distinct.setdefault(_words(exchange.request), exchange)
        shown = _spread(list(distinct.values()), self._count)
        whole = ""
        for exchange in shown:
            asked = _words(exchange.request)
            told = asked if not whole or len(asked.splitlines()) <= SHORT_LINES else _difference(whole, asked)
            title = "prompt, word for word" if told == asked else "the same prompt, but for these lines"
            whole = whole or asked
            self._console.print(Panel(plain_text(told), title=plain_text(title), title_align="left", expand=False))
            self._console.print(Text.assemble(("reply  ", "bold"), plain_text(_reply(exchange.reply))))

    def print_kept(self) -> None:
        """Items that got through, kind by kind."""
        facts, questions = self._preview.facts, self._preview.questions
        own = [fact for fact in facts if fact.distance is None]
        beside = {fact.subject: fact for fact in facts if fact.distance is not None}
        by_fact = {fact.id: fact for fact in facts}
        asked = [question for question in questions if by_fact[question.fact].distance is None]
        self._console.print()
        self._console.print(Rule(plain_text("what was kept", "bold"), align="left"))
        self._table("facets", ("facet",), [(facet,) for facet in dict.fromkeys(fact.facet for fact in own)])
        self._table("facts", ("facet", "answer", "sentence"), [(f.facet, f.answer, f.sentence) for f in own])
        for family in dict.fromkeys(question.family for question in asked):
            rows = [(question.text, question.answer) for question in asked if question.family == family]
            self._table(f"questions: {family}", ("question", "answer"), rows)
        refused = [(question.text, question.refusal) for question in asked if question.refusal]
        self._table("refusals", ("question", "refusal"), refused)
        neighbours = [(fact.subject, fact.kind, str(fact.distance), fact.sentence) for fact in beside.values()]
        self._table("neighbours", ("name", "kind", "distance", "a fact"), neighbours)
        self._table("passages", ("style", "text"), [(p.style, p.text) for p in self._preview.passages])

    def print_rejected(self) -> None:
        """Why items did not get through, the commonest reason first."""
        counts = Counter((str(item["step"]), str(item["reason"])) for item in self._preview.rejected)
        examples = {(str(item["step"]), str(item["reason"])): str(item["text"]) for item in self._preview.rejected}
        rows = [(step, reason, str(times), examples[step, reason]) for (step, reason), times in counts.most_common()]
        self._console.print()
        self._console.print(Rule(plain_text("what was not", "bold"), align="left"))
        self._table("rejected", ("step", "because", "times", "such as"), rows, most=len(rows))

    def _table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], most: int | None = None
    ) -> None:
        if not rows:
            return
        most = most or self._count
        shown = f"{title} ({most} of {len(rows)})" if len(rows) > most else title
        table = Table(title=plain_text(shown), title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows[:most]:
            table.add_row(*(plain_text(cell) for cell in row))
        self._console.print(table)


def _spread(items: Sequence[Exchange], count: int) -> list[Exchange]:
    """``count`` of the items, evenly over all of them, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    steps = max(count - 1, 1)
    return [items[place * (len(items) - 1) // steps] for place in range(count)]


def _words(request: Request) -> str:
    """A prompt as it was sent; roles are named where there is more than one message of the user's."""
    if isinstance(request.prompt, str):
        return request.prompt
    if [message["role"] for message in request.prompt] == ["user"]:
        return request.prompt[0]["content"]
    return "\n".join(f"[{message['role']}]\n{message['content']}" for message in request.prompt)


def _difference(first: str, second: str) -> str:
    """What tells the second text from the first, line by line: ``-`` the first's, ``+`` the second's."""
    lines = difflib.unified_diff(first.splitlines(), second.splitlines(), lineterm="", n=0)
    return "\n".join(f"{line[0]} {line[1:]}" for line in lines if not line.startswith(("---", "+++", "@@")))


def _reply(reply: Reply) -> str:
    if reply.problem:
        return f"none ({reply.finish_reason}): {reply.problem}"
    cut = "  … cut off at the limit" if reply.finish_reason == "length" else ""
    return (reply.text.strip() or "(empty)") + cut


def _print(console: Console, line: str) -> None:
    console.print(plain_text(line))
