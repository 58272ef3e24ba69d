"""Prompt files: Jinja templates with a front matter that says what the reply looks like.

A prompt file::

    ---
    description: What the prompt asks for, for readers of the file.
    returns: lines
    ---
    --- system ---
    You write short questions.
    --- user ---
    Ask about {{ concept.name }}.

``--- system ---``, ``--- user ---`` and ``--- assistant ---`` lines part the messages; a file without one is a single
user message. Roles are read before the template is filled in, so that no value can open a message of its own.

What others wrote is shown as ``{{ question | block("question") }}``, between tags that it cannot close; they end in
``{{ mark }}``, by which the prompt can name them (see ``engines/blocks.py``).

The sets `compact` and `compare`, and whatever is put to a model under test, do without. A small model takes no order
but those that it was taught, word for word, and a tag would be one that it never met; a question is put as it stands,
for its reply is graded and nothing is made of it. What a corpus says meets a model as a row to answer or to be trained
on, never beside an order.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import jinja2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from concept_forget.engines.blocks import Draft, draw_mark
from concept_forget.engines.template_sandbox import MARK, TemplateEnvironment, working
from concept_forget.errors import ConfigError, DataError, first_line
from concept_forget.records import Chat, Message, content_hash
from concept_forget.yaml_file import read_value

Returns = Literal["line", "lines", "json"]

_ROLE_LINE = re.compile(r"^--- (system|user|assistant) ---[ \t]*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.MULTILINE | re.DOTALL)
_REMEDY = "see the files of the built-in set 'default' for the form of a prompt file"


class FrontMatter(BaseModel):
    """What a prompt file says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(min_length=1, description="What the prompt asks for.")
    returns: Returns = Field(
        description="line: one item; lines: one item per line; json: an object of the caller's schema."
    )
    per_reply: int | None = Field(
        None, ge=1, description="How many of n items one reply holds; null: all. More are had by asking again."
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file, ready to be filled in.

    ``hash`` changes whenever the file's text does; rows carry it as ``prompt_hash``.
    """

    name: str
    path: Path
    front: FrontMatter
    hash: str
    _parts: tuple[tuple[str, jinja2.Template], ...]

    @property
    def returns(self) -> Returns:
        """The form of the reply."""
        return self.front.returns

    @property
    def per_reply(self) -> int | None:
        """How many items one reply holds where n are asked for; None: all n."""
        return self.front.per_reply

    def render(self, **variables: Any) -> Chat:
        """Fill the template in, and enclose the data in it.

        Raises:
            DataError: The template names a variable that is not given, or fails on one; file and line are named.
        """
        draft = Draft()
        texts = self._fill_in(variables, draft)
        if draft.wanted:
            texts = self._fill_in(variables, draw_mark("\n".join(texts)))
        return [
            cast(Message, {"role": role, "content": text}) for (role, _), text in zip(self._parts, texts, strict=True)
        ]

    def _fill_in(self, variables: Mapping[str, Any], mark: object) -> list[str]:
        return [_render(template, self.path, {**variables, MARK: mark}) for _, template in self._parts]

    def render_text(self, **variables: Any) -> str:
        """The text of the last message: the whole prompt where it has but one."""
        return self.render(**variables)[-1]["content"]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The prompts of one folder, by name."""

    folder: Path
    prompts: Mapping[str, Prompt]

    def get(self, name: str) -> Prompt:
        """The prompt called ``name``.

        Raises:
            DataError: The folder holds no such file.
        """
        if name not in self.prompts:
            raise DataError(
                f"there is no prompt '{name}' (found: {', '.join(sorted(self.prompts)) or 'none'})",
                file=self.folder,
                remedy=f"add {name}.jinja, or use a built-in set: {', '.join(built_in_sets())}",
            )
        return self.prompts[name]

    @property
    def hash(self) -> str:
        """One hash over all prompts of the set."""
        return content_hash(sorted((name, prompt.hash) for name, prompt in self.prompts.items()))


def load_prompts(name_or_dir: str | Path) -> PromptSet:
    """Read every ``*.jinja`` file of a built-in set (``default``, ``compact``) or of a folder.

    Raises:
        DataError: No such set or folder, or a file in it is not a prompt file.
    """
    folder = _find_folder(name_or_dir)
    prompts = {path.stem: read_prompt(path) for path in sorted(folder.glob("*.jinja"))}
    if not prompts:
        raise DataError("the folder holds no *.jinja file", file=folder, remedy=_REMEDY)
    return PromptSet(folder, prompts)


def built_in_sets() -> tuple[str, ...]:
    """The names of the prompt sets that travel with the package."""
    return tuple(sorted({folder.name for root in _roots() for folder in root.iterdir() if folder.is_dir()}))


def _roots() -> Iterator[Path]:
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_data" / "prompts", package.parent / "prompts"):  # a wheel; an editable install
        if root.is_dir():
            yield root


def _find_folder(name_or_dir: str | Path) -> Path:
    if isinstance(name_or_dir, str) and name_or_dir in built_in_sets():
        return next(root / name_or_dir for root in _roots() if (root / name_or_dir).is_dir())
    folder = Path(name_or_dir)
    if not folder.is_dir():
        raise DataError(
            f"there is no prompt set or folder '{name_or_dir}'",
            key="generator.prompts",
            remedy=f"name a built-in set ({', '.join(built_in_sets())}) or a folder of *.jinja files",
        )
    return folder


def read_prompt(path: Path) -> Prompt:
    """Read one prompt file.

    Raises:
        DataError: It cannot be read, or is not a prompt file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path, remedy="name a prompt file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error}", file=path, remedy="save the file as UTF-8") from error
    text = text.replace("\r\n", "\n")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise DataError("the front matter is missing", file=path, line=1, remedy=_REMEDY)
    front = _read_front_matter(path, match.group(1))
    parts = tuple((role, _compile(path, body, begins)) for role, body, begins in _split_roles(path, text, match.end()))
    return Prompt(path.stem, path, front, content_hash("prompt", path.stem, text), parts)


def _read_front_matter(path: Path, text: str) -> FrontMatter:
    try:
        return FrontMatter.model_validate(read_value(text, str(path)) or {})
    except ConfigError as error:
        line = (error.line or 0) + 1  # the first line of the file is the rule above it
        raise DataError(
            f"the front matter cannot be read: {error.problem}", file=path, line=line, key=error.key, remedy=_REMEDY
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else None
        raise DataError(
            first["msg"], file=path, line=_line_of_key(text, key), key=key,
            remedy=f"the front matter takes {', '.join(FrontMatter.model_fields)}",
        ) from error  # fmt: skip


def _line_of_key(text: str, key: str | None) -> int:
    for number, line in enumerate(text.splitlines(), start=2):
        if key and re.match(rf"{re.escape(key)}\s*:", line):
            return number
    return 1


def _split_roles(path: Path, text: str, start: int) -> list[tuple[str, str, int]]:
    """The messages as (role, template source, line on which the source begins)."""

    def line_at(offset: int) -> int:
        return text.count("\n", 0, offset) + 1

    marks = list(_ROLE_LINE.finditer(text, start))
    if not marks:
        return [("user", text[start:], line_at(start))]
    if text[start : marks[0].start()].strip():
        raise DataError(
            "there is text before the first role line",
            file=path,
            line=line_at(start),
            remedy="put '--- user ---' above it, or leave the role lines out",
        )
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(m.group(1), text[m.end() : end], line_at(m.end())) for m, end in zip(marks, ends, strict=True)]


def _compile(path: Path, body: str, begins: int) -> jinja2.Template:
    padded = "\n" * (begins - 1) + body  # so that Jinja counts lines as the file does
    try:
        return TemplateEnvironment().compile_bounded(padded, path.stem, str(path))
    except jinja2.TemplateSyntaxError as error:
        raise DataError(
            f"not a Jinja template: {error.message}", file=path, line=error.lineno, remedy="mend the template"
        ) from error
    except (MemoryError, RecursionError, SyntaxError, ValueError, OverflowError) as error:
        raise DataError(
            f"not a Jinja template: {first_line(error)}", file=path, remedy="nest less, and write shorter numbers"
        ) from error


def _render(template: jinja2.Template, path: Path, variables: Mapping[str, Any]) -> str:
    try:
        with working():
            return template.render(variables).strip()
    except (
        *(jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError),
        *(MemoryError, RecursionError, AttributeError),
    ) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
        raise DataError(
            f"the template cannot be filled in: {first_line(error)}",
            file=path,
            line=line,
            remedy=f"it may use: {', '.join(sorted(variables))}",
        ) from error
