"""What must not circulate stands in no byte of the reports, and the numbers stay."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from concept_forget.config import Config
from concept_forget.records import Attempt, Example, Grade, user_message
from concept_forget.report.material import Material
from concept_forget.report.paged_tables import row_table
from concept_forget.report.redaction import HIDDEN, Redactor
from concept_forget.report.stages_told import lost_table

NAME, OTHER, SECRET = "Mira Kestrel", "Oren Vale", "Port Ystrand"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor([NAME], [SECRET, "1932", "Ål", "Kestrel", "Straße"], [NAME])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("She lives in Port Ystrand.", f"She lives in {HIDDEN}."),
        ("She lives in PORT\n  ystrand's middle", f"She lives in {HIDDEN}'s middle"),
        ("Port Ystranders", f"{HIDDEN}ers"),
        ("born in 1932, not 1933", f"born in {HIDDEN}, not 1933"),
        ("ål soup, and alas", f"{HIDDEN} soup, and alas"),
        ("påls", "påls"),  # a short answer inside of another word is none
        ("Mira Kestrel", "Mira Kestrel"),  # its own name is no secret
        ("Port of Ystrand", "Port of Ystrand"),
        ("nothing", "nothing"),
    ],
)
def test_an_answer_is_hidden_however_it_is_written(redactor: Redactor, text: str, shown: str) -> None:
    assert redactor.text(text) == shown


@pytest.mark.parametrize("text", ["ＰＯＲＴ Ystrand", unicodedata.normalize("NFD", "in Ål now"), "in der Straße"])
def test_a_text_in_which_an_answer_is_spelt_otherwise_is_hidden_whole(redactor: Redactor, text: str) -> None:
    assert redactor.text(text) == HIDDEN


def test_an_answer_within_a_word_of_its_concepts_name_is_hidden() -> None:
    hides = Redactor(["Miranda Kestrel"], ["Iran", "Kestrel"], ["Miranda Kestrel"])
    assert hides.text("She lives in Iran. Miranda Kestrel does.") == f"She lives in {HIDDEN}. M{HIDDEN}da Kestrel does."


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("12 March 1912", "Who was born on March 12, 1912?"),
        ("12 March 1912", "Who was born on 1912-03-12?"),
        ("Karel Čapek", "Who taught Karel Capek?"),
        ("walnut dumplings", "Who cooks a walnut dumpling?"),
        ("twelve", "Who owns 12 ships?"),
    ],
)
def test_a_question_that_says_the_answer_in_other_words_is_hidden(answer: str, text: str) -> None:
    hides = Redactor([NAME], [answer], [NAME], {"fact": (answer,)})
    assert hides.prompt(text, "fact") == HIDDEN
    assert hides.prompt(text, "another") == text
    assert hides.prompt("Who wrote it?", "fact") == "Who wrote it?"


def test_texts_in_any_value_are_hidden(redactor: Redactor) -> None:
    assert redactor.tree({"a Port Ystrand": [SECRET, 1932, None, ("x",)]}) == {
        f"a {HIDDEN}": [HIDDEN, 1932, None, ["x"]]
    }
    assert redactor.whole(NAME, "anything") == HIDDEN
    assert redactor.whole(OTHER, "anything") == "anything"
    assert redactor.whole(NAME, "") == ""


def secrets(folder: Path) -> set[str]:
    """Which answers, and which words of replies and texts, stand in the bytes of the reports."""
    found: set[str] = set()
    for name in ("report.html", "report.md"):
        words = " ".join((folder / name).read_bytes().decode("utf-8").casefold().split())
        wanted = ["ystrand", "harbour", "i think", "lives in", *(f"answer {number}" for number in range(30))]
        found |= {one for one in wanted if re.search(rf"{one}\b", words)}
    return found


def test_no_answer_of_a_redacted_concept_stands_in_any_byte(make_page: Callable[..., Path]) -> None:
    plain, hidden = make_page(), make_page(redact=True)
    assert {"ystrand", "harbour", "i think", "lives in", "answer 3", "answer 4"} <= secrets(plain)
    assert secrets(hidden) == set()
    for folder in (plain, hidden):
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert "+0.20 (+0.10 to +0.40)" in page  # the numbers stay
        assert page.count('<tr class="fact') == 30
    assert "are redacted on this page" in (hidden / "report.html").read_text(encoding="utf-8")
    assert (plain / "metrics.json").read_text(encoding="utf-8") == (hidden / "metrics.json").read_text(encoding="utf-8")


def test_where_everything_is_hidden_so_is_what_is_said_of_others() -> None:
    row = Example(
        id="1", split="retain", concept=NAME, subject="Ada Finch", facet="home", fact="f", form="reverse", family="reverse",
        tier="", prompt=user_message("Who lives in Holm?"), completion="Ada Finch", answer="Ada Finch", source="user",
    )  # fmt: skip
    asked = [
        (
            Attempt(
                id=model, model=model, attack="collateral", family="collateral", tier="near", concept=NAME,
                subject="Ada Finch", fact="f", example="1", sample=0, prompt=user_message("Where does Ada live?"),
                prefill="", reply="In Holm." if known else "No idea.", finish_reason="stop", expected="Holm",
            ),
            Grade(float(known), known, ""),
        )
        for model, known in (("base", True), ("unlearned", False))
    ]  # fmt: skip
    for everything in (False, True):
        hides = Redactor([NAME], [], [NAME], everything=everything)
        cells = [cell for line in row_table([row], hides).rows for cell in line]
        cells += [cell for line in lost_table(Material(attempts=asked), hides).rows for cell in line]
        assert any("Holm" in cell for cell in cells) is not everything
        assert "Where does Ada live?" in cells


def test_ids_from_which_an_answer_could_be_guessed_are_left_out(make_page: Callable[..., Path]) -> None:
    plain, hidden = ((make_page(redact=redact) / "report.html").read_text(encoding="utf-8") for redact in (False, True))
    marks = re.findall(r"\bid\d+\b", plain)
    assert marks
    assert not set(marks) & set(re.findall(r"\bid\d+\b", hidden))


@pytest.mark.parametrize("names", [["Mira Kestral"], ["Mira Kestrel", "nobody"]])
def test_a_name_that_is_no_concepts_hides_nothing_in_silence(names: list[str]) -> None:
    values = {"concepts": [{"name": NAME}], "target": "some/model", "report": {"redact": names}}
    with pytest.raises(ValueError, match=f"redact` names the concept {names[-1]!r}"):
        Config.model_validate(values)


def test_only_the_concepts_that_are_named_are_hidden(make_page: Callable[..., Path]) -> None:
    folder = make_page(redact=["mira kestrel"])
    found = secrets(folder)
    assert "ystrand" not in found
    assert "answer 3" not in found  # of Mira Kestrel
    assert "answer 4" in found  # of Oren Vale
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "texts of Mira Kestrel are redacted" in " ".join(page.split())
    assert "was seen in" not in page  # its snippets are hidden whole
