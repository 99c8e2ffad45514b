"""Figures with sliders, without a kernel: one picture at a time, moved by keyboard, described as it changes."""

import re

import pytest
from checks import slider_faults

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("device", ["desk", "phone"])
def test_sliders_move_by_keyboard(visit, address, slider_page, device, request):
    with visit(address, slider_page, size=request.getfixturevalue(device)) as found:
        assert slider_faults(found.page) == []


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r"(?s)(class=\"explore\".*?)<script>.*?</script>", r"\1", "shows the hint"),
        (r"i!==k", "i>k", "shows the frames"),
        (r"k\*values\[i\]\.length\+ \+e\.value", "k+ +e.value*2", "alone"),
        (r"e\.setAttribute\('aria-valuetext',v\)", "0", "says"),
        (r"outputs\[i\]\.textContent=v;", "", "numbers beside the sliders"),
        (r"const values=\[\[(\"[^\"]*\"),(\"[^\"]*\")", r"const values=[[\2,\1", "beside a picture"),
    ],
)
def test_a_broken_slider_is_noticed(site, tmp_path, visit, slider_page, pattern, replacement, expected):
    text = (site / f"{slider_page}.html").read_text("utf-8")
    broken, number = re.subn(pattern, replacement, text)
    assert number
    (tmp_path / "_static").symlink_to(site / "_static")
    (tmp_path / "chapters").mkdir()
    (tmp_path / f"{slider_page}.html").write_text(broken, "utf-8")
    with visit(f"{tmp_path.as_uri()}/", slider_page) as found:
        assert any(expected in fault for fault in slider_faults(found.page))
