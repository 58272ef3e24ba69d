"""The models of a run: each is named at once by a fingerprint, and found or taught when a stage needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from concept_forget.config import Config, ModelChoice
from concept_forget.earlier import earlier_runs
from concept_forget.models import resolve_model
from concept_forget.one_round import Round
from concept_forget.progress import track_steps
from concept_forget.records import ModelSpec, content_hash
from concept_forget.workspace import Run, cache_folder, write_text


class RunModels:
    """Finds, or teaches, the models that a config names.

    Args:
        config: The whole config.
        say: Called with a line of text before a model is taught.
        of: The round that the run is, where it is one of several: its model goes on from the one before.

    Raises:
        ConfigError: The run that the config continues is none, or does not fit.
    """

    def __init__(self, config: Config, say: Callable[[str], None] = lambda line: None, of: Round | None = None) -> None:
        self._config = config
        self._say = say
        self._choices: dict[str, ModelChoice] = {"base": config.target}
        if config.reference is not None:
            self._choices["reference"] = config.reference
            if config.unlearn.stop == "reference":
                self._choices["level"] = config.reference
        if config.unlearn.given is not None:
            self._choices["unlearned"] = config.unlearn.given
        if config.unlearn.initial is not None:
            self._choices["initial"] = config.unlearn.initial
        elif config.unlearn.method == "retrain":  # of a sandbox target: the config sees to that
            self._choices["retrained"] = _without_the_concept(config)
        if config.generator.engine == "target":
            self._choices["generator"] = config.target
        elif config.generator.engine in ("transformers", "vllm"):
            self._choices["generator"] = ModelChoice(
                model=config.generator.model, revision=config.generator.revision, dtype=config.generator.dtype
            )
        self.earlier = earlier_runs(config)
        if self.earlier:
            self._choices["continued"] = self.earlier[0].model
        self.round = of
        if of is not None and of.previous is not None:
            self._choices["previous"] = of.previous
        judge = config.expand.judge.generator if config.expand.judge is not None else None
        if judge is not None and judge.engine == "target":
            self._choices["judge"] = config.target
        elif judge is not None and judge.engine in ("transformers", "vllm"):
            self._choices["judge"] = ModelChoice(model=judge.model, revision=judge.revision, dtype=judge.dtype)
        attacker = config.attacker
        if attacker is not None and attacker.engine in ("transformers", "vllm"):
            self._choices["attacker"] = ModelChoice(
                model=attacker.model, revision=attacker.revision, dtype=attacker.dtype
            )
        self._choices |= _graders(config)
        self._found: dict[str, ModelSpec] = {}

    def __contains__(self, role: object) -> bool:
        return role in self._choices

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the config fills: ``base``, and others such as ``generator`` and ``reference`` where given."""
        return tuple(self._choices)

    def fingerprint(self, role: str) -> str:
        """What the model of this role is, without teaching it."""
        choice = self._choices[role]
        if choice.sandbox is None:
            return self.find(role).fingerprint
        from concept_forget.sandbox import teach

        if choice.sandbox.teach is not None:
            mark = teach.rows_fingerprint(
                choice.sandbox.teach, without=choice.sandbox.without, seed=choice.sandbox.seed
            )
        else:
            mark = teach.world_fingerprint(
                choice.sandbox.world or 0,
                without=self._left_out(role),
                seed=choice.sandbox.seed,
                size=choice.sandbox.size,
            )
        return content_hash("sandbox", mark, choice.dtype)

    def is_ready(self, role: str) -> bool:
        """Whether the model exists; a sandbox model that nobody has taught yet does not."""
        choice = self._choices[role]
        if choice.sandbox is None:
            self.find(role)
            return True
        from concept_forget.sandbox import teach

        if choice.sandbox.teach is not None:
            return teach.cached_rows(
                choice.sandbox.teach, without=choice.sandbox.without, seed=choice.sandbox.seed
            ) is not None  # fmt: skip
        return teach.cached_world(
            choice.sandbox.world or 0, without=self._left_out(role), seed=choice.sandbox.seed, size=choice.sandbox.size
        ) is not None  # fmt: skip

    def find(self, role: str) -> ModelSpec:
        """The model, taught now if it comes from the sandbox and nobody has taught it yet.

        Raises:
            ModelError: It is absent or cannot be read.
            DataError: The rows to teach cannot be read.
        """
        if role not in self._found:
            choice = self._choices[role]
            if choice.sandbox is None:
                key = _KEYS["base" if choice is self._choices["base"] else role]
                self._found[role] = resolve_model(choice, key)
            else:
                path = self._teach(role, choice)
                self._found[role] = ModelSpec(
                    path=str(path),
                    dtype=choice.dtype,
                    fingerprint=self.fingerprint(role),
                    adapter=choice.adapter,
                )
        return self._found[role]

    def _teach(self, role: str, choice: ModelChoice) -> Path:
        from concept_forget.sandbox import teach

        sandbox = choice.sandbox
        assert sandbox is not None
        name = "target" if role in ("base", "generator") and choice is self._choices["base"] else role
        if not self.is_ready(role):
            self._say(f"teaching the {name} model, once; it is kept in {cache_folder()}")
        with track_steps(f"teach {name}") as on_progress:
            if sandbox.teach is not None:
                return teach.teach_rows_cached(
                    sandbox.teach, without=sandbox.without, seed=sandbox.seed, on_progress=on_progress
                )
            return teach.teach_world(
                sandbox.world or 0,
                without=self._left_out(role),
                seed=sandbox.seed,
                size=sandbox.size,
                on_progress=on_progress,
            )

    def _left_out(self, role: str) -> tuple[str, ...]:
        """The target, the generator and the judge know the concepts; the reference and a given model never saw them."""
        if role in ("base", "generator", "judge", "grading_judge"):
            return ()
        earlier = (concept for run in self.earlier for concept in run.concepts)
        return tuple(concept.name for concept in (*self._config.concepts, *earlier))


def sandbox_documents(config: Config, models: RunModels, workspace: Run) -> Path:
    """The folder of ``documents.jsonl``: what the sandbox target was taught, as a corpus on disk."""
    from concept_forget.sandbox import teach

    sandbox = config.target.sandbox
    assert sandbox is not None
    folder = workspace.store / "sandbox" / models.fingerprint("base")
    path = folder / "documents.jsonl"
    if not path.is_file():
        with workspace.shared("sandbox", folder.name):
            if sandbox.teach is not None:
                write_text(path, sandbox.teach.read_text(encoding="utf-8"))
            else:
                write_text(path, teach.documents_jsonl(sandbox.world or 0, size=sandbox.size))
    return folder


def sandbox_originals(config: Config, models: RunModels, workspace: Run) -> Path:
    """The folder of ``rows.jsonl``: the rows about the concepts that the sandbox target was taught, as rows on disk."""
    from concept_forget.sandbox import originals

    sandbox = config.target.sandbox
    assert sandbox is not None
    if sandbox.teach is not None:
        rows = originals.file_rows_jsonl(sandbox.teach, config.concepts)
    else:
        rows = originals.world_rows_jsonl(sandbox.world or 0, config.concepts, size=sandbox.size)
    with workspace.shared("sandbox", models.fingerprint("base")) as shared:
        folder = shared / f"originals-{content_hash(rows)}"
        write_text(folder / "rows.jsonl", rows)
    return folder


def _without_the_concept(config: Config) -> ModelChoice:
    """The sandbox target, to be taught without what is to be forgotten; a world leaves out the concepts by itself."""
    sandbox = config.target.sandbox
    assert sandbox is not None
    if sandbox.teach is None:
        return config.target
    left_out = sandbox.model_copy(update={"without": config.concepts[0].name})
    return config.target.model_copy(update={"sandbox": left_out})


def _graders(config: Config) -> dict[str, ModelChoice]:
    """The models by which replies are graded, as far as they are on this machine."""
    chosen: dict[str, ModelChoice] = {}
    nli, judge = config.probe.nli, config.judge
    if nli is not None and "nli" in config.probe.graders:
        chosen["nli"] = ModelChoice(model=nli.model, revision=nli.revision)
    if judge is not None and judge.engine == "target":
        chosen["grading_judge"] = config.target
    elif judge is not None and judge.engine in ("transformers", "vllm"):
        chosen["grading_judge"] = ModelChoice(model=judge.model, revision=judge.revision, dtype=judge.dtype)
    return chosen


_KEYS = {
    "base": "target.model",
    "generator": "generator.model",
    "judge": "expand.judge.generator.model",
    "attacker": "probe.attacker.model",
    "nli": "probe.nli.model",
    "grading_judge": "probe.judge.generator.model",
    "reference": "reference.model",
    "unlearned": "unlearn.given.model",
    "level": "reference.model",
    "initial": "unlearn.initial.model",
    "retrained": "target.model",
    "continued": "unlearn.continue",
    "previous": "rounds",
}
