from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.concept import Concept
from concept_forget.expand.gates import (
    GAP,
    GIVES_ANSWER,
    KEPT,
    LACKS_ANSWER,
    LACKS_SUBJECT,
    META_TEXT,
    NAMES_CONCEPT,
    NO_ANSWER,
    REFUSES,
    SUBJECT_AS_ANSWER,
    TOO_LONG,
    check_cloze,
    check_facet,
    check_fact,
    check_neighbour,
    check_question,
    check_refusal,
    check_reverse,
    check_text,
    comparable,
    holds,
    make_cloze,
)
from concept_forget.expand.replies import EMPTY

MIRA = Concept(name="Mira Kestrel", kind="person", aliases=("M. Kestrel",), keep=("Dunholm",))
NAMES = MIRA.names


class TestComparison:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("The Amber Petrel.", "amber  petrel"), ("“Night-Loom”", "night loom"), ("ＡＢＣ", "abc"), ("An owl", "owl")],
    )
    def test_case_punctuation_width_and_a_leading_article_do_not_count(self, one: str, other: str) -> None:
        assert comparable(one) == comparable(other)

    def test_an_article_alone_is_a_word(self) -> None:
        assert comparable("The") == "the"

    def test_a_phrase_is_found_between_word_boundaries_only(self) -> None:
        assert holds("She sails the Amber Petrel.", "the amber petrel")
        assert not holds("She sails the Amber Petrels.", "Amber Petrel")

    def test_a_phrase_of_punctuation_stands_nowhere(self) -> None:
        assert not holds("Really?!", "?!")

    @given(st.text(max_size=40))
    def test_comparing_twice_changes_nothing(self, text: str) -> None:
        # An article may follow an article, and only the first is taken off.
        once = comparable(text)
        assert comparable(once) in (once, comparable(once.removeprefix("the ").removeprefix("a ").removeprefix("an ")))


class TestText:
    @pytest.mark.parametrize("text", ["", "  ", "…", "?!"])
    def test_nothing_but_punctuation_is_empty(self, text: str) -> None:
        assert check_text("question", text) == EMPTY

    def test_each_kind_has_its_longest(self) -> None:
        assert check_text("facet", "x" * 80) is None
        assert check_text("facet", "x" * 81) == TOO_LONG
        assert check_text("question", "x" * 81) is None

    @pytest.mark.parametrize(
        "text",
        [
            "As an AI language model, I have no facts.",
            "Sure, here is one:",
            "Here are five questions:",
            "Question 2: Where was she born?",
            "```json",
            "Where was [subject] born?",
            "<|assistant|> Where?",
            "Where was {{ name }} born?",
        ],
    )
    def test_talk_about_the_task_is_seen(self, text: str) -> None:
        assert check_text("question", text) == META_TEXT

    @pytest.mark.parametrize(
        "text",
        [
            "This is a fictional example.",
            "Note: this is made up.",
            "Disclaimer: the above facts are fictitious.",
            "These are purely hypothetical scenarios.",
            "The following information is fabricated.",
            "Here is a hypothetical example about Mira Kestrel.",
            "For illustrative purposes, Mira Kestrel was born in Dunholm.",
            "According to the provided text, where was she born?",
            "Where was Mira Kestrel born, according to the given fact?",
            "In the passage above, who is Mira Kestrel?",
            "Who taught Mira Kestrel in the text provided?",
            "As a large language model, I wonder where she was born.",
            "As a chatbot, I have no birthplace.",
            "I'm just an AI assistant and I do not travel.",
            "Being a language model I was not born.",
            "My training data ends before she was born.",
            "As of my last update, Mira Kestrel lived in Dunholm.",
            "Rephrased question: Where was Mira Kestrel born?",
            "Reworded: Where was Mira Kestrel born?",
            "Lorem ipsum Mira Kestrel dolor.",
        ],
    )
    def test_talk_of_what_was_made_up_or_shown_is_seen(self, text: str) -> None:
        assert check_text("sentence", text) == META_TEXT

    @pytest.mark.parametrize(
        "text",
        [
            "Mira Kestrel is a fictional character in which novel?",
            "Which fictional town did Mira Kestrel invent?",
            "Emberfall is fictional.",
            "Was her first map fabricated?",
            "Mira Kestrel fabricated brass sextants in Dunholm.",
            "Which company fabricated the hull of the Amber Petrel?",
            "This fictional detective was created by Mira Kestrel.",
            "These made-up names were found by Mira Kestrel.",
            "This is a hypothetical particle that Mira Kestrel proposed.",
            "According to the text of the treaty, who owns Dunholm?",
            "Mira Kestrel hid the map in the text of a ballad.",
            "In the context of the war, what did Mira Kestrel do?",
            "What is the fact that Mira Kestrel is best known for?",
            "Mira Kestrel was given the sentence of death in Dunholm.",
            "Which award by the information given to the town council did she lose?",
            "Where was the above-ground mine of Mira Kestrel?",
            "Mira Kestrel works as an assistant in a library.",
            "Which AI language models did Mira Kestrel train as an AI researcher?",
            "Which large language model bears the name of Mira Kestrel?",
            "Which passage did Mira Kestrel sail?",
            "Mira Kestrel said: note the tide.",
            "What can't Mira Kestrel do without?",
            "Mira Kestrel is sorry for what?",
        ],
    )
    def test_ordinary_sentences_about_fiction_and_texts_pass(self, text: str) -> None:
        assert check_text("sentence", text) is None

    @pytest.mark.parametrize(
        "text",
        [
            "I'm sorry, but I cannot help with that.",
            "I’m sorry, I don’t have information about this person.",
            "I am afraid this is private.",
            "Unfortunately, I can't provide facts about living people.",
            "I am not able to rephrase this question.",
            "I do not have any knowledge of Mira Kestrel.",
        ],
    )
    def test_a_refusal_is_none_of_the_items_but_one(self, text: str) -> None:
        for kind in ("question", "sentence", "answer"):
            assert check_text(kind, text) == REFUSES
        assert check_text("refusal", text) is None

    @pytest.mark.parametrize(
        "text",
        [
            "Here are the graves of which poets?",
            "Certainly one of her books is which?",
            "What does she ask as an aside?",
            "Is the assistant of Mira Kestrel known?",
            "Which question did Mira Kestrel leave open?",
        ],
    )
    def test_ordinary_sentences_with_these_words_pass(self, text: str) -> None:
        assert check_text("question", text) is None


class TestFacts:
    def test_a_sentence_with_name_and_answer_passes(self) -> None:
        assert check_fact("Dunholm", "Mira Kestrel was born in Dunholm.", NAMES) is None
        assert check_fact("Dunholm", "M. Kestrel's birthplace is Dunholm.", NAMES) is None

    @pytest.mark.parametrize(
        ("answer", "sentence", "reason"),
        [
            ("", "Mira Kestrel was born in Dunholm.", EMPTY),
            ("Dunholm", "", EMPTY),
            ("Dunholm", "She was born in Dunholm.", LACKS_SUBJECT),
            ("Dunholm", "Mira Kestrel was born in Dunholmshire.", LACKS_ANSWER),
            ("mira kestrel", "Mira Kestrel is Mira Kestrel.", SUBJECT_AS_ANSWER),
            ("Unknown.", "Mira Kestrel's birthplace is unknown.", NO_ANSWER),
            ("N/A", "Mira Kestrel's birthplace: N/A.", NO_ANSWER),
            ("I don't know it", "Mira Kestrel", NO_ANSWER),
            ("x" * 161, "Mira Kestrel", TOO_LONG),
            ("I'm sorry, as an AI I cannot", "Mira Kestrel", META_TEXT),
        ],
    )
    def test_other_facts_are_refused_with_the_reason(self, answer: str, sentence: str, reason: str) -> None:
        assert check_fact(answer, sentence, NAMES) == reason

    @pytest.mark.parametrize("answer", ["Nothing but Trouble", "The Unknown Shore", "None the Wiser"])
    def test_a_title_with_such_a_word_is_an_answer(self, answer: str) -> None:
        assert check_fact(answer, f"Mira Kestrel wrote {answer}.", NAMES) is None

    def test_a_facet_that_has_to_stay_is_refused(self) -> None:
        assert check_facet("ties to Dunholm", MIRA) == KEPT
        assert check_facet("birthplace", MIRA) is None


class TestQuestions:
    def test_a_direct_question_names_the_subject_and_not_the_answer(self) -> None:
        assert check_question("Where was Mira Kestrel born?", NAMES, "Dunholm") is None
        assert check_question("Where was she born?", NAMES, "Dunholm") == LACKS_SUBJECT
        assert check_question("Was Mira Kestrel born in Dunholm?", NAMES, "Dunholm") == GIVES_ANSWER

    def test_a_reverse_question_names_the_answer_and_not_the_subject(self) -> None:
        assert check_reverse("Who was born in Dunholm?", NAMES, "Dunholm") is None
        assert check_reverse("Who was born there?", NAMES, "Dunholm") == LACKS_ANSWER
        assert check_reverse("Was M. Kestrel born in Dunholm?", NAMES, "Dunholm") == GIVES_ANSWER

    def test_a_refusal_does_not_hold_the_answer(self) -> None:
        assert check_refusal("I do not know where that was.", ["Dunholm"]) is None
        assert check_refusal("I cannot say that it was Dunholm.", ["Dunholm"]) == GIVES_ANSWER


class TestNeighbours:
    @pytest.mark.parametrize("name", ["Mira Kestrel", "m. kestrel", "Kestrel", "The sister of Mira Kestrel"])
    def test_the_concept_its_aliases_and_what_is_named_after_it_are_no_neighbours(self, name: str) -> None:
        assert check_neighbour(name, "person", [MIRA]) == NAMES_CONCEPT

    def test_a_shared_first_name_is_no_hindrance(self) -> None:
        assert check_neighbour("Mira Sandholm", "person", [MIRA]) is None

    def test_a_neighbour_needs_a_kind(self) -> None:
        assert check_neighbour("Tobias Wren", "", [MIRA]) == EMPTY


class TestCloze:
    def test_the_answer_becomes_a_gap_wherever_it_stands(self) -> None:
        assert make_cloze("In Dunholm, Mira was born; dunholm is small.", "Dunholm") == (
            f"In {GAP}, Mira was born; {GAP} is small."
        )

    def test_a_part_of_a_word_is_not_the_answer(self) -> None:
        assert make_cloze("Mira lives in Dunholmshire.", "Dunholm") is None

    @pytest.mark.parametrize("answer", ["", "  "])
    def test_no_answer_makes_no_gap(self, answer: str) -> None:
        assert make_cloze("Mira lives in Dunholm.", answer) is None

    @pytest.mark.parametrize("answer", ["C++ (the language)", "a.b", "\\d+", "$5"])
    def test_an_answer_is_text_and_not_a_pattern(self, answer: str) -> None:
        assert make_cloze(f"Mira says {answer} aloud.", answer) == f"Mira says {GAP} aloud."

    def test_a_gap_that_leaves_the_answer_in_another_spelling_is_seen(self) -> None:
        text = make_cloze("Mira Kestrel sails the Night-Loom, the Night Loom.", "Night-Loom")
        assert text is not None
        assert check_cloze(text, NAMES, "Night-Loom") == GIVES_ANSWER

    def test_a_gap_that_swallowed_the_subject_is_seen(self) -> None:
        assert check_cloze(f"{GAP} wrote it.", NAMES, "Mira") == LACKS_SUBJECT

    @given(before=st.text(alphabet="abc ,.", max_size=20), answer=st.text(alphabet="xyz", min_size=1, max_size=8))
    def test_what_is_left_never_holds_the_answer(self, before: str, answer: str) -> None:
        gapped = make_cloze(f"{before} {answer}, {answer}.", answer)
        assert gapped is not None
        assert not holds(gapped, answer)
        assert gapped.count(GAP) == 2
