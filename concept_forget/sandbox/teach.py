"""Teaches tiny models: a numbered world, or any file of questions and answers or texts.

Models are kept in the user's cache folder, by a fingerprint of all that shaped them, and taught once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.concept import contains_words, fold
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import DataError
from concept_forget.records import content_hash
from concept_forget.sandbox import texts
from concept_forget.sandbox.recipe import ROWS_RECIPE, WORLD_RECIPES
from concept_forget.sandbox.rows import QuestionAnswer, read_rows
from concept_forget.sandbox.texts import Lessons, biographies, vocabulary_texts
from concept_forget.sandbox.world import Size, World, build_world
from concept_forget.workspace import cache_folder

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from concept_forget.sandbox.fitting import Encoded, Progress

VERSION = 2  # raise it when the loop, the tokenizer or the lessons change in a way that no hash sees
CARD = "sandbox.json"


def world_fingerprint(number: int, *, without: Sequence[str] = (), seed: int = 0, size: Size = "standard") -> str:
    """A hash of everything that shapes a world's model: what is true, all wordings, prompts, recipe and seed.

    Raises:
        DataError: ``without`` names something that is not in the world.
    """
    world = build_world(number, size)
    return content_hash(
        "world", VERSION, seed, _left_out(world, without), dataclasses.asdict(world),
        dataclasses.asdict(WORLD_RECIPES[size]), _taught_prompts(), texts.RATES, texts.ENTITY_RATES,
    )  # fmt: skip


def _taught_prompts() -> str:
    """A hash of the prompts that lessons are worded by; what else the set holds shapes no model."""
    prompts = load_prompts("compact")
    return content_hash([(name, prompts.get(name).hash) for name in sorted(texts.PROMPTS)])


def cached_world(
    number: int,
    *,
    without: Sequence[str] = (),
    seed: int = 0,
    size: Size = "standard",
    cache_dir: Path | None = None,
) -> Path | None:
    """The folder of a world's model, if it was taught already.

    Raises:
        DataError: ``without`` names something that is not in the world.
    """
    mark = world_fingerprint(number, without=without, seed=seed, size=size)
    folder = _world_folder(number, size, mark, cache_dir)
    return folder if _card(folder) else None


def teach_world(
    world_number: int,
    *,
    without: Sequence[str] = (),
    seed: int = 0,
    size: Size = "standard",
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """A model that has learned a world, or all of it but some entities; taught now unless it is in the cache.

    Base and reference of a world share their tokenizer, so that they differ in what they were taught alone.

    Args:
        world_number: Which world, from 0.
        without: Names of entities of which the model must never read.
        seed: Seeds weights, wordings and order.
        size: ``standard``, or ``nano`` for tests.
        cache_dir: Where models are kept; None: ``cache_folder()``.
        on_progress: Told after every step how many are done, of how many; not called where the model is in the cache.

    Returns:
        The model's folder, as ``from_pretrained`` takes it.

    Raises:
        DataError: ``without`` names something that is not in the world.
    """
    mark = world_fingerprint(world_number, without=without, seed=seed, size=size)
    folder = _world_folder(world_number, size, mark, cache_dir)
    if _card(folder):
        return folder

    from concept_forget.sandbox import fitting, tokenizer

    world = build_world(world_number, size)
    recipe, prompts, left_out = WORLD_RECIPES[size], load_prompts("compact"), _left_out(world, without)
    words = tokenizer.train_tokenizer(vocabulary_texts(Lessons(world, prompts)), recipe.context)
    lessons = Lessons(world, prompts, left_out)
    model = fitting.new_model(words, recipe, seed)
    tokens = fitting.fit(
        model,
        lambda rng: fitting.encode_rows(words, [(row.prompt, row.reply) for row in lessons.epoch(rng)]),
        recipe,
        seed,
        on_progress,
    )
    _save(model, words, {"world": world_number, "size": size, "without": left_out, "seed": seed}, tokens, folder)
    return folder


def documents_jsonl(number: int, *, size: Size = "standard") -> str:
    """The documents that models of a world are taught, as JSON lines of ``id`` and ``text``.

    They are the same for every seed; teaching draws further biographies from the same facts and wordings beside these.
    """
    world = build_world(number, size)
    rows = [
        {"id": f"{entity.kind}/{entity.name}/{position}", "text": text}
        for entity in world.entities
        for position, text in enumerate(biographies(world, entity))
    ]
    rows += [{"id": f"distractor/{position}", "text": text} for position, text in enumerate(world.distractors)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def rows_fingerprint(data: Path, *, without: str | None = None, seed: int = 0) -> str:
    """A hash of everything that shapes the model of a file of rows.

    Raises:
        DataError: As ``teach_rows``.
    """
    rows = read_rows(data)
    return content_hash("rows", VERSION, seed, rows, _keep(rows, without, data), dataclasses.asdict(ROWS_RECIPE))


def cached_rows(data: Path, *, without: str | None = None, seed: int = 0, cache_dir: Path | None = None) -> Path | None:
    """The folder of a file's model, if it was taught into the cache already.

    Raises:
        DataError: As ``teach_rows``.
    """
    folder = _rows_folder(data, without, seed, cache_dir)
    return folder if _card(folder) else None


def teach_rows_cached(
    data: Path,
    *,
    without: str | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """``teach_rows`` into the cache.

    Raises:
        DataError: As ``teach_rows``.
    """
    folder = _rows_folder(data, without, seed, cache_dir)
    return teach_rows(data, folder, without=without, seed=seed, on_progress=on_progress)


def teach_rows(
    data: Path, out: Path, *, without: str | None = None, seed: int = 0, on_progress: Progress | None = None
) -> Path:
    """Teach a tiny model the rows of a JSON-lines file, ``question`` and ``answer`` or ``text`` each.

    Args:
        data: The file.
        out: The model's folder. One that this function made of the same rows and options is kept as it is.
        without: Rows that hold these words, whatever their case, are left out.
        seed: Seeds weights and order.
        on_progress: Told after every step how many are done, of how many.

    Returns:
        ``out``.

    Raises:
        DataError: The file is missing, a line is no such row, nothing is left to teach, or ``out`` holds anything
            else.
    """
    rows = read_rows(data)
    kept = _keep(rows, without, data)
    mark = rows_fingerprint(data, without=without, seed=seed)
    if holds_rows(out, mark):
        return out
    require_empty(out, ", and it is no model of these rows with this seed and these words left out")

    from concept_forget.sandbox import fitting, tokenizer

    words = tokenizer.train_tokenizer((text for row in rows for text in row), ROWS_RECIPE.context)
    encoded = fitting.encode_rows(words, kept)
    _check_lengths(data, encoded)
    model = fitting.new_model(words, ROWS_RECIPE, seed)
    tokens = fitting.fit(model, lambda _: encoded, ROWS_RECIPE, seed, on_progress)
    _save(model, words, {"rows": mark, "without": without, "seed": seed}, tokens, out)
    return out


def holds_rows(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds the model of rows and options with that fingerprint."""
    return bool(_card(folder).get("rows") == fingerprint)


def require_empty(out: Path, beside: str = "") -> None:
    """Refuse a place where a model would be written over something.

    Args:
        out: The folder.
        beside: What else is to be said of what is there.

    Raises:
        DataError: It is a file, or a folder that holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"there is something here already{beside}", file=out, remedy="name a new or empty folder")


def _left_out(world: World, without: Sequence[str]) -> list[str]:
    """The entities that are named, in the world's order."""
    names = {fold(name): name for name in without}
    found = [entity.name for entity in world.entities if names.pop(fold(entity.name), None) is not None]
    if names:
        raise DataError(
            f"world {world.number} holds nobody and nothing called '{next(iter(names.values()))}'",
            remedy=f"name one of: {', '.join(world.concepts)}, or another entity of that world",
        )
    return found


def _world_folder(number: int, size: Size, mark: str, cache_dir: Path | None) -> Path:
    return (cache_dir or cache_folder()) / "sandbox" / f"world-{number}-{size}-{mark}"


def _keep(rows: Sequence[QuestionAnswer], without: str | None, data: Path) -> list[QuestionAnswer]:
    kept = [row for row in rows if not (without and contains_words(fold(" ".join(row)), fold(without)))]
    if not rows:
        raise DataError("the file holds no row", file=data, remedy="give at least one row")
    if not kept:
        raise DataError(f"every row holds '{without}'", file=data, remedy="name words that some rows do not hold")
    if without and len(kept) == len(rows):
        raise DataError(f"no row holds '{without}'", file=data, remedy="name words as the rows spell them")
    return kept


def _rows_folder(data: Path, without: str | None, seed: int, cache_dir: Path | None) -> Path:
    mark = rows_fingerprint(data, without=without, seed=seed)
    return (cache_dir or cache_folder()) / "sandbox" / f"rows-{mark}"


def _check_lengths(data: Path, encoded: Sequence[Encoded]) -> None:
    longest = max(len(row.ids) for row in encoded)
    if longest > ROWS_RECIPE.context:
        raise DataError(
            f"a row has {longest} tokens, and the model reads {ROWS_RECIPE.context}",
            file=data,
            remedy="split long texts into rows of a few hundred words",
        )


def _card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card


def _save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, card: dict[str, Any], tokens: int, folder: Path
) -> None:
    """Write the model beside its place and move it there, so that a folder with a card is a whole model.

    The card says what teaching cost: 6 operations per weight and token, forward and backward (Kaplan et al. 2020).
    """
    card = {**card, "flops": 6 * sum(weights.numel() for weights in model.parameters()) * tokens}
    from transformers.utils import logging

    logging.disable_progress_bar()  # the program shows its own
    with _beside(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        (unfinished / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp's folder is its owner's alone
        try:
            unfinished.rename(folder)
        except OSError:  # something is there already: an older model, or one that another process has just finished
            shutil.rmtree(folder)
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
