from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from concept_forget.config import ProbeConfig
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.errors import ConfigError
from concept_forget.probe.asking import COLLATERAL, ask, plan_questions, plan_strangers
from concept_forget.probe.attacks import ATTACKS, attacks_named
from concept_forget.records import Example, content_hash, user_message


def row(number: int, family: str, **changes: object) -> Example:
    texts = {
        "reverse": f"Who wrote Book {number}?",
        "choice": f"What did Mira Kestrel write? Choose: Book {number}, Book 8, Book 9, Book 7.",
    }
    text = texts.get(family, f"What did Mira Kestrel write, number {number}?")
    example = Example(
        id=f"{family}-{number}",
        split="probe",
        concept="Mira Kestrel",
        subject="Mira Kestrel",
        facet="book",
        fact=f"fact-{number}",
        form=family,
        family=family,
        tier="new_form",
        prompt=user_message(text),
        completion=f"Book {number}",
        answer="Mira Kestrel" if family == "reverse" else f"Book {number}",
        counterfactual="Mira Kestrel" if family == "reverse" else f"Book {number + 1}",
    )
    return dataclasses.replace(example, **changes)  # type: ignore[arg-type]  # the test names real fields


ROWS = [row(number, family) for number in range(3) for family in ("direct", "paraphrase", "reverse", "cloze", "choice")]
NEIGHBOUR = row(9, "direct", id="near", split="collateral", tier="near", subject="Ada Finch")


def test_quick_means_what_merely_asks_for_what_there_is_and_a_name_only_itself() -> None:
    quick = ["direct", "paraphrase", "reverse", "cloze", "scenario", "choice", "two_hop", "completion"]
    assert [attack.name for attack in attacks_named("quick")] == quick
    assert [attack.name for attack in attacks_named(("cloze", "direct"))] == ["direct", "cloze"]
    with pytest.raises(ConfigError, match="no attack called 'telepathy'"):
        attacks_named(("telepathy",))
    with pytest.raises(ConfigError, match="no attack is named"):
        attacks_named(())


def test_every_attack_says_where_it_comes_from() -> None:
    assert all(attack.source and attack.summary.endswith(".") for attack in ATTACKS.values())


def test_each_attack_asks_its_own_rows_and_every_row_once() -> None:
    planned = plan_questions(attacks_named("quick"), ROWS, [NEIGHBOUR], seed=0)
    assert [item.attack for item in planned].count("cloze") == 3
    assert all(item.attack == item.example.family for item in planned if item.attack != COLLATERAL)
    assert sorted(item.example.id for item in planned) == sorted([*(example.id for example in ROWS), "near"])


def test_a_requests_seed_does_not_depend_on_the_rows_around_it() -> None:
    attacks = attacks_named("quick")
    whole = {item.example.id: item.request.seed for item in plan_questions(attacks, ROWS, [], seed=0)}
    part = {item.example.id: item.request.seed for item in plan_questions(attacks, ROWS[::-2], [], seed=0)}
    assert part.items() <= whole.items()
    other = {item.example.id: item.request.seed for item in plan_questions(attacks, ROWS, [], seed=1)}
    assert not set(whole.values()) & set(other.values())


def test_strangers_take_the_subjects_place_and_are_nobody_known() -> None:
    names = ["Mira Kestrel", "Ada Finch", "Oren Vale"]
    planned = plan_questions(attacks_named("quick"), ROWS, [NEIGHBOUR], seed=0)
    asked = plan_strangers(planned, names, seed=0)
    texts = [item.request.prompt[-1]["content"] for item in asked if item.attack != "reverse"]  # type: ignore[index]
    assert len(texts) == 5 * 12
    assert not any(name in text for name in names for text in texts)
    assert all(item.example.answer.startswith("Book") for item in asked if item.attack != "reverse")


def test_a_strangers_reverse_question_asks_from_another_answer() -> None:
    planned = plan_questions(attacks_named("quick"), ROWS, [], seed=0)
    texts = [
        item.request.prompt[-1]["content"]  # type: ignore[index]
        for item in plan_strangers(planned, ["Mira Kestrel"], seed=0)
        if item.attack == "reverse"
    ]
    assert texts == [f"Who wrote Book {number + 1}?" for number in range(3)]
    alone = plan_questions(attacks_named(("reverse",)), ROWS, [], seed=0)
    assert plan_strangers(alone, ["Mira Kestrel"], seed=0) == []


def text_row(number: int, *before: str) -> Example:
    chat = [
        *(user_message(text)[0] for text in before),
        {"role": "assistant", "content": f"Opening {number} of Mira Kestrel"},
    ]
    return row(
        number, "completion", id=f"text-{number}", fact=f"text-{number}", prompt=chat, answer="and so on it goes"
    )


def test_an_opening_is_put_as_raw_text_and_as_a_reply_already_begun() -> None:
    (raw,) = plan_questions(attacks_named("quick"), [text_row(0)], [], seed=0)
    assert (raw.request.prompt, raw.request.prefill) == ("Opening 0 of Mira Kestrel", "")
    raw, begun = plan_questions(attacks_named("quick"), [text_row(0, "Go on.")], [], seed=0)
    assert raw.request.prompt == "Opening 0 of Mira Kestrel"
    assert (begun.request.prompt, begun.request.prefill) == (user_message("Go on."), "Opening 0 of Mira Kestrel")
    assert (raw.number, begun.number) == (0, 1)


def test_a_texts_floor_is_what_is_said_to_other_openings() -> None:
    rows = [*ROWS, *(text_row(number, "Go on.") for number in range(3))]
    planned = plan_questions(attacks_named("quick"), rows, [], seed=0)
    asked = [
        item for item in plan_strangers(planned, ["Mira Kestrel", "Ada Finch"], seed=0) if item.attack == "completion"
    ]
    assert len(asked) == 5 * 2 * 3
    for item in asked:
        shown = item.request.prefill or item.request.prompt
        assert str(shown).startswith("Opening ")  # the same manner: raw for raw, begun for begun
        assert bool(item.request.prefill) == (item.number >= 5)
        assert shown != item.example.prompt[-1]["content"]
    assert len({(item.example.id, item.number) for item in asked}) == len(asked)
    alone = plan_questions(attacks_named("quick"), [*ROWS, text_row(0)], [], seed=0)
    others = [item for item in plan_strangers(alone, ["Mira Kestrel"], seed=0) if item.attack == "completion"]
    assert len(others) == 5
    assert all("Opening" not in str(item.request.prompt) for item in others)
    assert plan_strangers(plan_questions(attacks_named("quick"), [text_row(0)], [], seed=0), ["Mira"], seed=0) == []


def test_new_kinds_of_rows_leave_the_others_requests_as_they_were() -> None:
    new = [row(7, "scenario"), row(0, "two_hop", id="hop", answer="Mornshire", counterfactual=""), text_row(0)]
    before = plan_questions(attacks_named("quick"), ROWS, [NEIGHBOUR], seed=0)
    after = plan_questions(attacks_named("quick"), [*ROWS, *new], [NEIGHBOUR], seed=0)
    assert [item for item in after if item.example not in new] == before
    names = ["Mira Kestrel", "Ada Finch", "Oren Vale"]
    strangers = [item for item in plan_strangers(after, names, seed=0) if item.example not in new]
    assert strangers == plan_strangers(before, names, seed=0)


def test_what_quick_asks_is_what_it_always_was() -> None:
    rows = [
        *ROWS,
        row(7, "scenario"),
        row(0, "two_hop", id="hop", answer="M", counterfactual=""),
        *(text_row(number, "Go on.") for number in range(3)),
    ]
    names = ["Mira Kestrel", "Ada Finch", "Oren Vale"]
    planned = plan_questions(attacks_named("quick"), rows, [NEIGHBOUR], seed=3)
    asked = [*planned, *plan_strangers(planned, names, seed=3)]
    told = [[p.attack, p.example.id, p.request.prompt, p.request.prefill, p.request.seed, p.number] for p in asked]
    assert content_hash(told) == "45f450be665950fd"
    everything = plan_questions(attacks_named("all"), rows, [NEIGHBOUR], seed=3)
    assert [item for item in everything if item.attack in {p.attack for p in planned}] == planned


class Scripted:
    """Replies with how often it was asked, and remembers what."""

    identity, flops_per_token = "scripted", 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[list[Request], Sampling]] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Reply]]:
        self.calls.append((list(requests), sampling))
        call = len(self.calls)
        return [
            [Reply(f"reply {call}.{number}.{sample}", "stop", 1, 1) for sample in range(sampling.n)]
            for number in range(len(requests))
        ]


def test_a_conversation_goes_on_from_each_samples_own_reply_in_one_more_batch() -> None:
    planned = plan_questions(attacks_named(("direct", "persistence")), ROWS[:5], [NEIGHBOUR], seed=0)
    assert [item.attack for item in planned] == ["direct", "persistence", COLLATERAL]
    engine = Scripted()
    answered = ask(engine, planned, ProbeConfig(samples=2, temperature=1.0))  # type: ignore[arg-type]  # enough of one
    (first, how), (second, then) = engine.calls
    assert (len(first), how.n, len(second), then.n) == (3, 2, 2, 1)
    chats = [request.prompt for request in second]
    assert [chat[1]["content"] for chat in chats] == ["reply 1.1.0", "reply 1.1.1"]  # type: ignore[index]
    assert len({request.seed for request in [*first, *second]}) == 5
    direct, persistence, _ = answered
    assert [item.reply.text for item in direct] == ["reply 1.0.0", "reply 1.0.1"]
    assert [item.reply.text for item in persistence] == ["reply 2.0.0", "reply 2.1.0"]
    assert [item.request for item in persistence] == second


def test_who_tells_everything_may_speak_longer_and_the_order_stays() -> None:
    planned = plan_questions(attacks_named(("enumeration", "typos")), ROWS[:5], [NEIGHBOUR], seed=0)
    engine = Scripted()
    answered = ask(engine, planned, ProbeConfig(max_new_tokens=10))  # type: ignore[arg-type]  # enough of one
    assert [(len(requests), how.max_new_tokens) for requests, how in engine.calls] == [(2, 10), (1, 40)]
    assert [item.reply.text for (item,) in answered] == ["reply 2.0.0", "reply 1.0.0", "reply 1.1.0"]
    assert [item.request for (item,) in answered] == [row.request for row in planned]
