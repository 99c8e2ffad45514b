"""Every page of the built book: nothing from other hosts, mathematics and pictures drawn, a phone's width, links."""

import pytest

from .checks import heading_faults, image_faults, link_faults, math_faults, refuse, weight, width_faults

pytestmark = pytest.mark.browser
LIMIT = 1_500_000  # bytes that a reader's first page may cost


@pytest.fixture(scope="module")
def opened(visit, address, page_name):
    with visit(address, page_name) as found:
        found.page.wait_for_load_state("networkidle")
        yield found


def test_page_asks_only_its_own_host_and_is_answered(opened):
    refuse(opened.faults)


def test_mathematics_is_drawn(opened):
    refuse(math_faults(opened.page))


def test_pictures_are_shown_and_described(opened):
    refuse(image_faults(opened.page))


def test_page_has_one_title(opened):
    refuse(heading_faults(opened.page))


def test_page_is_light(opened, site):
    assert weight(opened.urls, site) < LIMIT


def test_page_fits_a_phone(visit, address, page_name, phone):
    with visit(address, page_name, size=phone) as found:
        refuse(width_faults(found.page))


def test_links_lead_somewhere(site, pages):
    refuse(link_faults(site, ["index.html", *(f"{name}.html" for name in pages)]))


def test_search_finds_a_law(visit, address):
    with visit(address, "search") as found:
        found.page.wait_for_load_state("networkidle")  # to leave while a picture still loads would count as a fault
        found.page.goto(f"{address}search.html?q=Amdahl")
        found.page.locator("#search-results li a").first.wait_for()
        assert "Laws" in found.page.locator("#search-results").inner_text()
        refuse(found.faults)


FAULTY = r"""<!DOCTYPE html><html lang="en"><head><title>Faults</title>
<script defer src="_static/mathjax/tex-chtml.js"></script><script src="https://example.org/script.js"></script></head>
<body><h1>One</h1><h1>Two</h1><p class="math">no formula</p><p>raw \frac{1}{2}</p>
<p class="math" id="unknown">\(\nonsense\)</p><p class="math">\(\frac{1}\)</p><img src="none.png">
<p style="width: 900px">wide</p><div style="overflow: auto"><p style="width: 5000px">scrolls</p></div>
<p id="here"><a href="#here">good</a> <a href="#there">bad</a> <a href="faulty.html#there">bad</a>
<a href="none.html">bad</a> <a href="_static">bad</a> <a href="../outside.html">bad</a></p>
<script>nonsense()</script></body></html>"""


def test_each_rule_finds_its_fault(site, tmp_path, visit, serving, phone):
    (tmp_path / "_static").symlink_to(site / "_static")
    (tmp_path / "faulty.html").write_text(FAULTY, "utf-8")
    assert len(link_faults(tmp_path, ["faulty.html"])) == 6  # five links and a picture
    with serving(tmp_path) as home, visit(home, "faulty", size=phone) as found:
        page, faults = found.page, " ".join(found.faults)
        for fault in ("leaves the book: https://example.org/script.js", "404: ", "script: ", "error: "):
            assert fault in faults
        assert [fault.split(":")[0] for fault in math_faults(page)] == [
            "not rendered",
            "MathJax reports",
            "unknown to MathJax",
            "raw",
        ]
        assert [fault.split(":")[0] for fault in image_faults(page)] == ["not shown", "no alternative text"]
        assert len(heading_faults(page)) == 1
        wide = " ".join(width_faults(page))
        assert "wide" in wide
        assert "scrolls" not in wide
        assert weight(found.urls[:1], tmp_path) < len(FAULTY)
