"""Figures with sliders, without a kernel: one picture at a time, moved by keyboard, described as it changes."""

import pytest

from .checks import refuse, slider_faults

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("device", ["desk", "phone"])
def test_sliders_move_by_keyboard(visit, address, slider_page, device, request):
    with visit(address, slider_page, size=request.getfixturevalue(device)) as found:
        refuse(slider_faults(found.page))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("all('.explore input').forEach(e => e.replaceWith(e.cloneNode(true)))", "alone"),
        ("all('.explore img').forEach(e => { e.hidden = false; e.style.display = '' })", "at first"),
        ("{ const [a, b] = all('.explore img').slice(-2); [a.alt, b.alt] = [b.alt, a.alt] }", "beside a picture of"),
        ("{ const [a, b] = all('.explore img').slice(-2); a.before(b) }", "alone"),
        ("all('.explore output').forEach(e => e.replaceWith(e.cloneNode(true)))", "numbers beside the sliders"),
        ("all('.explore input').forEach(e => { e.setAttribute = () => null })", "says"),
        ("all('.explore input').forEach(e => { e.style.width = '9px' })", "too narrow"),
        ("all('.explore-still').forEach(e => { e.hidden = false })", "shows the hint"),
        ("all('.explore').forEach(e => e.remove())", "no figure with sliders"),
    ],
)
def test_a_broken_slider_is_noticed(visit, address, slider_pages, change, expected):
    with visit(address, slider_pages[0]) as found:
        found.page.evaluate(f"{{ const all = rule => [...document.querySelectorAll(rule)]; {change} }}")
        assert any(expected in fault for fault in slider_faults(found.page))
