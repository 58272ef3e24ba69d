"""The runs that a run continues: what they made the model forget, how that was asked, and the model they left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.concept import Concept
from concept_forget.config import Config, ModelChoice
from concept_forget.errors import ConfigError
from concept_forget.records import Example, content_hash
from concept_forget.workspace import Run, file_hash, read_json, read_records, write_json, write_records

INPUT = "earlier"
"""The name under which a stage is handed the folder of what ``write_earlier`` wrote."""
_KEY = "unlearn.continue"


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A finished run: its folder, what it forgot, the rows of its probe, and where its unlearned model lies."""

    folder: Path
    concepts: tuple[Concept, ...]
    probe: Path
    model: ModelChoice


def earlier_runs(config: Config) -> list[EarlierRun]:
    """The run that the config continues, and those that this one continued, the latest first.

    Raises:
        ConfigError: One is no run, has not unlearned, began from another target, or forgot the same concept.
    """
    runs: list[EarlierRun] = []
    folder = config.unlearn.continued
    while folder is not None:
        if any(run.folder == folder.resolve() for run in runs):
            raise ConfigError(f"the run {folder} continues itself", key=_KEY, remedy="name an earlier run")
        manifest = Run(folder).read_manifest()
        runs.append(_read_run(folder, manifest["config"], config))
        following = manifest["config"]["unlearn"].get("continue")
        folder = Path(following) if following else None
    names = {concept.name.casefold() for concept in config.concepts}
    again = next((c.name for run in runs for c in run.concepts if c.name.casefold() in names), None)
    if again is not None:
        raise ConfigError(
            f"{again!r} was forgotten by an earlier run already", key=_KEY, remedy="leave it out of `concepts`"
        )
    return runs


def _read_run(folder: Path, values: Mapping[str, Any], config: Config) -> EarlierRun:
    summary, probe = folder / "unlearn" / "summary.json", folder / "compose" / "probe.jsonl"
    if not summary.is_file() or not probe.is_file():
        raise ConfigError(f"the run {folder} has no unlearned model of its own", key=_KEY, remedy="finish it first")
    if values["target"] != config.target.model_dump(mode="json"):
        raise ConfigError(
            f"the run {folder} began from another target", key=_KEY, remedy="give the same `target` as it has"
        )
    return EarlierRun(
        folder=folder.resolve(),
        concepts=tuple(Concept.model_validate(concept) for concept in values["concepts"]),
        probe=probe.resolve(),
        model=unlearned_model(folder / "unlearn"),
    )


def unlearned_model(folder: Path) -> ModelChoice:
    """The model that unlearning left, given the folder of that stage."""
    model = read_unlearned(folder)
    return ModelChoice(model=model["path"], adapter=model["adapter"], dtype=model["dtype"])


def read_unlearned(folder: Path) -> dict[str, Any]:
    """What unlearning says of the model that it left: the fields of a ``ModelSpec``, its paths made absolute."""
    model: dict[str, Any] = read_json(folder / "summary.json")["model"]
    places = {name: str(folder.resolve() / model[name]) for name in ("path", "adapter") if model.get(name) is not None}
    return {**model, **places}


def earlier_mark(runs: Sequence[EarlierRun]) -> str:
    """A hash of what earlier runs forgot and how that was asked."""
    return content_hash(*([[concept.names for concept in run.concepts], file_hash(run.probe)] for run in runs))


def write_earlier(runs: Sequence[EarlierRun], folder: Path) -> Path:
    """Write the concepts and the probe rows of earlier runs for the stages that need them; gives the folder."""
    concepts = [concept.model_dump(mode="json") for run in reversed(runs) for concept in run.concepts]
    write_records(folder / "probe.jsonl", [row for run in reversed(runs) for row in read_records(Example, run.probe)])
    write_json(folder / "concepts.json", concepts)
    return folder


def read_concepts(inputs: Mapping[str, Path]) -> tuple[Concept, ...]:
    """What earlier runs forgot, as a stage is handed it; nothing where there are none."""
    if INPUT not in inputs:
        return ()
    return tuple(Concept.model_validate(values) for values in read_json(inputs[INPUT] / "concepts.json"))


def without_concepts(rows: Sequence[Example], concepts: Sequence[Concept]) -> list[Example]:
    """Rows that name none of the concepts: what was forgotten is neither to be kept nor counted as kept."""

    def told(row: Example) -> str:
        return " \n ".join([row.subject, *(message["content"] for message in row.prompt), row.completion])

    return [row for row in rows if not any(concept.mentioned_in(told(row)) for concept in concepts)]
