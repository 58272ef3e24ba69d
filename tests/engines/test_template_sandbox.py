"""A prompt file of a stranger reads nothing, runs nothing, fills no memory and comes to an end."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from concept_forget.concept import Concept
from concept_forget.engines.prompts import Prompt, read_prompt
from concept_forget.errors import DataError

HEAD = "---\ndescription: Asks something.\nreturns: lines\n---\n"


def prompt(folder: Path, body: str) -> Prompt:
    path = folder / "ask.jinja"
    path.write_text(HEAD + body, encoding="utf-8")
    return read_prompt(path)


def filled(folder: Path, body: str) -> str:
    facts = [{"answer": "one"}, {"answer": "two"}]
    return prompt(folder, body).render_text(concept=Concept(name="Mira"), facts=facts, text="Some words.", score=0.5)


@pytest.mark.parametrize(
    ("body", "said"),
    {
        '{{ "%.2f" | format(score) }} {{ 7 % 4 }} {{ 2 * 3 + 1 }}': "0.50 3 7",
        '{{ facts | map(attribute="answer") | join(", ") }}': "one, two",
        '{{ facts | join("; ", attribute="answer") }}': "one; two",
        '{% for fact in facts %}{{ loop.index }} of {{ loop.length }} {{ loop.cycle("a", "b") }} {% endfor %}': (
            "1 of 2 a 2 of 2 b"
        ),
        '{% set all = facts | length %}{{ "of " ~ all ~ text.upper() }}': "of 2SOME WORDS.",
        '{{ text | replace("o", "0") }} {{ "a" + "b" }} {{ range(3) | list }}': "S0me w0rds. ab [0, 1, 2]",
        "{% for fact in facts if fact.answer != 'one' %}{{ fact.answer }}{% else %}none{% endfor %}": "two",
        "{% for key, value in facts[0].items() %}{{ key }}={{ value }}{% endfor %}": "answer=one",
    }.items(),
)
def test_what_prompts_say_is_filled_in(body: str, said: str, tmp_path: Path) -> None:
    assert filled(tmp_path, body) == said


@pytest.mark.parametrize(
    ("body", "statement"),
    [
        ("{% macro again(n) %}{{ again(n) }}{% endmacro %}", "macro"),
        ("{% block one %}{% endblock %}", "block"),
    ],
)
def test_statements_that_may_call_themselves_are_none_of_a_prompt(body: str, statement: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"ask\.jinja:5: not a Jinja template: a prompt does without '{statement}'"):
        prompt(tmp_path, body)


def test_a_method_of_what_is_given_is_not_called(tmp_path: Path) -> None:
    """Pydantic's models can be had to unpickle."""
    mark = tmp_path / "ran"

    class Writes:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(mark)!r}, 'w').close()",)

    payload = pickle.dumps(Writes(), protocol=0).decode("ascii")
    body = f"{{{{ concept.parse_raw({payload!r}, proto='pickle', allow_pickle=true) }}}}"
    with pytest.raises(DataError, match=r"ask\.jinja:\d+: .*'parse_raw' of 'Concept' object is unsafe"):
        filled(tmp_path, body)
    assert not mark.exists()
    (tmp_path / "secret").write_text('{"name": "secret"}', encoding="utf-8")
    for call in (f"concept.parse_file({str(tmp_path / 'secret')!r})", "facts.append(1)", "concept.model_dump()"):
        with pytest.raises(DataError, match="is unsafe"):
            filled(tmp_path, f"{{{{ {call} }}}}")


LONG = "{% set a = range(20000) | join %}"
GROWING = {
    "a product": "{{ ('a' * 10000000000) | length }}",
    "a smaller one": "{{ 'a' * 1000000000 }}",
    "a product of a list": "{{ 3 * [text] }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a long number": "{{ 10 ** 5000 }}",
    "a width": "{{ 'a'.ljust(10000000000) }}",
    "a width of a filter": "{{ 'a' | center(10000000000) }}",
    "a width of a format": "{{ '%10000000000d' % 1 }}",
    "of another": "{{ '{:>10000000000}'.format(1) }}",
    "of the filter": "{{ '%10000000000d' | format(1) }}",
    "of an argument": "{{ '%*d' | format(10000000000, 1) }}",
    "a format of much": LONG + "{{ ('" + "%(a)s" * 30_000 + "' | format(a=a)) | length }}",
    "words": "{{ lipsum(n=100000000) }}",
    "a call of itself": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "blocks of blocks": "{% block b0 %}{% endblock %}"
    + "".join(f"{{% block b{n + 1} %}}{{{{ self.b{n}() }}}}{{{{ self.b{n}() }}}}{{% endblock %}}" for n in range(60)),
    "a loop of itself": "{% for x in facts recursive %}{% if loop.depth < 60 %}{{ loop(facts) }}{% endif %}{% endfor %}",
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops of text": "{% for i in range(8999) %}" + "words" * 999 + "{% endfor %}",
    "a range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "ranges": "{% for i in range(999) %}{% set a = range(99999) | list %}{% endfor %}",
    "doubling": "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a | length }}",
    "a long sum": LONG + "{{ (a" + " + a" * 60 + ") | length }}",
    "a long joint": LONG + "{{ (a" + " ~ a" * 30_000 + ") | length }}",
    "doubling sums": "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}",
    "doubling blocks": "{% set a = 'aaaaaaaa' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60 + "{{ a | length }}",
    "squares": "{% set a = 99999999 %}" + "{% set a = a * a %}" * 60 + "{{ a > 1 }}",
    "a joint": LONG + "{{ (a | list | join(a)) | length }}",
    "a replacement": LONG + "{{ (a | replace('', a)) | length }}",
    "a default": LONG + "{{ (range(9999) | map('string') | map('trim', '0123456789')"
    " | map('default', a, true) | list | string) | length }}",
    "a default of an attribute": "{{ range(9999) | map(attribute='x', default=text) | list | string }}",
    "a list kept": "{% set n = namespace(a=text) %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "a deep sum": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep conditions": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "deep loops": "{% for i in facts %}" * 30 + "{% endfor %}" * 30,
    "a number of many digits": "{{ " + "9" * 5000 + " }}",
}
PROGRAM = """
    import resource, sys, time
    from pathlib import Path
    from concept_forget.concept import Concept
    from concept_forget.engines.prompts import read_prompt
    from concept_forget.errors import DataError

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
    for path in sorted(Path(sys.argv[1]).glob("*.jinja")):
        started = time.process_time()
        try:
            read_prompt(path).render(concept=Concept(name="Mira"), facts=["one", "two"], text="Some words.")
            said = "filled in"
        except DataError as error:
            said = "refused" if error.remedy and error.file == str(path) and "Memory" not in error.problem else "unclear"
        print(path.stem, said, "late" if time.process_time() - started > 5 else "soon")
"""


def test_what_would_fill_the_memory_or_go_on_for_ever_is_refused(tmp_path: Path) -> None:
    """In a process with a bound on memory and time, so that a template that does it fails this test alone."""
    for number, body in enumerate(GROWING.values()):
        (tmp_path / f"{number:02}.jinja").write_text(HEAD + body, encoding="utf-8")
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    said = dict(zip(GROWING, (line.split(" ", 1)[1] for line in done.stdout.splitlines()), strict=False))
    assert said == dict.fromkeys(GROWING, "refused soon"), done.stderr


def test_the_line_is_named_and_the_next_prompt_has_its_own_bound(tmp_path: Path) -> None:
    body = "Ask.\n{% for i in range(9000) %}{{ i }}\n{% endfor %}\n"
    asked = prompt(tmp_path, body)
    for _ in range(3):
        assert asked.render_text().endswith("8999")
    with pytest.raises(DataError, match=r"ask\.jinja:6: .*more than 1,000,000 characters"):
        prompt(tmp_path, body.replace("9000", "90000")).render()


def test_long_data_are_shown(tmp_path: Path) -> None:
    started = time.process_time()
    assert len(prompt(tmp_path, "{{ text | block('text') }}").render_text(text="word " * 50_000)) > 250_000
    assert time.process_time() - started < 5
