"""Pages in a real browser, on a desk and on a phone: nothing is clipped, nothing is complained of.

Skipped without a Chromium.
"""

import pytest
from browser import CHROMIUM, Browser

from ordo.report import read_record, save_page
from ordo.report.comparison import comparison_page, labels

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")

# What reaches beyond the window, unless a parent that scrolls within the window holds it. A phone
# zooms out for what is too wide: ``innerWidth`` is then more than the window.
BEYOND = """(width => [...document.querySelectorAll("body *")].filter(one => {
    const box = one.getBoundingClientRect();
    if (!box.width || (box.right <= width + 1 && box.left >= -1)) return false;
    for (let up = one.parentElement; up; up = up.parentElement)
        if (getComputedStyle(up).overflowX === "auto" &&
            up.getBoundingClientRect().right <= width + 1) return false;
    return true;
}).map(one => `${one.tagName}.${one.className}`))"""
FALSE_PICTURES = "[...document.images].filter(one => !one.complete || !one.naturalWidth).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(runs, tmp_path_factory):
    """The runs, and a comparison of all of them beside."""
    side = tmp_path_factory.mktemp("side")
    records = [read_record(runs / name) for name in ("text", "text/compared_with", "sudoku")]
    page, parts = comparison_page(dict(zip(labels(records), records, strict=True)))
    save_page(page, parts, side, "compare.html")
    names = ("text", "table", "sudoku")
    return {name: runs / name / "report.html" for name in names} | {"side": side / "compare.html"}


@pytest.mark.parametrize("name", ["text", "table", "sudoku", "side"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_clipped(browser, pages, name, width):
    browser.show(pages[name], width, 844, dark=width < 800 and name == "sudoku")
    assert browser.value("document.scrollingElement.scrollWidth") <= width
    assert browser.value(f"{BEYOND}({width})") == []
    assert browser.value(FALSE_PICTURES) == 0
    assert browser.complaints == []


def test_a_wide_table_scrolls_in_its_own_box(browser, pages):
    browser.show(pages["side"], 390, 844)
    box = 'document.querySelector("#likelihoods .wide")'
    assert browser.value(f"{box}.scrollWidth > {box}.clientWidth")
    browser.value(f"{box}.scrollLeft = 1e6")
    last = f'{box}.querySelector("th:last-child").getBoundingClientRect().right'
    assert browser.value(f"{last} <= 390")
    first = f'{box}.querySelector("td:first-child").getBoundingClientRect().left'
    assert browser.value(f"{first} >= 0"), "the names of the runs stay in sight"


def test_the_browser_sees_what_is_wrong(browser, tmp_path):
    page = tmp_path / "wide.html"
    page.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width"><link rel="icon" '
        'href="data:,"><div style="width: 900px">x</div><script>console.log("a")</script>'
    )
    browser.show(page, 390, 844)
    assert browser.value(f"{BEYOND}(390)") == ["DIV."]
    assert len(browser.complaints) == 1
