"""Makes the rows of what is to stay: to train on, to validate by, and to ask for collateral."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concept_forget.compose.entities import Shares
from concept_forget.compose.likeness import Likeness
from concept_forget.compose.material import Entity, Material, Passage
from concept_forget.compose.mined import cut_staying
from concept_forget.compose.proof import withheld_wordings
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import RowMaker, asked_text, keep_rows, once
from concept_forget.compose.statements import Statements
from concept_forget.compose.two_hop import TWO_HOP
from concept_forget.compose.walls import STATES_FORGOTTEN, KeptScope, RetainWall, Withheld
from concept_forget.compose.wording import words
from concept_forget.config import Config
from concept_forget.errors import StageError
from concept_forget.records import Example, Fact, Split


@dataclass(frozen=True, slots=True)
class Found:
    """What near misses of the search give: rows of questions, and texts."""

    facts: Sequence[Fact]
    passages: Sequence[Passage]


class StayingRows:
    """Makes these rows.

    Args:
        config: The whole config.
        material: What they are made of.
        found: What mined text adds.
        maker: In whose words rows are put.
        statements: The facts to be forgotten.
        rejections: Takes what is left out.
    """

    def __init__(
        self,
        config: Config,
        material: Material,
        found: Found,
        maker: RowMaker,
        statements: Statements,
        rejections: Rejections,
    ) -> None:
        self._config = config
        self._concepts = config.concepts
        self._material = material
        self._found = found
        self._maker = maker
        self._statements = statements
        self._rejections = rejections

    def make(
        self, shares: Shares, asked: Mapping[str, Sequence[Example]], scope: KeptScope
    ) -> tuple[list[Example], list[Example], list[Example]]:
        """The rows for collateral, for what validation sees kept, and for retain training."""
        wall = RetainWall(self._concepts, self._statements, shares.closed_names, Withheld(()), scope)
        trained = {words(asked_text(row)) for row in asked["forget"] if row.prompt}

        def only_asked(row: Example) -> str | None:
            why = wall.violation(row, trained=False)
            return why or ("asks what is trained on" if words(asked_text(row)) in trained else None)

        entities = [*shares.collateral, Entity("", "near", shares.kept_asked, "generated")]
        collateral = keep_rows(self._asked_rows("collateral", entities), "collateral", only_asked, self._rejections)
        kept = keep_rows(self._asked_rows("validation", shares.validation), "validation", only_asked, self._rejections)
        others_asked = [*asked["validation"], *asked["probe"], *collateral, *kept]
        withheld = withheld_wordings([*asked["forget"], *others_asked], self._maker.cloze)
        wall = RetainWall(self._concepts, self._statements, shares.closed_names, withheld, scope)
        likeness = Likeness(others_asked, self._maker.cloze, self._config.compose.near_duplicates, self._config.seed)
        rows = [*self._retain_rows(shares), *self._written_rows(wall, scope)]
        retain = keep_rows(
            once(rows), "retain", lambda row: wall.violation(row) or likeness.violation(row), self._rejections
        )
        if not retain and self._config.unlearn.retain != "none":
            raise StageError(
                f"compose: no row is left to keep, and `unlearn.retain: {self._config.unlearn.retain}` needs some: "
                f"{self._rejections.commonest()}"
                "\n  → give rows in `data.retain`, ask for more neighbours, or set `unlearn.retain: none`"
            )
        return collateral, kept, retain

    def _asked_rows(self, split: Split, entities: Sequence[Entity]) -> list[Example]:
        """The direct question and one paraphrase of every fact."""
        rows = []
        for entity in entities:
            tier = "retain" if split == "validation" else entity.distance
            for fact in entity.facts:
                known = self._material.questions.get(fact.id, [])
                for family in ("direct", "paraphrase"):
                    chosen = [question for question in known if question.family == family][:1]
                    rows += [self._maker.question_row(split, fact, question, tier) for question in chosen]
        return once(rows)

    def _retain_rows(self, shares: Shares) -> list[Example]:
        rows = [
            self._maker.question_row("retain", fact, question)
            for fact in (*(fact for entity in shares.retain for fact in entity.facts), *shares.kept)
            for question in self._material.questions.get(fact.id, ())
            if question.family != TWO_HOP
        ]
        rows += [
            self._maker.question_row("retain", fact, question)
            for fact in self._found.facts
            for question in self._material.questions[fact.id]
        ]
        passages = [*self._material.retain_passages, *self._found.passages]
        return [*rows, *(self._maker.passage_row("retain", passage, {}) for passage in passages)]

    def _written_rows(self, wall: RetainWall, scope: KeptScope) -> list[Example]:
        """Rows of texts that a generator wrote about what is to stay, cut to what may be trained on."""

        def row(passage: Passage) -> Example:
            return self._maker.passage_row("retain", passage, {})

        def reason(passage: Passage) -> str | None:
            made = row(passage)
            told = scope.holds(made) and self._statements.answered(passage.text, passage.concept)
            return STATES_FORGOTTEN if told else wall.violation(made)

        texts = [*self._material.retain_written, *self._material.kept_passages]
        return [row(passage) for passage in cut_staying(texts, reason, self._rejections)]
