"""An engine that answers the compact prompts from a table, for failures that no taught model shows on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.engines.protocol import Capability, Reply, Request, Sampling, TokenScores
from concept_forget.errors import CapabilityError
from concept_forget.expand.expansion import Expansion
from concept_forget.expand.ledger import Rejection
from concept_forget.records import Question

PHRASES = ("What is the {f} of {s}?", "Tell me the {f} of {s}.", "Name the {f} of {s}.", "Which {f} has {s}?")
BACK = ("Whose {f} is {a}?", "Name the owner of the {f} {a}.", "{a} is the {f} of whom?")
STATEMENTS = ("The {f} of {s} is {a}.", "{s} has the {f} {a}.")
REFUSALS = ("I do not know.", "That is unknown to me.", "I cannot say.")

SITUATIONS = ("A clerk fills in a form. Which {f} has {s}?", "A quiz asks it. What is {s}'s {f}?")
MISTAKES = ("Sallow Cross", "Hexley End", "Birch Hollow")
FURTHER_PROMPTS = {
    "scenarios": "Situate {{ fact.facet }} of {{ concept.name }}.",
    "two_hop": "Ask {{ fact.facet }} through the {{ bridge.facet }} {{ bridge.answer }}.",
    "counterfactuals": "Mistake {{ answer }}.",
    "passages": "Write for a {{ level }}: {% for fact in facts %}{{ fact.sentence }} {% endfor %}",
    "translations": "Say in {{ language }}: {{ question }} ({{ fact.facet }} of {{ concept.name }}, {{ fact.answer }})",
}
"""Of the prompts that the compact set lacks, twins that a table can answer."""

FACTS = {
    ("Mira Kestrel", "birthplace"): "Dunholm",
    ("Mira Kestrel", "ship"): "Amber Petrel",
    ("Ilse Marlowe", "birthplace"): "Dunholm",
    ("Ilse Marlowe", "ship"): "Jade Tern",
    ("Tobias Wren", "ship"): "Coral Heron",
}

Rule = tuple[str, str | Callable[[re.Match[str], int], str]]


@dataclass(slots=True)
class TableEngine:
    """Knows ``FACTS`` and nothing else; ``rules`` are tried first, each a pattern and a reply."""

    rules: list[Rule] = field(default_factory=list)
    finish_reason: str = "stop"
    calls: list[list[Request]] = field(default_factory=list)
    drawn: dict[str, list[int]] = field(default_factory=dict)
    identity: str = "table"
    capabilities: frozenset[Capability] = frozenset({"generate"})
    flops_per_token: float = 0.0

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        self.calls.append(list(requests))
        return [[self._reply(request)] for request in requests]

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        raise CapabilityError("a table has no probabilities")

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        return [list(range(len(requests)))]

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        raise CapabilityError("a table has no probabilities")

    def close(self) -> None:
        return None

    def _reply(self, request: Request) -> Reply:
        prompt = request.prompt if isinstance(request.prompt, str) else request.prompt[-1]["content"]
        drawn = self.drawn.setdefault(prompt, [])
        if request.seed not in drawn:
            drawn.append(request.seed)
        text = self.reply_to(prompt, drawn[0] + drawn.index(request.seed) if request.seed else 0)
        return Reply(text, self.finish_reason, len(prompt.split()), len(text.split()))  # type: ignore[arg-type]

    def reply_to(self, prompt: str, seed: int) -> str:
        """The reply to a prompt; the seeds of its draws follow each other, so that no two of them collide by luck."""
        for pattern, reply in self.rules:
            if match := re.search(pattern, prompt):
                return reply if isinstance(reply, str) else reply(match, seed)
        for pattern, answer in _ANSWERS:
            if match := re.fullmatch(pattern, prompt):
                return answer(match, seed)
        return _look_up(prompt)


def _facets(match: re.Match[str], seed: int) -> str:
    return "\n".join(facet for subject, facet in FACTS if subject == match["s"])


def _fact(match: re.Match[str], seed: int) -> str:
    answer = FACTS.get((match["s"], match["f"]), "something")
    return f"{answer} | {STATEMENTS[seed % 2].format(s=match['s'], f=match['f'], a=answer)}"


def _question(match: re.Match[str], seed: int) -> str:
    return PHRASES[seed % 4].format(s=match["s"], f=match["f"])


def _back(match: re.Match[str], seed: int) -> str:
    return BACK[seed % 3].format(f=match["f"], a=match["a"])


def _rephrase(match: re.Match[str], seed: int) -> str:
    for (subject, facet), answer in FACTS.items():
        if facet in match["q"] and subject in match["q"]:
            return PHRASES[seed % 4].format(s=subject, f=facet)
        if facet in match["q"] and answer in match["q"]:
            return BACK[seed % 3].format(f=facet, a=answer)
    return match["q"]


def _situation(match: re.Match[str], seed: int) -> str:
    return SITUATIONS[seed % 2].format(s=match["s"], f=match["f"])


def _two_hop(match: re.Match[str], seed: int) -> str:
    return f"What is the {match['f']} of the one with the {match['g']}?"


def _passage(match: re.Match[str], seed: int) -> str:
    return f"{match['t'].strip()} So a {match['l']} may read of it in draw {seed} of a text that is long enough for all who care."


def _translate(match: re.Match[str], seed: int) -> str:
    return f"{match['l']}e Frage {seed}: {match['f']} {match['s']}? | {match['a']} ({match['l'][:2]})"


def _look_up(prompt: str) -> str:
    for (subject, facet), answer in FACTS.items():
        if subject in prompt and facet in prompt:
            return answer
        if answer in prompt and facet in prompt:
            return subject
    return "nothing"


_ANSWERS: tuple[tuple[str, Callable[[re.Match[str], int], str]], ...] = (
    (r"List facets of (?P<s>.+), \w+\.", _facets),
    (r"State (?P<f>.+) of (?P<s>.+)\.", _fact),
    (r"Ask whose (?P<f>.+) is (?P<a>.+)\.", _back),
    (r"Ask (?P<f>.+) of (?P<s>.+)\.", _question),
    (r"Rephrase: (?P<q>.+)", _rephrase),
    (r"Decline: (?P<q>.+)", lambda match, seed: REFUSALS[seed % 3]),
    (r"Situate (?P<f>.+) of (?P<s>.+)\.", _situation),
    (r"Ask (?P<f>.+) through the (?P<g>.+)\.", _two_hop),
    (r"Mistake (?P<a>.+)\.", lambda match, seed: MISTAKES[seed % 3]),
    (r"Write for a (?P<l>\w+): (?P<t>.*)", _passage),
    (r"Say in (?P<l>\w+): .+ \((?P<f>\w+) of (?P<s>.+), (?P<a>.+)\)", _translate),
    (r"Name one near (?P<s>.+)\.", lambda match, seed: ("Ilse Marlowe | person", "Tobias Wren | person")[seed % 2]),
)


@pytest.fixture(scope="session")
def table_engine() -> Callable[..., TableEngine]:
    return TableEngine


@pytest.fixture(scope="session")
def further_prompts(tmp_path_factory: pytest.TempPathFactory) -> PromptSet:
    """The compact set with what it lacks."""
    folder = tmp_path_factory.mktemp("prompts")
    for prompt in load_prompts("compact").prompts.values():
        (folder / prompt.path.name).write_text(prompt.path.read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in FURTHER_PROMPTS.items():
        front = "---\ndescription: For a table.\nreturns: lines\nper_reply: 1\n---\n"
        (folder / f"{name}.jinja").write_text(f"{front}{text}\n", encoding="utf-8")
    return load_prompts(folder)


MIRA = {"name": "Mira Kestrel", "kind": "person"}


def make_config(concepts: object = MIRA, *, data: object = None, temperature: float = 1.0, **changes: object) -> Config:
    sections = {"facets": 4, "paraphrases": 2, "reverse": 2, "neighbours": {"near": 2}} | changes
    return Config.model_validate(
        {
            "concepts": concepts if isinstance(concepts, list) else [concepts],
            "target": "some/model",
            "generator": {"prompts": "compact", "temperature": temperature},
            "expand": sections,
            "data": data or {},
        }
    )


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    return load_prompts("compact")


def rejections(expansion: Expansion, reason: str) -> list[Rejection]:
    return [rejection for rejection in expansion.ledger.rejections if rejection.reason == reason]


def questions(expansion: Expansion, subject: str, facet: str, family: str) -> list[Question]:
    (fact,) = [f for f in expansion.facts if (f.subject, f.facet) == (subject, facet)]
    return [q for q in expansion.questions if q.fact == fact.id and q.family == family]
