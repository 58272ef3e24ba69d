"""Models that many tests share, made once per session: a tiny world's, the same without its concepts, tiny encoders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: no test may fetch
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch: the workers share the cores among them

import pytest
from filelock import FileLock
from hypothesis import settings

from concept_forget.probe.attacks.files import load_attack_files
from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import build_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from transformers import BertConfig, PreTrainedTokenizerFast

LONGEST_FIRST = (
    "tests/test_pipeline.py",
    "tests/probe/test_changing.py",
    "tests/docs/test_commands.py",
    "tests/test_ray_workers.py",
    "tests/evidence/test_verifying.py",
    "tests/comparison/test_running.py",
    "tests/test_faults.py",
    "tests/test_hostile.py",
    "tests/probe/test_planted_leaks.py",
    "tests/unlearn/test_unlearning.py",
    "tests/test_cli.py",
    "tests/probe/test_stage.py",
    "tests/mine/test_index_building.py",
    "tests/unlearn/test_stage.py",
    "tests/test_out_of_memory.py",
)
"""Files that take most of a minute are handed out before the others, so that no process ends long after the rest."""

settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which this session keeps the models that it teaches, for its workers and the command line too."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "models"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONCEPT_FORGET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def only_built_in_attacks() -> Iterator[None]:
    """No file of tests leaves a user's attacks to the next, which the same process may run."""
    yield
    load_attack_files(())


@pytest.fixture(scope="session")
def nano_model(model_cache: Path) -> Path:
    """The folder of a model that has learned world 0, size nano."""
    with FileLock(model_cache / "nano.lock"):
        return teach_world(0, size="nano", cache_dir=model_cache)


@pytest.fixture(scope="session")
def nano_reference(model_cache: Path) -> Path:
    """The folder of a model that has learned world 0, size nano, without the people to be forgotten."""
    with FileLock(model_cache / "reference.lock"):
        return teach_world(0, without=build_world(0, "nano").concepts, size="nano", cache_dir=model_cache)


@pytest.fixture(scope="session")
def serve_objects() -> Callable[..., Any]:
    """Serves keys and contents as an object store on this machine, while a block runs."""
    from tests.mine.loopback_store import serving

    return serving


@pytest.fixture(scope="session")
def nli_model(model_cache: Path) -> Path:
    """The folder of a tiny cross-encoder that has learned what implies what in world 0, size nano."""
    from tests.tiny_nli import teach_nli

    folder = model_cache / "nli"
    with FileLock(model_cache / "nli.lock"):
        return folder if (folder / "config.json").is_file() else teach_nli(build_world(0, "nano"), folder)


@pytest.fixture(scope="module")  # while it is open, an event loop runs, and other files run their own
def browser() -> Iterator[Browser]:
    """A headless Chromium of the system's, in which pages are opened as people open them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine: `apt-get install chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: extra `dev`")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as JSON lines and gives the file's path."""

    def write(*rows: Any, name: str = "rows.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
        return str(tmp_path / name)

    return write


def _tokenizer(words: str) -> PreTrainedTokenizerFast:
    """Word pieces: the words, and letters to spell the others with."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'-()\""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys([*pieces, *words.lower().split()]))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def _bert(tokenizer: PreTrainedTokenizerFast, **more: Any) -> BertConfig:
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes, **more)


WORDS = "the was is a of in on who what where which did does born wrote book sails ship called taught by town"


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sentence encoder of one layer with random weights: near is what has words in common."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    plain, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("tiny-encoder")
    tokenizer = _tokenizer(WORDS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(_bert(tokenizer)).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain))
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cross-encoder of one layer with random weights, which gives one number for a pair."""
    import torch
    from transformers import BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-reranker")
    tokenizer = _tokenizer(WORDS)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = _bert(tokenizer, num_labels=1, initializer_range=0.5)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
