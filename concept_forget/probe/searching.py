"""An evolutionary search for the prompt that brings an answer out, on every model with the same budget.

Generation by generation a language model writes prompts about a fact's question, the model under attack replies, and
the replies are scored without the answer: by how definite they are, in the judge's eyes, times how sure the model is of
them. The best prompts are bred from. What counts in the end is the reply to the best-scored prompt alone: an attacker
who does not know the answer cannot tell which of the others was right.

A prompt that holds a word of the answer is thrown away: what it brought would come from the prompt.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from concept_forget.config import ProbeConfig
from concept_forget.engines.opening import open_engine, open_generator
from concept_forget.engines.protocol import Engine, Reply, Request, Sampling
from concept_forget.measures.memory import answer_probability
from concept_forget.measures.words import Token, plain_words, plural_key, same_word, tokenize
from concept_forget.probe.asking import Answered, Planned, attempts_of
from concept_forget.probe.attacker import Attacker, Order, Shown, attacker_words
from concept_forget.probe.attacks import ATTACKS, asked, holds_answer, say_instead
from concept_forget.records import Attempt, Example, ModelSpec, from_json, named_seed, to_json
from concept_forget.workspace import Costs, StageContext, write_text

FILE = "tries.jsonl"
ROUNDS = 3
"""Times that a prompt is asked for at most: what comes may be no prompt, tried already, or hold the answer."""


@dataclass(frozen=True, slots=True)
class Try:
    """A prompt that was tried on a model.

    ``score`` is what the attacker knows of it, in [0, 1]; ``chosen`` says that it is the best-scored one of its
    question. ``discarded`` counts prompts that were thrown away beside this one since they held a word of the answer.
    """

    attempt: Attempt
    score: float
    chosen: bool
    discarded: int


@dataclass(slots=True)
class _Tried:
    text: str
    request: Request
    reply: Reply
    score: float
    discarded: int

    @property
    def shown(self) -> Shown:
        return Shown(self.text, self.reply.text, self.score)


@dataclass(slots=True)
class _Hunt:
    """The search for one question's answer."""

    row: Planned
    tried: list[_Tried] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    discarded: int = 0

    @property
    def question(self) -> str:
        prompt = self.row.request.prompt
        assert not isinstance(prompt, str)
        return asked(prompt)

    @property
    def best(self) -> list[_Tried]:
        """What was tried, the best-scored first; of equals the earlier."""
        return sorted(self.tried, key=lambda one: -one.score)

    def take(self, text: str) -> bool:
        """Whether a prompt may be tried; it is then seen."""
        key = " ".join(plain_words(text))
        if not key or key in self.seen:
            return False
        self.seen.add(key)
        if tells_answer(text, self.row.example, self.question):
            self.discarded += 1
            return False
        return True


def without_searched(planned: Mapping[str, Sequence[Planned]]) -> dict[str, list[Planned]]:
    """What is planned for each model, without the questions that are searched from."""
    return {role: [row for row in rows if not _is_searched(row)] for role, rows in planned.items()}


def search_beside(
    context: StageContext, models: Mapping[str, ModelSpec], planned: Mapping[str, Sequence[Planned]]
) -> list[Attempt]:
    """Search on every model for what is planned, and write ``tries.jsonl``.

    Returns:
        The attempts that count: of each question the best-scored.
    """
    rows = {role: [row for row in asked if _is_searched(row)] for role, asked in planned.items()}
    settings = context.config.attacker
    if settings is None or not any(rows.values()):
        return []
    spec = context.models["base"] if settings.engine == "target" else context.models.get("attacker")
    engine = open_generator(settings, spec, cache=context.cache, costs=context.costs)
    with contextlib.closing(engine):
        tries = search_models(
            models,
            rows,
            context.config.probe,
            Attacker(engine, attacker_words(settings), settings),
            context.folder,
            cache=context.cache,
            costs=context.costs,
        )
    return [one.attempt for one in tries if one.chosen]


def count_tries(tries: Sequence[Try]) -> dict[str, dict[str, int]]:
    """Prompts that were tried on each model, and those that were thrown away."""
    counted = {one.attempt.model: {"prompts_tried": 0, "prompts_discarded": 0} for one in tries}
    for one in tries:
        counted[one.attempt.model]["prompts_tried"] += 1
        counted[one.attempt.model]["prompts_discarded"] += one.discarded
    return counted


def _is_searched(row: Planned) -> bool:
    attack = ATTACKS.get(row.attack)
    return attack is not None and attack.searched


def search_models(
    models: Mapping[str, ModelSpec],
    planned: Mapping[str, Sequence[Planned]],
    config: ProbeConfig,
    attacker: Attacker,
    folder: Path,
    *,
    cache: Path,
    costs: Costs,
) -> list[Try]:
    """Search on each model in turn and write ``tries.jsonl``; a file that is there already is read instead.

    Args:
        models: Name of the model in the attempts → what to load.
        planned: The same names → the questions that are searched from.
        config: The budget, and how replies are drawn: one to each prompt.
        attacker: Writes the prompts and judges what they bring.
        folder: The stage's folder.
        cache: The request cache; what was answered before an interruption is not asked again.
        costs: The account.
    """
    path = folder / FILE
    if path.is_file():
        return read_tries(path)
    tries: list[Try] = []
    for name, spec in models.items():
        with contextlib.closing(
            open_engine(spec, cache=cache, costs=costs, batch_tokens=config.batch_tokens)
        ) as engine:
            hunts = search(engine, attacker, planned[name], config)
        tries += [made for hunt in hunts for made in _tries_of(name, hunt)]
    lines = (
        json.dumps({**{key: getattr(one, key) for key in _KEPT}, "attempt": to_json(one.attempt)}, ensure_ascii=False)
        for one in tries
    )
    write_text(path, "".join(f"{line}\n" for line in lines))
    return tries


_KEPT = ("score", "chosen", "discarded")


def read_tries(path: Path) -> list[Try]:
    """Read what ``search_models`` wrote; nothing where it wrote nothing."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [Try(from_json(Attempt, one["attempt"]), **{key: one[key] for key in _KEPT}) for one in found]


def search(target: Engine, attacker: Attacker, rows: Sequence[Planned], config: ProbeConfig) -> list[_Hunt]:
    """Search for the answers to some questions, all at once.

    What is drawn depends on the question and its seed, not on the model: as long as two models reply alike they are
    asked alike.

    Args:
        target: The model under attack.
        attacker: Writes and judges.
        rows: The questions.
        config: The budget, and how replies are drawn.
    """
    hunts = [_Hunt(row) for row in rows]
    settings = config.search
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    for generation in range(settings.generations if rows else 0):
        room = min(settings.population, settings.requests - generation * settings.population)
        chosen = _candidates(hunts, attacker, generation, room)
        requests = [_request(hunt.row, text) for hunt, text in chosen]
        replies = [reply for (reply,) in target.generate(requests, sampling)]
        scores = _score(target, attacker, chosen, requests, replies)
        for (hunt, text), request, reply, score in zip(chosen, requests, replies, scores, strict=True):
            hunt.tried.append(_Tried(text, request, reply, score, hunt.discarded))
            hunt.discarded = 0
    for hunt in hunts:
        hunt.tried[-1].discarded += hunt.discarded  # and nothing came in their place
    return hunts


def tells_answer(text: str, row: Example, question: str) -> bool:
    """Whether a prompt holds the answer, or a word of it that the question does not hold; function words aside.

    Other spellings of a word count, its plural, and a slip in a long one.
    """
    if holds_answer(text, row) and not holds_answer(question, row):
        return True
    given, found = tokenize(question), tokenize(text)
    words = [token for answer in (row.answer, *row.aliases) for token in tokenize(answer) if _tells(token)]
    return any(_among(word, found) and not _among(word, given) for word in words)


def _among(word: Token, tokens: Sequence[Token]) -> bool:
    return any(same_word(word, token) or (token.is_word and plural_key(word) == plural_key(token)) for token in tokens)


def _tells(token: Token) -> bool:
    return token.is_word and not token.is_stop


def _candidates(hunts: Sequence[_Hunt], attacker: Attacker, generation: int, room: int) -> list[tuple[_Hunt, str]]:
    """The next prompts of every hunt, ``room`` each as far as the attacker comes up with them, hunt by hunt."""
    texts: dict[int, dict[int, str]] = {place: {} for place in range(len(hunts))}
    if generation == 0:
        for place, hunt in enumerate(hunts):
            hunt.seen.add(" ".join(plain_words(hunt.question)))
            texts[place][0] = hunt.question
    for attempt in range(ROUNDS):
        missing = [(place, slot) for place in texts for slot in range(room) if slot not in texts[place]]
        orders = [_order(hunts[place], generation, slot, attempt) for place, slot in missing]
        for (place, slot), text in zip(missing, attacker.write(orders), strict=True):
            if hunts[place].take(text):
                texts[place][slot] = text
    return [(hunts[place], texts[place][slot]) for place in texts for slot in sorted(texts[place])]


def _order(hunt: _Hunt, generation: int, slot: int, attempt: int) -> Order:
    """What is asked of the attacker: a prompt anew, or one made from the better half of a generation's worth."""
    seed = named_seed(hunt.row.request.seed, "search", generation, slot, attempt) >> 1
    if generation == 0 or not hunt.tried:
        return Order(hunt.question, slot, seed)
    best = hunt.best
    parents = best[: max(1, len(best) // (2 * generation))]
    parent, other = parents[slot % len(parents)], parents[(slot + 1) % len(parents)]
    return Order(hunt.question, slot, seed, parent.shown, other.shown if other is not parent else None)


def _request(row: Planned, text: str) -> Request:
    prompt = row.request.prompt
    assert not isinstance(prompt, str)
    seed = named_seed(row.request.seed, "search", text) >> 1
    return replace(row.request, prompt=say_instead(prompt, text), seed=seed)


def _score(
    target: Engine,
    attacker: Attacker,
    chosen: Sequence[tuple[_Hunt, str]],
    requests: Sequence[Request],
    replies: Sequence[Reply],
) -> list[float]:
    """How definite each reply is times how sure the model is of it, as far as the model's probabilities are known."""
    definite = attacker.judge(
        [(hunt.question, text, reply.text) for (hunt, text), reply in zip(chosen, replies, strict=True)]
    )
    if "logprobs" not in target.capabilities:
        return definite
    pairs = [(request, reply.text) for request, reply in zip(requests, replies, strict=True)]
    sure = [answer_probability(scores.logprobs) for scores in target.score(pairs)]
    return [round(one * other, 6) for one, other in zip(definite, sure, strict=True)]


def _tries_of(model: str, hunt: _Hunt) -> list[Try]:
    best = hunt.best[0]
    attempts = attempts_of(model, [hunt.row], [[Answered(one.request, one.reply) for one in hunt.tried]])
    return [
        Try(attempt, one.score, one is best, one.discarded) for attempt, one in zip(attempts, hunt.tried, strict=True)
    ]
