"""The generator's self-consistency: of the answers that it draws to one question, a share has to be the fact's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from concept_forget.config import Config
from concept_forget.expand.answers import reject_fact, require_facts
from concept_forget.expand.gates import holds_any
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer

STEP = "answer_samples"
WAVERS = "too few of the drawn answers are the fact's"


@dataclass(frozen=True, slots=True)
class Consistency:
    """How many answers were drawn per fact, and which share of each fact's were its own."""

    samples: int = 0
    agreement: float = 0.0
    shares: tuple[float, ...] = ()

    def summary(self) -> dict[str, object]:
        """As it stands in ``summary.json``."""
        return {
            "samples": self.samples,
            "agreement": self.agreement,
            "facts": len(self.shares),
            "mean_share": round(statistics.fmean(self.shares), 4) if self.shares else None,
            "rejected": sum(share < self.agreement for share in self.shares),
        }


def check_samples(writer: Writer, sheets: Sequence[Sheet], config: Config) -> tuple[list[Sheet], Consistency]:
    """Keep the facts that the generator's drawn answers confirm (Wang et al. 2023, self-consistency).

    Each fact's direct question is put ``expand.answer_samples`` times at the generator's temperature. Stale knowledge
    is kept whatever comes, and a fact of which no answer came, for want of budget, is not judged.

    Returns:
        The sheets that stay, and what was found.

    Raises:
        StageError: A concept is left without a fact, and no rows in ``data.forget`` make up for it.
    """
    settings = config.expand
    asked = {sheet.stated.fact.id: sheet.direct[0].text for sheet in sheets if not sheet.stated.fact.replacement}
    drawn = writer.sample_answers(STEP, asked, settings.answer_samples)
    kept, shares = [], []
    for sheet in sheets:
        fact, answers = sheet.stated.fact, drawn.get(sheet.stated.fact.id)
        if answers:
            agreeing = sum(holds_any(answer, (fact.answer, *fact.aliases)) for answer in answers)
            shares.append(agreeing / len(answers))
            if shares[-1] < settings.answer_agreement:
                reject_fact(writer, STEP, sheet, WAVERS, f"{agreeing} of {len(answers)}")
                continue
            writer.ledger.accept(STEP)
        kept.append(sheet)
    require_facts(writer, STEP, kept, config)
    return kept, Consistency(settings.answer_samples, settings.answer_agreement, tuple(shares))
