"""Keys: from the environment, to the server that they are for, and nowhere else, whatever that server says."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from concept_forget.config_file import load_config
from concept_forget.console import say
from concept_forget.credentials import hide_keys, hide_values, holds_key
from concept_forget.engines.opening import open_generator
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Engine, Request, Sampling
from concept_forget.errors import ConceptForgetError, ConfigError, ModelError, first_line
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.writer import Writer
from concept_forget.records import user_message
from concept_forget.workspace import Costs

SERVER = Path(__file__).parent / "engines" / "loopback_server.py"
KEY = "sk-Loop/Back+0123456789"
NAME = "LOOPBACK_ACCESS"  # a name that does not say what it holds


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(NAME, f"{KEY}\n")  # as `$(cat key)` in quotes leaves it
    return KEY


@contextlib.contextmanager
def asking(folder: Path, *options: str, base_url: str | None = None) -> Iterator[Engine]:
    """The engine of a generator on a server that says the header which it got, in errors and replies alike."""
    with subprocess.Popen(
        [sys.executable, str(SERVER), "--echo", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        values = {"engine": "openai", "model": "parrot", "base_url": base_url or url, "api_key_env": NAME}
        path = folder / "config.yaml"
        path.write_text(json.dumps({"concept": "A", "target": "m", "generator": values | {"attempts": 1}}))
        settings = load_config(path).generator
        with contextlib.closing(open_generator(settings, None, cache=folder / "r.sqlite", costs=Costs())) as engine:
            yield engine
        process.kill()


def has_key(text: str) -> bool:
    return any(part in text for part in (KEY, "sk-Loop", "0123456789"))


def is_kept(folder: Path) -> bool:
    return any(has_key(path.read_bytes().decode("utf-8", "replace")) for path in folder.rglob("*") if path.is_file())


def test_a_reply_that_repeats_the_key_is_kept_without_it(keyed: str, tmp_path: Path) -> None:
    with asking(tmp_path, "--key", keyed) as engine:
        [[reply]] = engine.generate([Request(user_message("Dunholm"))], Sampling())
    assert reply.text == "it is Dunholm for authorization: Bearer [key]"
    assert (tmp_path / "r.sqlite").stat().st_size
    assert not is_kept(tmp_path)


@pytest.mark.parametrize(("word", "error"), [("always-400", None), ("always-500", None), ("Dunholm", ModelError)])
def test_an_error_that_repeats_the_key_is_told_and_kept_without_it(
    keyed: str, tmp_path: Path, word: str, error: type[Exception] | None
) -> None:
    """A request that is refused, a server at fault, and a key that it does not know."""
    options = ("--key", "another") if error else ()
    ledger = Ledger()
    with asking(tmp_path, *options) as engine:
        settings = SimpleNamespace(max_requests=None, max_tokens=None, temperature=1.0, max_new_tokens=16)
        writer = Writer(engine, load_prompts("compact"), settings, 0, ledger)  # type: ignore[arg-type]
        if error is None:
            assert writer.answer("ask", [word]) == [""]
            [rejection] = ledger.rejections
            said = rejection.text
        else:
            with pytest.raises(error) as caught:
                writer.answer("ask", [word])
            said = str(caught.value)
    assert "Bearer [key]" in said
    assert not has_key(said)
    assert not is_kept(tmp_path)


@pytest.mark.parametrize("key", ["sk-with-ä-umlaut", "sk-two\nlines-of-it"])
def test_what_no_header_can_hold_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(NAME, key)
    with asking(tmp_path) as engine, pytest.raises(ModelError, match=f"{NAME} holds no key") as caught:
        engine.generate([Request(user_message("Dunholm"))], Sampling())
    assert "sk-" not in str(caught.value)


def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(
    keyed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://user:hunter2hunter2@127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    with asking(tmp_path, base_url="http://model.invalid/v1") as engine, pytest.raises(ConceptForgetError) as caught:
        engine.generate([Request(user_message(f"Dunholm {number}")) for number in range(40)], Sampling())
    say(str(caught.value), error=True)
    assert "hunter2" not in str(caught.value) + capsys.readouterr().err
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.glob("*.sqlite*"))


ADDRESSES = (
    ("generator.base_url", "http://user:hunter2hunter2@localhost:8000/v1"),
    ("corpus.0", "s3://AKIA0:hunter2hunter2@bucket/x.jsonl"),
    ("corpus.0", "s3://bucket/x.jsonl?region=eu&secret_key=hunter2hunter2"),
    ("corpus.0", "abfss://hunter2hunter2@account/x.jsonl"),
    ("corpus.0", "gs://bucket/x.jsonl?sig=hunter2hunter2"),
    ("vars.place", "https://user:hunter2hunter2@host/x"),
    ("corpus.0", "s3://AKIA0:wJalr/hunter2hunter2@bucket/x.jsonl"),
    ("generator.base_url", "http://me:pa/hunter2hunter2@h"),
    ("generator.base_url", "http://h/v1?api-key=hunter2hunter2"),
    ("generator.base_url", "http://h/v1?apikey=hunter2hunter2"),
    ("corpus.0", "https://h/x.jsonl?a=1&amp;X-Amz-Signature=hunter2hunter2"),
    ("corpus.0", "https://h/x.jsonl?%6bey=hunter2hunter2"),
)


@pytest.mark.parametrize(("key", "address"), ADDRESSES)
def test_an_address_with_a_key_is_refused_before_a_run_could_keep_it(tmp_path: Path, key: str, address: str) -> None:
    section, _, name = key.partition(".")
    value = [address] if name == "0" else {name: address}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"concept": "A", "target": "m", section: value, "output": str(tmp_path / "run")}))
    with pytest.raises(ConfigError, match="holds a key") as caught:
        load_config(path)
    assert caught.value.key == key
    command = [sys.executable, "-m", "concept_forget.cli", "mine", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "hunter2" not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/v1", "s3://bucket/a@b/*.jsonl?region=eu-west-1", "data/*.jsonl", "a@b.example",
        "See https://example.org/?q=1 or git://git@example.org/x.", "runs/key=1", "https://x.org/?monkey=1",
        "http://localhost:8000/v1/@me", "https://x.org/?author=A&tokens=3", "s3://bucket/a@b",
    ],
)  # fmt: skip
def test_other_addresses_hold_none(address: str) -> None:
    assert not holds_key(address)


def test_what_others_say_loses_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh/ij")
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    monkeypatch.setenv("MONKEY", "bananas-everywhere")
    text = "hf_abcdefgh/ij, hf_abcdefgh%2Fij; EMPTY bananas-everywhere; Basic dXNlcjpwYXNz; ftp://me:pw@host/x@y"
    assert hide_keys(text) == "[key], [key]; EMPTY bananas-everywhere; Basic [key]; ftp://[key]@host/x@y"
    assert hide_values("Basic dXNlcjpwYXNz hf_abcdefgh/ij") == "Basic dXNlcjpwYXNz [key]"
    assert first_line(OSError("no hf_abcdefgh/ij\nhere")) == "no [key]"
    assert hide_keys("MONKEY=bananas-everywhere", "MONKEY") == "MONKEY=[key]"


@pytest.mark.parametrize(
    "name",
    ["PGPASSWORD", "MYKEY", "AUTHKEY", "OPENAI_KEY_2", "GITHUB_PAT", "DB_PASS", "openai_api_key", "GPG_PASSPHRASE"],
)
def test_variables_that_hold_keys_are_known_by_their_ends(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, KEY)
    assert hide_values(f"it is {KEY}") == "it is [key]"


@pytest.mark.parametrize("name", ["MONKEY", "BIG_TURKEY", "KEYBOARD", "TOKENS", "COMPASS", "KEY_ID"])
def test_other_variables_hold_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "bananas-everywhere")
    assert hide_values("bananas-everywhere") == "bananas-everywhere"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "base64": encoded,
    "base64 of a header": lambda key: encoded(f"Bearer {key}"),
    "base64 of a name and it": lambda key: encoded(f"user:{key}"),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"ab{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, capitals": lambda key: key.encode().hex().upper(),
    "quoted": lambda key: quote(key, safe=""),
    "quoted, small": lambda key: quote(key, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "quoted, slashes kept": quote,
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "entities": lambda key: key.replace("/", "&#x2F;").replace("+", "&#43;"),
    "JSON": lambda key: key.replace("/", r"\/"),
    "JSON, all of it": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "capitals": str.upper,
    "small letters": str.lower,
    "a zero": lambda key: f"{key[:10]}\x00{key[10:]}",
    "a turn": lambda key: f"{key[:10]}\u202e{key[10:]}",
    "a space of no width": lambda key: f"{key[:10]}\u200b{key[10:]}",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_hidden_however_it_is_written(
    keyed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("MY_API_KEY", keyed)
    written = FORMS[form](keyed)
    for text in (hide_values(f"bad key {written}!"), hide_values(f"{written}, {written}")):
        assert "[key]" in text
        for start in range(len(written) - 12):
            assert written[start : start + 12] not in text
    say(f"bad key {written}!")
    shown = capsys.readouterr().out
    assert "[key]" in shown
    assert not has_key(shown)


def test_a_long_reply_is_looked_through_in_time_that_grows_with_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "aaaaaaaaaaaaaaaaaaaaaaaa")

    def seconds(length: int) -> float:
        began = time.process_time()
        hide_keys("a\u200b" * 20 + "aaaaaaaaaaaaaaaaaaaaaaaB" * (length // 24))
        return time.process_time() - began

    seconds(1_000)
    assert seconds(80_000) < 24 * max(seconds(10_000), 0.02)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key_env", "sk-hunter2hunter2"),
        ("base_url", "http://h/v1?code=hunter2hunter2"),
        ("base_url", "//user:hunter2hunter2@host/v1"),
        ("base_url", "user:hunter2hunter2@host:80/v1"),
    ],
)
def test_an_error_does_not_show_what_may_be_a_key(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"concept": "A", "target": "m", "generator": {"engine": "openai", key: value}}))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.key == f"generator.{key}"
    assert "hunter2" not in str(caught.value)


def test_an_error_shows_what_can_be_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"concept": "A", "target": "m", "generator": {"max_new_tokens": 0}}))
    with pytest.raises(ConfigError, match="found 0"):
        load_config(path)


def test_a_fault_of_the_program_shows_no_key(tmp_path: Path) -> None:
    """Nothing that the command line prints has one, the trace of an error least of all."""
    code = """
import os, sys
from concept_forget import cli
@cli.app.command()
def fail() -> None:
    raise RuntimeError(f"asked with {os.environ['MY_API_KEY']}\\x1b[2J")
sys.argv = ["concept-forget", "fail"]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "MY_API_KEY": KEY}
    )
    assert done.returncode == 3
    assert "RuntimeError: asked with [key][2J" in done.stderr
    assert not has_key(done.stdout + done.stderr)
