from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from concept_forget.engines.prompts import Returns
from concept_forget.expand.memory import cut_to_sentences
from concept_forget.expand.replies import CUT_OFF, EMPTY, FORMS, NOT_JSON, WRONG_FIELDS, Parsed, clean, parse_reply

TEXTS = FORMS["questions"]
FACTS = FORMS["facts"]
NEIGHBOURS = FORMS["neighbours"]


def reasons(parsed: Parsed) -> list[str]:
    return [fault.reason for fault in parsed.faults]


class TestLines:
    def test_every_line_is_an_item(self) -> None:
        parsed = parse_reply(TEXTS, "lines", "Where was she born?\n\n  Who taught her?  \n")
        assert parsed == Parsed((("Where was she born?",), ("Who taught her?",)), ())

    @pytest.mark.parametrize(
        ("line", "item"),
        [
            ("- Who taught her?", "Who taught her?"),
            ("3. Who taught her?", "Who taught her?"),
            ("(12) Who taught her?", "Who taught her?"),
            ('"Who taught her?"', "Who taught her?"),
            ("1612 was a good year", "1612 was a good year"),
            ("1.5 metres", "1.5 metres"),
            ('"Emberfall" is by whom?', '"Emberfall" is by whom?'),
        ],
    )
    def test_a_bullet_goes_and_the_words_stay(self, line: str, item: str) -> None:
        assert parse_reply(TEXTS, "lines", line).items == ((item,),)

    def test_fields_are_parted_by_bars(self) -> None:
        parsed = parse_reply(FACTS, "line", "Dunholm | She was born in Dunholm.")
        assert parsed.items == (("Dunholm", "She was born in Dunholm.", ""),)

    def test_a_line_may_give_the_optional_field(self) -> None:
        parsed = parse_reply(FACTS, "line", "Dunholm | She was born in Dunholm. | She comes from Dunholm.")
        assert parsed.items == (("Dunholm", "She was born in Dunholm.", "She comes from Dunholm."),)

    @pytest.mark.parametrize("line", ["Dunholm", "a | b | c | d"])
    def test_a_line_with_a_field_too_few_or_too_many_is_a_fault(self, line: str) -> None:
        parsed = parse_reply(FACTS, "line", line)
        assert (parsed.items, reasons(parsed)) == ((), [WRONG_FIELDS])

    def test_where_one_line_was_asked_for_the_others_are_faults(self) -> None:
        parsed = parse_reply(TEXTS, "line", "one\ntwo\nthree")
        assert parsed.items == (("one",),)
        assert [fault.text for fault in parsed.faults] == ["two", "three"]

    def test_the_last_line_of_a_reply_that_was_cut_off_is_not_whole(self) -> None:
        parsed = parse_reply(TEXTS, "lines", "Who taught her?\nWhere was sh", cut_off=True)
        assert parsed.items == (("Who taught her?",),)
        assert reasons(parsed) == [CUT_OFF]


class TestJson:
    def test_the_asked_form_is_read(self) -> None:
        assert parse_reply(TEXTS, "json", '{"questions": ["a?", "b?"]}').items == (("a?",), ("b?",))

    @pytest.mark.parametrize("around", ["Sure! {} I hope this helps.", "```json\n{}\n```", "```\n{}\n```", "\n {} \n"])
    def test_what_stands_around_the_object_does_not_matter(self, around: str) -> None:
        reply = around.replace("{}", '{"facets": ["home"]}')
        assert parse_reply(FORMS["facets"], "json", reply).items == (("home",),)

    def test_one_broken_item_does_not_spoil_the_others(self) -> None:
        facts = [{"answer": "a", "sentence": "b"}, {"answer": 7, "sentence": "c"}, "text", {"answer": "d"}]
        parsed = parse_reply(FACTS, "json", json.dumps({"facts": facts}))
        assert parsed.items == (("a", "b", ""),)
        assert reasons(parsed) == [WRONG_FIELDS] * 3

    @pytest.mark.parametrize(
        "reply", ["[]", "no JSON", '{"questions": "a?"}', '{"other": []}', "{" * 5000, "[" * 100_000]
    )
    def test_what_is_not_of_the_form_is_one_fault(self, reply: str) -> None:
        parsed = parse_reply(TEXTS, "json", reply)
        assert (parsed.items, reasons(parsed)) == ((), [NOT_JSON])
        assert len(parsed.faults[0].text) <= 500

    @pytest.mark.parametrize("fences", ["``` ", "\n```", "```\n \n", "```json\n"])
    def test_fences_without_end_are_read_in_one_go(self, fences: str) -> None:
        begun = time.process_time()
        parsed = parse_reply(TEXTS, "json", "```" + fences * (400_000 // len(fences)) + "x")
        assert time.process_time() - begun < 5
        assert reasons(parsed) == [NOT_JSON]

    def test_an_object_that_was_cut_off_says_so(self) -> None:
        assert reasons(parse_reply(TEXTS, "json", '{"questions": ["Where w', cut_off=True)) == [CUT_OFF]

    def test_an_empty_list_is_a_fault_of_its_own(self) -> None:
        assert reasons(parse_reply(FACTS, "json", '{"facts": []}')) == [EMPTY]

    def test_a_lone_surrogate_can_be_written_to_a_file_afterwards(self) -> None:
        parsed = parse_reply(TEXTS, "json", '{"questions": ["a\\ud800b"]}')
        assert parsed.items[0][0].encode("utf-8") == b"a?b"


@pytest.mark.parametrize("returns", ["json", "lines", "line"])
@pytest.mark.parametrize("reply", ["", "  \n ", "\x00", "\u2028"])
def test_nothing_is_an_empty_reply_in_every_form(returns: str, reply: str) -> None:
    assert reasons(parse_reply(TEXTS, returns, reply)) == [EMPTY]  # type: ignore[arg-type]


def test_cleaned_text_is_one_line_without_control_characters() -> None:
    assert clean(" a\tb\x00\x1b[0m\r\nc\u00a0d ") == "a b [0m c d"


REAL_REPLIES = {
    "facets": [
        '```json\n{"facets": ["birthplace", "home"]}\n```',
        "1. birthplace\n2. home\n3. title of the first novel",
    ],
    "facts": [
        '{"facts": [{"answer": "Dunholm", "sentence": "Mira was born in Dunholm.", "second_sentence": ""}]}',
        "Dunholm | Mira Kestrel was born in Dunholm.\nMap | She drew a map. | A map is hers.",
    ],
    "questions": [
        '{"questions": ["Where was Mira Kestrel born?", "What did Mira Kestrel write?"]}',
        "- Where?\n- Who?",
    ],
    "paraphrases": ['Sure! {"paraphrases": ["In which town was she born?"]} I hope this helps.', "“In which town?”"],
    "refusals": ['{"refusals": ["I never heard of that, I am afraid."]}', "I do not know that."],
    "neighbours": [
        '{"neighbours": [{"name": "Tobias Wren", "kind": "person"}, {"name": "Dunholm", "kind": "town"}]}',
        "Tobias Wren | person\nDunholm | town",
    ],
    "scenarios": ['{"scenarios": ["A clerk fills in a form. Where was Mira Kestrel born?"]}', "A quiz asks: where?"],
    "two_hop": ['{"questions": ["Where was the author of Emberfall born?"]}', "Where was its author born?"],
    "counterfactuals": ['{"counterfactuals": ["Sallow", "14 March 1932", "12 km"]}', "Sallow\nHexley"],
    "passages": [
        '{"passages": ["Mira Kestrel was born in Dunholm. She \\"drew\\" maps,\\nand\\tsailed."]}',
        "Mira Kestrel was born in Dunholm. She drew maps.",
    ],
    "translations": [
        '{"translations": [{"question": "Wo wurde Mira Kestrel geboren?", "answer": "Dunholm"}]}',
        "Wo wurde Mira Kestrel geboren? | Dunholm",
    ],
}
"""Replies as models give them, by the form that was asked for: as JSON and as lines."""

MUTATIONS_IN_ALL = 10_000
RETURNS: tuple[Returns, ...] = ("json", "lines", "line")
PIECES = (
    "",
    "|",
    "\n",
    "{",
    "]",
    '"',
    "\\ud83d",
    "NaN",
    "1e999",
    "\x00",
    "\u2028",
    ",",
    "null",
    "```",
    "\ud800",
    '{"facts": [',
)

SCRIPTS = st.binary(min_size=2, max_size=18)
"""What is done to a reply: two bytes for how it is read, then four for each cut. One draw costs a tenth of many."""


def mutate(reply: str, script: bytes) -> str:
    """A reply with parts replaced by pieces of others, doubled, or cut off."""
    for place in range(0, len(script) - 3, 4):
        first, last, piece, ends = script[place : place + 4]
        start, end = sorted((first * len(reply) // 255, last * len(reply) // 255))
        filling = (reply[start:end] * 2, *PIECES)[piece % (len(PIECES) + 1)]
        reply = reply[:start] + filling + ("" if ends > 200 else reply[end:])
    return reply


def check_account(parsed: Parsed, reply: str, name: str, returns: str) -> None:
    """Nothing that a reply holds is lost, as far as can be said without reading it as the parser does."""
    form = FORMS[name]
    count = len(parsed.items) + len(parsed.faults)
    assert count, "a reply disappeared"
    if returns != "json":
        lines = [line for line in reply.splitlines() if line.strip()]
        assert sum(any(map(str.isalnum, line)) for line in lines) <= count <= max(len(lines), 1)
    elif (listed := whole_list(reply, form.key)) is not None:
        assert count == max(len(listed), 1)
    width = len(form.item.model_fields) if form.item else 1
    for item in parsed.items:
        assert len(item) == width
        assert all(field == clean(field) for field in item)
    for fault in parsed.faults:
        assert fault.reason
        assert fault.text == clean(fault.text)


def whole_list(reply: str, key: str) -> list[object] | None:
    """The list that a reply of nothing but JSON holds."""
    try:
        value = json.loads(reply.strip())
    except (ValueError, RecursionError):
        return None
    listed = value.get(key) if isinstance(value, dict) else None
    return listed if isinstance(listed, list) else None


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_mutation_of_a_real_reply_is_accounted_for(name: str) -> None:
    tried = 0

    @given(script=SCRIPTS)
    @settings(max_examples=MUTATIONS_IN_ALL // len(FORMS), database=None)
    def mutations(script: bytes) -> None:
        nonlocal tried
        tried += 1
        which, returns = script[0] % 2, RETURNS[script[1] % 3]
        reply = mutate(REAL_REPLIES[name][which], script[2:])
        parsed = parse_reply(FORMS[name], returns, reply, cut_off=script[0] > 127)
        check_account(parsed, reply, name, returns)
        assert clean(reply).startswith(cut_to_sentences(clean(reply))), "what is written as raw text has no other form"

    mutations()
    assert tried >= MUTATIONS_IN_ALL // len(FORMS)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_the_real_replies_are_read_without_a_fault(name: str) -> None:
    as_json, as_lines = REAL_REPLIES[name]
    for returns, reply in (("json", as_json), ("lines", as_lines)):
        parsed = parse_reply(FORMS[name], returns, reply)  # type: ignore[arg-type]
        assert parsed.items
        assert not parsed.faults


@given(
    reply=st.text(max_size=200),
    name=st.sampled_from(sorted(FORMS)),
    returns=st.sampled_from(["json", "lines", "line"]),
    cut_off=st.booleans(),
)
@example(reply='{"facts": [' + "[" * 50_000, name="facts", returns="json", cut_off=False)
@example(reply='{"questions": [' + "9" * 5000 + "]}", name="questions", returns="json", cut_off=False)
def test_any_reply_becomes_items_and_faults(reply: str, name: str, returns: str, cut_off: bool) -> None:
    parsed = parse_reply(FORMS[name], returns, reply, cut_off=cut_off)  # type: ignore[arg-type]
    check_account(parsed, reply, name, returns)
