"""The rules for figures with sliders can fail. That all sliders move, on a desk and on a phone: see test_pages.py."""

import pytest

from .checks import slider_faults

pytestmark = pytest.mark.browser


@pytest.fixture
def alone(visit, tmp_path, smallest_figure):
    """A page that holds one figure with sliders and nothing else: it opens at once."""
    page = f"<!DOCTYPE html><html lang='en'><title>One figure</title><body>{smallest_figure}</body></html>"
    (tmp_path / "figure.html").write_text(page, "utf-8")
    with visit(f"{tmp_path.as_uri()}/", "figure") as found:
        yield found.page


def test_an_unbroken_slider_is_well(alone):
    assert slider_faults(alone) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("all('.explore input').forEach(e => e.replaceWith(e.cloneNode(true)))", "alone"),
        ("all('.explore img').forEach(e => { e.hidden = false; e.style.display = '' })", "at first"),
        ("{ const [a, b] = all('.explore img').slice(-2); [a.alt, b.alt] = [b.alt, a.alt] }", "beside a picture of"),
        ("{ const [a] = all('.explore img').filter(e => !e.hidden); a.alt = 'Words.' }", "at first ["),
        ("{ const [a, b] = all('.explore img').slice(-2); a.before(b) }", "alone"),
        ("all('.explore output').forEach(e => e.replaceWith(e.cloneNode(true)))", "numbers beside the sliders"),
        ("all('.explore input').forEach(e => { e.setAttribute = () => null })", "says"),
        ("all('.explore input').forEach(e => { e.style.width = '9px' })", "too narrow"),
        ("all('.explore img').forEach(e => Object.defineProperty(e, 'naturalWidth', {value: 9999}))", "letters of"),
        (
            "all('.explore').forEach(e => { e.style.marginLeft = '-4px'; e.parentElement.style.overflow = 'hidden' })",
            "cut off",
        ),
        ("all('.explore-still').forEach(e => { e.hidden = false })", "shows the hint"),
        ("all('.explore').forEach(e => e.remove())", "no figure with sliders"),
    ],
)
def test_a_broken_slider_is_noticed(alone, change, expected):
    alone.evaluate(f"{{ const all = rule => [...document.querySelectorAll(rule)]; {change} }}")
    assert any(expected in fault for fault in slider_faults(alone))
