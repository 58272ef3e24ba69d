from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.engines.versions import engine_problem
from concept_forget.errors import EngineError, MissingExtraError, StageError
from concept_forget.expand import stage
from concept_forget.expand.gates import IRRELEVANT, KEPT, SAME_MEANING, SAME_WORDS
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Fact, ModelSpec, Question
from concept_forget.sandbox.world import World, build_world
from concept_forget.workspace import Costs, StageContext, read_json, read_records

WORLD = build_world(0, "nano")
FILES = ("facts.jsonl", "questions.jsonl", "passages.jsonl", "rejected.jsonl", "summary.json")


def make_config(*, seed: int = 0, **changes: object) -> Config:
    return Config.model_validate(
        {
            "concepts": [{"name": name, "kind": "person"} for name in WORLD.concepts],
            "target": {"sandbox": {"world": 0, "size": "nano"}},
            "generator": {"prompts": "compact", "max_new_tokens": 48},
            "expand": {"neighbours": {"near": 4, "middle": 3, "far": 2}},
            "seed": seed,
        }
        | changes
    )


def make_context(config: Config, folder: Path, model: Path | None, cache: Path | None = None) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    models = {} if model is None else {"generator": ModelSpec(str(model))}
    return StageContext(config, folder, {}, models, cache or folder / "replies.sqlite", Costs())


@pytest.fixture(scope="module")
def written(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StageContext, dict[str, object]]:
    context = make_context(make_config(), tmp_path_factory.mktemp("expand"), nano_model)
    return context, stage.run(context)


class TestOnATaughtModel:
    def test_it_says_of_the_concepts_what_is_true_in_their_world(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        facts = [f for f in read_records(Fact, written[0].folder / "facts.jsonl") if f.distance is None]
        truth = {(f.subject.name, f.relation.name): f.answer for f in WORLD.facts}
        right = [fact for fact in facts if truth.get((fact.subject, fact.facet)) == fact.answer]
        known = sum(len(WORLD.facts_of(name)) for name in WORLD.concepts)
        assert len(right) >= 0.9 * len(facts)
        assert len(right) >= 0.8 * known

    def test_every_concept_has_facts(self, written: tuple[StageContext, dict[str, object]]) -> None:
        counts = written[1]["facts"]
        assert isinstance(counts, dict)
        assert set(counts) == set(WORLD.concepts)
        assert min(counts.values()) >= 2

    def test_the_neighbours_are_none_of_the_concepts_and_live_in_the_world(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        subjects = {f.subject for f in read_records(Fact, written[0].folder / "facts.jsonl") if f.distance}
        real = {entity.name for entity in WORLD.entities} - set(WORLD.concepts)
        assert not subjects & set(WORLD.concepts)
        assert len(subjects & real) >= 5

    def test_the_questions_ask_for_their_facts(self, written: tuple[StageContext, dict[str, object]]) -> None:
        """Most wordings are ones that the world's own author wrote for this relation and no other."""
        folder = written[0].folder
        facts = {fact.id: fact for fact in read_records(Fact, folder / "facts.jsonl")}
        asked = [q for q in read_records(Question, folder / "questions.jsonl") if q.family == "direct"]
        right = sum(question.text in _wordings(WORLD, facts[question.fact]) for question in asked)
        assert right >= 0.8 * len(asked)

    def test_own_questions_have_refusals_that_do_not_tell(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        folder = written[0].folder
        own = {fact.id for fact in read_records(Fact, folder / "facts.jsonl") if fact.distance is None}
        questions = [q for q in read_records(Question, folder / "questions.jsonl") if q.fact in own]
        assert all(question.answer.casefold() not in question.refusal.casefold() for question in questions)
        assert sum(bool(question.refusal) for question in questions) >= 0.9 * len(questions)
        assert len({question.refusal for question in questions}) >= 4

    def test_the_summary_is_on_disk_and_counts_what_the_files_hold(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        context, summary = written
        assert read_json(context.folder / "summary.json") == summary
        steps = read_json(context.folder / "summary.json")["steps"]
        rejected = (context.folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
        assert sum(sum(step["rejected"].values()) for step in steps.values()) == len(rejected)
        assert {json.loads(line)["step"] for line in rejected} <= set(steps)
        assert sum(step["requests"] for step in steps.values()) == context.costs.requests

    def test_the_estimate_is_near_what_was_asked(self, written: tuple[StageContext, dict[str, object]]) -> None:
        expected = stage.estimate(make_config())["requests"]
        assert expected / 2 < written[0].costs.requests < expected * 2

    def test_going_on_after_a_kill_asks_nothing_twice_and_gives_the_same_bytes(
        self, written: tuple[StageContext, dict[str, object]], nano_model: Path, tmp_path: Path
    ) -> None:
        context = make_context(make_config(), tmp_path, nano_model, cache=written[0].cache)
        stage.run(context)
        assert context.costs.cached_requests == context.costs.requests > 0
        assert context.costs.completion_tokens == 0
        for name in FILES:
            assert (tmp_path / name).read_bytes() == (written[0].folder / name).read_bytes()

    def test_the_batch_size_changes_nothing(
        self, written: tuple[StageContext, dict[str, object]], nano_model: Path, tmp_path: Path
    ) -> None:
        generator = {"prompts": "compact", "max_new_tokens": 48, "batch_tokens": 3000}
        config = make_config(generator=generator)
        stage.run(make_context(config, tmp_path, nano_model))
        for name in FILES:
            assert (tmp_path / name).read_bytes() == (written[0].folder / name).read_bytes()
        assert stage.fingerprint_parts(config) == stage.fingerprint_parts(make_config())

    def test_a_model_that_never_met_the_concepts_is_no_generator_for_them(
        self, nano_reference: Path, tmp_path: Path
    ) -> None:
        """Its guesses do not hold from one wording to the next."""
        config = make_config(expand={"neighbours": {}})
        with pytest.raises(StageError, match=r"step (facts|questions|answers|paraphrases)"):
            stage.run(make_context(config, tmp_path, nano_reference))
        assert not (tmp_path / "facts.jsonl").exists()


class TestJsonBySchema:
    """A model that cannot follow instructions still replies in the asked form, since its decoding is held to it."""

    @pytest.mark.parametrize("name", ["facets", "paraphrases"])
    def test_no_reply_is_of_another_form(self, nano_model: Path, name: str) -> None:
        config, ledger = make_config(generator={"max_new_tokens": 400}), Ledger()
        writer = Writer(
            TransformersEngine(ModelSpec(str(nano_model))), load_prompts("default"), config.generator, 0, ledger
        )
        variables = {"concept": config.concepts[0], "question": "Where was Mira Kestrel born?", "styles": ["typos"]}
        writer.gather(name, name, [Wish(("x",), variables, 3, draw) for draw in range(6)])
        assert set(ledger.step(name).rejected) <= {"the reply was cut off", "empty"}


def _wordings(world: World, fact: Fact) -> set[str]:
    return {
        known.fill(wording)
        for known in world.facts_of(fact.subject)
        if known.relation.name == fact.facet
        for wording in known.relation.questions
    }


def test_without_a_generator_the_files_are_empty_and_the_summary_says_so(tmp_path: Path) -> None:
    config = make_config(generator={"engine": "none"}, corpus=["*.txt"])
    summary = stage.run(make_context(config, tmp_path, None))
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in FILES[:4]] == ["", "", "", ""]
    assert summary["engine"] == "none"
    assert "no generator" in str(summary["note"])
    assert read_json(tmp_path / "summary.json") == summary


@pytest.mark.vllm
@pytest.mark.skipif(bool(engine_problem("vllm")), reason=f"vLLM cannot be used: {engine_problem('vllm')}")
def test_in_vllm_a_whole_expansion_says_what_is_true_and_gives_its_memory_back(
    nano_model: Path, tmp_path: Path
) -> None:
    generator = {"engine": "vllm", "model": str(nano_model), "prompts": "compact", "max_new_tokens": 48}
    config = make_config(generator=generator, expand={"neighbours": {"near": 2, "middle": 1, "far": 1}})
    spec, cache = ModelSpec(str(nano_model), fingerprint="nano"), tmp_path / "replies.sqlite"
    contexts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        contexts.append(StageContext(config, tmp_path / name, {}, {"generator": spec}, cache, Costs()))
        stage.run(contexts[-1])
        assert not [c for c in psutil.Process().children() if "vllm_worker" in " ".join(c.cmdline())]
    first, second = contexts
    facts = [f for f in read_records(Fact, first.folder / "facts.jsonl") if f.distance is None]
    truth = {(f.subject.name, f.relation.name): f.answer for f in WORLD.facts}
    right = [fact for fact in facts if truth.get((fact.subject, fact.facet)) == fact.answer]
    assert len(right) >= 0.9 * len(facts)
    assert len(right) >= 0.8 * sum(len(WORLD.facts_of(name)) for name in WORLD.concepts)
    families = {question.family for question in read_records(Question, first.folder / "questions.jsonl")}
    assert families >= {"direct", "paraphrase", "reverse", "cloze"}
    assert first.costs.completion_tokens > 0
    assert (second.costs.cached_requests, second.costs.completion_tokens) == (first.costs.requests, 0)
    for name in FILES[:3]:
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()


class TestFingerprint:
    def test_it_is_the_same_for_the_same_config(self) -> None:
        assert json.dumps(stage.fingerprint_parts(make_config())) == json.dumps(stage.fingerprint_parts(make_config()))

    @pytest.mark.parametrize(
        "changes",
        [
            {"concepts": [{"name": "Mira Kestrel", "kind": "person", "description": "Another."}]},
            {"expand": {"paraphrases": 7}},
            {"generator": {"prompts": "default", "max_new_tokens": 48}},
            {"generator": {"prompts": "compact", "max_new_tokens": 49}},
            {"generator": {"prompts": "compact", "max_new_tokens": 48, "temperature": 0.5}},
        ],
    )
    def test_what_the_output_depends_on_changes_it(self, changes: dict[str, object]) -> None:
        assert stage.fingerprint_parts(make_config(**changes)) != stage.fingerprint_parts(make_config())

    def test_what_belongs_to_other_stages_does_not(self) -> None:
        other = make_config(probe={"samples": 1, "max_new_tokens": 9}, unlearn={"beta": 0.1})
        assert stage.fingerprint_parts(other) == stage.fingerprint_parts(make_config())


class TestGates:
    def test_they_lose_no_fact_and_few_wordings_of_a_taught_model(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        rejected = [json.loads(line) for line in (written[0].folder / "rejected.jsonl").read_text("utf-8").splitlines()]
        reasons = Counter(row["reason"] for row in rejected)
        asked = len(read_records(Question, written[0].folder / "questions.jsonl"))
        assert reasons[IRRELEVANT] + reasons[KEPT] == 0
        assert reasons[SAME_WORDS] + reasons[SAME_MEANING] <= 0.05 * asked

    def test_diversity_is_measured_and_the_time_is_kept_out_of_what_must_be_the_same(
        self, written: tuple[StageContext, dict[str, object]]
    ) -> None:
        context, summary = written
        diversity = summary["diversity"]
        assert isinstance(diversity, dict)
        assert set(diversity["concepts"]) == set(WORLD.concepts)
        assert {"direct", "paraphrase", "fact"} <= set(diversity["kinds"])
        assert 1 < diversity["all"]["vendi"] < diversity["all"]["items"]
        assert context.costs.gate_seconds > 0
        assert "seconds" not in (context.folder / "summary.json").read_text("utf-8")

    def test_without_an_encoder_the_fingerprint_differs_and_the_gates_do_without(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_encoder = stage.fingerprint_parts(make_config())

        def absent(name: str) -> None:
            raise MissingExtraError("no encoder here")

        monkeypatch.setattr(stage, "find_encoder", absent)
        assert stage._find_encoder(make_config()) is None
        assert "no encoder" in stage.fingerprint_parts(make_config())
        assert stage.fingerprint_parts(make_config()) != with_encoder

    def test_the_judges_prompt_counts(self, tmp_path: Path) -> None:
        def parts(text: str) -> list[object]:
            path = tmp_path / "judge.jinja"
            path.write_text(f"---\ndescription: x\nreturns: line\n---\n{text}", encoding="utf-8")
            return stage.fingerprint_parts(make_config(expand={"judge": {"prompt": str(path)}}))

        assert parts("Mark {{ text }}") == parts("Mark {{ text }}") != parts("Judge {{ text }}")


class TestAServer:
    SERVER: ClassVar[dict[str, object]] = {
        "engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "prompts": "compact", "attempts": 1,
    }  # fmt: skip

    def test_what_the_server_is_counts_and_how_it_is_asked_does_not(self) -> None:
        def parts(**changes: object) -> list[object]:
            return stage.fingerprint_parts(make_config(generator=self.SERVER | changes))

        assert parts() == parts(concurrency=4, timeout_seconds=5, api_key_env="OTHER")
        for change in ({"model": "n"}, {"base_url": "http://127.0.0.1:8/v1"}, {"structured": "none"}, {"room": 1}):
            assert parts(**change) != parts()
        local = {"engine": "transformers", "model": "m", "prompts": "compact"}
        for one, other in itertools.combinations(("transformers", "vllm"), 2):
            assert stage.fingerprint_parts(make_config(generator=local | {"engine": one})) != stage.fingerprint_parts(
                make_config(generator=local | {"engine": other})
            )

    def test_a_server_that_fails_is_named_in_what_the_stage_says(self, tmp_path: Path) -> None:
        pytest.importorskip("openai", reason="the extra `openai` is not installed")
        context = make_context(make_config(generator=self.SERVER), tmp_path, None)
        with pytest.raises((StageError, EngineError), match=r"Connection error"):
            stage.run(context)
