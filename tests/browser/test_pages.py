"""Every page of the built book: nothing from other hosts, mathematics and pictures drawn, colours, a phone, links."""

import re

import pytest

from .checks import image_faults, link_faults, math_faults, page_faults, refuse, slider_faults

pytestmark = pytest.mark.browser

TALLEST = 20_000  # pixels of a section at 1280 wide: more is no evening's reading


def test_page(visit, site, page_name, slider_pages, phone):
    # From the folder, without a server: what a browser allows a page there it allows a page of a server as well, and
    # what it forbids there (scripts as modules, requests to its own folder) is to be seen on every page.
    with visit(f"{site.as_uri()}/", page_name) as found:
        height = found.page.evaluate("document.scrollingElement.scrollHeight")
        assert height <= TALLEST or not re.match(r"chapters/\d\d_", page_name)
        refuse(page_faults(found, site, phone, sliders=page_name in slider_pages))
        count = found.page.locator(".bd-article *").count()
        assert count > 5 or page_name == "search", "the text is not where its colours were compared"


def test_a_page_of_a_server(visit, address, slider_pages):
    # The other way there is little left to differ (kinds of files, errors with a number): one page that has everything.
    with visit(address, slider_pages[0]) as found:
        found.page.wait_for_load_state("networkidle")
        refuse([*math_faults(found.page), *image_faults(found.page), *slider_faults(found.page), *found.faults])


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_frames_are_fetched_when_a_slider_is_first_used(visit, site, address, slider_pages, kind):
    with visit(f"{site.as_uri()}/" if kind == "folder" else address, slider_pages[0]) as found:

        def frames():
            return {url for url in found.urls if "frame-" in url}

        figure = found.page.locator(".explore").first
        figure.scroll_into_view_if_needed()
        found.page.wait_for_load_state("networkidle")
        before = frames()
        assert len(before) <= found.page.locator(".explore").count()  # each figure's first
        figure.locator("input").first.focus()
        found.page.wait_for_load_state("networkidle")
        assert len(frames()) >= len(before) + figure.locator("img").count() - 1
        assert found.faults == []


HEIGHTS = (
    "[...document.querySelectorAll('.bd-article :is(p, li, tr, .math)')].map(e => e.getBoundingClientRect().height)"
)
NO_ROOM = (
    "document.querySelectorAll('.unset').forEach(e => { e.removeAttribute('style'); e.classList.remove('unset'); });"
)


@pytest.mark.parametrize("page", ["chapters/preface", "chapters/notation"])
@pytest.mark.parametrize("kept", [True, False])
def test_no_line_moves_when_a_formula_is_set(visit, site, phone, page, kept):
    before = f"addEventListener('DOMContentLoaded', () => {{ {'' if kept else NO_ROOM} window.heights = {HEIGHTS}; }});"
    with visit(f"{site.as_uri()}/", page, window=phone.values(), script=before) as found:
        was, is_now = found.page.evaluate("heights"), found.page.evaluate(HEIGHTS)
    assert len(was) == len(is_now)
    moved = sum(abs(a - b) for a, b in zip(was, is_now, strict=True)) / sum(is_now)
    assert (moved < 0.01) if kept else (moved > 0.015)


def test_a_page_opened_on_a_phone_is_the_page_made_narrow(visit, site, slider_pages, phone, desk):
    # test_page narrows the window in place: this is what allows it to
    drawn = "() => [...document.querySelectorAll('body *')].map(e => [e.tagName, e.className, e.offsetWidth].join(' '))"
    home = f"{site.as_uri()}/"
    with visit(home, slider_pages[0], window=phone.values()) as narrow, visit(home, slider_pages[0]) as wide:
        before = wide.page.evaluate(drawn)
        wide.page.set_viewport_size(phone)
        wide.page.wait_for_timeout(500)
        after, opened = wide.page.evaluate(drawn), narrow.page.evaluate(drawn)
    assert before != after
    assert after == opened


def test_links_lead_somewhere(site, pages):
    refuse(link_faults(site, ["index.html", *(f"{name}.html" for name in pages)]))


@pytest.mark.parametrize("word", ["Amdahl", "rollup", "finality"])
def test_search_finds_a_chapter_first(visit, address, word):
    with visit(address, "search") as found:
        found.page.wait_for_load_state("networkidle")  # to leave while a picture still loads would count as a fault
        found.page.goto(f"{address}search.html?q={word}")
        first = found.page.locator("#search-results li a").first
        first.wait_for()
        found.page.wait_for_timeout(500)  # the list grows while texts arrive
        assert re.match(r"chapters/([abc]|\d\d(_\d)?)_", first.get_attribute("href")), first.get_attribute("href")
        refuse(found.faults)


def test_a_picture_stands_on_the_page_itself_in_the_dark(visit, site):
    with visit(f"{site.as_uri()}/", "chapters/c_chain") as found:
        found.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        ground = "svg => getComputedStyle(svg.closest('.text_html')).backgroundColor"
        pictures = found.page.locator(".cell_output svg[role=img]")
        assert pictures.count() > 2
        assert {picture.evaluate(ground) for picture in pictures.all()} == {"rgba(0, 0, 0, 0)"}


# A page with one fault of each kind: the visit finds every one

PALE = "color: #f4f4f4; background: #ffffff"
STYLE = """<style>
html[data-theme=dark] .pale-in-the-dark { color: #555; background: #444 }
@media (max-width: 600px) { .pale-on-a-phone { color: #eee; background: #fff } }
.here-in-the-dark { display: none } html[data-theme=dark] .here-in-the-dark { display: block }
html .highlight .pale-token { color: #f4f4f4; background: #fff }
</style>"""
BODY = rf"""<h1>Two</h1><p style="{PALE}">pale by day</p><p class="pale-in-the-dark">pale at night</p>
<p class="pale-on-a-phone">pale where it is narrow</p><p class="here-in-the-dark"><input></p>
<div class="highlight"><pre>good <span class="pale-token">token</span></pre></div>
<p><span class="math notranslate nohighlight">\(\style{{color: #f4f4f4; background: white}}{{a + b}}\)</span></p>
<p class="math">no formula</p><p>raw \frac{{1}}{{2}}</p><p class="math" id="unknown">\(\nonsense\)</p>
<p class="math">\(\frac{{1}}\)</p><img src="none.png">
<img src="../_static/logo.svg" alt="the logo, pressed flat" style="width: 200px; height: 20px">
<p style="width: 900px">wide</p>
<div style="overflow: auto"><p style="width: 5000px" tabindex="0">scrolls</p></div>
<p id="here-it-is"><a href="#here-it-is">good</a> <a href="#there">bad</a> <a href="api.html#there">bad</a>
<a href="none.html">bad</a> <a href="../_static">bad</a> <a href="../../outside.html">bad</a></p>
<script src="https://example.org/script.js"></script><script>nonsense()</script>
<script>addEventListener('load', () => document.querySelectorAll('.explore input').forEach(
  e => e.replaceWith(e.cloneNode(true))))</script>"""
EXPECTED = [
    "title: headings of the first level",
    "light: color-contrast: #notation > p",
    "light: image-alt",
    "light: SPAN.pale-token .*: contrast 1.10",
    "light: MJX-C.* contrast 1.10",
    "dark: color-contrast: .pale-in-the-dark",
    "dark: label: ",
    "dark, phone: colours on a desk: P ",
    "light, phone: colours on a desk: P ",
    "math: not rendered: no formula",
    "math: MathJax reports",
    "math: unknown to MathJax: unknown",
    r"math: raw: raw \\frac",
    "images: not shown",
    "images: no alternative text",
    "images: out of shape: .*logo",
    "phone: .* px wide in a window of 390",
    "phone: P +: wide",
    "desk: .*: shows the frames .* alone",
    "phone: .*: shows the frames .* alone",
    "weight: ",
    "leaves the book: https://example.org/script.js",
    "no answer: .*none.png",
    "script: .*nonsense",
    "error: ",
]


@pytest.fixture(scope="module")
def broken(site, tmp_path_factory):
    """A copy of the book in which the notation is a page with faults, beneath the book's own style sheets."""
    folder = tmp_path_factory.mktemp("broken")
    for path in site.iterdir():
        if path.name != "chapters":
            (folder / path.name).symlink_to(path)
    (folder / "chapters").mkdir()
    for path in (site / "chapters").iterdir():
        (folder / "chapters" / path.name).symlink_to(path)
    return folder


def test_each_rule_finds_its_fault(site, broken, visit, phone, smallest_figure):
    page = (site / "chapters/notation.html").read_text("utf-8")
    start = page.index("</h1>", page.index("<article")) + len("</h1>")
    (broken / "chapters/faulty.html").write_text(page[:start] + STYLE + BODY + smallest_figure + page[start:], "utf-8")
    assert len(link_faults(broken, ["chapters/faulty.html"])) == 6  # five links and a picture
    with visit(f"{broken.as_uri()}/", "chapters/faulty") as found:
        faults = page_faults(found, broken, phone, sliders=True, limit=100_000)
    for fault in EXPECTED:
        assert any(re.match(fault, one) for one in faults), f"{fault}, among\n" + "\n".join(faults)
    assert not any("scrolls" in fault for fault in faults if "phone: " in fault)
    assert not any("good" in fault for fault in faults if "contrast" in fault)


def test_a_page_that_stays_dark_is_noticed(tmp_path, visit):
    (tmp_path / "dark.html").write_text("<!DOCTYPE html><html data-theme='dark'><title>Dark</title></html>", "utf-8")
    with visit(f"{tmp_path.as_uri()}/", "dark") as found:
        assert found.switch("dark") == []
        assert found.switch("light") == ["the page does not turn light"]


def test_answers_of_a_server_are_noted(tmp_path, visit, serving):
    (tmp_path / "faulty.html").write_text("<!DOCTYPE html><title>Faults</title><img src='none.png'>", "utf-8")
    with serving(tmp_path) as home, visit(home, "faulty") as found:
        found.page.wait_for_load_state("networkidle")
        assert any(fault.startswith("404: ") for fault in found.faults)


def test_a_printed_page_has_its_number_and_folded_solutions(visit, site):
    with visit(f"{site.as_uri()}/", "chapters/01_1_meaning") as found:
        found.page.emulate_media(media="print")
        found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        shown = [h.inner_text() for h in found.page.locator("h1").all() if h.is_visible()]
        assert shown == ["1.1. Meaning"]
        solutions = found.page.locator(".solution > section, .solution > *:not(.admonition-title)")
        assert solutions.count() > 4
        assert not any(s.is_visible() for s in solutions.all())
        assert found.page.locator(".exercise").first.is_visible()
