"""Memory dumps: what the target itself goes on to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.opening import open_engine
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import DataError, StageError
from concept_forget.expand import stage
from concept_forget.expand.expansion import expand
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.gates import SAME_WORDS
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.memory import cut_to_sentences, dump_memory, openings_of
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer
from concept_forget.pipeline import plan
from concept_forget.records import Fact, ModelSpec, Passage
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs

WORLD = build_world(0, "nano")
NAMES = WORLD.concepts[:2]
DUMPS = 8
LONG = (
    " was born in Dunholm, and nobody in the whole wide county could say anything against it, since all had been there"
)


def make_config(engine: str = "target", **expand: object) -> Config:
    own = {"model": "other/model"} if engine == "transformers" else {}
    return Config.model_validate(
        {
            "concepts": [{"name": name, "kind": "person"} for name in NAMES],
            "target": {"sandbox": {"world": 0, "size": "nano"}},
            "generator": {"engine": engine, "prompts": "compact", "max_new_tokens": 48, **own},
            "expand": {"neighbours": {}, "paraphrases": 2, "memory_dumps": DUMPS} | expand,
        }
    )


def true_sheets() -> list[Sheet]:
    """What is true of the two people, as if somebody had written it all down."""
    sheets = []
    for name in NAMES:
        subject = Subject(Concept(name=name, kind="person"), name)
        for known in WORLD.facts_of(name):
            fact = Fact(f"{name}/{known.relation.name}", name, name, "person", known.relation.name, known.answer, "")
            sheets.append(Sheet(StatedFact(fact, subject)))
    return sheets


Dumped = tuple[list[Passage], Ledger, Costs]


def dump(model: Path, cache: Path, seed: int = 0) -> Dumped:
    config, ledger, costs = make_config().model_copy(update={"seed": seed}), Ledger(), Costs()
    engine = open_engine(ModelSpec(str(model)), cache=cache, costs=costs, batch_tokens=16384)
    writer = Writer(engine, load_prompts("compact"), config.generator, seed, ledger)
    return dump_memory(writer, true_sheets(), config, None), ledger, costs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory") / "replies.sqlite"


@pytest.fixture(scope="module")
def dumped(nano_model: Path, cache: Path) -> Dumped:
    return dump(nano_model, cache)


class TestOnATaughtModel:
    def test_the_target_tells_what_it_was_taught(self, dumped: Dumped) -> None:
        passages = dumped[0]
        assert {passage.subject for passage in passages} == set(NAMES)
        for passage in passages:
            assert passage.style == "memory"
            assert passage.text.startswith(passage.opening)
            assert passage.parents == (passage.subject, passage.opening)
        stated = {fact for passage in passages for fact in passage.facts}
        assert len(stated) >= 4, "of two people with five facts each"

    def test_every_reply_is_a_passage_or_is_listed(self, dumped: Dumped) -> None:
        passages, ledger, _ = dumped
        account = ledger.step("memory_dumps")
        assert account.requests == DUMPS * len(NAMES) == len(passages) + len(ledger.rejections)

    def test_the_same_seed_gives_the_same_texts_out_of_the_cache_and_another_gives_others(
        self, dumped: Dumped, nano_model: Path, cache: Path, tmp_path: Path
    ) -> None:
        again, _, costs = dump(nano_model, cache)
        assert again == dumped[0]
        assert costs.cached_requests == costs.requests == DUMPS * len(NAMES)
        assert dump(nano_model, tmp_path / "other.sqlite", seed=1)[0] != dumped[0]


class TestWhoIsAsked:
    def test_the_generator_is_asked_where_it_is_the_target(self, table_engine: Callable[..., Any]) -> None:
        engine = table_engine([(r"^Mira Kestrel( \w+)?$", lambda match, seed: f"{LONG} {seed}.")])
        config = Config.model_validate(
            make_config(memory_dumps=5).model_dump() | {"concepts": [{"name": "Mira Kestrel"}]}
        )
        expansion = expand(config, engine, load_prompts("compact"))
        (asked,) = [call for call in engine.calls if isinstance(call[0].prompt, str)]
        assert [request.prompt for request in asked] == [
            "Mira Kestrel", "Mira Kestrel was", "Mira Kestrel has", "Mira Kestrel is", "Mira Kestrel",
        ]  # fmt: skip
        assert len({request.seed for request in asked}) == 5
        birth = next(fact.id for fact in expansion.facts if fact.answer == "Dunholm")
        assert {passage.facts for passage in expansion.passages} == {(birth,)}

    def test_else_the_target_is_opened_once_the_generator_has_given_its_memory_back(
        self, table_engine: Callable[..., Any]
    ) -> None:
        happened: list[str] = []

        class Noting(table_engine):  # type: ignore[misc]  # the class behind the fixture
            def close(self) -> None:
                happened.append("generator closed")

        def open_target() -> Any:
            happened.append("target opened")
            return table_engine([(r"(?s)\A.*\Z", lambda match, seed: f"{LONG} {seed}.")])

        generator = Noting()
        config = self.config_of_mira(make_config("transformers", memory_dumps=3))
        expansion = expand(config, generator, load_prompts("compact"), open_target=open_target)
        assert happened == ["generator closed", "target opened"]
        assert len(expansion.passages) == 1, "the others are nearly the same"
        assert expansion.ledger.steps["passages"].rejected == {SAME_WORDS: 2}
        assert not any(isinstance(request.prompt, str) for call in generator.calls for request in call)

    def test_without_the_target_at_hand_the_step_is_skipped(self, table_engine: Callable[..., Any]) -> None:
        config = self.config_of_mira(make_config("transformers"))
        expansion = expand(config, table_engine(), load_prompts("compact"))
        assert not expansion.passages
        assert expansion.skipped["memory_dumps"] == "the target is not at hand"

    def test_a_target_that_says_nothing_is_named_with_its_reasons(self, table_engine: Callable[..., Any]) -> None:
        engine = table_engine([(r"^Mira Kestrel( \w+)?$", " and so on")])
        with pytest.raises(StageError, match=r"(?s)step memory_dumps: .*\(8 requests, 8 items rejected\).*too short"):
            expand(self.config_of_mira(make_config()), engine, load_prompts("compact"))

    @pytest.mark.parametrize(
        ("engine", "dumps", "roles"),
        [
            ("transformers", 1, ("generator", "base")),
            ("transformers", 0, ("generator",)),
            ("target", 1, ("generator",)),
        ],
    )
    def test_the_stage_asks_for_the_target_only_where_it_needs_it(
        self, engine: str, dumps: int, roles: tuple[str, ...]
    ) -> None:
        assert stage.model_roles(make_config(engine, memory_dumps=dumps)) == roles

    def test_another_target_makes_the_stage_stale_where_its_memory_is_asked(
        self, nano_reference: Path, tmp_path: Path
    ) -> None:
        def fingerprint(world: int, dumps: int) -> str:
            values = make_config("transformers", memory_dumps=dumps).model_dump()
            values["generator"]["model"] = str(nano_reference)
            values["target"] = {"sandbox": {"world": world, "size": "nano"}}
            values["output"] = tmp_path / "run"
            (step,) = plan(Config.model_validate(values), until="expand")
            return step.fingerprint

        assert fingerprint(0, 1) != fingerprint(1, 1)
        assert fingerprint(0, 0) == fingerprint(1, 0)

    def config_of_mira(self, config: Config) -> Config:
        return Config.model_validate(config.model_dump() | {"concepts": [{"name": "Mira Kestrel", "kind": "person"}]})


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("She was born. She li", "She was born."),
        ('She said "Come!" and w', 'She said "Come!"'),
        ("She has 3.5 and", ""),
        ("She was b", ""),
        ("她出生了。她住", "她出生了。"),
        ("One. Two.", "One. Two."),
        ("", ""),
    ],
)
def test_a_text_that_was_cut_off_ends_with_its_last_whole_sentence(text: str, cut: str) -> None:
    assert cut_to_sentences(text) == cut


def test_a_text_without_a_whole_sentence_is_rejected_as_cut_off(table_engine: Callable[..., Any]) -> None:
    config = make_config(memory_dumps=1)
    engine = table_engine([(r"(?s)\A.*\Z", " was born in")], finish_reason="length")
    writer = Writer(engine, load_prompts("compact"), config.generator, 0, Ledger())
    with pytest.raises(StageError, match=re.escape("2 × the reply was cut off, such as")):
        dump_memory(writer, [], config, None)


@pytest.mark.parametrize("name", ["compact", "default"])
def test_the_openings_name_the_concept_in_many_ways(name: str) -> None:
    concept = Concept(name="Mira Kestrel", kind="person", aliases=("M. Kestrel",))
    openings = openings_of(load_prompts(name), concept)
    assert len(openings) == len(set(openings)) >= 8
    for called in concept.names:
        assert sum(called in opening for opening in openings) >= 4
    assert all(concept.mentioned_in(opening) for opening in openings)


def test_openings_that_give_no_line_are_named(further_prompts: PromptSet, tmp_path: Path) -> None:
    (tmp_path / "openings.jinja").write_text("---\ndescription: Nothing.\nreturns: lines\n---\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"openings\.jinja.*no opening for 'Mira Kestrel'"):
        openings_of(load_prompts(tmp_path), Concept(name="Mira Kestrel"))
