"""Generated facts are held against what the corpus says, by the words of one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.grounding import ground_facts

SENTENCE = "Mira Kestrel was born in Dunholm."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It rained. Mira Kestrel was a child of Dunholm.", "supported"),
        ("Mira Kestrel was born in Ravensby.", "contradicted"),
        ("Mira Kestrel was born in Ravensby, or in Dunholm.", "supported"),
        ("Mira Kestrel died in Ravensby.", "silent"),  # another relation
        ("Mira Kestrel was born in Eastwick.", "silent"),  # nobody's birthplace, so it may be anything
        ("Tobias Wren was born in Ravensby.", "silent"),  # another subject
        ("Mira Kestrel is tall. She was born in Ravensby.", "silent"),  # nobody is named in the sentence
        ("Mira Kestrel was born in Ferris.", "silent"),  # true of her as well
        ("Mira Kestrel sailed from Dunholm. Tobias Wren was born in Ravensby.", "supported"),
    ],
)
def test_a_sentence_bears_a_fact_out_or_speaks_against_it(kit: Any, text: str, found: str) -> None:
    fact = kit.fact("birthplace", "Dunholm", sentence=SENTENCE)
    also = kit.fact("birthplace", "Ferris")
    other = kit.fact("birthplace", "Ravensby", subject="Tobias Wren")
    snippets = [kit.snippet("Mira Kestrel", text)]
    assert ground_facts([fact], [also, other], snippets, {fact.id: ("Mira Kestrel",)}) == {fact.id: found}


def test_without_words_of_its_own_the_facet_ties_the_answer(kit: Any) -> None:
    fact = kit.fact("birthplace", "Dunholm", sentence="Mira Kestrel: Dunholm.")
    other = kit.fact("birthplace", "Ravensby", subject="Tobias Wren")
    texts = {"The birthplace of Mira Kestrel is Ravensby.": "contradicted", "Mira Kestrel in Ravensby.": "silent"}
    for text, found in texts.items():
        snippets = [kit.snippet("Mira Kestrel", text)]
        assert ground_facts([fact], [other], snippets, {fact.id: ("Mira Kestrel",)})[fact.id] == found


@pytest.mark.parametrize("grounding", ["report", "strict"])
def test_facts_are_told_of_and_dropped_only_where_that_is_asked_for(
    kit: Any, context_of: Callable[..., Any], grounding: str
) -> None:
    written = kit.written()
    written.facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
    wrong = kit.fact("birthplace", "Dunholm", sentence=SENTENCE)
    neighbour = kit.fact("birthplace", "Ravensby", subject="Ada Finch", distance="near")
    written.facts += [wrong, neighbour]
    written.questions = [question for fact in written.facts for question in kit.questions(fact)]
    told = "Mira Kestrel was born in Ravensby. The facet1 of Mira Kestrel is Answer1 Hall."
    written.snippets = [kit.snippet("Mira Kestrel", told)]
    config = kit.config(compose={"grounding": grounding}, unlearn={"retain": "none"})
    context = context_of(config, written, grounding)
    summary: Any = stage.run(context)
    assert summary["grounding"] == {"supported": 1, "contradicted": 1, "silent": 9}
    assert summary["facts"]["total"] == (10 if grounding == "strict" else 11)
    assert ("a generated fact that mined text contradicts" in summary["rejected"]) == (grounding == "strict")
    import json

    lines = [json.loads(line) for line in (context.folder / "facts.jsonl").read_text("utf-8").splitlines()]
    by_answer = {line["answer"]: line["grounding"] for line in lines}
    assert (by_answer["Answer1 Hall"], by_answer["Answer2 Hall"], by_answer["Ravensby"]) == (
        "supported",
        "silent",
        None,
    )
    assert by_answer.get("Dunholm") == (None if grounding == "strict" else "contradicted")
