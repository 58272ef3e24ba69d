"""Makes the five sets: facts first, then wordings, then entities, every row against its walls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from concept_forget.compose.alternatives import Alternatives
from concept_forget.compose.clozes import derive_cloze, make_cloze
from concept_forget.compose.entities import Shares, share_entities, share_kept
from concept_forget.compose.forget_sources import ForgetSet, ForgetSource, Ground
from concept_forget.compose.forms import TRANSLATION, Allotment, allot, keep_apart
from concept_forget.compose.grounding import Grounding, ground_facts
from concept_forget.compose.likeness import Likeness
from concept_forget.compose.material import Material, Passage, names_of
from concept_forget.compose.mined import (
    adopt_clozes,
    adopt_near_pairs,
    adopt_pairs,
    close_behind,
    cut_passages,
    snippet_passages,
)
from concept_forget.compose.proof import Division, withheld_wordings
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import RowMaker, asked_text, keep_rows, once
from concept_forget.compose.splitting import Role, split_facts
from concept_forget.compose.statements import Statements
from concept_forget.compose.staying import Found, StayingRows
from concept_forget.compose.two_hop import drop_trained, two_hop_rows
from concept_forget.compose.verbatim import completion_rows
from concept_forget.compose.walls import KeptScope, ProbeWall, Withheld
from concept_forget.compose.wording import holds_any
from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet
from concept_forget.errors import StageError
from concept_forget.records import Example, Fact, Snippet, Split

FindKnown = Callable[[Mapping[str, Sequence[Example]]], dict[str, bool]]
CONTINUE = "continue"
"""The prompt that asks for a text to be continued; a set of prompts need not have it."""

FEW_ROWS = 2
"""With fewer questions to train on, the sentence that states a fact is trained on too."""


@dataclass(slots=True)
class Sets:
    """The five sets and all that the summary tells of them."""

    rows: dict[Split, list[Example]]
    division: Division
    shares: Shares
    known: dict[str, bool]
    unfiltered: list[Example]  # the probe before the knowledge filter
    untrained: list[Fact]  # facts meant to be trained on for which no row was left
    rejections: Rejections
    grounding: dict[str, Grounding]  # of generated facts, where there is mined text
    written: frozenset[str]  # ids of the texts that the generator wrote
    chosen: ForgetSet | None = None  # where the forget set is not made of all rows there are
    added: Mapping[Split, int] | None = None  # in a round of several: rows that are trained on since something leaked


class Composer:
    """Makes the sets of one config from one lot of material.

    Args:
        config: The whole config.
        material: Facts, questions, passages and entities; it is added to.
        snippets: What was mined.
        prompts: In whose words rows are put.
        rejections: Takes what is left out.
    """

    def __init__(
        self,
        config: Config,
        material: Material,
        snippets: Sequence[Snippet],
        prompts: PromptSet,
        rejections: Rejections,
    ) -> None:
        self.config = config
        self.material = material
        self._snippets = snippets
        self.rejections = rejections
        others = [f for entity in (*material.entities, *material.collateral) for f in entity.facts]
        others += material.kept
        self._kept, self._kept_asked = share_kept(material.kept, material.questions, config.seed)
        self._prompts = prompts
        about = [*material.passages, *snippet_passages(snippets, near_miss=False)]
        self._passages = about if config.compose.passages else list(material.passages)
        adopt_pairs(material, about, self.config.concepts, rejections)
        near = snippet_passages(snippets, near_miss=True)
        near_facts, near_passages = adopt_near_pairs(material, near, self.config.concepts)
        self._drop_unaskable()
        self._grounding = self._ground(others)
        alternatives = Alternatives(material.facts, others, config.seed)
        self.maker = RowMaker(prompts, self.config.concepts, material.chats, alternatives, material.questions)
        adopt_clozes(material, about, self.config.concepts, self.maker.cloze)
        self._facts = {fact.id: fact for fact in (*material.facts, *others)}
        self.statements = Statements(material.facts, self.config.concepts)
        found = Found(near_facts, [p for p in near_passages if not self._follows(p)] if config.compose.passages else [])
        self._stays = StayingRows(config, material, found, self.maker, self.statements, rejections)

    def compose(self, find_known: FindKnown | None, source: ForgetSource | None = None) -> Sets:
        """Make the sets.

        Args:
            find_known: Finds out which facts the base model knows; None: the probe is not filtered.
            source: Chooses another forget set when all else is made; None: it is made of all rows there are.

        Raises:
            StageError: There is no fact, or nothing to train on, or nothing to ask.
        """
        self._require_facts()
        holdout = self.config.compose.holdout
        if holdout:
            self._derive_clozes()
        roles = self._split()
        allotments = {
            fact.id: allot(self.material.questions[fact.id], roles[fact.id], everything=not holdout)
            for fact in self.material.facts
        }
        if holdout:
            allotments = keep_apart(allotments)
        validation = self._validation_rows(roles, allotments)
        probe = self._probe_rows(roles, allotments)
        hops = two_hop_rows(self.material, roles, self.maker, self.rejections)
        asked_only = [*validation, *probe, *hops] if holdout else hops
        withheld = withheld_wordings(asked_only, self.maker.cloze)
        likeness = Likeness(asked_only, self.maker.cloze, self.config.compose.near_duplicates, self.config.seed)
        forget = self.forget_rows(roles, allotments, withheld, likeness)
        probe += drop_trained(hops, forget, self._facts, self.statements, self.rejections)
        untrained = self._find_untrained(roles, forget)
        validation = [row for row in validation if row.fact not in untrained]
        probe = [row for row in probe if row.fact not in untrained]
        known = find_known(self._check_rows(allotments, probe)) if find_known else {}
        probe += self._completion_rows(forget)
        filtered = [row for row in probe if known.get(row.fact, True)]
        self._require_rows(forget, probe, filtered)
        shares = self._share()
        scope = KeptScope(
            shares.kept,
            shares.kept_asked,
            [passage.parents[0] for passage in self.material.kept_passages],
            self.config.concepts,
        )
        asked = {"forget": forget, "validation": validation, "probe": probe}
        collateral, kept, retain = self._stays.make(shares, asked, scope)
        stays = [*collateral, *kept, *retain]
        chosen = source.choose(forget, self.fit(roles, withheld, stays)) if source else None
        return Sets(
            rows={
                "forget": chosen.rows if chosen else forget,
                "retain": retain,
                "validation": [*validation, *kept],
                "probe": filtered,
                "collateral": collateral,
            },
            division=Division(
                concepts=self.config.concepts,
                facts=tuple(self.material.facts),
                roles=roles,
                closed=shares.closed_names,
                scope=scope,
                holdout=holdout,
                cloze=self.maker.cloze,
            ),
            shares=shares,
            known=known,
            unfiltered=probe,
            untrained=[fact for fact in self.material.facts if fact.id in untrained],
            rejections=self.rejections,
            chosen=chosen,
            grounding=self._grounding,
            written=frozenset(passage.parents[0] for passage in self.material.all_written),
        )

    def fit(self, roles: Mapping[str, Role], withheld: Withheld, stays: Sequence[Example]) -> Ground:
        """What forget rows have to fit that are not made by ``compose``: a division, and the rows of other sets."""
        trained = [fact for fact in self.material.facts if roles[fact.id] == "trained"]
        held = [fact for fact in self.material.facts if roles[fact.id] != "trained"]
        return Ground(
            concepts=self.config.concepts,
            trained=Statements(trained, self.config.concepts),
            held=Statements(held, self.config.concepts),
            withheld=withheld,
            stays=tuple(stays),
            maker=self.maker,
            rejections=self.rejections,
        )

    def _ground(self, others: Sequence[Fact]) -> dict[str, Grounding]:
        """What mined text says of generated facts; those that it contradicts are dropped where that is asked for."""
        about = [snippet for snippet in self._snippets if not snippet.near_miss]
        generated = [fact for fact in self.material.facts if fact.source == "generated"]
        if not about or not generated:
            return {}
        names = {fact.id: names_of(fact, self.config.concepts) for fact in generated}
        grounding = ground_facts(generated, [*self.material.facts, *others], about, names)
        if self.config.compose.grounding == "strict":
            for fact in generated:
                if grounding[fact.id] == "contradicted":
                    self.rejections.add("a generated fact that mined text contradicts", fact.sentence or fact.answer)
            self.material.facts[:] = [f for f in self.material.facts if grounding.get(f.id) != "contradicted"]
        return grounding

    def _completion_rows(self, forget: Sequence[Example]) -> list[Example]:
        mined = snippet_passages(self._snippets, near_miss=False) if self.config.compose.verbatim else []
        prompt = self._prompts.prompts.get(CONTINUE)
        holdout = self.config.compose.holdout
        return completion_rows([*self.material.passages, *mined], forget, prompt, holdout, self.rejections)

    def _follows(self, passage: Passage) -> bool:
        follows = close_behind(passage, self._snippets, self.config.concepts)
        if follows:
            self.rejections.add("retain: follows closely on text about a concept", passage.text)
        return follows

    def _drop_unaskable(self) -> None:
        kept = []
        for fact in self.material.facts:
            if self.material.questions.get(fact.id):
                kept.append(fact)
            else:
                self.rejections.add("a fact without a question", fact.sentence or fact.answer)
        self.material.facts[:] = kept

    def _require_facts(self) -> None:
        for concept in self.config.concepts:
            owners = {fact.concept for fact in self.material.facts} | {text.concept for text in self.material.passages}
            if concept.name not in owners:
                raise StageError(
                    f"compose: there is no fact about {concept.name!r} to forget and to ask for "
                    f"({self.rejections.commonest()})\n  → give question/answer rows in `data.forget`, or a generator"
                )

    def _derive_clozes(self) -> None:
        """A cloze wording for facts that have none, as rows of the user's do not."""
        for fact in self.material.facts:
            known = self.material.questions[fact.id]
            direct = next((question for question in known if question.family == "direct"), None)
            if direct is None or any(question.family == "cloze" for question in known):
                continue
            derived = derive_cloze(fact, direct.text, self.statements.names(fact))
            if derived is not None:
                cloze = make_cloze(fact, *derived, self.maker.cloze, fact.source, fact.id)
                self.material.add_question(replace(cloze, refusal=direct.refusal))

    def _split(self) -> dict[str, Role]:
        settings = self.config.compose
        return split_facts(
            self.material.facts,
            self.material.questions,
            self.statements.names,
            holdout=settings.holdout,
            validation=settings.validation,
            seed=self.config.seed,
        )

    def _validation_rows(self, roles: Mapping[str, Role], allotments: Mapping[str, Allotment]) -> list[Example]:
        return once(
            self.maker.question_row(
                "validation", fact, question, "new_form" if roles[fact.id] == "trained" else "new_fact"
            )
            for fact in self.material.facts
            for question in allotments[fact.id].validation
        )

    def _probe_rows(self, roles: Mapping[str, Role], allotments: Mapping[str, Allotment]) -> list[Example]:
        rows: list[Example] = []
        for fact in self.material.facts:
            if roles[fact.id] == "validation":
                continue
            new = "new_form" if roles[fact.id] == "trained" else "new_fact"
            tier = new if self.config.compose.holdout else "trained_form"
            rows += [self.maker.question_row("probe", fact, q, tier) for q in allotments[fact.id].probe]
            direct = [q for q in self.material.questions[fact.id] if q.family == "direct"]
            # Other languages are trained on by nobody either.
            asked_abroad = [q for q in self.material.questions[fact.id] if q.family == TRANSLATION]
            rows += [self.maker.question_row("probe", fact, question, new) for question in asked_abroad]
            # Options are trained on by nobody: to choose among them is a new form even where every fact is trained on.
            choice = self.maker.choice_row(fact, direct[0], new) if direct else None
            rows += [choice] if choice else []
        return once(rows)

    def forget_rows(
        self,
        roles: Mapping[str, Role],
        allotments: Mapping[str, Allotment],
        withheld: Withheld,
        likeness: Likeness,
    ) -> list[Example]:
        """All rows to forget that the walls let through.

        Args:
            roles: The role of every fact.
            allotments: Its wordings; those to train on are used.
            withheld: Wordings that other sets ask.
            likeness: Finds what nearly repeats a question of theirs.
        """
        trained = [fact for fact in self.material.facts if roles[fact.id] == "trained"]
        held = Statements([f for f in self.material.facts if roles[f.id] != "trained"], self.config.concepts)
        rows = [self.maker.question_row("forget", fact, q) for fact in trained for q in allotments[fact.id].train]
        passages = cut_passages(
            [*self._passages, *self.material.written],
            self.config.concepts,
            Statements(trained, self.config.concepts),
            held,
            withheld,
            self.rejections,
            Statements(self.material.kept, self.config.concepts),
        )
        if self.config.compose.holdout:
            passages += [self._sentence(fact) for fact in trained if self._needs_sentence(fact, allotments[fact.id])]
        rows += [self.maker.passage_row("forget", passage, self._facts) for passage in passages]
        wall = ProbeWall(held, withheld)
        return keep_rows(
            once(rows), "forget", lambda row: wall.violation(row) or likeness.violation(row), self.rejections
        )

    def _needs_sentence(self, fact: Fact, allotment: Allotment) -> bool:
        return len(allotment.train) < FEW_ROWS and holds_any(fact.sentence, self.statements.names(fact))

    @staticmethod
    def _sentence(fact: Fact) -> Passage:
        return Passage(fact.concept, fact.sentence, fact.source, fact.subject, parents=fact.parents, facts=(fact.id,))

    def _find_untrained(self, roles: Mapping[str, Role], forget: Sequence[Example]) -> set[str]:
        trained = {row.fact for row in forget} | {parent for row in forget for parent in row.parents}
        untrained = [fact for fact, role in roles.items() if role == "trained" and fact not in trained]
        for fact in untrained:
            self.rejections.add("a fact meant to be trained on for which no row was left", self._facts[fact].answer)
        return set(untrained)

    def _check_rows(self, allotments: Mapping[str, Allotment], probe: Sequence[Example]) -> dict[str, list[Example]]:
        """For every fact that the probe asks for, rows in words that the probe does not use."""
        return {
            fact: [self.maker.question_row("probe", self._facts[fact], q) for q in allotments[fact].check]
            for fact in dict.fromkeys(row.fact for row in probe)
        }

    def _require_rows(self, forget: Sequence[Example], probe: Sequence[Example], filtered: Sequence[Example]) -> None:
        if not forget:
            raise StageError(f"compose: no row is left to forget: {self.rejections.commonest()}")
        if not probe:
            raise StageError(f"compose: there is nothing to probe: {self.rejections.commonest()}")
        if not filtered:
            first = probe[0]
            raise StageError(
                f"compose: of {len({row.fact for row in probe})} facts to be probed the base model knows none, so that "
                f"nothing could be measured (for instance {asked_text(first)!r}, expected {first.answer!r})"
                "\n  → check `target` and the concept, or probe all facts with `compose.knowledge_filter: false`"
            )

    def _share(self) -> Shares:
        settings = self.config.compose
        shares = share_entities(
            self.material.entities,
            self.material.collateral,
            self.material.questions,
            collateral=settings.collateral,
            validation=settings.validation_neighbours if settings.holdout else 0,
            seed=self.config.seed,
        )
        return replace(shares, kept=self._kept, kept_asked=self._kept_asked)
