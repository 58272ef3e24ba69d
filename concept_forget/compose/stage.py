"""The front door of compose: five sets of rows with three walls between them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from concept_forget.compose.card import describe_model, write_card
from concept_forget.compose.dataset import SPLITS, write_dataset
from concept_forget.compose.forget_sources import ForgetSource, Taught
from concept_forget.compose.forms import allot
from concept_forget.compose.material import gather
from concept_forget.compose.oracle import read_oracle
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rounds import take_round
from concept_forget.compose.sets import CONTINUE, Composer, FindKnown
from concept_forget.compose.splitting import count_roles
from concept_forget.compose.summary import fact_lines, summarise
from concept_forget.compose.templates import ask_by_name, load_templates
from concept_forget.compose.two_hop import TWO_HOP
from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.engines.protocol import Engine
from concept_forget.one_round import read_round
from concept_forget.records import Example, Question, Snippet
from concept_forget.user_rows import hash_files, read_rows
from concept_forget.workspace import StageContext, read_records, write_json, write_records, write_text

VERSION: int = 3
PROMPTS = ("ask", "cloze", "choice")


def fingerprint_parts(config: Config) -> list[object]:
    """All that the sets depend on besides the seed, the stages before and the base model.

    Raises:
        DataError: A file of rows or a prompt is absent.
    """
    prompts = load_prompts(config.generator.prompts)
    settings = config.compose
    return [
        [concept.model_dump(mode="json") for concept in config.concepts],
        settings.model_dump(mode="json"),
        config.data.model_dump(mode="json"),
        hash_files(config),
        [prompts.get(name).hash for name in PROMPTS],
        prompts.get(CONTINUE).hash if CONTINUE in prompts.prompts else None,
        [config.probe.plain_grader, config.probe.max_new_tokens] if settings.knowledge_filter else None,
        [describe_model(config.target), describe_model(config.generator), config.generator.prompts],
        len(config.corpus),
        list(config.gate_tiers),
        load_templates().hash if settings.forget_from == "templates" else None,
    ]


def check(config: Config) -> None:
    """Refuse rows of the user's that cannot be used, before anything is taught or asked.

    Raises:
        DataError: The row's file and line are named.
    """
    for section in ("forget", "retain", "collateral", "oracle"):
        read_rows(getattr(config.data, section), f"data.{section}")


def estimate(config: Config) -> dict[str, int]:
    """How many facts the plan expects, in all and by tier, where the generator gives all that it is asked for.

    Raises:
        DataError: A row of the user's cannot be used.
    """
    generated = 0
    if config.generator.engine != "none":
        facets = sum(len(concept.forget) or config.expand.facets for concept in config.concepts)
        generated = facets * config.expand.facts_per_facet
    rows = read_rows(config.data.forget, "data.forget")
    given = sum(not row.text for row in rows)
    texts = len(rows) - given
    counts = count_roles(generated + given, config.compose.holdout, config.compose.validation)
    tiers = {"new_form": counts["trained"]} if config.compose.holdout else {"trained_form": counts["trained"]}
    probed = counts["trained"] + counts["new_fact"]
    share = generated / (generated + given) if generated else 0.0
    checks = _checks_per_fact(config) if config.compose.knowledge_filter else 0
    return {
        "facts": generated + given,
        "trained": counts["trained"],
        "validation": counts["validation"],
        "new_fact": counts["new_fact"],
        **tiers,
        **({"texts": texts} if texts else {}),
        **({TWO_HOP: counts["trained"]} if generated and _asks_for_chains(config) else {}),
        "requests": round(probed * share * checks),
    }


def run(context: StageContext) -> dict[str, object]:
    """Make the sets, write them, read them back and prove the walls on what was read.

    Returns:
        The summary.

    Raises:
        DataError: A row of the user's, or an input, cannot be used.
        StageError: A set that the next stage needs has no rows, or a wall does not hold.
    """
    config = context.config
    rejections = Rejections()
    material = gather(config, context.inputs.get("expand"), rejections)
    prompts = load_prompts(config.generator.prompts)
    composer = Composer(config, material, _snippets(context), prompts, rejections)
    sets = composer.compose(
        _ask_base(context) if config.compose.knowledge_filter else None, _forget_source(context, prompts)
    )
    if own := read_round(context.inputs):
        sets = take_round(sets, own, composer)
    for split in SPLITS:
        write_records(context.folder / f"{split}.jsonl", sets.rows[split])
    written = {split: read_records(Example, context.folder / f"{split}.jsonl") for split in SPLITS}
    summary = summarise(sets, config, prove_walls(written, sets.division))
    write_text(context.folder / "facts.jsonl", _json_lines(fact_lines(sets)))
    write_dataset(context.folder / "dataset", written, write_card(config, summary))
    write_json(context.folder / "summary.json", summary)
    return summary


def _snippets(context: StageContext) -> list[Snippet]:
    folder = context.inputs.get("mine")
    path = folder / "snippets.jsonl" if folder else Path()
    names = {concept.name for concept in context.config.concepts}
    return [s for s in read_records(Snippet, path) if s.concept in names] if path.is_file() else []


def _forget_source(context: StageContext, prompts: PromptSet) -> ForgetSource | None:
    """What chooses the forget set, where it is not made of all rows there are."""
    config = context.config
    settings = config.compose
    if settings.forgets_everything:
        return None
    taught: list[Taught] = []
    if settings.forget_from == "oracle":
        taught = read_oracle(config, context.inputs.get("oracle"))
    elif settings.forget_from == "templates":
        with _open_base(context) as engine:
            taught = ask_by_name(engine, config.concepts, prompts, config.probe.max_new_tokens)
    return ForgetSource(settings, config.seed, taught, partial(_count_tokens, context))


def _count_tokens(context: StageContext, rows: Sequence[Example]) -> dict[str, int]:
    """Tokens of each whole row, prompt and reply laid out as for training, by id; 0 where there is none to train on."""
    from concept_forget.models import load_tokenizer
    from concept_forget.training.batches import encode_examples

    encoded = encode_examples(rows, load_tokenizer(context.models["base"]), sys.maxsize)
    return {**{row.id: 0 for row in rows}, **{row.id: len(row.tokens) for row in encoded.rows}}


def _open_base(context: StageContext) -> contextlib.closing[Engine]:
    from concept_forget.engines.opening import open_engine

    opened = open_engine(
        context.models["base"],
        cache=context.cache,
        costs=context.costs,
        batch_tokens=context.config.probe.batch_tokens,
    )
    return contextlib.closing(opened)


def _ask_base(context: StageContext) -> FindKnown:
    def find(checks: Mapping[str, Sequence[Example]]) -> dict[str, bool]:
        from concept_forget.compose.knowledge import find_known

        if not any(checks.values()):
            return {}
        probe = context.config.probe
        with _open_base(context) as engine:
            return find_known(engine, checks, probe.plain_grader, probe.max_new_tokens)

    return find


def _asks_for_chains(config: Config) -> bool:
    return any(name.startswith(TWO_HOP) for name in load_prompts(config.generator.prompts).prompts)


def _checks_per_fact(config: Config) -> int:
    """Wordings by which a generated fact is checked: as many as a fact with all the paraphrases asked for has."""
    texts = ["direct", *(f"paraphrase {number}" for number in range(1, config.expand.paraphrases + 1))]
    questions = [
        Question(id=text, fact="", family=text.split()[0], variant=number, text=text, answer="")
        for number, text in enumerate(texts)
    ]
    return len(allot(questions, "trained", everything=not config.compose.holdout).check)


def _json_lines(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
