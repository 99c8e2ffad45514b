"""Pictures of protocols: what they draw, that both themes can be read, and what they refuse."""

import re
from xml.etree import ElementTree

import pytest

from web3scale.errors import DomainError
from web3scale.pictures import LETTER, TONES, Picture, swimlanes, timeline

ALT = "Alice sends Bob a state, and he signs it."
SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture):
    """Return the elements of a picture, by their kind."""
    root = ElementTree.fromstring(picture._repr_html_())
    found = {}
    for element in root.iter():
        found.setdefault(element.tag.removeprefix(SVG), []).append(element)
    return found


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
@pytest.mark.parametrize("tone", sorted(set(TONES) - {"plain"}))
def test_a_tone_stands_out_in_both_themes(tone, page):
    light, dark = sorted((luminance(TONES[tone]), luminance(page)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.1, 1.4.11: graphics


def test_a_picture_is_said_aloud_and_grows_with_its_page():
    picture = Picture(ALT, height=50)
    (root,) = drawn(picture)["svg"]
    assert (root.get("role"), root.get("aria-label"), root.get("viewBox")) == ("img", ALT, "0 0 360 50.0")
    assert "width:100%" in root.get("style")
    assert repr(picture) == ALT


def test_words_are_text_as_large_as_the_page():
    picture = Picture(ALT, height=50)
    picture.box(60, 25, "a < b & c\nsecond line")
    texts = drawn(picture)["text"]
    assert [t.text for t in texts] == ["a < b & c", "second line"]
    assert {t.get("font-size") for t in texts} == {str(LETTER)}
    assert {t.get("fill") for t in texts} == {"currentColor"}
    first, second = (float(t.get("y")) for t in texts)
    assert first < 25 < second


@pytest.mark.parametrize(("lost", "end", "arms"), [(False, 90, 2), (True, 66, 4)])
def test_an_arrow_ends_at_its_tip_and_a_lost_one_at_a_cross(lost, end, arms):
    picture = Picture(ALT, height=50)
    picture.arrow((10, 25), (90, 25), lost=lost)
    shaft, *rest = (p.get("d") for p in drawn(picture)["path"])
    assert re.findall(r"-?\d+\.?\d*", shaft) == [
        "10",
        "25",
        f"{end}" if not lost else f"{end}.0",
        "25" if not lost else "25.0",
    ]
    assert len(rest) == arms


def test_messages_go_down_from_lane_to_lane():
    steps = [("send", "Alice", "Bob", "state 2"), ("do", "Bob", "sign"), ("line", "a day passes")]
    texts = drawn(swimlanes(ALT, ["Alice", "Bob"], steps))["text"]
    assert [t.text for t in texts] == ["Alice", "Bob", "state 2", "sign", "a day passes"]
    assert [float(t.get("x")) for t in texts] == [90, 270, 180, 270, 4]
    heights = [float(t.get("y")) for t in texts]
    assert heights == sorted(heights)


def test_a_timeline_has_a_row_for_each_moment_whatever_time_lies_between():
    sent = [(0, 1, 0, 1, "ask", "plain"), (0, 100, 0, 2, "ask", "good"), (1, None, 1, 0, "no", "plain")]
    picture = timeline(ALT, ["Alice", "Bob", "Carol"], sent)
    rows = [t.text for t in drawn(picture)["text"] if float(t.get("x")) == 4]
    assert rows == ["0 s", "ask", "1 s", "no", "100 s"]
    ends = [[float(v) for v in re.findall(r"-?[\d.]+", p.get("d"))] for p in drawn(picture)["path"]]
    shafts = [e for e in ends if abs(e[3] - e[1]) > 20 and e[0] != e[2]]
    assert [e[3] - e[1] for e in shafts] == pytest.approx([38, 76, 0.7 * 38])  # one row, two rows, lost on the way


def test_a_picture_is_the_same_bytes_twice():
    steps = [("lose", "Alice", "Bob", "state 2"), ("bad", "Alice", "crash")]
    first, second = (swimlanes(ALT, ["Alice", "Bob"], steps)._repr_html_() for _ in range(2))
    assert first == second
    assert not re.search(r'\bid="', first)  # two pictures on one page do not clash


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: Picture("short", height=50), "alt must say in a sentence"),
        (lambda: Picture(ALT, height=0), "height must be a number in (0, 10000]"),
        (lambda: Picture(ALT, height=50).box(1, 1, tone="red"), "tone must be one of plain, accent, good, bad"),
        (lambda: swimlanes(ALT, ["A"], [("send", "A", "B", "x")]), "steps must name one of the actors, got 'B'"),
        (
            lambda: swimlanes(ALT, ["A"], [("shout", "A", "x")]),
            "a step must begin with send, lose, do, good, bad or line",
        ),
        (lambda: swimlanes(ALT, ["A"], [("send", "A", "x")]), "a step must have"),
        (lambda: timeline(ALT, ["A", "B"], [(0, 1, 0, 2, "x", "plain")]), "two of the lanes, got 0 and 2"),
        (lambda: timeline(ALT, ["A", "B"], [(0, 1, 1, 1, "x", "plain")]), "two of the lanes, got 1 and 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(DomainError, match=re.escape(message)):
        draw()
