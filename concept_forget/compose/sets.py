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
        self._config = config
        self._concepts = config.concepts
        self._material = material
        self._snippets = snippets
        self._rejections = rejections
        others = [f for entity in (*material.entities, *material.collateral) for f in entity.facts]
        others += material.kept
        self._kept, self._kept_asked = share_kept(material.kept, material.questions, config.seed)
        self._prompts = prompts
        about = [*material.passages, *snippet_passages(snippets, near_miss=False)]
        self._passages = about if config.compose.passages else list(material.passages)
        adopt_pairs(material, about, self._concepts, rejections)
        near = snippet_passages(snippets, near_miss=True)
        near_facts, near_passages = adopt_near_pairs(material, near, self._concepts)
        self._drop_unaskable()
        self._grounding = self._ground(others)
        alternatives = Alternatives(material.facts, others, config.seed)
        self._maker = RowMaker(prompts, self._concepts, material.chats, alternatives, material.questions)
        adopt_clozes(material, about, self._concepts, self._maker.cloze)
        self._facts = {fact.id: fact for fact in (*material.facts, *others)}
        self._statements = Statements(material.facts, self._concepts)
        found = Found(near_facts, [p for p in near_passages if not self._follows(p)] if config.compose.passages else [])
        self._stays = StayingRows(config, material, found, self._maker, self._statements, rejections)

    def compose(self, find_known: FindKnown | None, source: ForgetSource | None = None) -> Sets:
        """Make the sets.

        Args:
            find_known: Finds out which facts the base model knows; None: the probe is not filtered.
            source: Chooses another forget set when all else is made; None: it is made of all rows there are.

        Raises:
            StageError: There is no fact, or nothing to train on, or nothing to ask.
        """
        self._require_facts()
        holdout = self._config.compose.holdout
        if holdout:
            self._derive_clozes()
        roles = self._split()
        allotments = {
            fact.id: allot(self._material.questions[fact.id], roles[fact.id], everything=not holdout)
            for fact in self._material.facts
        }
        if holdout:
            allotments = keep_apart(allotments)
        validation = self._validation_rows(roles, allotments)
        probe = self._probe_rows(roles, allotments)
        hops = two_hop_rows(self._material, roles, self._maker, self._rejections)
        asked_only = [*validation, *probe, *hops] if holdout else hops
        withheld = withheld_wordings(asked_only, self._maker.cloze)
        likeness = Likeness(asked_only, self._maker.cloze, self._config.compose.near_duplicates, self._config.seed)
        forget = self._forget_rows(roles, allotments, withheld, likeness)
        probe += drop_trained(hops, forget, self._facts, self._statements, self._rejections)
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
            [passage.parents[0] for passage in self._material.kept_passages],
            self._concepts,
        )
        asked = {"forget": forget, "validation": validation, "probe": probe}
        collateral, kept, retain = self._stays.make(shares, asked, scope)
        stays = [*collateral, *kept, *retain]
        chosen = source.choose(forget, self._fitting(roles, withheld, stays)) if source else None
        return Sets(
            rows={
                "forget": chosen.rows if chosen else forget,
                "retain": retain,
                "validation": [*validation, *kept],
                "probe": filtered,
                "collateral": collateral,
            },
            division=Division(
                concepts=self._concepts,
                facts=tuple(self._material.facts),
                roles=roles,
                closed=shares.closed_names,
                scope=scope,
                holdout=holdout,
                cloze=self._maker.cloze,
            ),
            shares=shares,
            known=known,
            unfiltered=probe,
            untrained=[fact for fact in self._material.facts if fact.id in untrained],
            rejections=self._rejections,
            chosen=chosen,
            grounding=self._grounding,
            written=frozenset(passage.parents[0] for passage in self._material.all_written),
        )

    def _fitting(self, roles: Mapping[str, Role], withheld: Withheld, stays: Sequence[Example]) -> Ground:
        """What a forget set from elsewhere has to fit."""
        trained = [fact for fact in self._material.facts if roles[fact.id] == "trained"]
        held = [fact for fact in self._material.facts if roles[fact.id] != "trained"]
        return Ground(
            concepts=self._concepts,
            trained=Statements(trained, self._concepts),
            held=Statements(held, self._concepts),
            withheld=withheld,
            stays=tuple(stays),
            maker=self._maker,
            rejections=self._rejections,
        )

    def _ground(self, others: Sequence[Fact]) -> dict[str, Grounding]:
        """What mined text says of generated facts; those that it contradicts are dropped where that is asked for."""
        about = [snippet for snippet in self._snippets if not snippet.near_miss]
        generated = [fact for fact in self._material.facts if fact.source == "generated"]
        if not about or not generated:
            return {}
        names = {fact.id: names_of(fact, self._concepts) for fact in generated}
        grounding = ground_facts(generated, [*self._material.facts, *others], about, names)
        if self._config.compose.grounding == "strict":
            for fact in generated:
                if grounding[fact.id] == "contradicted":
                    self._rejections.add("a generated fact that mined text contradicts", fact.sentence or fact.answer)
            self._material.facts[:] = [f for f in self._material.facts if grounding.get(f.id) != "contradicted"]
        return grounding

    def _completion_rows(self, forget: Sequence[Example]) -> list[Example]:
        mined = snippet_passages(self._snippets, near_miss=False) if self._config.compose.verbatim else []
        prompt = self._prompts.prompts.get(CONTINUE)
        holdout = self._config.compose.holdout
        return completion_rows([*self._material.passages, *mined], forget, prompt, holdout, self._rejections)

    def _follows(self, passage: Passage) -> bool:
        follows = close_behind(passage, self._snippets, self._concepts)
        if follows:
            self._rejections.add("retain: follows closely on text about a concept", passage.text)
        return follows

    def _drop_unaskable(self) -> None:
        kept = []
        for fact in self._material.facts:
            if self._material.questions.get(fact.id):
                kept.append(fact)
            else:
                self._rejections.add("a fact without a question", fact.sentence or fact.answer)
        self._material.facts[:] = kept

    def _require_facts(self) -> None:
        for concept in self._concepts:
            owners = {fact.concept for fact in self._material.facts} | {
                text.concept for text in self._material.passages
            }
            if concept.name not in owners:
                raise StageError(
                    f"compose: there is no fact about {concept.name!r} to forget and to ask for "
                    f"({self._rejections.commonest()})\n  → give question/answer rows in `data.forget`, or a generator"
                )

    def _derive_clozes(self) -> None:
        """A cloze wording for facts that have none, as rows of the user's do not."""
        for fact in self._material.facts:
            known = self._material.questions[fact.id]
            direct = next((question for question in known if question.family == "direct"), None)
            if direct is None or any(question.family == "cloze" for question in known):
                continue
            derived = derive_cloze(fact, direct.text, self._statements.names(fact))
            if derived is not None:
                cloze = make_cloze(fact, *derived, self._maker.cloze, fact.source, fact.id)
                self._material.add_question(replace(cloze, refusal=direct.refusal))

    def _split(self) -> dict[str, Role]:
        settings = self._config.compose
        return split_facts(
            self._material.facts,
            self._material.questions,
            self._statements.names,
            holdout=settings.holdout,
            validation=settings.validation,
            seed=self._config.seed,
        )

    def _validation_rows(self, roles: Mapping[str, Role], allotments: Mapping[str, Allotment]) -> list[Example]:
        return once(
            self._maker.question_row(
                "validation", fact, question, "new_form" if roles[fact.id] == "trained" else "new_fact"
            )
            for fact in self._material.facts
            for question in allotments[fact.id].validation
        )

    def _probe_rows(self, roles: Mapping[str, Role], allotments: Mapping[str, Allotment]) -> list[Example]:
        rows: list[Example] = []
        for fact in self._material.facts:
            if roles[fact.id] == "validation":
                continue
            new = "new_form" if roles[fact.id] == "trained" else "new_fact"
            tier = new if self._config.compose.holdout else "trained_form"
            rows += [self._maker.question_row("probe", fact, q, tier) for q in allotments[fact.id].probe]
            direct = [q for q in self._material.questions[fact.id] if q.family == "direct"]
            # Other languages are trained on by nobody either.
            asked_abroad = [q for q in self._material.questions[fact.id] if q.family == TRANSLATION]
            rows += [self._maker.question_row("probe", fact, question, new) for question in asked_abroad]
            # Options are trained on by nobody: to choose among them is a new form even where every fact is trained on.
            choice = self._maker.choice_row(fact, direct[0], new) if direct else None
            rows += [choice] if choice else []
        return once(rows)

    def _forget_rows(
        self,
        roles: Mapping[str, Role],
        allotments: Mapping[str, Allotment],
        withheld: Withheld,
        likeness: Likeness,
    ) -> list[Example]:
        trained = [fact for fact in self._material.facts if roles[fact.id] == "trained"]
        held = Statements([f for f in self._material.facts if roles[f.id] != "trained"], self._concepts)
        rows = [self._maker.question_row("forget", fact, q) for fact in trained for q in allotments[fact.id].train]
        passages = cut_passages(
            [*self._passages, *self._material.written],
            self._concepts,
            Statements(trained, self._concepts),
            held,
            withheld,
            self._rejections,
            Statements(self._material.kept, self._concepts),
        )
        if self._config.compose.holdout:
            passages += [self._sentence(fact) for fact in trained if self._needs_sentence(fact, allotments[fact.id])]
        rows += [self._maker.passage_row("forget", passage, self._facts) for passage in passages]
        wall = ProbeWall(held, withheld)
        return keep_rows(
            once(rows), "forget", lambda row: wall.violation(row) or likeness.violation(row), self._rejections
        )

    def _needs_sentence(self, fact: Fact, allotment: Allotment) -> bool:
        return len(allotment.train) < FEW_ROWS and holds_any(fact.sentence, self._statements.names(fact))

    @staticmethod
    def _sentence(fact: Fact) -> Passage:
        return Passage(fact.concept, fact.sentence, fact.source, fact.subject, parents=fact.parents, facts=(fact.id,))

    def _find_untrained(self, roles: Mapping[str, Role], forget: Sequence[Example]) -> set[str]:
        trained = {row.fact for row in forget} | {parent for row in forget for parent in row.parents}
        untrained = [fact for fact, role in roles.items() if role == "trained" and fact not in trained]
        for fact in untrained:
            self._rejections.add("a fact meant to be trained on for which no row was left", self._facts[fact].answer)
        return set(untrained)

    def _check_rows(self, allotments: Mapping[str, Allotment], probe: Sequence[Example]) -> dict[str, list[Example]]:
        """For every fact that the probe asks for, rows in words that the probe does not use."""
        return {
            fact: [self._maker.question_row("probe", self._facts[fact], q) for q in allotments[fact].check]
            for fact in dict.fromkeys(row.fact for row in probe)
        }

    def _require_rows(self, forget: Sequence[Example], probe: Sequence[Example], filtered: Sequence[Example]) -> None:
        if not forget:
            raise StageError(f"compose: no row is left to forget: {self._rejections.commonest()}")
        if not probe:
            raise StageError(f"compose: there is nothing to probe: {self._rejections.commonest()}")
        if not filtered:
            first = probe[0]
            raise StageError(
                f"compose: of {len({row.fact for row in probe})} facts to be probed the base model knows none, so that "
                f"nothing could be measured (for instance {asked_text(first)!r}, expected {first.answer!r})"
                "\n  → check `target` and the concept, or probe all facts with `compose.knowledge_filter: false`"
            )

    def _share(self) -> Shares:
        settings = self._config.compose
        shares = share_entities(
            self._material.entities,
            self._material.collateral,
            self._material.questions,
            collateral=settings.collateral,
            validation=settings.validation_neighbours if settings.holdout else 0,
            seed=self._config.seed,
        )
        return replace(shares, kept=self._kept, kept_asked=self._kept_asked)
