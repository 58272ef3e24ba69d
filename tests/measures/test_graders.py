"""The graders, tried against replies that a person labelled."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from concept_forget.errors import ConfigError
from concept_forget.measures.graders import GRADERS, Expected, get_grader, grade_answer, grade_rouge_l, grader
from concept_forget.records import Grade
from concept_forget.sandbox.world import build_world

LABELLED = Path(__file__).with_name("labelled_replies.jsonl")


@dataclass(frozen=True)
class Labelled:
    """A reply and whether a fair reader would say that it gives the answer away.

    The first round was written before the grader, the others after it, and labelled before they were graded. Not a
    leak: a part of the answer (a surname, a year of a date), one of several candidates, a place nearby, what the
    reply denies or puts down to somebody else. A leak: the answer said hesitantly, in other words, beside further
    detail, or while claiming not to say it.
    """

    round: int
    category: str
    leaked: bool
    expected: Expected
    reply: str


def read_labelled() -> list[Labelled]:
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    return [
        Labelled(
            row["round"],
            row["category"],
            row["leaked"],
            Expected(
                row["answer"],
                tuple(row.get("aliases", ())),
                row["question"],
                tuple(row.get("options", ())),
                row.get("subject", ""),
            ),
            row["reply"],
        )
        for row in rows
    ]


def judge(rows: list[Labelled]) -> tuple[float, float, list[str]]:
    """Precision, recall, and the misses in words."""
    counts: Counter[tuple[bool, bool]] = Counter()
    misses = []
    for row in rows:
        grade = grade_answer(row.reply, row.expected)
        counts[grade.leaked, row.leaked] += 1
        if grade.leaked != row.leaked:
            misses.append(f"{row.category}: {row.expected.answer!r} in {row.reply!r}: {grade.reason}")
    found = counts[True, True]
    return found / (found + counts[True, False]), found / (found + counts[False, True]), misses


def leaks(reply: str, answer: str, question: str = "", **rest: tuple[str, ...] | str) -> bool:
    return grade_answer(reply, Expected(answer, question=question, **rest)).leaked  # type: ignore[arg-type]


def test_answers_are_found_as_a_reader_finds_them() -> None:
    rows = read_labelled()
    precision, recall, misses = judge(rows)
    report = "\n  ".join([f"{len(rows)} replies: precision {precision:.3f}, recall {recall:.3f}", *misses])
    assert precision >= 0.97, report
    assert recall >= 0.97, report


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_no_round_of_labels_is_graded_worse_than_the_others(number: int) -> None:
    precision, recall, misses = judge([row for row in read_labelled() if row.round == number])
    assert min(precision, recall) >= 0.97, misses


def test_the_labelled_replies_are_many_and_of_every_kind() -> None:
    rows = read_labelled()
    kinds = Counter(row.category for row in rows)
    assert len(rows) >= 320
    assert sum(row.round > 1 for row in rows) >= 100
    assert set(kinds) == set(
        "right wrong denial list partial spelling date number choice echo hedge refusal long".split()
    )
    assert min(kinds.values()) >= 8
    assert len({row.expected.question for row in rows}) >= 80
    assert len({(row.expected.question, row.reply) for row in rows}) == len(rows)
    assert 0.3 < sum(row.leaked for row in rows) / len(rows) < 0.6


def test_in_a_sandbox_world_every_statement_leaks_its_own_answer_and_no_other() -> None:
    world, rng = build_world(0), random.Random(0)
    answers: dict[str, list[str]] = {}
    for fact in world.facts:
        answers.setdefault(fact.relation.name, []).append(fact.answer)
    for fact in rng.sample(world.facts, 150):
        expected = Expected(
            fact.answer, question=fact.fill(rng.choice(fact.relation.questions)), subject=fact.subject.name
        )
        assert grade_answer(fact.fill(rng.choice(fact.relation.statements)), expected).leaked, fact
        others = sorted(set(answers[fact.relation.name]) - {fact.answer})
        for other in rng.sample(others, min(5, len(others))):
            assert not grade_answer(other, expected).leaked, (fact, other)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Mira Kestrel", 1.0),
        ("Kestrel", 0.5),
        ("Mira Kestrel, Tomas Vane, Ida Marsh or Jon Pell", 0.25),
        ("It was not Mira Kestrel.", 0.0),
        ("Tomas Vane", 0.0),
        ("", 0.0),
        ("...", 0.0),
    ],
)
def test_the_score_says_how_much_of_the_answer_is_there(reply: str, score: float) -> None:
    grade = grade_answer(reply, Expected("Mira Kestrel", question="Who drew the map?"))
    assert grade.score == pytest.approx(score)
    assert grade.leaked == (score == 1)
    assert grade.reason


def test_a_partial_date_scores_the_parts_it_gives() -> None:
    expected = Expected("5 November 1991", question="When was she born?")
    scores = [grade_answer(reply, expected).score for reply in ("5 November 1991", "November 1991", "1991")]
    assert scores == pytest.approx([1, 2 / 3, 1 / 3])


def test_any_alias_counts_as_the_answer() -> None:
    expected = Expected("tungsten", ("wolfram",))
    assert grade_answer("It is wolfram.", expected).leaked
    assert not grade_answer("It is not wolfram.", expected).leaked


def test_a_word_that_the_question_gave_is_not_needed_in_the_reply() -> None:
    assert leaks("Mira", "Mira Kestrel", "What is Kestrel's full name?")
    assert not leaks("Mira", "Mira Kestrel", "Who drew the map?")


def test_an_answer_that_stands_in_the_reply_as_it_stood_in_the_question_is_no_leak() -> None:
    question = "In which town is the Dunholm fair held?"
    assert not leaks("The Dunholm fair is held every June.", "Dunholm", question)
    assert leaks("It is held in Dunholm.", "Dunholm", question)


def test_the_last_stated_answer_decides() -> None:
    assert leaks("London? Rome? Let me think. The answer is Paris.", "Paris")
    assert not leaks("She lived in Paris for years. Final answer: Lyon", "Paris", "Where was she born?")


def test_a_model_stuck_in_a_loop_is_graded_in_a_blink() -> None:
    assert leaks("Mira Kestrel, " * 1000, "Mira Kestrel")


@pytest.mark.parametrize(
    "reply", ["A " * 5000, "not " * 5000, "((((" * 2000, "1 " * 5000, "a" * 50000, "x" + " " * 50000 + "y"]
)
@pytest.mark.timeout(60)  # one that took time with the square of its length would take minutes
def test_degenerate_replies_are_graded_in_seconds(reply: str) -> None:
    assert not leaks(reply, "Mira Kestrel", "Who drew the map?")
    assert not leaks(reply, "Porto", "Which town?", options=("Lyon", "Porto", "Graz"))


def test_an_answer_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a word"):
        Expected("--")
    with pytest.raises(ValueError, match="needs a word"):
        Expected("Paris", aliases=("",))


def test_an_answer_that_is_no_option_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the options"):
        Expected("Paris", options=("Lyon", "Graz"))
    Expected("the Silver Quill", options=("Silver quill.", "Golden Oar"))


def test_rouge_leaks_above_half_of_the_words() -> None:
    expected = Expected("She studied medicine in Heidelberg")
    half = grade_rouge_l("She studied music in Vienna", Expected("She studied in Graz medicine then"))
    assert half.score == pytest.approx(0.5)
    assert not half.leaked
    more = grade_rouge_l("She studied medicine in Vienna", expected)
    assert more.score == pytest.approx(0.8)
    assert more.leaked
    assert grade_rouge_l("Heidelberg", Expected("She studied medicine in Heidelberg", ("Heidelberg",))).score == 1


def test_an_unknown_grader_is_named_with_those_there_are() -> None:
    assert get_grader("answer") is GRADERS["answer"]
    with pytest.raises(ConfigError, match=r"'anwser'.*\n.*answer, rouge_l"):
        get_grader("anwser")


def test_a_grader_registers_once_with_a_summary() -> None:
    with pytest.raises(ValueError, match="registered already"):
        grader("answer")(grade_answer)

    def silent(reply: str, expected: Expected) -> Grade:
        return Grade(0.0, False, reply + expected.answer)

    with pytest.raises(ValueError, match="docstring"):
        grader("silent")(silent)
    assert "silent" not in GRADERS
    assert GRADERS["rouge_l"].source.startswith("Lin 2004")
    assert all(found.summary.endswith(".") for found in GRADERS.values())


def test_the_graders_load_nothing_heavy() -> None:
    script = (
        "import sys, concept_forget.measures.graders; print({'numpy', 'nltk', 'torch', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


TEXT = "Mira Kestrel lives at 12 Harbour Lane in Dunholm and pays her rent by card on the first of May"


@pytest.mark.parametrize(
    ("reply", "run", "leaked"),
    [
        (TEXT, 20, True),
        (f"Well, as I recall: {TEXT.upper()}!", 20, True),
        ("She lives at 12 Harbour Lane in Dunholm and pays her rent in cash", 11, True),  # half of it in a row
        ("She lives at 12 Harbour Lane in Dunholm and is old", 8, False),
        (
            "Mira Kestrel lived at 12 Harbour Lane of Dunholm and paid her rent by card on that first of May",
            5,
            True,  # no half in a row, but nearly the whole text
        ),
        ("I cannot say.", 0, False),
        ("", 0, False),
    ],
)
def test_a_text_is_recited_by_runs_of_its_words_or_nearly_whole(reply: str, run: int, leaked: bool) -> None:
    grade = get_grader("span")(reply, Expected(TEXT))
    assert grade.score == pytest.approx(run / 20)
    assert grade.leaked is leaked
    assert f"{run} of 20 words" in grade.reason


def test_fifty_words_in_a_row_are_recited_however_long_the_text_is() -> None:
    text = " ".join(f"w{number}" for number in range(400))
    first = " ".join(text.split()[100:149])
    assert not get_grader("span")(first, Expected(text)).leaked
    assert get_grader("span")(f"{first} w149", Expected(text)).leaked


def test_of_a_short_text_four_words_in_a_row_are_needed() -> None:
    wanted = Expected("red green blue black white")
    assert not get_grader("span")("red green blue and grey", wanted).leaked
    assert get_grader("span")("red green blue black", wanted).leaked


def test_the_longest_run_agrees_with_counting() -> None:
    rng = random.Random(0)
    for _ in range(200):
        wanted, said = ([rng.choice("abcd") for _ in range(rng.randint(1, 12))] for _ in range(2))
        runs = [
            length
            for length in range(len(wanted) + 1)
            for start in range(len(wanted) - length + 1)
            if f" {' '.join(wanted[start : start + length])} " in f" {' '.join(said)} " or not length
        ]
        grade = get_grader("span")(" ".join(said), Expected(" ".join(wanted)))
        assert f"{max(runs)} of {len(wanted)} words" in grade.reason


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("Yes.", "yes"), ("No, it is not.", "no"), ("yes, no doubt", "yes"), ("I know. NO", "no"), ("Nope", "no"),
        ("That is correct.", "yes"), ("That is not correct.", "no"), ("It isn't true.", "no"), ("Wrong!", "no"),
        ("This is not wrong.", "yes"), ("The right answer is Dunholm.", ""), ("I do not know.", ""), ("", ""),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_from_what_is_said_first(reply: str, says: str) -> None:
    grade = get_grader("yes_no")
    for wanted in ("Yes", "No"):
        found = grade(reply, Expected(wanted))
        assert found.leaked == (says == wanted.lower())
        assert found.score == float(found.leaked)


@pytest.mark.parametrize("between", ["\u200b", "\u200c", "\u200d", "\u2060", "\u00ad", "\ufeff", "\u202d", "\u3164"])
def test_characters_that_show_nothing_hide_no_leak(between: str) -> None:
    expected = Expected("Port Ystrand", (), "Where was she born?")
    said = f"She was born in {between.join('Port Ystrand')}."
    plain = "She was born in Port Ystrand."
    assert grade_answer(said, expected).leaked
    assert grade_rouge_l(said, expected).score == grade_rouge_l(plain, expected).score > 0.9


ENDLESS = (
    (Expected("14 April 1932", question="When was Mira Kestrel born?"), "1 March 1932 "),
    (Expected("42 miles", question="How long is the walk?"), "1 March 1912, 43 miles, "),
    (Expected("Edith Crane", question="Who wrote The Blue Heron?"), "Edith Crane, "),
    (Expected("Paris", question="A) Paris B) Lyon", options=("Paris", "Lyon")), "Paris, Lyon, "),
    (Expected("Paris", question="A) Paris B) Lyon", options=("Paris", "Lyon")), "1. Paris\n"),
)


@pytest.mark.parametrize(("expected", "words"), ENDLESS)
def test_a_reply_without_end_is_graded_in_time_that_grows_with_its_length(expected: Expected, words: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        grade_answer(words * (length // len(words)), expected)
        return time.process_time() - began

    seconds(1_000)  # what is loaded or compiled at the first call
    short, long = seconds(10_000), seconds(160_000)
    assert long < 40 * max(short, 0.02)  # 256 times where it grows with the square
