from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from concept_forget.report.templates import page_bytes, page_environment, script_json
from concept_forget.shown import visible

NASTY = "</script><!-- <script> ]]> & \u2028\u2029 \x00\x1b[2J\x7f\x9b \ud800 é 👩‍👧 \\ \" '"


def test_json_in_a_page_ends_no_script_and_reads_back() -> None:
    text = script_json({"rows": [[NASTY, 3, None, True]], "choices": (NASTY,)})
    assert not re.search("[<>&\u2028\u2029\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)
    told = json.loads(text)
    assert told["rows"][0][1:] == [3, None, True]
    assert told["rows"][0][0] == told["choices"][0] == visible(NASTY)
    assert text.encode()


def test_what_cannot_be_seen_is_made_visible_and_the_rest_stays() -> None:
    assert visible("a\x00\x1b\x7f\x85\ud83d") == "a\u2400\u241b\u2421\ufffd\ufffd"
    same = "tab\t line\n שלום ‮ é 👩‍👧 {{ x }}"
    assert visible(same) == same


def test_every_value_is_told_made_visible_and_escaped(tmp_path: Path) -> None:
    (tmp_path / "one.html.jinja").write_text(
        "{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}{{ text }}|{{ bold(text) }}|{{ 3 }}", encoding="utf-8"
    )
    template = page_environment(tmp_path, lambda text: text.replace("secret", "…")).get_template("one.html.jinja")
    assert template.render(text="<secret>\x1b") == "&lt;…&gt;\u241b|<b>&lt;…&gt;\u241b</b>|3"


def test_the_policy_names_the_hashes_of_what_stands_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "one.html.jinja").write_text('{% extends "frame.html.jinja" %}', encoding="utf-8")
    page = page_environment(tmp_path).get_template("one.html.jinja").render(title="t")
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    for name in ("style", "script"):
        inlined = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert len(inlined) == 1
        digest = base64.b64encode(hashlib.sha256(inlined[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


@pytest.mark.parametrize("text", ["plain", "שלום" * 20, '<a href="x">&amp;</a>' * 10, "👩‍👧"])
def test_what_a_text_takes_is_not_underrated(text: str) -> None:
    from markupsafe import escape

    assert page_bytes(text) >= len(escape(text).encode())
    assert page_bytes(text) >= len(script_json(text).encode()) - 2
