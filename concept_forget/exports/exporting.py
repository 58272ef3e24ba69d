"""The front door of the exports: from a run's folder to a folder in another program's layout, and on to the hub."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from concept_forget.errors import ConfigError, DataError
from concept_forget.exports import find_target
from concept_forget.exports.card import UNKNOWN, write_card, write_header
from concept_forget.exports.finished import read_finished
from concept_forget.exports.hub import check_hub, push
from concept_forget.exports.layout import Layout
from concept_forget.workspace import write_bytes, write_text

_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def export_sets(
    run: Path, to: str, out: Path, *, licence: str = UNKNOWN, push_to_hub: str | None = None, public: bool = False
) -> Layout:
    """Write the sets of a run in the layout of another program, with a card.

    The folder appears whole or not at all. Pushing comes after it: should the hub refuse, the folder is there.

    Args:
        run: The run's folder; its stage compose is finished.
        to: The name of the target.
        out: A new or empty folder.
        licence: What the hub calls the licence, as in ``cc-by-4.0``.
        push_to_hub: A dataset on the hub to push to, as in ``name/set``.
        public: Whether everybody may see it there.

    Returns:
        The files that were written.

    Raises:
        ConfigError: There is no such target, the folder is no finished run, or an argument does not fit.
        DataError: ``out`` holds something, or a file of the run was changed by hand.
        UserError: The hub cannot be written to.
    """
    target = find_target(to)
    if not _LICENCE.fullmatch(licence):
        raise ConfigError(f"{licence!r} is no name of a licence", key="--license", remedy="as in cc-by-4.0, or other")
    if public and push_to_hub is None:
        raise ConfigError("nothing is pushed", key="--public", remedy="it goes with --push-to-hub")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("there is something here already", file=out, remedy="name a new or empty folder")
    sets = read_finished(run)
    if push_to_hub is not None:
        push_to_hub = check_hub(push_to_hub, public=public)
    layout = Layout()
    target.lay_out(sets, layout)
    layout.check(sets.all_rows)
    card = write_card(sets, target, layout, licence)
    _write(out, layout, write_header(layout, licence) + card)
    if push_to_hub is not None:
        header = write_header(layout, licence, with_files=False)
        push(layout, header + write_card(sets, target, layout, licence, on_hub=True), push_to_hub, public=public)
    return layout


def _write(out: Path, layout: Layout, card: str) -> None:
    beside = out.resolve().with_name(f".{out.resolve().name}.{os.getpid()}.tmp")
    try:
        for path, content in layout.files.items():
            write_bytes(beside / path, content)
        write_text(beside / "README.md", card)
        beside.replace(out.resolve())
    except OSError as error:
        raise DataError(f"this cannot be written: {error.strerror}", file=out, remedy="name another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
