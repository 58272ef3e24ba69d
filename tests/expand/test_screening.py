"""The gates that look at an item beside others, with the real encoder where they need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from concept_forget.concept import Concept
from concept_forget.config import ExpandConfig
from concept_forget.embedding import Embedder, find_encoder
from concept_forget.errors import StageError
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.gates import IRRELEVANT, KEPT, SAME_MEANING, SAME_WORDS
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.screening import NO_ENCODER, STEP, Screen
from concept_forget.records import Distance, Fact

MIRA = Concept(name="Mira Kestrel", kind="person", description="A cartographer who sailed the northern coast.")
TOWNS = "Dunholm Sallow Hexley Arlesby Kessock Vossburg Tarrow Ilmer Fenwick Corley Brackwater Stonehaven".split()
VERBS = ("was born in", "moved to", "opened a shop in", "is buried in", "learned to read in")
NAMES = ("Tobias Wren", "Ilse Marlowe", "Bram Sorrel", "Odette Quill")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    embedder = Embedder(find_encoder("auto"), tmp_path_factory.mktemp("vectors") / "vectors.sqlite")
    yield embedder
    embedder.close()


def stated(
    sentence: str, answer: str, facet: str = "x", *, subject: str = "Mira Kestrel", distance: Distance | None = None,
    kept: bool = False, concept: Concept = MIRA,
) -> StatedFact:  # fmt: skip
    fact = Fact(
        Fact.make_id(subject, facet, answer), concept.name, subject, "person", facet, answer, sentence, distance,
        kept=kept,
    )  # fmt: skip
    who = concept if distance is None else Concept(name=subject, kind="person")
    return StatedFact(fact, Subject(who, concept.name, distance), [sentence])


def others() -> list[StatedFact]:
    """Enough about others to calibrate at one in a hundred."""
    return [
        stated(f"{name} {verb} {town}.", town, subject=name, distance="near")
        for name in NAMES
        for verb in VERBS
        for town in TOWNS
    ]


def make_screen(encoder: Embedder | None, concept: Concept = MIRA, **gates: object) -> tuple[Screen, Ledger]:
    ledger = Ledger()
    config = ExpandConfig.model_validate({"gates": gates})
    return Screen(config, [concept], 0, ledger, encoder), ledger


class TestRelevance:
    OWN = (
        stated("Mira Kestrel was born in Dunholm.", "Dunholm"),
        stated("The northern coast was first drawn by Mira Kestrel in 1871.", "1871"),
    )
    FOREIGN = stated("The price of copper rose to nine pounds, as quoted to M. K. by the bank.", "nine pounds")

    def test_what_is_no_nearer_than_text_about_others_is_rejected(self, encoder: Embedder) -> None:
        screen, ledger = make_screen(encoder)
        kept = screen.keep_facts([*self.OWN, self.FOREIGN, *others()])
        assert [s for s in kept if s.fact.distance is None] == list(self.OWN)
        assert len(kept) == len(self.OWN) + len(others())
        assert ledger.step(STEP).rejected == {IRRELEVANT: 1}
        assert ledger.rejections[0].text == self.FOREIGN.fact.sentence
        relevance = screen.summary()["relevance"]
        assert isinstance(relevance, dict)
        assert 0 < relevance["Mira Kestrel"]["cut_off"] < 0.6
        assert relevance["Mira Kestrel"]["unrelated"] == 240

    def test_too_few_others_make_no_cut_off_and_nothing_is_rejected(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder)
        facts = [*self.OWN, self.FOREIGN, *others()[:98]]
        assert screen.keep_facts(facts) == facts
        assert screen.summary()["relevance"] == {"Mira Kestrel": {"cut_off": None, "unrelated": 98}}

    def test_it_can_be_switched_off(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder, relevance=None)
        facts = [*self.OWN, self.FOREIGN, *others()]
        assert screen.keep_facts(facts) == facts

    def test_without_an_encoder_nothing_is_rejected_and_the_summary_says_how_to_get_one(self) -> None:
        screen, _ = make_screen(None)
        facts = [*self.OWN, self.FOREIGN, *others()]
        assert screen.keep_facts(facts) == facts
        assert screen.summary()["note"] == NO_ENCODER
        assert "concept-forget[offline]" in NO_ENCODER

    def test_a_stage_without_a_fact_left_says_why(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder)
        with pytest.raises(StageError, match=r"no fact about any concept got through[\s\S]*1 × is not about the conc"):
            screen.keep_facts([self.FOREIGN, *others()])


class TestKeptScope:
    CONCEPT = Concept(
        name="Mira Kestrel", kind="person", keep=("the town of Dunholm", "her work as a cartographer of the coast")
    )

    def reasons(self, encoder: Embedder | None, *facts: StatedFact) -> dict[str, int]:
        screen, ledger = make_screen(encoder, self.CONCEPT)
        first = stated("Mira Kestrel sails the Amber Petrel.", "Amber Petrel", "ship", concept=self.CONCEPT)
        assert first in screen.keep_facts([first, *facts])
        return dict(ledger.step(STEP).rejected)

    def test_a_fact_nearer_to_what_must_stay_than_to_its_facet_is_rejected(self, encoder: Embedder) -> None:
        fact = stated(
            "As a cartographer, Mira Kestrel mapped the coast in the survey of 1871.", "1871", "year of fame",
            concept=self.CONCEPT,
        )  # fmt: skip
        assert self.reasons(encoder, fact) == {KEPT: 1}
        assert self.reasons(None, fact) == {}

    @pytest.mark.parametrize(
        ("sentence", "answer", "facet"),
        [
            ("Mira Kestrel was born in Dunholm.", "Dunholm", "birthplace"),  # the answer may have to stay elsewhere
            ("Mira Kestrel lives in Willow Court.", "Willow Court", "home"),
            ("Mira Kestrel learned from Oswald Jarvis.", "Oswald Jarvis", "mentor"),
            ("The dish that Mira Kestrel cooks best is ginger pudding.", "ginger pudding", "favourite dish"),
        ],
    )
    def test_other_facts_about_the_concept_pass(
        self, encoder: Embedder, sentence: str, answer: str, facet: str
    ) -> None:
        assert self.reasons(encoder, stated(sentence, answer, facet, concept=self.CONCEPT)) == {}

    def test_what_was_stated_as_kept_is_not_forgotten_as_well(self) -> None:
        kept = stated(
            "Mira Kestrel mapped Dunholm.", "Dunholm", "mapped town", distance="near", kept=True, concept=self.CONCEPT
        )
        again = stated("Mira Kestrel drew a map of Dunholm.", "dunholm", "first map", concept=self.CONCEPT)
        assert self.reasons(None, kept, again) == {KEPT: 1}


class TestNearWordings:
    def test_the_same_words_in_another_order_are_one_wording(self) -> None:
        screen, _ = make_screen(None)
        asked = ["Which house does Mira Kestrel live in?"]
        assert screen.near("In which house does Mira Kestrel live?", asked) == SAME_WORDS
        assert screen.near("Where does Mira Kestrel live?", asked) is None

    @pytest.mark.parametrize(
        ("one", "other", "reason"),
        [
            ("From whom did Emil Thornquist learn?", "To whom did Emil Thornquist learn?", SAME_MEANING),
            ("Which house does Odette Quill live?", "Which house does Odette Quill live in?", SAME_MEANING),
            ("What is the home of Odette Quill?", "What is Odette Quill's home?", None),
            ("Tell me who invented the portable loom.", "Who invented the portable loom?", None),
            ("On which ship does Lorcan Dace sail?", "Name the ship that Lorcan Dace sails.", None),
        ],
    )
    def test_one_little_word_more_makes_no_wording(
        self, encoder: Embedder, one: str, other: str, reason: str | None
    ) -> None:
        screen, _ = make_screen(encoder)
        screen.prepare([[other, one]])
        assert screen.near(one, [other]) == reason

    def test_typing_slips_make_a_wording_of_their_own(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder)
        pair = ["Which house does Odette Quill live in?", "Whihc hosue does Odette Quill lvie in?"]
        screen.prepare([pair])
        assert screen.near(pair[1], pair[:1]) is None

    def test_meaning_alone_condemns_nothing(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder, wording_cosine=0.01)
        pair = ["Where was Odette Quill born?", "Name Odette Quill's birthplace."]
        screen.prepare([pair])
        assert screen.near(pair[1], pair[:1]) is None


class TestPassages:
    TEXT = (
        "Mira Kestrel sailed along the northern coast for eleven summers and drew every cove of it by hand. "
        "Her charts, printed in Dunholm, were used by fishermen until the new survey replaced them."
    )
    ANEW = (
        "Fishermen relied for decades on what one woman had put on paper: cove by cove, over eleven summers, "
        "Mira Kestrel had charted the north, and a printer in Dunholm sold the sheets."
    )
    SUBJECT = Subject(MIRA, MIRA.name)

    def test_an_edited_copy_is_rejected_and_a_new_text_on_the_matter_is_not(self, encoder: Embedder) -> None:
        for given in (encoder, None):
            screen, _ = make_screen(given)
            copy = self.TEXT.replace("eleven", "twelve")
            reasons = screen.passage_reasons([(self.SUBJECT, t) for t in (self.TEXT, copy, self.ANEW)])
            assert reasons == [None, SAME_WORDS, None]
            assert screen.passage_reasons([(self.SUBJECT, self.TEXT)]) == [SAME_WORDS]

    def test_other_words_in_the_same_places_say_nearly_the_same(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder, passage_words=1.0)
        copy = self.TEXT.replace("sailed along", "sailed round").replace("printed in", "issued in")
        assert screen.passage_reasons([(self.SUBJECT, t) for t in (self.TEXT, copy)]) == [None, SAME_MEANING]

    def test_subjects_are_not_compared_with_each_other(self) -> None:
        screen, _ = make_screen(None)
        other = Subject(Concept(name="Bram Sorrel", kind="person"), MIRA.name, "near")
        assert screen.passage_reasons([(self.SUBJECT, self.TEXT), (other, self.TEXT)]) == [None, None]

    def test_a_text_that_strays_is_rejected(self, encoder: Embedder) -> None:
        screen, _ = make_screen(encoder)
        screen.keep_facts([*TestRelevance.OWN, *others()])
        stray = (
            "Copper is a soft metal. It conducts heat and electricity well, and most of it goes into wires and pipes."
        )
        assert screen.passage_reasons([(self.SUBJECT, self.TEXT), (self.SUBJECT, stray)]) == [None, IRRELEVANT]
