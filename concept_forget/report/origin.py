"""How a run came to be, so that it can be made again: command, versions, fingerprints, hashes, and the whole config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from concept_forget.config import Config
from concept_forget.machine import environment
from concept_forget.report.material import Material
from concept_forget.report.redaction import Redactor, without_secrets

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Caption, columns, rows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a page tells of it."""

    commands: tuple[str, ...]
    tables: tuple[Table, ...]
    config: str  # YAML


def tell_origin(config: Config, material: Material, redactor: Redactor) -> Origin:
    """What made a run.

    Args:
        config: The whole effective config.
        material: What the stages left.
        redactor: What is hidden.
    """
    here = environment()
    packages = here["packages"]
    version = packages.get("concept-forget", "")
    wanted = f"'concept-forget=={version}'" if version else "concept-forget"
    return Origin(
        commands=(f"pip install -c constraints.txt {wanted}", "concept-forget run config.yaml"),
        tables=(
            (
                "Stages: what each one did is told by its fingerprint",
                ("stage", "fingerprint", "made from"),
                list(_stages(material)),
            ),
            ("Models", ("role", "model", "fingerprint"), list(_models(material, redactor))),
            ("Files of the run, SHA-256", ("file", "hash"), list(material.hashes.items())),
            (
                "Versions",
                ("what", "version"),
                [
                    *packages.items(),
                    ("Python", here["python"]),
                    ("system", here["platform"]),
                    ("processors", f"{here['processors']}"),
                ],
            ),
        ),
        config=config_text(config, redactor),
    )  # fmt: skip


def tell_subject(config: Config, redactor: Redactor) -> str:
    """What the page is about, in a sentence: which model, unlearned how, measured by what."""
    target = config.target
    if target.sandbox is not None:
        model = f"a sandbox model of world {target.sandbox.world}"
    else:
        model = f"{_path(str(target.model), redactor)}{f' @ {target.revision}' if target.revision else ''}"
    how = "elsewhere" if config.unlearn.given is not None else f"by {config.unlearn.method}"
    version = environment()["packages"].get("concept-forget", "")
    return (
        f"What {model} still knows of this after unlearning {how}; seed {config.seed}, concept_forget {version}".strip()
        + "."
    )


def config_text(config: Config, redactor: Redactor) -> str:
    """The whole effective config as YAML that ``run`` takes, but for what is hidden."""
    shown = config.model_copy(update={"concepts": tuple(without_secrets(config.concepts, redactor))})
    content: Any = redactor.tree(shown.model_dump(mode="json"))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _stages(material: Material) -> Iterator[tuple[str, ...]]:
    for verb, stage in material.stages.items():
        if "fingerprint" in stage:
            inputs = ", ".join(f"{name} {mark}" for name, mark in stage.get("inputs", {}).items())
            yield verb, str(stage["fingerprint"]), inputs or "–"


def _models(material: Material, redactor: Redactor) -> Iterator[tuple[str, ...]]:
    for role, spec in material.models.items():
        path = _path(spec.path, redactor) + (f", adapter {_path(spec.adapter, redactor)}" if spec.adapter else "")
        yield role, f"{path} @ {spec.revision}" if spec.revision else path, spec.fingerprint or "–"


def _path(path: str, redactor: Redactor) -> str:
    """A path as the page may show it: of a machine's own, with something hidden, the name alone."""
    return Path(path).name if redactor.concepts and Path(path).is_absolute() else path
