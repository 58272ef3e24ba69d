"""Jinja for prompt files: its sandbox, without what makes much of little, and with a bound on what a template does.

Jinja's own sandbox keeps a template from Python's insides, but not from the methods of what it is given (pydantic's
would unpickle), nor from filling the memory or going on for ever.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_format, do_replace, make_attrgetter
from jinja2.runtime import LoopContext
from jinja2.sandbox import SandboxedEnvironment, safe_range

from concept_forget.engines.blocks import Block

MARK = "mark"
"""The name under which a template finds its mark."""
MAX_WORK = 1_000_000
"""Characters that a template may show and keep each time it is filled in; a turn of a loop counts for some."""
_TURN = 100
_left = ContextVar("work left to a template", default=0)

# None of them makes a text longer by a number.
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last"),
    *("length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr"),
    *("sort", "string", "sum", "title", "trim", "unique", "upper", "wordcount"),
)
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        {"capitalize", "casefold", "count", "endswith", "find", "isdigit", "isupper", "lower", "lstrip"}
        | {"removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"}
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    LoopContext: frozenset({"changed", "cycle"}),
}
# One may call itself, or the one before it twice.
_REFUSED = {nodes.Block: "block", nodes.Macro: "macro"}


class TemplateEnvironment(SandboxedEnvironment):
    """What prompt files are compiled in. Work that its templates do is charged; see ``working``."""

    intercepted_binops = frozenset({"%", "*", "**", "+"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, finalize=_show
        )
        own: dict[str, Callable[..., Any]] = {"block": Block, "format": _format, "join": _join, "replace": _replace}
        self.filters = {name: _charged(FILTERS[name]) for name in _FILTERS} | own | {"kept": _keep, "turned": _turn}
        self.globals = {"range": _charged(safe_range)}

    def compile_bounded(self, source: str, name: str, filename: str) -> jinja2.Template:
        """A template whose loops and values are charged.

        Raises:
            jinja2.TemplateSyntaxError: It is none, or has a statement that prompts do without.
        """
        tree = self.parse(source, name, filename)
        _charge(tree)
        code = self.compile(tree, name, filename)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Data, and the few methods that only look at it."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return not callable(value) or any(isinstance(obj, kind) and attr in names for kind, names in _METHODS.items())

    def wrap_str_format(self, value: Any) -> None:
        """``format`` is a method as others are, and none of those above."""

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Sums of anything, products of numbers, and no powers."""
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" or (operator in "%*" and not numbers):
            raise SecurityError(f"a prompt does without {operator!r}, but of two numbers for '*' and '%'")
        result = super().call_binop(context, operator, left, right)
        _spend(_size(result))
        return result


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Allow what is filled in within it ``MAX_WORK``; what goes on after that raises jinja2's ``SecurityError``."""
    before = _left.set(MAX_WORK)
    try:
        yield
    finally:
        _left.reset(before)


def _spend(work: int) -> None:
    left = _left.get() - work
    if left < 0:  # while a template is compiled too, so that nothing is computed then
        raise SecurityError(f"it shows, keeps or goes through more than {MAX_WORK:,} characters")
    _left.set(left)


def _size(value: object) -> int:
    if isinstance(value, int):
        return value.bit_length() // 8
    return len(value) if isinstance(value, (str, list, tuple, dict, range)) else 1


def _charge(tree: nodes.Template) -> None:
    """Have every loop, and every value that is kept or joined, go through a filter that charges for it."""
    for kind, name in _REFUSED.items():
        for found in tree.find_all(kind):
            raise jinja2.TemplateSyntaxError(f"a prompt does without '{name}'", found.lineno)
    for loop in list(tree.find_all(nodes.For)):
        if loop.recursive:
            raise jinja2.TemplateSyntaxError("a prompt does without loops that call themselves", loop.lineno)
        shown = sum(len(text.data) for text in loop.find_all(nodes.TemplateData))
        loop.iter = _through("turned", loop.iter, nodes.Const(_TURN + shown))
    for kept in list(tree.find_all(nodes.Assign)):
        kept.node = _through("kept", kept.node)
    for joined in list(tree.find_all(nodes.Concat)):
        joined.nodes = [_through("kept", part) for part in joined.nodes]


def _through(name: str, value: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    # Jinja's own types call what is looped over and what is kept a node.
    return nodes.Filter(
        cast("nodes.Expr", value), name, list(args), [], None, None, lineno=value.lineno, environment=value.environment
    )


def _turn(values: Iterable[Any], work: int) -> Iterator[Any]:
    for value in values:
        _spend(work)
        yield value


def _keep(value: Any) -> Any:
    _spend(_size(value))
    return value


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def charged(*args: Any, **options: Any) -> Any:
        if "attribute" in options and "default" in options:
            raise SecurityError("a prompt names no default for an attribute")
        return _keep(function(*args, **options))

    return charged


def _format(text: str, *values: Any, **named: Any) -> str:
    longest = max((len(str(value)) for value in (*values, *named.values())), default=0)
    if any(len(digits) > 2 for digits in "".join(c if c.isdigit() else " " for c in text).split()) or "*" in text:
        raise SecurityError("a prompt's `format` holds no number of three digits and no '*'")
    _spend(len(text) + text.count("%") * max(longest, 100))
    return do_format(text, *values, **named)


@jinja2.pass_environment
def _join(environment: jinja2.Environment, values: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    get = make_attrgetter(environment, attribute) if attribute is not None else _same
    parts = []
    for value in values:
        parts.append(str(get(value)))
        _spend(len(parts[-1]) + len(d))
    return d.join(parts)


def _same(value: Any) -> Any:
    return value


@jinja2.pass_eval_context
def _replace(context: nodes.EvalContext, text: str, old: str, new: str, count: int | None = None) -> str:
    _spend(len(text) + text.count(old) * len(new))
    return do_replace(context, text, old, new, count)


@jinja2.pass_context
def _show(context: jinja2.runtime.Context, value: object) -> str:
    shown = value.enclose(context[MARK]) if isinstance(value, Block) else str(value)
    _spend(len(shown))
    return shown
