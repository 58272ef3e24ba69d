"""Where pages come from: the frame that all share, its policy, and templates whose values are escaped.

A page is one file that needs no other: style and script stand in it, and its Content-Security-Policy allows these two
by their hashes and nothing else, so that even a value which escaped from its place could neither run nor load anything.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from concept_forget.shown import visible

_FOLDER = Path(__file__).parent
_JSON_IN_HTML = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def page_bytes(text: str) -> int:
    """Bytes that a text takes on a page, roughly: what is escaped there takes more."""
    return len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&\"'\\"))


def page_environment(folder: Path, tell: Callable[[str], str] = str) -> Environment:
    """Renders the templates of a folder as HTML, in the frame; a value that is missing is an error.

    Args:
        folder: Holds ``*.html.jinja``.
        tell: What becomes of every text that a template is given, before it is escaped.
    """

    def finalise(value: Any) -> Any:
        return value if isinstance(value, Markup) or not isinstance(value, str) else visible(tell(value))

    environment = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalise,
    )
    style, script = _own("page.css"), _own("page.js")
    environment.globals.update(
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    )
    return environment


def script_json(value: Any, tell: Callable[[str], str] = str) -> Markup:
    """JSON that can stand inside of ``<script type="application/json">``, whatever its texts hold.

    Args:
        value: What ``json`` can write.
        tell: What becomes of every text in it.
    """
    text = json.dumps(_made_visible(value, tell), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_JSON_IN_HTML))


def _made_visible(value: Any, tell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return visible(tell(value))
    if isinstance(value, dict):
        return {key: _made_visible(item, tell) for key, item in value.items()}
    return [_made_visible(item, tell) for item in value] if isinstance(value, (list, tuple)) else value


@functools.cache
def _own(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
