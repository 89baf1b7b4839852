"""The page in a real browser: mouse, keyboard, and their effects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from rnnc.grammar.source import Source
from rnnc.operators.sources.zoo import zoo_names, zoo_source
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView
from rnnc.runtime.diagrams.render.html_page import to_html_page
from support.diagrams import graph_of, zoo_graph
from support.processes.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SPEC = """\
# a comment with <b>markup</b>, "quotes" & </script><script>alert(1)</script>
operator x ⊕ h:
    z: real[40] = tanh(W1 h + U1 x + b1)
    tanh(W2 z + S h + Q x + b2)

input x: binary[8]
state h: real[40]
h' = x ⊕ h
x' = ▷ h'
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def zoo_page(folder: Path, name: str, view: DiagramView | None = None) -> Path:
    path = folder / f"{name}.html"
    path.write_text(
        to_html_page(zoo_graph(name), zoo_source(name), view or DiagramView()), encoding="utf-8"
    )
    return path


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Browser:
    """A page of the spec above."""
    path = tmp_path / "model.html"
    path.write_text(
        to_html_page(graph_of(SPEC), Source(SPEC, "model"), DiagramView()), encoding="utf-8"
    )
    browser.open(path)
    return browser


def boxes(browser: Browser) -> int:
    count = browser.js("document.querySelectorAll('#stage .drawing .box').length")
    assert isinstance(count, int)
    return count


def quiet(browser: Browser) -> None:
    """Assert no error, no warning, and no requested address but the page's own."""
    assert browser.errors == []
    assert all(address.startswith("file://") for address in browser.addresses)
    assert len(set(browser.addresses)) == 1


@pytest.mark.parametrize("name", zoo_names())
def test_every_page_of_the_zoo_opens_small_and_quiet(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    path = zoo_page(tmp_path, name)
    assert path.stat().st_size < 200_000
    browser.open(path)
    before = boxes(browser)
    for key in ("f", "3", "u", "1"):
        browser.key(key)
    assert boxes(browser) == before
    quiet(browser)


def test_nothing_in_a_spec_runs_or_breaks_the_page(shown: Browser) -> None:
    first = shown.js("document.querySelector('#spec .line').textContent")
    assert first == SPEC.splitlines()[0]
    assert shown.js("document.querySelectorAll('#spec b').length") == 0
    assert shown.js("document.querySelectorAll('script').length") == 3
    quiet(shown)


def test_the_network_is_out_of_reach_and_would_be_noticed(shown: Browser) -> None:
    shown.js("void fetch('https://example.org/').catch(() => 0)")
    shown.wait("true")
    assert any("Content Security Policy" in error for error in shown.errors)


def test_pointing_at_a_box_tells_of_it_and_marks_the_spec(shown: Browser) -> None:
    key = shown.js(
        "[...document.querySelectorAll('#stage .map')].find((b) => "
        "b.textContent.includes('40 × 8')).id"
    )
    shown.hover(f"#{key}")
    text = shown.js("document.getElementById('card').innerText")
    assert "plus.U1" in text
    assert "40 × 8 = 320 numbers" in text
    assert "line 3" in text
    assert "tanh(W1 h + U1 x + b1)" in text
    assert shown.js("document.querySelector('#spec mark').textContent") == "U1 x"
    assert shown.js("document.querySelectorAll('#spec .hit').length") == 1
    assert shown.js(f"document.getElementById('{key}').classList.contains('hot')") is True
    assert shown.js("document.querySelectorAll('#stage .near').length") == 2
    quiet(shown)


def test_pointing_at_a_line_marks_its_boxes(shown: Browser) -> None:
    shown.hover("#spec .line:nth-child(4)")
    hot = shown.js("[...document.querySelectorAll('#stage .hot')].map((b) => b.textContent)")
    assert any("W" in text for text in hot)
    assert len(hot) == 4
    shown.hover("#spec .line:nth-child(1)")
    assert shown.js("document.querySelectorAll('#stage .hot').length") == 0


def test_a_click_folds_an_operator_and_unfolds_it(shown: Browser) -> None:
    before = boxes(shown)
    shown.click("#stage #a0 text")
    folded = boxes(shown)
    assert folded < before
    assert shown.js("document.querySelector('#stage #a0').classList.contains('operator')") is True
    assert shown.js("document.querySelector('#stage #a1').classList.contains('cluster')") is True
    shown.click("#stage #a0")
    assert boxes(shown) == before
    quiet(shown)


def test_the_keyboard_reaches_folds_and_unrolls(shown: Browser) -> None:
    before = boxes(shown)
    shown.js("document.querySelector('#stage #a0').focus()")
    assert "⊕" in shown.js("document.getElementById('card').innerText")
    shown.key("Enter", 13)
    assert boxes(shown) < before
    assert shown.js("document.activeElement.id") == "a0"
    shown.key("Enter", 13)
    assert boxes(shown) == before
    shown.key("f")
    assert boxes(shown) == 6
    shown.key("3")
    assert boxes(shown) > 12
    assert shown.js("document.querySelectorAll('#stage .drawing .operator').length") == 6
    assert shown.js("document.querySelector('[data-steps=\"3\"]').ariaPressed") == "true"
    shown.key("1")
    shown.key("u")
    assert boxes(shown) == before
    shown.key("Tab", 9)
    assert shown.js("document.activeElement !== document.body") is True
    quiet(shown)


def test_buttons_unroll_in_time(shown: Browser) -> None:
    states = "document.querySelectorAll('#stage .drawing .state').length"
    assert shown.js(states) == 1
    shown.click("[data-steps='2']")
    assert shown.js(states) == 2
    shown.click("[data-steps='3']")
    assert shown.js(states) == 3
    shown.hover("#stage .drawing .state")
    assert "state" in shown.js("document.getElementById('card').innerText")
    shown.click("[data-steps='0']")
    assert shown.js(states) == 1
    quiet(shown)


def test_wheel_drag_and_keys_move_the_picture(shown: Browser) -> None:
    place = "document.querySelector('#stage svg').style.transform"
    seen = [shown.js(place)]
    x, y = shown.middle("#stage")
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    seen.append(shown.js(place))
    shown.mouse("mousePressed", x, y, button="left", clickCount=1)
    shown.mouse("mouseMoved", x + 40, y + 30, button="left", buttons=1)
    shown.mouse("mouseReleased", x + 40, y + 30, button="left", clickCount=1)
    seen.append(shown.js(place))
    for key in ("+", "-", "ArrowLeft"):
        shown.key(key)
        seen.append(shown.js(place))
    assert all(a != b for a, b in pairwise(seen))
    shown.key("0")
    assert shown.js(place) == seen[0]
    quiet(shown)


def test_light_and_dark(shown: Browser) -> None:
    paper = "getComputedStyle(document.querySelector('#stage .paper')).fill"
    ink = "getComputedStyle(document.querySelector('#stage .state text')).fill"
    light = (shown.js(paper), shown.js(ink))
    shown.key("d")
    dark = (shown.js(paper), shown.js(ink))
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    shown.key("d")
    assert (shown.js(paper), shown.js(ink)) == light
    quiet(shown)


@pytest.mark.parametrize("name", ["dts_rnn", "dot_rnn", "srnn", "lstm"])
def test_texts_fit_their_boxes_in_the_fonts_of_a_browser(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    browser.open(zoo_page(tmp_path, name))
    wide = browser.js(
        "[...document.querySelectorAll('#stage .drawing .box')].filter((b) => {"
        "const r = b.querySelector('rect').getBBox();"
        "return [...b.querySelectorAll('text')].some((t) => { const s = t.getBBox();"
        "return s.x < r.x - 0.5 || s.x + s.width > r.x + r.width + 0.5; }); })"
        ".map((b) => b.textContent)"
    )
    assert wide == []


@pytest.mark.parametrize("level", ["plan", "primitive"])
def test_other_levels_open_too(browser: Browser, tmp_path: Path, level: str) -> None:
    path = zoo_page(tmp_path, "dts_rnn", DiagramView(level))  # type: ignore[arg-type]
    browser.open(path)
    assert boxes(browser) > 6
    browser.hover("#stage .drawing .map")
    assert browser.js("document.querySelectorAll('#card dt').length") > 0
    assert browser.js("document.querySelector('.folding').disabled") is True
    quiet(browser)
