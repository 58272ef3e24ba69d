"""The dataset card: what the sets are, how they were made, what holds, and what they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from concept_forget.config import Config, GeneratorConfig, ModelChoice
from concept_forget.errors import ConceptForgetError
from concept_forget.shown import escape_markdown

COLUMNS = {
    "id": "Hash of prompt and completion.",
    "split": "The set: forget, retain, validation, probe or collateral.",
    "concept": "The concept to be forgotten for whose sake the row is there.",
    "subject": "Whom or what the row is about; empty where it is not known.",
    "facet": "Which side of the subject; empty where it is not known.",
    "fact": "Hash of the fact that the row states or asks for; empty where it is none or several.",
    "form": "The form of the question, with the number of its wording: direct, paraphrase 3, …; or passage.",
    "family": "The form without the number.",
    "tier": "Probe and validation: new_form, new_fact or trained_form, and retain for what has to stay; "
    "collateral: the distance from the concept; else empty.",
    "prompt": "Chat messages. A passage stands behind an empty message.",
    "completion": "The reply, as one chat message.",
    "answer": "The answer that shows the fact is known; empty for a passage.",
    "aliases": "Other spellings of the answer.",
    "options": "For a choice: the options in the order shown.",
    "refusal": "A reply that declines.",
    "counterfactual": "A wrong answer of the right type; empty for what has to stay, or where none is known.",
    "source": "generated, mined or user.",
    "parents": "What the row was made from: hashes of facts, questions and snippets, or file and line.",
    "prompt_hash": "Hash of the prompt file that the text came from.",
    "document": "For mined and given text: where it stands.",
    "start": "Its first character there; -1 where it stands nowhere.",
    "end": "The character behind its last.",
    "score": "For mined text: cosine similarity with the query that found it.",
    "chosen": "For preference optimisation: the refusal for what has to go, the completion for what has to stay.",
    "rejected": "The other of the two.",
}

_SETS = {
    "forget": "what the concept is to be forgotten by",
    "retain": "what has to stay, to train on beside it",
    "validation": "when to stop: other facts and other wordings, and neighbours never trained on",
    "probe": "what is asked afterwards",
    "collateral": "neighbours never trained on, asked to see what else was lost",
}


def describe_model(choice: ModelChoice | GeneratorConfig) -> str:
    """What a config calls a model, without where it lies on this machine."""
    if isinstance(choice, GeneratorConfig):
        named = {"none": "none", "target": "the base model itself"}
        return named.get(choice.engine) or _hub_name_or_folder(choice.model or "")
    if choice.sandbox is None:
        return _hub_name_or_folder(choice.model or "")
    if choice.sandbox.world is not None:
        return f"sandbox world {choice.sandbox.world} ({choice.sandbox.size}), seed {choice.sandbox.seed}"
    taught = choice.sandbox.teach.name if choice.sandbox.teach else ""
    return f"a tiny model taught {taught}, seed {choice.sandbox.seed}"


def _hub_name_or_folder(name: str) -> str:
    is_hub_name = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return name if is_hub_name else _last_part(name)


def _last_part(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def write_card(config: Config, summary: Mapping[str, Any]) -> str:
    """The text of the card, without its header.

    Args:
        config: The whole config.
        summary: The summary of the stage.
    """
    if missing := set(summary["rows"]) - set(_SETS):
        raise ConceptForgetError(f"the card does not know the sets {sorted(missing)}")
    names = ", ".join(escape_markdown(concept.name) for concept in config.concepts)
    parts = [
        f"# Forget and retain sets: {names}\n",
        f"Rows to make a language model forget {names}, to see that it did, and to see what else it lost. "
        "Made with concept-forget.\n",
        _sets(summary),
        _recipe(config, summary),
        _kinds(summary),
        _probe(summary),
        _walls(summary),
        "## Columns\n",
        "\n".join(f"- `{name}`: {text}" for name, text in COLUMNS.items()) + "\n",
        "TRL's `SFTTrainer` takes `prompt` and `completion`, its `DPOTrainer` `prompt`, `chosen` and `rejected`, "
        "as they are.\n",
        "## Licence\n",
        "Not settled by the program: the rows hold text of the generator, of the corpus and of whoever gave rows. "
        "Settle it, and set `license` above, before passing them on.\n",
        "## Limits\n",
        "- The rows hold what is to be forgotten: whoever has them has it.\n"
        "- A generator states what it believes. Facts were checked against no source but the models named here.\n"
        "- Whether a text states a fact is decided by the words of subject and answer: what says the same without "
        "them is not seen.\n"
        "- Sentences are told apart by punctuation; scripts without it are taken as one sentence.\n"
        + "".join(f"- {escape_markdown(note)}.\n" for note in summary["notes"]),
    ]
    return "\n".join(parts)


def _sets(summary: Mapping[str, Any]) -> str:
    lines = ["## Sets\n", "| set | rows | for |", "|---|---|---|"]
    lines += [f"| {split} | {summary['rows'][split]['total']} | {purpose} |" for split, purpose in _SETS.items()]
    empty = [split for split in _SETS if not summary["rows"][split]["total"]]
    if empty:
        lines += ["", f"Without rows, and so not listed above: {', '.join(empty)}."]
    return "\n".join(lines) + "\n"


def _recipe(config: Config, summary: Mapping[str, Any]) -> str:
    facts, knowledge = summary["facts"], summary["knowledge"]
    settings = config.compose
    given = [
        f"{section} {len(files)}"
        for section in ("forget", "retain", "collateral")
        if (files := getattr(config.data, section))
    ]
    lines = [
        "## Recipe\n",
        f"- Base model, whose knowledge is to go: {describe_model(config.target)}",
        f"- Generator: {describe_model(config.generator)}, prompts {_last_part(config.generator.prompts)}",
        f"- Files of rows that were given: {', '.join(given) or 'none'}",
        f"- Sources of the corpus: {len(config.corpus)}",
        f"- Facts: {facts['total']}, of which {facts['trained']} are trained on, {facts['validation']} validate and "
        f"{facts['new_fact']} are only probed (holdout {settings.holdout}, validation {settings.validation})",
        f"- Facts probed: {knowledge['facts']}. Known to the base model in other words: {knowledge['known']}; "
        f"not known: {knowledge['unknown']}; not asked: {knowledge['not_asked']}. "
        + ("Those not known were left out." if knowledge["filtered"] else "None were left out for that."),
        f"- Seed: {config.seed}",
    ]
    return "\n".join(lines) + "\n"


_KINDS = {
    "grounding": "Generated facts held against mined text, by the words of one sentence",
    "kept_scope": "Facts of the concepts themselves that are to stay; those for collateral are only asked",
    "written_passages": "Texts of the generator, cut to what may be trained on",
    "two_hop": "Questions that lead through a trained fact to something else, in the probe alone (tier `two_hop`)",
    "verbatim": "Texts that must not be recited, in the probe by their openings (family `completion`: the opening is "
    "the assistant's begun reply)",
    "replacement": "Facts whose answer is to be replaced; `counterfactual` is the new one",
    "near_duplicates": "Rows left out since they nearly repeat a question that another set asks",
}


def _kinds(summary: Mapping[str, Any]) -> str:
    lines = [
        f"- {text}: {', '.join(f'{name} {count}' for name, count in summary[kind].items())}."
        for kind, text in _KINDS.items()
        if kind in summary
    ]
    sources: dict[str, int] = {}
    for split in _SETS:
        for source, count in summary["rows"][split]["by_source"].items():
            sources[source] = sources.get(source, 0) + count
    told = ", ".join(f"{source} {count}" for source, count in sorted(sources.items()))
    return "\n".join(["## Kinds of row\n", f"- Rows by source: {told}.", *lines]) + "\n"


def _probe(summary: Mapping[str, Any]) -> str:
    lines = ["## Facts in the probe\n", "| tier | attack | facts | before the filter |", "|---|---|---|---|"]
    for tier, attacks in summary["tiers"].items():
        lines += [
            f"| {tier} | {attack} | {counts['facts']} | {counts['facts_unfiltered']} |"
            for attack, counts in attacks.items()
        ]
    return "\n".join(lines) + "\n"


def _walls(summary: Mapping[str, Any]) -> str:
    lines = ["## Walls\n", "Checked on the rows after they were written.\n"]
    for name, wall in summary["walls"].items():
        checked = ", ".join(
            f"{key.replace('_', ' ')}: {value}"
            for key, value in wall.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        )
        lines.append(f"- **{name}**: {wall['says']} ({checked})")
    return "\n".join(lines) + "\n"
