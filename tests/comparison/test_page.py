"""The page that compares runs, in a browser: silent, for anybody, and with every point of its chart in a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from concept_forget.comparison.page import render_page
from concept_forget.comparison.results import ArmResult, TierOfArm
from concept_forget.measures.pooling import Pooled
from concept_forget.measures.statistics import Interval
from tests.watched import SIZES, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "</script><script>window.pwned=1</script> {{ 7 * 7 }} \x1b[31m שלום 👩‍👧 " + "x" * 60


def pooled(value: float) -> Pooled:
    return Pooled(Interval(value, value - 0.1, value + 0.1, 40), (value, value + 0.05))


def arm(name: str, left: float, kept: float) -> ArmResult:
    tier = TierOfArm(40, {"direct": pooled(left), "choice": None}, pooled(left), "direct")
    return ArmResult(
        name=name,
        worlds=("world-0", "world-1"),
        tiers={"new_form": tier, "new_fact": tier},
        kept={"near": pooled(kept), "far": None},
        forget_tokens=700,
        reduction=1.2,
        fluency=0.9,
        seconds=33.0,
        retraining=None,
        outcomes={"passed": 1, "failed": 1},
    )


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_it_opens_in_silence_and_anybody_can_use_it(browser: Browser, tmp_path: Path, size: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    file = tmp_path / "comparison.html"
    arms = [arm("npo", 0.02, 0.95), arm(HOSTILE, 0.3, 0.8)]
    file.write_text(render_page(f"npo, {HOSTILE}", arms), encoding="utf-8")
    watched = Watched(browser, file, size, scheme)
    page = watched.page
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert watched.said == []
    assert watched.requests == [file.as_uri()]
    assert page.evaluate("window.pwned") is None
    assert page.locator("script").count() == 1
    assert page.locator("circle").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    watched.context.close()
