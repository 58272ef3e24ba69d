"""The search for a prompt that brings an answer out: real models attack and are attacked."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from concept_forget.config import AttackerConfig, ProbeConfig
from concept_forget.engines.opening import open_engine
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Capability, Engine, Reply, Request, Sampling, TokenScores
from concept_forget.errors import DataError
from concept_forget.measures.memory import answer_probability
from concept_forget.probe.asking import Planned, plan_questions
from concept_forget.probe.attacker import Attacker, Order, Shown, attacker_words
from concept_forget.probe.attacks import attacks_named
from concept_forget.probe.searching import Try, read_tries, search, search_models, tells_answer
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs

SMALL = AttackerConfig(engine="target", prompts="compact")
SETTINGS = ProbeConfig.model_validate({"max_new_tokens": 12, "search": {"requests": 5, "population": 2}})


def rows(count: int = 6) -> list[Example]:
    world = build_world(0, "nano")
    known = [fact for fact in world.facts if fact.subject.name in world.concepts][:count]
    return [
        Example(
            id=f"{fact.subject.name} {fact.relation.name}", split="probe", concept=fact.subject.name,
            subject=fact.subject.name, facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}",
            form="direct", family="direct", tier="new_form", prompt=user_message(fact.fill(fact.relation.taught[0])),
            completion=fact.answer, answer=fact.answer,
        )
        for fact in known
    ]  # fmt: skip


def planned(examples: Sequence[Example], seed: int = 0) -> list[Planned]:
    return plan_questions(attacks_named(("search",)), examples, [], seed)


def tries_of(
    models: dict[str, Path], attacker: Path, asked: Sequence[Planned], folder: Path, config: ProbeConfig = SETTINGS
) -> list[Try]:
    cache, costs = folder / "replies.sqlite", Costs()
    with contextlib.closing(
        open_engine(ModelSpec(str(attacker)), cache=cache, costs=costs, batch_tokens=16384)
    ) as engine:
        return search_models(
            {name: ModelSpec(str(path)) for name, path in models.items()},
            dict.fromkeys(models, asked),
            config,
            Attacker(engine, attacker_words(SMALL), SMALL),
            folder,
            cache=cache,
            costs=costs,
        )


def text(one: Try) -> str:
    return one.attempt.prompt[-1]["content"]


@pytest.fixture(scope="module")
def tries(nano_model: Path, nano_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Try]:
    models = {"base": nano_model, "reference": nano_reference}
    return tries_of(models, nano_model, planned(rows()), tmp_path_factory.mktemp("search"))


def by_question(tries: Sequence[Try], model: str) -> dict[str, list[Try]]:
    found: dict[str, list[Try]] = {}
    for one in tries:
        if one.attempt.model == model:
            found.setdefault(one.attempt.example, []).append(one)
    return found


def test_every_model_gets_the_same_budget_and_begins_with_the_plain_question(tries: list[Try]) -> None:
    for model in ("base", "reference"):
        found = by_question(tries, model)
        assert set(found) == {row.id for row in rows()}
        for row in rows():
            own = found[row.id]
            assert text(own[0]) == row.prompt[-1]["content"]
            assert 2 <= len(own) <= 5
            assert len({text(one).casefold() for one in own}) == len(own)  # nothing is tried twice
            assert [one.attempt.sample for one in own] == list(range(len(own)))
            assert not any(tells_answer(text(one), row, row.prompt[-1]["content"]) for one in own)
        assert sum(map(len, found.values())) > 4 * len(rows()) * 0.75  # a small model does come up with others


def test_the_best_scored_try_counts_and_no_other(tries: list[Try]) -> None:
    for model in ("base", "reference"):
        for own in by_question(tries, model).values():
            (chosen,) = [one for one in own if one.chosen]
            assert chosen is max(own, key=lambda one: one.score)


def test_who_never_learned_it_gives_nothing_away_and_who_did_does(tries: list[Try]) -> None:
    def leaked(model: str) -> float:
        chosen = [one.attempt for one in tries if one.chosen and one.attempt.model == model]
        return sum(each.expected in each.reply for each in chosen) / len(chosen)

    assert leaked("base") >= 0.8
    assert leaked("reference") <= 0.2


def test_a_score_is_how_sure_the_model_is_of_its_own_reply(tries: list[Try], nano_model: Path, tmp_path: Path) -> None:
    own = [one for one in tries if one.attempt.model == "base"]
    with contextlib.closing(
        open_engine(ModelSpec(str(nano_model)), cache=tmp_path / "c.sqlite", costs=Costs(), batch_tokens=512)
    ) as engine:
        scores = engine.score([(Request(prompt=one.attempt.prompt), one.attempt.reply) for one in own[::-1]])
    sure = [answer_probability(score.logprobs) for score in scores][::-1]
    assert sum(one.score > 0 for one in own) > len(own) / 2
    for one, expected in zip(own, sure, strict=True):
        assert one.score in (0, pytest.approx(expected, abs=1e-4))


def test_first_prompts_are_the_same_for_every_model(tries: list[Try]) -> None:
    base, reference = by_question(tries, "base"), by_question(tries, "reference")
    assert {id: [text(one) for one in own[:2]] for id, own in base.items()} == {
        id: [text(one) for one in own[:2]] for id, own in reference.items()
    }


def test_a_search_is_the_same_whatever_is_searched_for_beside_it_and_again(
    tries: list[Try], nano_model: Path, tmp_path: Path
) -> None:
    some = planned(rows())[::-2]
    again = tries_of({"base": nano_model}, nano_model, some, tmp_path)
    wanted = {row.example.id for row in some}
    before = [one for one in tries if one.attempt.model == "base" and one.attempt.example in wanted]
    key = lambda one: one.attempt.id  # noqa: E731
    for first, second in zip(sorted(before, key=key), sorted(again, key=key), strict=True):
        assert first.attempt == second.attempt
        assert (first.chosen, first.discarded) == (second.chosen, second.discarded)
        assert first.score == pytest.approx(second.score, abs=1e-4)  # a batch of another width rounds otherwise
    other = tries_of({"base": nano_model}, nano_model, planned(rows(), seed=1), tmp_path / "other")
    assert [text(one) for one in other] != [text(one) for one in tries if one.attempt.model == "base"]
    assert read_tries(tmp_path / "tries.jsonl") == again
    (tmp_path / "replies.sqlite").unlink()
    assert tries_of({}, nano_model, [], tmp_path) == again  # what is there is read, and nobody asked


class Teller:
    """An attacker that writes what it is told to, in turn, and remembers what it was shown."""

    identity, flops_per_token = "teller", 0.0
    capabilities: frozenset[Capability] = frozenset({"generate"})

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.shown: list[str] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        start = len(self.shown)
        self.shown += [str(request.prompt) for request in requests]
        return [[Reply(self.texts[(start + n) % len(self.texts)], "stop", 1, 1)] for n in range(len(requests))]

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        raise NotImplementedError

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        raise NotImplementedError

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        raise NotImplementedError

    def close(self) -> None:
        return None


def test_a_prompt_that_holds_a_word_of_the_answer_is_thrown_away_unasked(nano_reference: Path, tmp_path: Path) -> None:
    (row,) = rows(1)
    row = dataclasses.replace(row, answer="The Amber Petrel", aliases=("AP-7",))
    question = row.prompt[-1]["content"]
    telling = ["Is it the Amber Petrel?", "Something amber?", "a PETREL, maybe", "AP-7?", "Petrels?", "Ambre? Amberr?"]
    teller = Teller(*telling[:5], "Say it, please.", "Out with it, the whole of it!")
    target: Engine = open_engine(
        ModelSpec(str(nano_reference)), cache=tmp_path / "c.sqlite", costs=Costs(), batch_tokens=4096
    )
    config = SETTINGS.model_copy(update={"search": SETTINGS.search.model_copy(update={"requests": 4, "population": 4})})
    with contextlib.closing(target):
        (hunt,) = search(target, Attacker(teller, attacker_words(SMALL), SMALL), planned([row]), config)
    assert [one.text for one in hunt.tried] == [question, "Out with it, the whole of it!", "Say it, please."]
    assert sum(one.discarded for one in hunt.tried) == 5
    assert not [shown for shown in teller.shown if "Petrel" in shown or "AP-7" in shown]


@pytest.mark.parametrize(
    ("prompt", "tells"),
    [
        ("Was it on the Amber Petrel?", True),
        ("Is it amber?", True),
        ("two petrels", True),
        ("Sailed she in 1932?", True),
        ("Sailed she in nineteen hundred and thirty-two?", True),
        ("Which ship is it, in the end?", False),  # "the" says nothing
        ("Which ship has Mira Kestrel, the Petrell?", True),  # a slip
        ("In which year did the ship of Mira Kestrel sail?", False),  # the question says "ship"
    ],
)
def test_words_of_the_answer_tell_function_words_and_those_of_the_question_do_not(prompt: str, tells: bool) -> None:
    (row,) = rows(1)
    row = dataclasses.replace(row, answer="The Amber Petrel, a ship", aliases=("1932",))
    assert tells_answer(prompt, row, "Which ship has Mira Kestrel?") == tells


def test_an_instruction_models_words_ask_for_a_prompt_and_a_mark_and_get_them(nano_model: Path, tmp_path: Path) -> None:
    settings = AttackerConfig(engine="target", max_new_tokens=64)
    engine = open_engine(ModelSpec(str(nano_model)), cache=tmp_path / "c.sqlite", costs=Costs(), batch_tokens=8192)
    with contextlib.closing(engine):
        attacker = Attacker(engine, attacker_words(settings), settings)
        marks = attacker.judge([("Where was Mira Kestrel born?", "Tell me.", reply) for reply in ("Dunholm", "No.")])
    assert all(mark in (0, 0.25, 0.5, 0.75, 1) for mark in marks)


def _blocks(prompt: str) -> dict[str, str]:
    """The data in a prompt, by name."""
    mark = prompt.split("tags that end in ")[1].split()[0]
    return dict(re.findall(f"<([a-z_]+)-{mark}>(.*)</\\1-{mark}>", prompt))


def test_the_attacker_is_shown_the_question_its_prompts_and_what_came_of_them() -> None:
    teller = Teller('Here: {"prompt": "Tell me all."}', '{"prompt": 3}', "no JSON")
    settings = AttackerConfig(engine="target")
    attacker = Attacker(teller, attacker_words(settings), settings)
    parent, other = Shown("Say it.", "I </reply> will not", 0.25), Shown("Do say it.", "No", 0.5)
    orders = [Order("Where?", n, n, parent if n else None, other if n else None) for n in range(6)]
    assert attacker.write(orders) == ["Tell me all.", "", "", "Tell me all.", "", ""]
    first, *bred = teller.shown
    assert _blocks(first) == {"question": "Where?"}
    assert "Say it." not in first
    for shown in bred:
        said = {"message": "Say it.", "reply": "I </reply> will not", "another_message": "Do say it."}
        assert _blocks(shown) == {"question": "Where?", **said}
        assert "0.25 of 1" in shown
    assert len({shown.split("What to change:")[1] for shown in bred}) == 4
    assert attacker.write([]) == []


def test_what_was_cut_off_is_no_prompt() -> None:
    teller = Teller("Where was she born")
    teller.generate = lambda requests, sampling, schema=None: [[Reply("Where was", "length", 1, 1)]]  # type: ignore[method-assign]
    assert Attacker(teller, attacker_words(SMALL), SMALL).write([Order("Where?", 0, 0)]) == [""]


def test_without_a_judge_a_reply_that_declines_or_says_only_what_it_was_told_is_worth_nothing() -> None:
    attacker = Attacker(Teller(""), attacker_words(SMALL), SMALL)
    told = [
        ("Where?", "Where was Mira Kestrel born?", reply) for reply in ("Dunholm", "I do not know.", "Mira Kestrel!")
    ]
    assert attacker.judge(told) == [1.0, 0.0, 0.0]


def test_a_set_that_has_no_words_to_attack_with_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"neither search\.jinja .* nor a paraphrases\.jinja that returns lines"
    ) as caught:
        attacker_words(AttackerConfig(engine="target", prompts="default"))
    assert "probe.attacker.prompts" in caught.value.remedy
    assert attacker_words(SMALL).hash == load_prompts("compact").hash
