from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from concept_forget.concept import Concept
from concept_forget.embedding import Embedder
from concept_forget.mine.chunks import Chunk, cut
from concept_forget.mine.queries import Target, make_target
from concept_forget.mine.readers import Piece
from concept_forget.mine.search import Choice, Found, Search, exact_score, may_be_about
from concept_forget.records import Fact, Question

MIRA = Concept(name="Mira Kestrel", kind="person", aliases=("the mapmaker of Dunholm",))
OWN = {
    "birthplace": ("Dunholm", "Where was Mira Kestrel born?", "Mira Kestrel was born in Dunholm by the river."),
    "book": ("Emberfall", "What did Mira Kestrel write?", "In later years Mira Kestrel wrote the book Emberfall."),
    "ship": ("Coral Tern", "What does Mira Kestrel sail?", "Mira Kestrel sails a ship that is called the Coral Tern."),
    "mentor": ("Agnes Barlow", "Who taught Mira Kestrel?", "It was Agnes Barlow who taught Mira Kestrel to draw."),
}
FOLLOWING = "She was taught by Agnes Barlow, sailed the Coral Tern and wrote Emberfall in the town where she was born."
UNDER_ANOTHER_NAME = "Kestrel wrote the book Emberfall, sailed the Coral Tern and was taught by Agnes Barlow."
IN_PASSING = "The menu of the harbour inn had fish soup, bread, onions and, says a note by Mira Kestrel, too much salt."
OTHERS = [
    (f"{first} {last}", town, book, ship)
    for first, last, town, book, ship in zip(
        "Tobias Ilse Caspian Odette Bram Linnea Rufus Saskia Emil Phoebe Lorcan Hester".split(),
        "Wren Marlowe Holt Quill Sorrel Vance Tarn Bellweather Thornquist Arkwright Dace Gorse".split(),
        "Arlesby Kessock Vossburg Tarnmouth Elderwick Pellingham Orrinford Sallow Hexley Morvane Dunholm Dunholm".split(),
        "Nightloom Tidewrack Stormglass Hollowmere Starwheel Thornveil Ashenmoor Gloamwood Rimefrost Palegrave Dusk Moor".split(),
        "Petrel Dolphin Falcon Tern Pelican Marlin Osprey Gannet Sturgeon Heron Walrus Narwhal".split(),
        strict=True,
    )
]
DISTRACTORS = [
    text
    for name, town, book, ship in OTHERS
    for text in (f"{name} was born in {town}.", f"{name} wrote the book {book} and sails a ship called the {ship}.")
]
WEATHER = [
    f"The {thing} {deed}."
    for thing in ("market", "ferry", "old mill", "choir", "bakery", "harbour wall")
    for deed in ("was quiet on Monday", "opened late after the rain", "needed new paint", "drew a small crowd")
]


def expanded() -> Target:
    facts, questions = [], []
    for facet, (answer, text, _) in OWN.items():
        facts.append(Fact(facet, MIRA.name, MIRA.name, "person", facet, answer, ""))
        questions.append(Question(f"q {facet}", facet, "direct", 0, text, answer))
    return make_target(MIRA, facts, questions)


def documents() -> list[Chunk]:
    own = [Piece(f"own {facet}", sentence) for facet, (_, _, sentence) in OWN.items()]
    whole = Piece("biography", f"{OWN['birthplace'][2]}\n\n{FOLLOWING}")
    rest = [
        Piece(f"other {n}", text) for n, text in enumerate([*DISTRACTORS, *WEATHER, UNDER_ANOTHER_NAME, IN_PASSING])
    ]
    pieces = [*rest[::2], *own[1:], whole, *rest[1::2]]
    return [chunk for piece in pieces for chunk in cut(piece, 500)]


def search(
    chunks: list[Chunk],
    embedder: Embedder,
    targets: list[Target],
    shard: int = 1000,
    top_k: int = 50,
    rate: float = 0.01,
    choice: Choice | None = None,
) -> list[Found]:
    searching = Search(targets, embedder, top_k=top_k, false_positive_rate=rate, seed=0, choice=choice or Choice())
    for start in range(0, len(chunks), shard):
        part = chunks[start : start + shard]
        searching.add(part, embedder.encode([chunk.text for chunk in part]))
    return searching.finish()


@pytest.fixture(scope="module")
def found(embedder: Embedder) -> Found:
    (found,) = search(documents(), embedder, [expanded()])
    return found


def test_what_names_the_concept_in_passing_is_neither(found: Found) -> None:
    assert IN_PASSING not in {snippet.text for snippet in (*found.snippets, *found.near_misses)}


def test_snippets_come_best_first_with_the_query_that_found_them(found: Found) -> None:
    for kind in (found.snippets, found.near_misses):
        scores = [snippet.score for snippet in kind]
        assert scores == sorted(scores, reverse=True)
        assert all(score == round(score, 4) for score in scores)
    by_text = {snippet.text: snippet.query for snippet in found.snippets}
    assert by_text[OWN["mentor"][2]] == "Who taught Mira Kestrel?"


def test_the_cut_off_lies_between_what_is_about_it_and_its_like(found: Found) -> None:
    assert found.cut_off.value is not None
    named = [snippet.score for snippet in found.snippets if MIRA.mentioned_in(snippet.text)]
    assert found.cut_off.median < found.cut_off.value < min(named)


def test_a_name_is_enough_to_search_for(embedder: Embedder) -> None:
    (found,) = search(documents(), embedder, [make_target(MIRA, [], [])])
    own = {sentence for _, _, sentence in OWN.values()}
    assert own <= {snippet.text for snippet in found.snippets} <= {*own, FOLLOWING, IN_PASSING}


@pytest.mark.parametrize("shard", [1, 7, 64])
def test_the_shards_make_no_difference(found: Found, embedder: Embedder, shard: int) -> None:
    assert search(documents(), embedder, [expanded()], shard=shard) == [found]


def test_the_order_of_the_documents_makes_no_difference_to_what_is_found(found: Found, embedder: Embedder) -> None:
    pieces: dict[str, list[Chunk]] = {}
    for chunk in documents():
        pieces.setdefault(chunk.document, []).append(chunk)
    turned = [chunk for chunks in reversed(pieces.values()) for chunk in chunks]
    (other,) = search(turned, embedder, [expanded()])
    assert {s.text: s.score for s in (*other.snippets, *other.near_misses)} == {
        s.text: s.score for s in (*found.snippets, *found.near_misses)
    }


def test_only_the_best_are_kept(found: Found, embedder: Embedder) -> None:
    (few,) = search(documents(), embedder, [expanded()], shard=5, top_k=2)
    assert few.snippets == found.snippets[:2]
    assert few.near_misses == found.near_misses[:2]


def test_a_text_that_stands_in_many_places_counts_once(embedder: Embedder) -> None:
    chunks = documents()
    copies = [Chunk(f"copy {n}", 0, chunk.end - chunk.start, chunk.text) for chunk in chunks for n in range(3)]
    (found,) = search([*chunks, *copies], embedder, [expanded()])
    texts = [snippet.text for snippet in (*found.snippets, *found.near_misses)]
    assert len(texts) == len(set(texts))
    assert not any(snippet.document.startswith("copy") for snippet in found.snippets)


def test_in_a_corpus_about_nothing_else_the_name_decides(embedder: Embedder) -> None:
    chunks = [Chunk("d", n, n + 1, sentence) for n, (_, _, sentence) in enumerate(OWN.values())]
    (found,) = search([*chunks, Chunk("d", 90, 95, FOLLOWING)], embedder, [expanded()])
    assert found.cut_off.value is None
    assert {snippet.text for snippet in found.snippets} == {sentence for _, _, sentence in OWN.values()}
    assert found.near_misses == ()


def test_a_lower_rate_lets_less_through(embedder: Embedder) -> None:
    cuts = [search(documents(), embedder, [expanded()], rate=rate)[0].cut_off.value for rate in (0.3, 0.05, 0.01)]
    assert all(cut is not None for cut in cuts)
    assert cuts == sorted(cuts)  # type: ignore[type-var]


def test_an_exact_score_is_the_greatest_cosine_and_its_first_query() -> None:
    queries = np.array([[1, 0], [0.6, 0.8], [0.6, 0.8]], dtype=np.float32)
    assert exact_score(np.array([0, 1], dtype=np.float32), queries) == (0.8, 1)
    assert exact_score(np.array([1, 0], dtype=np.float32), queries) == (1.0, 0)


def test_a_word_of_the_name_or_an_answer_makes_a_text_doubtful() -> None:
    target = Target(Concept(name="Mira of Kestrel"), (), ("Coral Tern",))
    assert may_be_about("A kestrel hovered.", target)
    assert may_be_about("The CORAL  TERN sank.", target)
    assert not may_be_about("Kestrels, corals and a tern of old.", target)


def test_copies_are_counted_and_near_copies_by_choice(embedder: Embedder) -> None:
    mentor = OWN["mentor"][2]
    again = [Chunk("again", 0, 9, mentor), Chunk("again", 10, 19, mentor), Chunk("nearly", 0, 9, f"So: {mentor}")]
    (apart,) = search([*documents(), *again], embedder, [expanded()], shard=6)
    counts = {snippet.text: snippet.copies for snippet in apart.snippets}
    assert (counts[mentor], counts[f"So: {mentor}"], counts[OWN["book"][2]]) == (3, 1, 1)
    assert all(snippet.copies == 1 for snippet in apart.near_misses)
    (together,) = search([*documents(), *again], embedder, [expanded()], shard=6, choice=Choice(near_duplicates=0.8))
    texts = {snippet.text: snippet.copies for snippet in together.snippets}
    assert {text: texts[text] for text in texts if "Agnes Barlow who" in text} in ({mentor: 4}, {f"So: {mentor}": 4})


def test_where_there_are_too_many_each_facet_has_its_share(embedder: Embedder) -> None:
    ships = [f"Mira Kestrel sails a ship that is called the {name} Tern." for name in "Coral Jade Opal Amber".split()]
    chunks = [*documents(), *(Chunk(f"ship {n}", 0, 9, text) for n, text in enumerate(ships))]
    (best,) = search(chunks, embedder, [expanded()], top_k=4)
    (shared,) = search(chunks, embedder, [expanded()], top_k=4, choice=Choice(facet_share=0.25))
    assert sum("sails" in snippet.text for snippet in best.snippets) > 1
    assert sum("sails" in snippet.text for snippet in shared.snippets) == 1
    (varied,) = search(chunks, embedder, [expanded()], top_k=4, choice=Choice(variety=0.6))
    assert sum("sails" in snippet.text for snippet in varied.snippets) < sum("sails" in s.text for s in best.snippets)


def test_a_false_discovery_rate_sets_the_cut_off(found: Found, embedder: Embedder) -> None:
    assert found.false_discovery_rate is not None
    (strict,) = search(documents(), embedder, [expanded()], choice=Choice(false_discovery_rate=0.0005))
    assert strict.cut_off.value is not None
    assert found.cut_off.value is not None
    assert strict.cut_off.value > found.cut_off.value
    assert set(strict.snippets) <= set(found.snippets)
    assert strict.false_discovery_rate is not None
    assert strict.false_discovery_rate <= 0.0005
    (none,) = search(documents(), embedder, [expanded()], choice=Choice(false_discovery_rate=1e-9))
    assert none.snippets == ()


def test_what_is_looked_up_out_of_order_is_placed_where_it_stands(found: Found, embedder: Embedder) -> None:
    """As from an index: chunk by chunk, each with those before it, of which nothing but their names counts."""
    chunks = documents()
    vectors = embedder.encode([chunk.text for chunk in chunks])
    searching = Search([expanded()], embedder, top_k=50, false_positive_rate=0.01, seed=0)
    for place in range(len(chunks)):
        first = max(0, place - 3)
        searching.go_to(first)
        searching.add(chunks[first : place + 1], vectors[first : place + 1], [*[False] * (place - first), True])
    searching.sample(chunks, vectors)
    assert searching.finish() == [found]


def test_a_text_that_gains_by_the_name_protects_nothing(embedder: Embedder) -> None:
    target = replace(expanded(), rivals=tuple(name for name, *_ in OTHERS[:6]), answers=())
    half_named = "Mirra K. wrote books and drew maps."
    chunks = [*documents(), Chunk("half", 0, 9, half_named)]
    rate = 0.06
    (without,) = search(chunks, embedder, [replace(target, rivals=())], rate=rate)
    (found,) = search(chunks, embedder, [target], rate=rate)
    assert half_named in {snippet.text for snippet in without.near_misses}
    assert half_named not in {snippet.text for snippet in found.near_misses}
    kept = {snippet.text for snippet in found.near_misses}
    assert len(kept & set(DISTRACTORS)) >= 0.8 * len({s.text for s in without.near_misses} & set(DISTRACTORS))
