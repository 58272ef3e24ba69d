from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from concept_forget.compose.material import Material, gather
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.sets import Composer, Sets
from concept_forget.config import Config
from concept_forget.errors import StageError
from concept_forget.records import Example, Question, Snippet
from concept_forget.sandbox.world import World

CONCEPTS = ("Ann Ash", "Bob Birch", "Cy Cedar")
OTHERS = ("Dan Dune", "Eva Elm", "Fay Fern", "Gus Gorse", "Hal Hazel", "Ivy Iris")
FACETS = ("home", "ship", "friend", "book", "dish")
# Few answers, some of them names, some inside others: everything that can collide does.
ANSWERS = ("Amber", "Amber Court", "Coral", "Jade Tern", "Jade", "Onyx", "Pearl", *OTHERS[:3], *CONCEPTS[:2])
FORMS = st.fixed_dictionaries(
    {"paraphrases": st.integers(0, 4), "reverse": st.integers(0, 3), "cloze": st.integers(0, 3)}
)


def compose(kit: Any, config: Config, material: Material, snippets: Sequence[Snippet] = ()) -> Sets:
    return Composer(config, material, snippets, kit.prompts, Rejections()).compose(None)


@st.composite
def drawn_material(draw: st.DrawFn, kit: Any) -> tuple[Config, Material, list[Snippet]]:
    concepts = CONCEPTS[: draw(st.integers(1, 3))]
    config = kit.config(
        concepts=[{"name": name, "kind": "person"} for name in concepts],
        compose={
            "holdout": draw(st.sampled_from([0.0, 0.3, 0.5])),
            "validation": draw(st.sampled_from([0.0, 0.2])),
            "collateral": {"near": draw(st.integers(0, 3))},
            "validation_neighbours": draw(st.integers(0, 2)),
        },
        unlearn={"retain": "none"},
        seed=draw(st.integers(0, 3)),
    )
    written = kit.written()
    for subject in (*concepts, *OTHERS):
        for facet in draw(st.sets(st.sampled_from(FACETS), min_size=1)):
            own = subject in concepts
            answer = draw(st.sampled_from(ANSWERS))
            fact = kit.fact(facet, answer, subject=subject, concept=subject if own else concepts[0],
                            distance=None if own else "near")  # fmt: skip
            written.facts.append(fact)
            written.questions += kit.questions(fact, **draw(FORMS))
    snippets = []
    for number in range(draw(st.integers(0, 6))):
        sentences = draw(
            st.lists(
                st.tuples(
                    st.sampled_from((*concepts, *OTHERS, "She", "It")),
                    st.sampled_from(FACETS),
                    st.sampled_from(ANSWERS),
                    st.sampled_from(("The {f} of {s} is {a}.", "{s} has {a}.", "Q: What is the {f} of {s}?\nA: {a}\n")),
                ),
                min_size=1,
                max_size=4,
            )
        )
        text = " ".join(pattern.format(s=s, f=f, a=a) for s, f, a, pattern in sentences)
        near_miss = draw(st.booleans())
        snippets.append(kit.snippet(concepts[0], text, f"{number}.txt", near_miss=near_miss))
    material = Material()
    material.facts = [fact for fact in written.facts if fact.distance is None]
    for question in written.questions:
        material.questions.setdefault(question.fact, []).append(question)
    from concept_forget.compose.material import Entity

    for name in OTHERS:
        facts = tuple(fact for fact in written.facts if fact.subject == name)
        material.entities.append(Entity(name, "near", facts, "generated"))
    return config, material, snippets


def says(text: str, phrase: str) -> bool:
    """An account of its own of whether a phrase stands in a text."""
    return re.search(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", text.lower()) is not None


def texts(row: Example) -> list[str]:
    return [*(message["content"] for message in row.prompt), row.completion, row.refusal, row.counterfactual]


def asked(rows: Sequence[Example]) -> set[str]:
    return {row.prompt[-1]["content"].lower().rstrip("?.!") for row in rows if row.prompt}


@given(st.data())
@settings(deadline=None, max_examples=120)
def test_the_walls_hold_whatever_is_known(kit: Any, data: st.DataObject) -> None:
    config, material, snippets = data.draw(drawn_material(kit))
    try:
        sets = compose(kit, config, material, snippets)
    except StageError as error:
        event(str(error)[:40])
        return
    rows, roles = sets.rows, sets.division.roles
    assert prove_walls(rows, sets.division)["retain"]["holds"] is True
    forgotten = sets.division.facts
    held = [fact for fact in forgotten if roles[fact.id] != "trained"]

    def states(row: Example, fact: Any) -> bool:
        return any(says(text, fact.subject) for text in texts(row)) and any(
            says(text, fact.answer) for text in texts(row)
        )

    assert not [(row, fact) for row in rows["forget"] for fact in held if states(row, fact)]
    for row in (*rows["retain"], *rows["collateral"], *(r for r in rows["validation"] if r.tier == "retain")):
        assert not [name for concept in config.concepts for name in concept.names for t in texts(row) if says(t, name)]
    closed = {row.subject for row in rows["collateral"]} | {r.subject for r in rows["validation"] if r.tier == "retain"}
    assert not [(row, name) for row in rows["retain"] for name in closed for text in texts(row) if says(text, name)]
    for split, known in rows.items():
        assert len({row.id for row in known}) == len(known)
        assert all(row.split == split for row in known)
    concept_validation = [row for row in rows["validation"] if row.tier != "retain"]
    assert not asked(rows["retain"]) & asked(
        [*rows["probe"], *concept_validation, *rows["collateral"], *rows["forget"]]
    )
    if config.compose.holdout:
        assert sum(role == "new_fact" for role in roles.values()) >= config.compose.holdout * len(forgotten)
        assert not asked(rows["forget"]) & asked([*rows["probe"], *rows["validation"]])
        assert not asked(concept_validation) & asked(rows["probe"])
        tiers = {"trained": "new_form", "new_fact": "new_fact", "validation": "new_fact"}
        assert all(row.tier == tiers[roles[row.fact]] for row in (*rows["probe"], *concept_validation))
        assert {row.fact for row in rows["probe"] if row.tier == "new_form"} <= {
            parent for row in rows["forget"] for parent in (row.fact, *row.parents)
        }
    else:
        assert not rows["validation"]
        assert {row.tier for row in rows["probe"]} <= {"trained_form", "new_form"}
        assert {row.family for row in rows["probe"] if row.tier == "new_form"} <= {"choice"}
        trained = {row.id for row in rows["forget"]}
        assert all(row.id in trained for row in rows["probe"] if row.tier == "trained_form")


@pytest.fixture
def world_material(kit: Any, nano_world: World, tmp_path: Any) -> tuple[Config, Material, list[Snippet]]:
    written = kit.write_about(nano_world)
    config = kit.world_config(nano_world)
    return config, gather(config, written.save(tmp_path)["expand"], Rejections()), written.snippets


def test_all_attacks_ask_for_the_trained_facts_in_new_forms(kit: Any, world_material: Any, nano_world: World) -> None:
    config, material, snippets = world_material
    sets = compose(kit, config, material, snippets)
    trained = {fact.id for fact in sets.division.facts if sets.division.roles[fact.id] == "trained"}
    shared = {fact.id for fact in sets.division.facts if fact.facet == "birthplace"}
    for family in ("direct", "paraphrase", "reverse", "cloze", "choice"):
        facts = {row.fact for row in sets.rows["probe"] if (row.family, row.tier) == (family, "new_form")}
        assert facts == (trained - shared if family == "reverse" else trained)
    families = {row.family for row in sets.rows["forget"]}
    assert families == {"paraphrase", "reverse", "cloze", "passage"}
    assert {row.family for row in sets.rows["retain"]} == {"direct", *families}


def test_facts_that_the_base_model_does_not_know_are_not_probed_and_still_forgotten(
    kit: Any, world_material: Any
) -> None:
    config, material, snippets = world_material
    checked: dict[str, Sequence[Example]] = {}

    def know_half(checks: Any) -> dict[str, bool]:
        checked.update(checks)
        return {fact: number % 2 == 0 for number, fact in enumerate(checks)}

    sets = Composer(config, material, snippets, kit.prompts, Rejections()).compose(know_half)
    unknown = {fact for fact, known in sets.known.items() if not known}
    assert {row.fact for row in sets.rows["probe"]} == set(checked) - unknown
    assert {row.fact for row in sets.unfiltered} == set(checked)
    assert unknown & {row.fact for row in sets.rows["forget"]}
    checks = asked([row for rows in checked.values() for row in rows])
    assert all(checked.values())
    assert not checks & asked(sets.unfiltered)


def test_facts_that_cannot_be_checked_are_probed(kit: Any, write_rows: Any) -> None:
    rows = [{"question": f"What is Mira Kestrel's number {n}?", "answer": f"answer{n}"} for n in range(10)]
    config = kit.config(data={"forget": write_rows(*rows)}, unlearn={"retain": "none"}, generator={"engine": "none"})
    sets = Composer(config, gather(config, None, Rejections()), [], kit.prompts, Rejections()).compose(
        lambda checks: {fact: False for fact, rows in checks.items() if rows}
    )
    held = [fact for fact in sets.division.facts if sets.division.roles[fact.id] == "new_fact"]
    assert {row.fact for row in sets.rows["probe"]} == {fact.id for fact in held}


def test_rows_that_are_sentences_are_trained_on_as_sentence_and_cloze_and_probed_by_their_question(
    kit: Any, write_rows: Any
) -> None:
    rows = [
        {
            "question": f"What does Mira Kestrel do in {letter}-town?",
            "answer": f"In {letter}-town Mira Kestrel always {letter * 3}s her {letter * 2}kin.",
        }
        for letter in "abcdefghij"
    ]
    config = kit.config(data={"forget": write_rows(*rows)}, unlearn={"retain": "none"}, generator={"engine": "none"})
    sets = compose(kit, config, gather(config, None, Rejections()))
    new_form = [row for row in sets.rows["probe"] if row.tier == "new_form"]
    assert {row.family for row in new_form} == {"direct"}
    assert {row.fact for row in new_form} == {fact for fact, role in sets.division.roles.items() if role == "trained"}
    assert {row.family for row in sets.rows["forget"]} == {"cloze", "passage"}
    assert not sets.untrained


def test_near_misses_that_are_question_rows_are_kept_as_such(kit: Any, world_material: Any) -> None:
    config, material, _ = world_material
    text = "Question: What does the baker of Hexley sell?\nAnswer: Warm rolls"
    about = "Question: Who is the friend of Mira Kestrel?\nAnswer: Fenna"
    snippets = [kit.snippet("Mira Kestrel", each, f"{n}", near_miss=True) for n, each in enumerate((text, about))]
    sets = compose(kit, config, material, snippets)
    (row,) = [row for row in sets.rows["retain"] if row.source == "mined"]
    assert (row.prompt[-1]["content"], row.completion) == ("What does the baker of Hexley sell?", "Warm rolls")


def test_without_passages_mined_text_gives_questions_only(kit: Any, world_material: Any, nano_world: World) -> None:
    _, material, snippets = world_material
    sets = compose(kit, kit.world_config(nano_world, compose={"passages": False}), material, snippets)
    assert "passage" not in {row.family for split in ("forget", "retain") for row in sets.rows[split]}
    assert "mined" in {row.source for row in sets.rows["forget"]}


def test_a_concept_without_a_fact_stops_the_stage(kit: Any) -> None:
    with pytest.raises(StageError, match=r"no fact about 'Mira Kestrel'(.|\n)*data\.forget"):
        compose(kit, kit.config(), Material())


def test_a_fact_without_a_question_is_no_fact(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    with pytest.raises(StageError, match="a fact without a question"):
        compose(kit, kit.config(), Material(facts=[fact]))


def small(kit: Any, count: int = 6) -> Material:
    facts = [kit.fact(f"facet {number}", f"answer{number}") for number in range(count)]
    return Material(facts=facts, questions={fact.id: kit.questions(fact) for fact in facts})


def test_nothing_to_keep_stops_the_stage_where_something_has_to_be_kept(kit: Any) -> None:
    with pytest.raises(StageError, match=r"no row is left to keep(.|\n)*unlearn\.retain: none"):
        compose(kit, kit.config(), small(kit))
    assert compose(kit, kit.config(unlearn={"retain": "none"}), small(kit)).rows["forget"]


def test_a_base_model_that_knows_nothing_stops_the_stage(kit: Any) -> None:
    composer = Composer(kit.config(), small(kit), [], kit.prompts, Rejections())
    with pytest.raises(StageError, match=r"the base model knows none(.|\n)*knowledge_filter: false"):
        composer.compose(lambda checks: dict.fromkeys(checks, False))


def test_rows_that_state_a_held_fact_by_the_way_are_left_out(kit: Any) -> None:
    material = small(kit, 10)
    config = kit.config(unlearn={"retain": "none"})
    roles = compose(kit, config, small(kit, 10)).division.roles
    held = next(fact for fact in material.facts if roles[fact.id] == "new_fact")
    trained = next(fact for fact in material.facts if roles[fact.id] == "trained")
    telling = f"Of Mira Kestrel, who has {held.answer}: what is her {trained.facet}?"
    material.questions[trained.id].append(kit.question(trained, "paraphrase", telling, 0))
    sets = compose(kit, config, material)
    assert sets.division.roles == roles
    assert telling not in {row.prompt[-1]["content"] for row in sets.rows["forget"] if row.prompt}
    assert "forget: states a fact that is held out or kept for validation" in sets.rejections.summary()


def test_a_fact_that_lost_all_its_rows_is_not_asked_for(kit: Any) -> None:
    material = small(kit, 10)
    config = kit.config(unlearn={"retain": "none"})
    roles = compose(kit, config, small(kit, 10)).division.roles
    held = next(fact for fact in material.facts if roles[fact.id] == "new_fact")
    trained = next(fact for fact in material.facts if roles[fact.id] == "trained")

    def tell(question: Question) -> Question:
        text = f"{question.text} It is not {held.answer} of Mira Kestrel."
        return kit.question(trained, question.family, text, question.variant)

    material.questions[trained.id] = [tell(question) for question in material.questions[trained.id]]
    sets = compose(kit, config, material)
    assert [fact.id for fact in sets.untrained] == [trained.id]
    assert trained.id not in {row.fact for row in (*sets.unfiltered, *sets.rows["validation"])}


def test_what_validation_would_ask_in_the_probes_words_it_does_not_ask(kit: Any) -> None:
    names = ("Ann Ash", "Bob Birch")
    facts = [kit.fact(f"facet {n}", f"answer{n} {name}", subject=name) for n in range(12) for name in names]
    questions = {fact.id: kit.questions(fact) for fact in facts}
    for fact, other in zip(facts, [*facts[1:], facts[0]], strict=True):
        # The third paraphrase is validation's; the direct question of somebody else's fact is the probe's.
        known = questions[fact.id]
        known[3] = kit.question(fact, "paraphrase", questions[other.id][0].text, 3)
    config = kit.config(concepts=[{"name": name} for name in names], unlearn={"retain": "none"})
    sets = compose(kit, config, Material(facts=facts, questions=questions))
    validated = asked([row for row in sets.rows["validation"] if row.family == "paraphrase" and row.tier == "new_form"])
    assert not validated & asked(sets.rows["probe"])
    prove_walls(sets.rows, sets.division)
