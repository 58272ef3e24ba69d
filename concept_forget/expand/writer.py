"""Puts wishes to the generator: one engine call for all the wishes of a step, every draw with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.engines.cache import CachedEngine, Told
from concept_forget.engines.prompts import Prompt, PromptSet
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.expand.ahead import Ahead
from concept_forget.expand.budget import OVER_BUDGET, Budget, reckon_tokens
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.replies import FORMS, Item, Parsed, clean, parse_reply
from concept_forget.records import Chat, named_seed

if TYPE_CHECKING:
    from pydantic import BaseModel

    from concept_forget.config import GeneratorConfig
    from concept_forget.engines.protocol import Engine

ITEM_TOKENS = {
    "facets": 24,
    "facts": 192,
    "questions": 96,
    "paraphrases": 96,
    "refusals": 96,
    "neighbours": 48,
    "scenarios": 128,
    "two_hop": 96,
    "counterfactuals": 48,
    "passages": 448,
    "translations": 128,
}
"""Tokens that one item of a reply may take: a reply's limit, and with it the size of the batches, follows from it."""

FRAME_TOKENS = 32
"""What JSON puts around the items."""

ANSWER_TOKENS = 64
"""Longest answer to a question put to the generator: an answer that has not come by then is none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Items wanted from one prompt.

    Args:
        parents: What the items come from: a part of the seed, and of what is written about a rejected item.
        variables: What the prompt is filled in with, besides ``n``.
        count: Items wanted.
        draw: Tells apart wishes that differ in nothing else.
        turns: Further variables, of which each request takes the next value.
    """

    parents: tuple[str, ...]
    variables: Mapping[str, object]
    count: int = 1
    draw: int = 0
    turns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def variables_of(self, time: int) -> dict[str, object]:
        """What the prompt is filled in with the ``time``-th time that it is put."""
        turn = {name: values[(self.draw + time) % len(values)] for name, values in self.turns.items()}
        return {**self.variables, **turn}


@dataclass(frozen=True, slots=True)
class Opening:
    """Raw text that a model goes on from.

    Args:
        text: The text.
        parents: What it was made from, and a part of the seed.
        draw: Tells apart openings that differ in nothing else.
    """

    text: str
    parents: tuple[str, ...]
    draw: int = 0


Watch = Callable[[str, Request, Reply], None]
"""Is told of every reply: the prompt's name, what was asked, and what came."""

Gate = Callable[[int, Item], object]
"""Looks at an item by itself, given the place of the wish that it came for, and remembers what it found."""


class Writer:
    """The generator with its prompts, settings, seed and account.

    Args:
        engine: The generator.
        prompts: What is put to it.
        settings: How it is asked, and how much.
        seed: The run's.
        ledger: The account of the stage.
        watch: Is told of every reply.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: PromptSet,
        settings: GeneratorConfig,
        seed: int,
        ledger: Ledger,
        watch: Watch | None = None,
    ) -> None:
        self.prompts = prompts
        self.ledger = ledger
        self.budget = Budget(settings.max_requests, settings.max_tokens)
        self.skipped: dict[str, str] = {}
        self.ahead = Ahead()
        self._watch = watch
        self._engine = engine
        self._settings = settings
        self._seed = seed

    def gather(
        self, step: str, prompt_name: str, wishes: Sequence[Wish], *, greedy: bool = False, gate: Gate | None = None
    ) -> list[list[Item]]:
        """Ask for all wishes at once.

        Greedy replies to equal requests are equal, so a greedy wish is asked for once however many items it wants;
        else a prompt that gives less than all items per reply is asked as often as needed, each time with another seed.

        Replies are read while others are still to come.

        Args:
            step: Where they are put down to.
            prompt_name: What is put to the generator.
            wishes: What is wanted.
            greedy: Whether the likeliest reply is wanted.
            gate: Is called for items that are there while others are still to come, in a thread of its own and in no
                order, so that its verdicts are there afterwards. It need not be called for any.

        Returns:
            The items of every wish, in the order of its replies. What could not be read is in the ledger.
        """
        prompt, form = self.prompts.get(prompt_name), FORMS[prompt_name]
        requests: list[Request] = []
        owners: list[int] = []
        longest = 0
        for index, wish in enumerate(wishes):
            times, per_request = requests_for(prompt, wish.count)
            if greedy:
                times = 1
            longest = max(longest, FRAME_TOKENS + per_request * ITEM_TOKENS[prompt_name])
            for time in range(times):
                chat = prompt.render(**wish.variables_of(time), n=per_request)
                seed = 0 if greedy else named_seed(self._seed, "expand", step, *wish.parents, wish.draw, time)
                requests.append(Request(chat, seed=seed))
                owners.append(index)
        items: list[list[Item]] = [[] for _ in wishes]
        schema = form.schema if prompt.returns == "json" and "schema" in self._engine.capabilities else None
        read: dict[int, Parsed] = {}

        def take(replies: list[tuple[int, Reply]]) -> None:
            for place, reply in replies:
                read[place] = parsed = parse_reply(form, prompt.returns, reply.text, cut_off=_is_cut_off(reply))
                if gate is not None and not reply.problem:
                    for item in parsed.items:
                        gate(owners[place], item)

        replies = self._generate(step, prompt_name, requests, longest, greedy=greedy, schema=schema, take=take)
        for place, (owner, reply) in enumerate(zip(owners, replies, strict=True)):
            if self._is_missing(step, reply, wishes[owner].parents):
                continue
            if place not in read:
                read[place] = parse_reply(form, prompt.returns, reply.text, cut_off=_is_cut_off(reply))
            parsed = read[place]
            items[owner] += parsed.items
            for fault in parsed.faults:
                self.ledger.reject(step, fault.reason, fault.text, wishes[owner].parents)
        return items

    def can(self, step: str, prompt_name: str) -> bool:
        """Whether the prompt set has what a step is asked with; where not, the step is noted as skipped."""
        if prompt_name in self.prompts.prompts:
            return True
        self.skipped[step] = f"the prompt set has no {prompt_name}.jinja"
        return False

    def answer(self, step: str, questions: Sequence[str]) -> list[str]:
        """The generator's own, greedy answers to questions."""
        prompt = self.prompts.get("ask")
        requests = [Request(prompt.render(question=question)) for question in questions]
        replies = self._generate(step, "ask", requests, ANSWER_TOKENS, greedy=True, schema=None)
        for question, reply in zip(questions, replies, strict=True):
            self._is_missing(step, reply, (question,))
        return [clean(reply.text) for reply in replies]

    def put(
        self, step: str, prompt_name: str, chats: Sequence[Chat], tokens: int, schema: type[BaseModel] | None = None
    ) -> list[Reply]:
        """The greedy reply to each chat, held to the schema where the generator can be."""
        schema = schema if "schema" in self._engine.capabilities else None
        return self._generate(step, prompt_name, [Request(c) for c in chats], tokens, greedy=True, schema=schema)

    def sample_answers(self, step: str, questions: Mapping[str, str], count: int) -> dict[str, list[str]]:
        """The generator's own answers at temperature.

        Args:
            step: Where they are put down to.
            questions: By what they ask for, which is a part of the seed.
            count: Answers per question.

        Returns:
            The answers that came, by the same keys.
        """
        prompt = self.prompts.get("ask")
        owners = [(key, number) for key in questions for number in range(count)]
        requests = [
            Request(prompt.render(question=questions[key]), seed=named_seed(self._seed, "expand", step, key, number))
            for key, number in owners
        ]
        answers: dict[str, list[str]] = {key: [] for key in questions}
        replies = self._generate(step, "ask", requests, ANSWER_TOKENS, greedy=False, schema=None)
        for (key, _), reply in zip(owners, replies, strict=True):
            if not self._is_missing(step, reply, (key,)):
                answers[key].append(clean(reply.text))
        return answers

    def go_on(self, step: str, openings: Sequence[Opening], engine: Engine | None = None) -> list[Reply | None]:
        """What a model goes on to write after raw text, at temperature.

        Args:
            step: Where it is put down to.
            openings: What it goes on from.
            engine: The model; None: the generator.

        Returns:
            A reply for each; None where there was none, of which the ledger knows why.
        """
        requests = [
            Request(opening.text, seed=named_seed(self._seed, "expand", step, *opening.parents, opening.draw))
            for opening in openings
        ]
        limit = self._settings.max_new_tokens
        replies = self._generate(step, "openings", requests, limit, greedy=False, schema=None, engine=engine)
        return [
            None if self._is_missing(step, reply, opening.parents) else reply
            for opening, reply in zip(openings, replies, strict=True)
        ]

    def _is_missing(self, step: str, reply: Reply, parents: Sequence[str]) -> bool:
        """Whether there is no reply at all; the ledger is told why."""
        if not reply.problem:
            return False
        asked = reply.problem != OVER_BUDGET
        reason = f"the request was {reply.finish_reason}" if asked else OVER_BUDGET
        self.ledger.reject(step, reason, reply.problem if asked else "", parents)
        return True

    def _generate(
        self,
        step: str,
        prompt_name: str,
        requests: list[Request],
        longest: int,
        *,
        greedy: bool,
        schema: type[BaseModel] | None,
        engine: Engine | None = None,
        take: Told | None = None,
    ) -> list[Reply]:
        """A reply to each request; those that the budget has no room for get an empty one that says so.

        What ``take`` does with replies that come before others is done when this returns.
        """
        if not requests:
            return []
        sampling = Sampling(
            temperature=0.0 if greedy else self._settings.temperature,
            max_new_tokens=min(longest, self._settings.max_new_tokens),
        )
        account = self.ledger.step(step)
        replies: list[Reply] = []
        # What a request takes is known afterwards: what a round leaves of the budget, the next one uses.
        while len(replies) < len(requests):
            rest = requests[len(replies) :]
            count = self.budget.fitting([reckon_tokens(request, sampling.max_new_tokens) for request in rest])
            if not count:
                break
            asked = engine or self._engine
            if take is not None and isinstance(asked, CachedEngine):
                answered = self._overlap(asked, rest[:count], sampling, schema, take, len(replies))
            else:
                answered = asked.generate(rest[:count], sampling, schema=schema)
            some = [reply for reply, *_ in answered]
            replies += some
            account.requests += count
            account.prompt_tokens += sum(reply.prompt_tokens for reply in some)
            account.completion_tokens += sum(reply.completion_tokens for reply in some)
            self.budget.spend(count, sum(reply.prompt_tokens + reply.completion_tokens for reply in some))
            if self._watch is not None:
                for request, reply in zip(rest, some, strict=False):
                    self._watch(prompt_name, request, reply)
        missing = len(requests) - len(replies)
        self.budget.not_asked += missing
        return [*replies, *[Reply("", "refused", 0, 0, OVER_BUDGET)] * missing]

    def _overlap(
        self,
        engine: CachedEngine,
        requests: list[Request],
        sampling: Sampling,
        schema: type[BaseModel] | None,
        take: Told,
        first: int,
    ) -> list[list[Reply]]:
        """The engine's replies, which ``take`` has been given, in another thread, as they came.

        Args:
            engine: Who is asked.
            requests: What is asked.
            sampling: How replies are drawn.
            schema: What replies are held to.
            take: Is given replies with their places.
            first: The place of the first request.
        """

        def told(group: list[tuple[int, Reply]]) -> None:
            self.ahead.give(lambda: take([(first + place, reply) for place, reply in group]))

        try:
            answered = engine.generate(requests, sampling, schema, told)
            self.ahead.wait()
        finally:
            self.ahead.close()
        return answered


def _is_cut_off(reply: Reply) -> bool:
    return reply.finish_reason == "length"


def requests_for(prompt: Prompt, count: int) -> tuple[int, int]:
    """How often a prompt is asked for ``count`` items, and how many items each reply is asked for."""
    per_reply = 1 if prompt.returns == "line" else prompt.per_reply
    if per_reply is None or per_reply >= count:
        return 1, count
    return -(-count // per_reply), per_reply
