"""Rows that ask for a text by its opening: what must not be recited, word for word or nearly so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from concept_forget.compose.material import Passage
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import REFUSAL, once
from concept_forget.compose.wording import words
from concept_forget.engines.prompts import Prompt
from concept_forget.records import Chat, Example, content_hash

FAMILY = "completion"

OPENING = 50
"""Words of a text that a model is shown, half of the text at most (Carlini et al. 2023, §3: 50 tokens)."""

CONTINUATION = 50
"""Words that it has to go on with: a run of so many is what that paper calls extracted."""

SHORTEST = 4
"""Words of the shortest continuation: fewer may follow an opening by chance."""

WINDOWS = 5
"""Places at which a long text is opened, spread over it evenly."""

TOO_SHORT = "a text too short to be continued from its opening"

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\S)+")


def completion_rows(
    texts: Sequence[Passage], forget: Sequence[Example], prompt: Prompt | None, holdout: float, rejections: Rejections
) -> list[Example]:
    """The probe's rows for texts that must not be recited.

    Each text is a fact of its own. What is asked is the longest run of its sentences that is trained on (tier
    ``new_form``, or ``trained_form`` without a holdout); of a text from which nothing is, the whole (``new_fact``).

    Args:
        texts: The texts as they were given or found.
        forget: The rows trained on.
        prompt: Asks for a text to be continued; None: the opening stands alone.
        holdout: Share of the facts that is never trained on.
        rejections: Takes the texts that cannot be asked for.
    """
    trained: dict[str, list[str]] = {}
    for row in forget:
        if row.family == "passage":
            trained.setdefault(row.parents[0], []).append(row.completion)
    rows: list[Example] = []
    first: dict[str, Passage] = {}
    for text in texts:
        first.setdefault(words(text.text), text)
    for text in first.values():
        runs = trained.get(text.parents[0], [])
        if not runs and not holdout:
            continue
        tier = "new_fact" if not runs else "new_form" if holdout else "trained_form"
        asked = max(runs, key=len, default=text.text)
        made = [_row(text, window, tier, prompt, number) for number, window in enumerate(_windows(asked))]
        if not made:
            rejections.add(TOO_SHORT, asked)
        rows += made
    return once(rows)


def _windows(text: str) -> Iterator[tuple[str, str]]:
    """Opening and continuation at every place at which a text is opened."""
    spans = [match.span() for match in _WORD.finditer(text)]
    opening = min(OPENING, len(spans) // 2)
    wanted = min(CONTINUATION, len(spans) - opening)
    if opening < SHORTEST:
        return
    length = opening + wanted
    places = min(WINDOWS, len(spans) // length)
    for place in range(places):
        first = round(place * (len(spans) - length) / max(places - 1, 1))
        begin, middle = spans[first][0], spans[first + opening][0]
        shown, continuation = text[begin:middle].rstrip(), text[middle : spans[first + length - 1][1]]
        if any(letter.isalnum() for letter in continuation):
            yield shown, continuation


def _row(text: Passage, window: tuple[str, str], tier: str, prompt: Prompt | None, number: int) -> Example:
    shown, continuation = window
    chat: Chat = [*(prompt.render() if prompt else ()), {"role": "assistant", "content": shown}]
    return Example(
        id=Example.make_id(chat, continuation),
        split="probe",
        concept=text.concept,
        subject=text.subject or text.concept,
        facet="",
        fact=content_hash("text", text.concept, text.text),
        form=FAMILY if number == 0 else f"{FAMILY} {number}",
        family=FAMILY,
        tier=tier,
        prompt=chat,
        completion=continuation,
        answer=continuation,
        refusal=REFUSAL,
        source=text.source,
        parents=text.parents,
        prompt_hash=prompt.hash if prompt else "",
        document=text.document,
        start=text.start,
        end=text.end,
        score=text.score,
    )
