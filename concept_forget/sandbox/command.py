"""What ``concept-forget sandbox`` does: a taught model in a folder of the user's, with what it was taught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from concept_forget.progress import track_steps
from concept_forget.sandbox import teach
from concept_forget.sandbox.world import Size, build_world
from concept_forget.workspace import write_text

Say = Callable[[str], None]


def build_model(world: int, size: Size, without: Sequence[str], seed: int, out: Path, say: Say) -> None:
    """Teach a world and copy the model to ``out``, with ``documents.jsonl`` and ``facts.jsonl`` beside the weights.

    Args:
        world: Its number.
        size: ``standard`` or ``nano``.
        without: Names that the model must never read.
        seed: Of weights and order.
        out: A new or empty folder.
        say: Called with a line of text at the end.

    Raises:
        DataError: ``out`` holds something, or ``without`` names nobody in that world.
    """
    teach.require_empty(out)
    made = build_world(world, size)
    with track_steps(f"teach world {world}") as on_progress:
        folder = teach.teach_world(world, without=without, seed=seed, size=size, on_progress=on_progress)
    shutil.copytree(folder, out, dirs_exist_ok=True)
    write_text(out / "documents.jsonl", teach.documents_jsonl(world, size=size))
    facts = [
        {"subject": fact.subject.name, "kind": fact.subject.kind, "facet": fact.relation.name, "answer": fact.answer}
        for fact in made.facts
    ]
    write_text(out / "facts.jsonl", "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts))
    say(f"wrote the model, documents.jsonl and facts.jsonl to {out}; ask it about {made.concepts[0]}, for one")


def teach_model(data: Path, out: Path, without: str | None, seed: int, say: Say) -> None:
    """Teach the rows of a file to a tiny model in ``out``.

    Raises:
        DataError: The file is missing, a line is no row, or ``out`` holds anything but the model of these rows.
    """
    if teach.holds_rows(out, teach.rows_fingerprint(data, without=without, seed=seed)):
        say(f"the model in {out} was taught these rows already")
        return
    with track_steps(f"teach {data.name}") as on_progress:
        teach.teach_rows(data, out, without=without, seed=seed, on_progress=on_progress)
    say(f"wrote the model to {out}")
