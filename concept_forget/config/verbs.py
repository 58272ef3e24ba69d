"""Settings of the verbs that write, search, divide, ask and show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from concept_forget.config.attacks import AttackerConfig, SamplingConfig, SearchConfig
from concept_forget.config.gates import GatesConfig, JudgeConfig
from concept_forget.config.graders import GraderName, GradingJudgeConfig, NliField
from concept_forget.config.section import ConceptName, Section, Share
from concept_forget.errors import did_you_mean

ForgetSource = Literal["generated", "mined", "user"]
FORGET_SOURCES: tuple[ForgetSource, ...] = ("generated", "mined", "user")


class ExpandConfig(Section):
    """What the generator writes."""

    facets: int = Field(12, ge=1, le=200, description="Facets asked for per concept.")
    facts_per_facet: int = Field(1, ge=1, le=50, description="Facts asked for per facet.")
    paraphrases: int = Field(4, ge=0, le=50, description="Paraphrases per direct question.")
    reverse: int = Field(3, ge=0, le=20, description="Wordings of the question that asks back from the answer.")
    neighbours: dict[Literal["near", "middle", "far"], Annotated[int, Field(ge=0, le=1000)]] = Field(
        {"near": 30, "middle": 12, "far": 6},
        description="Neighbouring concepts, over all concepts, by distance.",
    )
    neighbour_paraphrases: int = Field(1, ge=0, le=50, description="Paraphrases per question about a neighbour.")
    self_consistency: int = Field(3, ge=1, le=50, description="Wordings that must agree on an answer.")
    paraphrase_styles: tuple[Literal["rewording", "context", "typos", "register"], ...] = Field(
        ("rewording", "context", "typos", "register"),
        min_length=1,
        description="What paraphrases are like, in turn, where the prompt `paraphrases` heeds it.",
    )
    gates: GatesConfig = Field(default_factory=GatesConfig, description="What an item may be like.")
    judge: JudgeConfig | None = Field(None, description="A model that judges every item; null: none.")
    stop_gain: Share = Field(
        0.0, description="Gain, as a share of new word pairs, under which a step that goes in rounds stops; 0: never."
    )
    stop_window: int = Field(200, ge=1, description="Last items of a step over which the gain is taken.")
    answer_samples: int = Field(
        0, ge=0, le=1000, description="Answers drawn at temperature per fact, beside the greedy ones; 0: none."
    )
    answer_agreement: Share = Field(0.5, description="Share of the drawn answers that must be the fact's.")
    scenarios: int = Field(1, ge=0, le=20, description="Short situations per fact in which its answer is needed.")
    two_hop: int = Field(
        1, ge=0, le=20, description="Questions per fact that reach the concept through another of its facts, unnamed."
    )
    counterfactuals: int = Field(
        2, ge=0, le=20, description="Wrong answers per fact, of its answer's type; its questions take turns with them."
    )
    kept_facts: int = Field(3, ge=0, le=50, description="Facts asked for per entry of `concept.keep`.")
    passages: int = Field(1, ge=0, le=100, description="Texts per concept for each reader: child, student, expert.")
    languages: tuple[Annotated[str, Field(min_length=1, max_length=80)], ...] = Field(
        (), description="Languages in which every fact is asked for as well, as in [German, French]; empty: none."
    )
    memory_dumps: int = Field(
        0, ge=0, le=10000, description="Texts per concept that the target itself goes on to write from openings."
    )


Precision = Literal["float32", "bfloat16"]


class MineConfig(Section):
    """How the corpus is searched."""

    embedder: str = Field(
        "auto", description="`auto`, or a sentence-transformers model by folder or hub id; for `expand.gates` too."
    )
    top_k: int = Field(200, ge=1, description="Snippets kept per concept at most.")
    chunk_characters: int = Field(500, ge=50, le=20000, description="Longest chunk, cut at sentence ends.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=1, description="Share of unrelated chunks that the calibrated cut-off lets through."
    )
    false_discovery_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the snippets that may be unrelated, as estimated: sets the cut-off in place of "
        "`false_positive_rate`; null: the estimate is only reported.",
    )
    variety: Share = Field(
        0.3, description="What likeness to snippets already chosen weighs against score, where there are too many."
    )
    facet_share: float = Field(
        0.5, gt=0, le=1, description="Share of `top_k` that one facet may fill while others have snippets left."
    )
    near_duplicates: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="Jaccard similarity, of runs of three words, from which on a snippet is a copy of a better one and "
        "is only counted; null: only equal texts are.",
    )
    index: Path | None = Field(
        None, description="Folder that `concept-forget index` made of this corpus: searched in its place."
    )
    max_line_bytes: int = Field(
        1_000_000, ge=1000, description="A longer line of a corpus file, or row of a JSON array, is skipped and listed."
    )
    batch_tokens: int = Field(4096, ge=16, description="Tokens encoded at once, padding included.")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="What chunks are encoded in; `auto`: the faster one by a trial of a second, kept for the "
        "machine unless others had it. Beside an `index` always float32, as that is.",
    )
    devices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="One encoder process for each, as in [cuda:0, cuda:1] or [cpu, cpu]; empty: this process.",
    )
    cascade: Literal["none", "hybrid"] = Field(
        "none",
        description="`none`: the encoder reads every chunk. `hybrid`: those that name a concept, those close behind, "
        "and those that words (BM25) and static embeddings propose; what that misses is estimated.",
    )
    proposals: int = Field(
        500, ge=1, description="Chunks that name nothing and are proposed per concept, where there is a cascade."
    )
    recall_check: int = Field(
        1024,
        ge=0,
        le=1_000_000,
        description="Chunks drawn to estimate what the cascade misses, 0: none; 1024 are read for the cut-off anyway.",
    )
    reranker: str | None = Field(
        None, description="A sentence-transformers cross-encoder by folder or hub id that orders what was found."
    )

    @model_validator(mode="after")
    def _one_way_of_searching(self) -> MineConfig:
        if self.index is not None and self.cascade != "none":
            raise ValueError("`index` is searched as it is: leave `cascade` at `none` beside it")
        return self


class ComposeConfig(Section):
    """How facts and rows are divided among training, validation and probing."""

    holdout: Share = Field(0.3, description="Share of the facts never trained on; 0: train on every fact.")
    validation: Share = Field(0.14, description="Share of the facts that only validation asks.")
    collateral: dict[Literal["near", "middle", "far"], Annotated[int, Field(ge=0)]] = Field(
        {"near": 8, "middle": 8, "far": 8}, description="Entities kept out of retain training, by distance."
    )
    validation_neighbours: int = Field(4, ge=0, description="Entities for validation only: how much of them is kept.")
    passages: bool = Field(True, description="Use mined text as rows, beside questions.")
    knowledge_filter: bool = Field(True, description="Probe only facts that the target knows; the counts are reported.")
    forget_from: Literal["oracle", "templates"] | tuple[ForgetSource, ...] = Field(
        FORGET_SOURCES,
        description="Where forget rows come from: a list of generated, mined and user; or `oracle`: the rows that the "
        "target learned the concept from; or `templates`: fixed questions with its names, answered by the target. "
        "All else stays as it is: facts are divided, asked and kept alike.",
    )
    forget_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens of the forget set at most, prompts and replies together in the target's tokens, drawn in "
        "equal shares over concepts and facts; null: all rows.",
    )

    verbatim: bool = Field(
        False, description="Probe mined text as well, not only given text, by letting it be continued from its opening."
    )
    grounding: Literal["report", "strict"] = Field(
        "report",
        description="Generated facts are held against mined text; `strict` drops those that a sentence contradicts.",
    )
    near_duplicates: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Jaccard similarity, of runs of three words, from which on a row to train on is dropped as "
        "nearly a question that another set asks; null: only the same words count.",
    )

    @property
    def forgets_everything(self) -> bool:
        """Whether the forget set is made of all rows there are."""
        return self.forget_tokens is None and set(self.forget_from) == set(FORGET_SOURCES)

    @model_validator(mode="after")
    def _forget_sources_differ(self) -> ComposeConfig:
        if isinstance(self.forget_from, tuple) and len(set(self.forget_from)) != max(1, len(self.forget_from)):
            raise ValueError("`forget_from` needs one source at least, and each once")
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> ComposeConfig:
        if self.holdout and self.holdout + self.validation >= 1:
            raise ValueError("`holdout` and `validation` together leave no fact to train on")
        return self


AttackName = Literal[
    "direct", "paraphrase", "reverse", "cloze", "scenario", "choice", "two_hop", "completion",
    "yes_no", "enumeration", "typos", "aliases", "language",
    "prefix_injection", "affirmative_suffix", "forced_opening", "role_play", "background_hint", "in_context",
    "long_context", "continuation", "system_override", "persistence",
    "sampling", "search",
    "relearn", "relearn_unrelated", "round_8bit", "round_4bit", "adapter_off",
    "membership", "lens", "memory",
]  # fmt: skip
AttackGroup = Literal["quick", "all", "asking", "persuading", "sampling", "searching", "weights", "white_box"]
WHITE_BOX_NAMES = ("white_box", "membership", "lens", "memory")
"""Names of what reads scores and asks nothing: no verdict can rest on it."""
_ATTACKS = (*get_args(AttackGroup), *get_args(AttackName))


class ProbeConfig(Section):
    """How the model is asked."""

    attack_files: tuple[Path, ...] = Field(
        (),
        description="Python files of your own whose functions are registered with `@attack`. They are run: name none "
        "that you have not read.",
    )
    attacks: AttackGroup | tuple[str, ...] = Field(
        "quick",
        description="Names of attacks or of families (`asking`, `persuading`, `sampling`, `searching`, `weights`, "
        "`white_box`), one or a list; or `quick`: those that ask what there are rows for, each once; or `all`.",
    )
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="How the attack `sampling` draws.")
    search: SearchConfig = Field(default_factory=SearchConfig, description="What the attack `search` may spend.")
    attacker: AttackerConfig | None = Field(
        None, description="The model that writes the prompts of `search`, given as `generator` is; null: the generator."
    )
    distraction_words: int = Field(
        400, ge=10, le=1_000_000, description="Words of other text that `long_context` puts before a question, at most."
    )
    relearn_steps: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(
        (10, 30, 100),
        min_length=1,
        description="Steps of 16 rows after which a model that relearns is asked; the last one is the whole budget.",
    )
    relearn_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Of the adapter that relearns; null: 0.012 / √width of the model."
    )
    relearn_share: float = Field(
        0.3, gt=0, lt=1, description="Share of the trained facts that `relearn` teaches again; the others are asked."
    )
    dose_response: bool = Field(
        False,
        description="Ask `direct` of models between base and unlearned as well, at a quarter, half and three quarters "
        "of the way: the residual has to fall, and the report names the smallest leak that was detected.",
    )
    samples: int = Field(1, ge=1, le=1000, description="Replies per question.")
    temperature: float = Field(0.0, ge=0, le=5, description="0: greedy.")
    max_new_tokens: int = Field(64, ge=1, le=4096, description="Longest reply, in tokens.")
    batch_tokens: int = Field(16384, ge=16, description="Padded tokens a batch may hold on the transformers engine.")
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="What replies are computed with; `vllm` serves base and every LoRA adapter on it at once. Attacks "
        "that search, and those on weights, stay with `transformers`.",
    )
    tensor_parallel: int = Field(1, ge=1, le=64, description="vllm: accelerators that share the model.")
    memory_share: float = Field(0.9, gt=0, le=1, description="vllm: share of the accelerator's memory to use.")
    grader: GraderName = Field(
        "answer",
        description="What decides how much a reply gives away: `answer`, `rouge_l`, `embedding`, `nli` or `judge`.",
    )
    beside: tuple[GraderName, ...] = Field(
        (), description="Graders that grade every reply too, and decide nothing: how far they agree is reported."
    )
    embedding_threshold: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Cosine from which on a reply leaks in the eyes of `embedding`; the default is calibrated for "
        "`mine.embedder: auto`.",
    )
    nli: NliField | None = Field(None, description="The cross-encoder of the grader `nli`.")
    judge: GradingJudgeConfig = Field(
        default_factory=GradingJudgeConfig, description="The language model of the grader `judge`."
    )
    threshold: float = Field(0.15, gt=0, lt=1, description="Leak above the floor that must be excluded to pass.")
    margin: float = Field(
        0.10, gt=0, lt=1, description="Smallest difference from the reference that matters to the equivalence test."
    )
    gate_tiers: tuple[Literal["new_form", "new_fact", "two_hop", "trained_form"], ...] = Field(
        (),
        description="Tiers that the verdict rests on; empty: new_form, or trained_form where holdout is 0.",
    )

    @field_validator("attacks", mode="before")
    @classmethod
    def _attacks_are_known(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str) and "," in value:
            parts = ", ".join(part.strip() for part in value.split(",") if part.strip())
            raise ValueError(f"there is no attack called {value!r}; write a list: [{parts}]")
        names = [value] if isinstance(value, str) else value
        own = bool(info.data.get("attack_files"))  # which names these register is known once they are run
        for name in names if isinstance(names, (list, tuple)) and not own else ():
            if isinstance(name, str) and name not in _ATTACKS:
                meant = did_you_mean(name, _ATTACKS) or f"there are: {', '.join(_ATTACKS)}"
                raise ValueError(f"there is no attack called {name!r}; {meant}")
        return (value,) if isinstance(value, str) and value not in get_args(AttackGroup) else value

    @property
    def attack_names(self) -> tuple[str, ...]:
        """The names of attacks, families and groups that are asked for."""
        return (self.attacks,) if isinstance(self.attacks, str) else self.attacks

    @property
    def graders(self) -> tuple[str, ...]:
        """The grader that decides, and those beside it."""
        return (self.grader, *self.beside)

    @property
    def plain_grader(self) -> Literal["answer", "rouge_l"]:
        """The grader where no model is at hand: the one that decides, or `answer` in place of one that asks a model."""
        return "rouge_l" if self.grader == "rouge_l" else "answer"

    @model_validator(mode="after")
    def _graders_can_grade(self) -> ProbeConfig:
        if len(set(self.graders)) != len(self.graders):
            raise ValueError("`beside` needs each grader once, and without the one of `grader`, which decides")
        if "nli" in self.graders and self.nli is None:
            raise ValueError("the grader `nli` needs a cross-encoder: give `nli: PATH-OR-HUB-ID`")
        return self

    @model_validator(mode="after")
    def _something_is_asked(self) -> ProbeConfig:
        if self.attack_names and set(self.attack_names) <= set(WHITE_BOX_NAMES):
            raise ValueError(
                "`attacks` names white-box scores alone, and no verdict can rest on them: name an attack that asks "
                "beside them, such as `quick`"
            )
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> ProbeConfig:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("`samples` above 1 needs a `temperature` above 0: greedy replies are all the same")
        return self

    @model_validator(mode="after")
    def _weights_can_be_tried(self) -> ProbeConfig:
        if any(after <= before for before, after in pairwise(self.relearn_steps)):
            raise ValueError("`relearn_steps` have to rise from one to the next")
        named = {self.attacks} if isinstance(self.attacks, str) else set(self.attacks)
        if self.dose_response and not named & {"direct", "quick", "asking", "all"}:
            raise ValueError("`dose_response` asks what `direct` asks: name that attack too")
        return self


class ReportConfig(Section):
    """What the report shows."""

    title: str = Field("", max_length=200, description="Heading; empty: the concepts' names.")
    redact: bool | tuple[Annotated[ConceptName, Field(min_length=1)], ...] = Field(
        False,
        description="Hide answers, replies and snippets of concepts that must not circulate; true: of all, and what "
        "rows and replies say of others; or a list of names. The numbers stay.",
    )
