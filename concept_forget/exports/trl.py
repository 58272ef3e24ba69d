"""The sets in the dataset types of TRL's trainers."""

from __future__ import annotations

from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import Layout, Subset
from concept_forget.exports.registry import target
from concept_forget.exports.tables import read_table, write_table

_KEPT = ("id", "concept", "subject", "fact", "form", "tier", "source")
_TYPES = {
    "prompt-completion": (("prompt", "completion"), "questions and replies, for `SFTTrainer`"),
    "preference": (("prompt", "chosen", "rejected"), "questions with two replies, for `DPOTrainer`"),
}


@target("trl", source="huggingface/trl, docs/source/dataset_formats.md: conversational types, and text")
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """TRL: prompt and completion for SFTTrainer, chosen and rejected for DPOTrainer, texts by themselves."""
    import pyarrow

    for split in SPLITS:
        table = read_table(sets, split)
        asks = pyarrow.array([bool(row.prompt) for row in sets.rows[split]], type=pyarrow.bool_())
        questions = table.filter(asks)
        for name, (columns, about) in _TYPES.items():
            layout.add_table(
                f"{name}/{split}.parquet",
                sets.questions(split),
                write_table(questions.select([*columns, *_KEPT])),
                f"{split}: {about}",
                Subset(name, split),
            )
        if passages := sets.passages(split):
            texts = {"text": [row.completion for row in passages]}
            texts |= {name: [getattr(row, name) for row in passages] for name in _KEPT}
            schema = pyarrow.schema([(name, pyarrow.string()) for name in texts])
            layout.add_table(
                f"language-modeling/{split}.parquet",
                passages,
                write_table(pyarrow.table(texts, schema=schema)),
                f"{split}: texts without a question, for `SFTTrainer`",
                Subset("language-modeling", split),
            )
    layout.notes += [
        'Load a type by its name: `load_dataset(FOLDER, "preference", split="forget")`.',
        "In `preference`, the refusal is `chosen` over the answer that has to go, and the answer that has to stay is "
        "`chosen` over a refusal.",
    ]
