"""The page in a browser, as people open it: from disk, on a phone, in the dark, by keyboard, and full of hostile texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.watched import SIZES, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def opened(browser: Browser, hostile_page: Path) -> Iterator[Callable[..., Watched]]:
    watched: list[Watched] = []

    def open_page(*arguments: str, file: Path = hostile_page, script: bool = True) -> Watched:
        watched.append(Watched(browser, file, *arguments, script=script))
        return watched[-1]

    yield open_page
    for one in watched:
        one.context.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_disk_in_silence_and_anybody_can_use_it(
    opened: Callable[..., Watched], size: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    watched = opened(size, scheme)
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    if size == "phone":
        page.locator("#grid td a").first.click()
        found += axe.Axe().run(page, context="#view").response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert watched.said == []
    assert [url for url in watched.requests if not url.startswith("file://")] == []
    assert len(watched.requests) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    widest = (
        "Math.max(...[...document.querySelectorAll('caption span')].map((one) => one.getBoundingClientRect().right))"
    )
    assert 0 < page.evaluate(widest) <= SIZES[size][0]  # what a wide table is called is read without moving it


def test_nothing_that_was_written_runs_or_becomes_markup(opened: Callable[..., Watched]) -> None:
    page = opened().page
    for opener in (page.locator("[data-table=rows] tbody button"), page.locator("#grid td a")):
        opener.first.click()
        page.keyboard.press("Escape")
    assert page.evaluate("window.pwned") is None
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    table = page.locator("[data-table=rows] tbody tr").first.inner_text()
    assert "</script><script>window.pwned = 1</script>" in table
    assert "{{ 7 * 7 }}" in table
    assert "\N{SYMBOL FOR ESCAPE}[31mred" in table
    assert "שלום العربية 👩‍👩‍👧 '" in table
    replies = page.locator("#replies").text_content() or ""
    assert "<img src=x onerror=window.pwned=2>" in replies
    assert "\x1b" not in page.content()


def test_what_broke_out_could_neither_run_nor_load(opened: Callable[..., Watched]) -> None:
    watched = opened()
    watched.page.evaluate(
        """() => {
          try { document.body.append(Object.assign(document.createElement("script"), { text: "window.pwned = 3" })); } catch {}
          try { document.body.innerHTML += "<i>"; } catch { window.refused = true; }
          document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
        }"""
    )
    watched.page.wait_for_timeout(100)
    assert watched.page.evaluate("[window.pwned, window.refused]") == [None, True]
    assert any("Content Security Policy" in line for line in watched.said)
    assert "http://127.0.0.1:9/x.png" not in watched.requests or any("violates" in line for line in watched.said)


def test_a_cell_opens_its_prompt_and_replies_with_the_answer_marked(opened: Callable[..., Watched]) -> None:
    page = opened().page
    cell = page.locator("#grid td.leaks a").first
    cell.focus()
    page.keyboard.press("Enter")
    view = page.locator("#view")
    assert view.is_visible()
    assert "answer: " in view.locator("h2").inner_text()
    assert view.locator(".turn").first.inner_text().startswith("user")
    told = view.locator("dt").all_inner_texts()
    assert [line.split()[0] for line in told] == ["base", "unlearned", "reference,"]
    assert "leaks: gives" in told[1]
    assert view.locator("dd").nth(1).locator("mark").inner_text() in view.locator("h2").inner_text()
    assert view.locator("dd").nth(2).locator("mark").count() == 0
    assert page.evaluate("document.activeElement.id") == "view-close"
    before = view.inner_text()
    page.keyboard.press("ArrowRight")
    assert view.inner_text() != before
    page.keyboard.press("ArrowLeft")
    assert view.inner_text() == before
    page.keyboard.press("Escape")
    assert not view.is_visible()
    assert page.evaluate("document.activeElement.hash") == cell.get_attribute("href")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")  # the reader goes on from the cell that was read last
    cells = [link.get_attribute("href") for link in page.locator("#grid td a").all()]
    assert page.evaluate("document.activeElement.hash") == cells[cells.index(cell.get_attribute("href")) + 1]


def test_the_grid_shows_what_is_searched_and_what_leaks(opened: Callable[..., Watched]) -> None:
    page = opened().page
    seen = page.locator("#grid tr.fact:visible")
    assert seen.count() == 30
    assert page.locator("#grid-controls [role=status]").inner_text() == "30 rows"
    page.get_by_label("only what leaks").check()
    assert seen.count() == 6
    page.get_by_label("Search facts").fill("YSTRAND")
    assert seen.count() == 1
    assert page.locator("#grid tr.part:visible").count() == 1
    page.get_by_label("Search facts").fill("no such thing")
    assert page.locator("#grid-controls [role=status]").inner_text() == "0 rows"


def test_rows_are_paged_searched_filtered_and_opened(opened: Callable[..., Watched]) -> None:
    page = opened().page
    place = page.locator("[data-table=rows]")
    count, lines = place.locator("[role=status]"), place.locator("tbody tr")
    assert count.inner_text() == "1 to 25 of 90 rows"
    assert place.get_by_role("button", name="Previous page").is_disabled()
    place.get_by_role("button", name="Next page").click()
    assert count.inner_text() == "26 to 50 of 90 rows"
    place.get_by_role("combobox", name="set", exact=True).select_option(label="retain")
    assert count.inner_text() == "1 to 25 of 30 rows"
    place.get_by_role("combobox", name="concept").select_option(label="Oren Vale")
    assert count.inner_text() == "1 to 15 of 15 rows"
    assert all("retain\tOren Vale" in line for line in lines.all_inner_texts())
    place.get_by_role("searchbox", name="Search").fill("THÌNG 73")
    assert count.inner_text() == "1 to 1 of 1 row"
    lines.first.get_by_role("button").click()
    told = page.locator("#view").inner_text()
    assert "id073" in told
    page.keyboard.press("Escape")
    place.get_by_role("searchbox", name="Search").fill("<script>window.pwned")
    assert count.inner_text() == "no row"  # that row stands in the forget set
    place.get_by_role("combobox", name="set", exact=True).select_option(label="all")
    place.get_by_role("combobox", name="concept").select_option(label="all")
    assert count.inner_text() == "1 to 1 of 1 row"


def test_it_is_dark_where_the_system_is(opened: Callable[..., Watched]) -> None:
    shown = {}
    for scheme in ("light", "dark"):
        page = opened("desktop", scheme).page
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        shown[scheme] = [sum(map(int, colour[4:-1].split(","))) for colour in colours]
    assert shown["light"][0] > 700 > 150 > shown["light"][1]
    assert shown["dark"][0] < 150 < 600 < shown["dark"][1]


def test_without_its_script_all_but_search_and_paging_reads(opened: Callable[..., Watched]) -> None:
    page = opened(script=False).page
    assert page.locator("[data-table=rows] tbody tr").count() == 25
    assert "the page's script" in page.locator("[data-table=rows] noscript").inner_text()
    assert page.locator(".controls:visible").count() == 0
    cell = page.locator("#grid td.leaks a").first
    place = page.locator(cell.get_attribute("href") or "")
    assert not place.is_visible()
    cell.click()
    assert place.is_visible()  # a link into closed details opens them
    assert place.locator("mark").first.is_visible()


def test_every_chart_has_a_table_and_no_sign_is_a_colour_alone(opened: Callable[..., Watched]) -> None:
    page = opened().page
    for figure in page.locator("figure").all():
        section = figure.locator("xpath=ancestor::section")
        assert section.locator("table").count() >= 1
        assert figure.locator("[role=img]").get_attribute("aria-label")
    for cell in page.locator("#grid tr.fact td").all()[:12]:
        assert len((cell.locator(".unseen").text_content() or "").strip()) > 5
        assert (cell.locator(".sign").text_content() or "").strip()
