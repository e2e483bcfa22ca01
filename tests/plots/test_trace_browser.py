"""The page of a trace in a real browser, with real clicks, drags, taps and keys.

Skipped without playwright and a Chromium.
"""

import math
import re
import shutil

import pytest
from traces import ALPHABET, long_trace, make, view

from ordo.plots.trace_page import trace_fragment, trace_page
from ordo.plots.trace_rows import visible

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
if CHROMIUM is None:
    pytest.skip("no Chromium on the path", allow_module_level=True)

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
BOARD = {"kind": "board", "columns": 4, "box": 2}
TABLE = {
    "kind": "table",
    "names": [f"a column {i} " + "with a long name " * (i % 3) for i in range(16)],
}


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(chromium, tmp_path):
    """html -> an open page.

    In the end the page must have complained of nothing and asked for nothing but itself.
    """
    contexts, wrong = [], []

    def of(html, size=DESK, dark=False):
        path = tmp_path / f"{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(
            viewport=size, color_scheme="dark" if dark else "light", has_touch=size is PHONE
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url),
        )
        page.goto(path.as_uri())
        return page

    yield of
    for context in contexts:
        context.close()
    assert wrong == []


def now(page):
    """The step shown, and what every token shows."""
    return int(re.match(r"step (\d+) of", page.locator(".at").inner_text())[1]), page.locator(
        ".tokens .token"
    ).all_text_contents()


def wanted(trace, symbols, i, step):
    """What should stand after so many steps: given tokens, and what the history says."""
    shown = [
        visible(symbol) if trace.step[i, p] < 0 else "·" for p, symbol in enumerate(symbols[i])
    ]
    events = trace.history.of_row(i)
    for s, p, t in zip(
        events.step.tolist(), events.position.tolist(), events.token.tolist(), strict=True
    ):
        if s < step:
            shown[p] = "·" if t < 0 else visible(ALPHABET[t])
    return shown


def drag(page, name, start, end):
    """The mouse from one share of the element's width to another, in small moves."""
    box = page.locator(name).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=12)
    page.mouse.up()


def tip_inside(page):
    box, size = page.locator(".tip").bounding_box(), page.viewport_size
    return (
        box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= size["width"]
        and box["y"] + box["height"] <= size["height"]
    )


@pytest.mark.parametrize("name", ["one_by_one", "parallel", "remdm", "path_planning"])
def test_every_step_and_every_row(show, name):
    trace, symbols = make(name, 3, known=True)
    page = show(trace_page(trace, symbols, view()))
    for i in range(3):
        if i:
            page.locator(".chooser").select_option(str(i))
        last = int(trace.history.of_row(i).step.max()) + 1
        assert now(page) == (last, wanted(trace, symbols, i, last)), "a page begins with the end"
        assert page.locator(".calls").inner_text() == str(int(trace.calls[i]))
        for step in reversed(range(last)):
            page.locator(".back").click()
            assert now(page) == (step, wanted(trace, symbols, i, step))
        page.keyboard.press("End")
        assert now(page) == (last, wanted(trace, symbols, i, last))


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_slider_moved_by_the_mouse(show, size):
    trace, symbols = make(n=1)
    page = show(trace_page(trace, symbols), size)
    drag(page, ".slider", 0.99, 0.4)
    step, shown = now(page)
    assert 4 <= step <= 9
    assert shown == wanted(trace, symbols, 0, step)
    drag(page, ".slider", step / 16, 0.0)
    assert now(page) == (0, ["·"] * 16)


def test_play_and_pause(show):
    trace, symbols = make("parallel", 1)
    page = show(trace_page(trace, symbols))
    page.locator(".speed").select_option("4")
    page.locator(".play").click()
    assert now(page)[0] < 4, "from the beginning"
    assert page.locator(".play").inner_text() == "❚❚ Pause"
    page.wait_for_function(
        "document.querySelector('.at').innerText.startsWith('step 4 of 4')", timeout=3000
    )
    page.wait_for_function("document.querySelector('.play').innerText === '▶ Play'", timeout=1000)
    page.locator(".speed").select_option("0.25")
    page.locator(".play").click()
    page.locator(".play").click()
    paused = now(page)
    page.wait_for_timeout(300)
    assert now(page) == paused
    page.locator(".play").click()
    page.locator(".on").click()
    assert page.locator(".play").inner_text() == "▶ Play", "a step by hand stops the film"


@pytest.mark.parametrize("layout", [{}, TABLE, BOARD], ids=["text", "table", "board"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_tip_of_every_token(show, layout, size):
    trace, symbols = make("parallel", 1, known=True)
    page = show(trace_page(trace, symbols, view(**layout)), size)
    assert page.locator(".tip").is_hidden()
    for p in range(16):
        token = page.locator(".tokens .token").nth(p)
        token.hover() if size is DESK else token.tap()
        told = page.locator(".tip").inner_text()
        word = {"table": "column", "board": "cell"}.get(layout.get("kind"), "position")
        assert f"{word} {p + 1} of 16" in told
        assert tip_inside(page)
        if layout is TABLE:
            assert TABLE["names"][p].strip() in told
        if layout is BOARD:
            assert f"line {p // 4 + 1}, column {p % 4 + 1}" in told
        if trace.step[0, p] < 0:
            assert "given" in told
            continue
        decoded = int((trace.step[0] >= 0).sum())
        number, step = int(trace.rank[0, p]) + 1, int(trace.step[0, p]) + 1
        assert f"decoded as number {number} of {decoded}, in step {step}" in told
        percent = float(re.search(r"probability (\S+)%", told)[1])
        assert percent == pytest.approx(100 * math.exp(trace.log_prob[0, p]), rel=0.01)
    page.mouse.move(2, 2)
    if size is DESK:
        assert page.locator(".tip").is_hidden()


def test_times_masked_again_are_told(show):
    trace, symbols = make("path_planning", 1)
    page = show(trace_page(trace, symbols, view()))
    for p in range(16):
        page.locator(".tokens .token").nth(p).hover()
        told, times = page.locator(".tip").inner_text(), int(trace.remasked[0, p])
        assert (f"masked again: {times}×" in told) if times else ("again" not in told)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_strip_clicked_and_dragged(show, size):
    trace, symbols = make("one_by_one", 1)
    page = show(trace_page(trace, symbols), size)
    for p in (0, 9, 15):
        box = page.locator(".strip").bounding_box()
        page.mouse.click(box["x"] + (p + 0.5) / 16 * box["width"], box["y"] + 20)
        assert now(page)[0] == int(trace.step[0, p]) + 1, "the step that revealed it"
        assert f"position {p + 1} of 16" in page.locator(".tip").inner_text()
        assert tip_inside(page)
        assert "selected" in page.locator(".tokens .token").nth(p).get_attribute("class")
    drag(page, ".strip", 0.5 / 16, 5.5 / 16)
    assert now(page)[0] == int(trace.step[0, 5]) + 1
    page.locator("h2").click()
    assert page.locator(".tip").is_hidden()


def test_keys(show):
    trace, symbols = make(n=1)
    page = show(trace_page(trace, symbols, view(**BOARD)))
    for key, step in (
        ("ArrowLeft", 15),
        ("ArrowLeft", 14),
        ("ArrowRight", 15),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 16),
    ):
        page.keyboard.press(key)
        assert now(page)[0] == step
    page.locator(".chooser, .speed").last.focus()
    page.keyboard.press("Tab")  # from the last control to the tokens
    for key, p in (
        (None, 0),
        ("ArrowRight", 1),
        ("ArrowDown", 5),
        ("ArrowLeft", 4),
        ("ArrowUp", 0),
        ("End", 15),
    ):
        if key:
            page.keyboard.press(key)
        assert f"cell {p + 1} of 16" in page.locator(".tip").inner_text()
        assert now(page)[0] == 16, "moving between tokens does not move in time"
    page.keyboard.press("Enter")
    assert now(page)[0] == int(trace.step[0, 15]) + 1
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()
    page.locator(".slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert now(page)[0] == 1
    page.locator(".strip").focus()
    page.keyboard.press("ArrowRight")
    assert "cell" in page.locator(".tip").inner_text()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_legible_and_no_wider_than_the_window(show, size, dark):
    """Also with strings of 200 characters: no scrolling sideways, and a contrast of 4.5 or more."""
    trace, symbols = make("remdm", 1, known=True)
    for layout in ({}, TABLE, BOARD):
        long = [symbols[0][:]]
        long[0][2] = long[0][7] = (
            "a value of many characters and no end" * 6 if layout is TABLE else "unbroken" * 25
        )
        page = show(
            trace_page(trace, long, view(title="a title" * 40, note="note" * 60, **layout)),
            size,
            dark,
        )
        page.locator(".back").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        parts = "[...document.querySelectorAll('.controls *, .facts *, .legend *')]"
        clipped = f"{parts}.filter(x => x.getBoundingClientRect().right > innerWidth)"
        assert page.evaluate(f"{clipped}.length") == 0
        paper = (21, 23, 26) if dark else (255, 255, 255)
        colours = page.locator(".tokens .token").evaluate_all(
            "all => all.map(x => [getComputedStyle(x).color, getComputedStyle(x).backgroundColor])"
        )
        for ink, ground in colours:
            ground = paper if ground == "rgba(0, 0, 0, 0)" else numbers(ground)
            assert contrast(numbers(ink), ground) >= 4.5


def numbers(colour):
    return tuple(map(int, re.findall(r"\d+", colour)[:3]))


def contrast(a, b):
    """WCAG 2."""
    light = [
        sum(
            w * (c / 3294 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4)
            for w, c in zip((0.2126, 0.7152, 0.0722), x, strict=True)
        )
        for x in (a, b)
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_colours_follow_the_theme(show):
    trace, symbols = make(n=1)
    page = show(trace_page(trace, symbols))
    token = page.locator(".tokens .token").nth(int(trace.log_prob[0].argmin()))
    light = token.evaluate("x => x.style.background")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(50)
    assert token.evaluate("x => x.style.background") != light


def test_hostile_strings_do_nothing(show):
    trace, symbols = make(n=1)
    symbols[0][0] = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    hostile = view(title=symbols[0][0], kind="table", names=[symbols[0][0]] * 16)
    page = show(trace_page(trace, symbols, hostile))
    page.locator(".tokens .token").nth(0).hover()
    assert page.locator(".tokens .token").nth(0).inner_text() == symbols[0][0]
    assert page.locator("img").count() == 0


def test_fragments_in_one_page_are_apart(show):
    one, two = make("parallel", 1), make("one_by_one", 2)
    fragments = trace_fragment(*one) + trace_fragment(*two)
    page = show(
        f"<!DOCTYPE html><meta charset=utf-8><h1>Report</h1>{fragments}<p class=tip>outside</p>"
    )
    first, second = page.locator(".ordo-trace").nth(0), page.locator(".ordo-trace").nth(1)
    first.locator(".back").click()
    second.locator(".chooser").select_option("1")
    assert first.locator(".at").inner_text().startswith("step 3 of 4:")
    assert second.locator(".at").inner_text().startswith("step 16 of 16:")
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    assert first.locator(".at").inner_text().startswith("step 3 of 4:"), (
        "with two on a page the keys go where the focus is"
    )
    assert page.locator("p.tip").evaluate("x => getComputedStyle(x).position") == "static", (
        "styles stay inside"
    )


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_1024_tokens_without_lag(show, size):
    """A jump to any step: script, styles and layout take less than 50 ms in the median."""
    page = show(trace_page(*long_trace(2)), size)
    times = page.evaluate(
        """() => { const [slider, out] = [document.querySelector(".slider"), []];
        for (let i = 0; i < 31; i++) {
            const begun = performance.now();
            slider.value = (i * 397) % 1024;
            slider.dispatchEvent(new Event("input"));
            document.body.offsetHeight;
            out.push(performance.now() - begun);
        }
        return out.sort((a, b) => a - b); }"""
    )
    assert times[len(times) // 2] < 50
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
