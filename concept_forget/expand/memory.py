"""Memory dumps: what the target itself goes on to write from openings that name a concept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.errors import DataError
from concept_forget.expand.gates import comparable
from concept_forget.expand.orders import REPEATED, nothing_came
from concept_forget.expand.passages import check_prose, facts_about, make_passage
from concept_forget.expand.questions import Sheet
from concept_forget.expand.replies import CUT_OFF, clean
from concept_forget.expand.writer import Opening, Writer
from concept_forget.records import Passage

if TYPE_CHECKING:
    from concept_forget.engines.prompts import PromptSet
    from concept_forget.engines.protocol import Engine

STEP = "memory_dumps"
OPENINGS = "openings"
STYLE = "memory"

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[」』”]*")


def dump_memory(writer: Writer, sheets: Sequence[Sheet], config: Config, target: Engine | None) -> list[Passage]:
    """``expand.memory_dumps`` texts about every concept, drawn from the target from one opening after the other.

    A text that ran into its limit ends with its last whole sentence. What a text states need not be true, nor among
    the known facts: it is what the target would say.

    Args:
        writer: The generator, for the account, the seeds and the openings.
        sheets: What is known of the concepts.
        config: The whole config.
        target: The model that is to be unlearned; None: the generator is it.

    Raises:
        StageError: Texts were asked for and none got through.
        DataError: The prompt ``openings`` gives no line.
    """
    asked = [
        (concept, Opening(opening, (concept.name, opening), number))
        for concept in config.concepts
        for number, opening in enumerate(_take(openings_of(writer.prompts, concept), config.expand.memory_dumps))
    ]
    replies = writer.go_on(STEP, [opening for _, opening in asked], target)
    prompt_hash = writer.prompts.get(OPENINGS).hash
    passages: list[Passage] = []
    taken: set[str] = set()
    for (concept, opening), reply in zip(asked, replies, strict=True):
        if reply is None:
            continue
        whole = clean(opening.text + reply.text)
        text = cut_to_sentences(whole) if reply.finish_reason == "length" else whole
        reason = check_prose(text, concept.names, facts_about(concept, sheets)[1]) if text else CUT_OFF
        if reason is None and comparable(text) in taken:
            reason = REPEATED
        if reason:
            writer.ledger.reject(STEP, reason, text or whole, opening.parents)
            continue
        taken.add(comparable(text))
        writer.ledger.accept(STEP)
        parents = opening.parents
        passages.append(
            make_passage(concept, text, STYLE, sheets, parents=parents, prompt_hash=prompt_hash, opening=opening.text)
        )
    if error := nothing_came(writer, STEP, "the target wrote nothing about any concept", "expand.memory_dumps"):
        raise error
    return passages


def openings_of(prompts: PromptSet, concept: Concept) -> list[str]:
    """The lines of the prompt ``openings``, filled in with the concept; it is rendered, and put to nobody.

    Raises:
        DataError: It gives no line.
    """
    prompt = prompts.get(OPENINGS)
    lines = [line.strip() for line in prompt.render_text(concept=concept).splitlines()]
    openings = list(dict.fromkeys(line for line in lines if line))
    if not openings:
        raise DataError(
            f"it gives no opening for {concept.name!r}",
            file=prompt.path,
            remedy="let it give one opening per line, such as {{ concept.name }}",
        )
    return openings


def cut_to_sentences(text: str) -> str:
    """A text up to the end of its last whole sentence; empty where no sentence ends."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def _take(openings: Sequence[str], count: int) -> list[str]:
    """So many openings, from the first on, over and over."""
    return [openings[number % len(openings)] for number in range(count)]
