"""Figures with sliders: what the stored page holds, and what the live widgets do."""

import base64
import html
import itertools
import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest

from web3scale.errors import DomainError
from web3scale.widgets import LIMIT, VIEW, Slider, explore

NODES, SHARES = [1, 4, 16], [0.5, 0.9]


def alt(nodes, share):
    return f'speed-up of "p = {share}" & n < {nodes + 1} nodes'


def draw(nodes, share):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, nodes], [0, share])
    return figure, alt(nodes, share)


def two_sliders(label="Nodes <n>", start=(1, 0.5)):
    sliders = {"nodes": Slider(label, NODES, start[0]), "share": Slider("share", SHARES, start[1])}
    return explore(draw, name="fig-speedup", **sliders)


VOID = {"img", "input"}  # elements without an end


class Page(HTMLParser):
    """Elements of a page, each with its attributes, its text and what it stands in."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag, attributes):
        """Note an element, and that what follows is inside it."""
        element = {"tag": tag, "text": "", "within": [e["tag"] for e in self.open], **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        """Elements end in the order they are nested in."""
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        """Text belongs to everything around it."""
        for element in self.open:
            element["text"] += data

    def every(self, tag):
        """Return all elements of a kind."""
        return [e for e in self.elements if e["tag"] == tag]


@pytest.fixture(scope="module")
def source():
    return two_sliders().html()


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


# The page


def test_one_labelled_input_a_slider(page):
    inputs, labels = page.every("input"), page.every("label")
    assert len(inputs) == len(labels) == 2
    for element, options in zip(inputs, (NODES, SHARES), strict=True):
        assert element["type"] == "range"
        assert "label" in element["within"]
        assert [element["min"], element["max"], element["value"], element["step"]] == [
            "0",
            str(len(options) - 1),
            "0",
            "1",
        ]
        assert element["aria-valuetext"] == str(options[0])
    assert [e["text"] for e in page.every("span")] == ["Nodes <n>", "share"]
    assert [e["text"] for e in page.every("output")] == ["1", "0.5"]


def test_one_picture_a_combination_first_slider_slowest(page):
    pictures = page.every("img")
    assert [e["alt"] for e in pictures] == [alt(n, s) for n, s in itertools.product(NODES, SHARES)]
    assert all(e["alt"] for e in pictures)
    drawings = [e["src"].removeprefix("data:image/svg+xml;base64,") for e in pictures]
    assert len(set(drawings)) == len(NODES) * len(SHARES)
    for drawing in drawings:
        assert b"<svg" in base64.b64decode(drawing, validate=True)


def test_exactly_the_first_is_visible(page):
    hidden = ["hidden" in e for e in page.every("img")]
    assert hidden == [False] + [True] * 5
    assert [e.get("style") for e in page.every("img")] == [None] + ["display: none"] * 5


def test_alt_text_is_escaped(source):
    assert html.escape(alt(1, 0.5)) in source
    assert alt(1, 0.5) not in source
    assert "Nodes &lt;n&gt;" in source


def test_group_is_named(page):
    group = page.elements[0]
    assert group["id"] == "fig-speedup"
    assert group["role"] == "group"
    assert group["aria-label"]


def test_script_knows_the_values(page):
    script = page.every("script")[0]["text"]
    values = json.loads(re.search(r"const values=(\[\[.*?\]\])", script)[1])
    assert values == [["1", "4", "16"], ["0.5", "0.9"]]
    assert 'getElementById("fig-speedup")' in script
    # the frame is found as the frames are laid: k ← k·length + position, slider by slider
    assert "k=k*values[i].length+ +e.value" in script
    assert "hidden=i!==k" in script


def test_without_a_script_the_page_says_what_to_do(page):
    still = [e for e in page.elements if e.get("class") == "explore-still"]
    assert len(still) == 1
    assert "hidden" not in still[0]


def test_same_bytes_twice(source):
    assert two_sliders().html() == source
    explorer = two_sliders()
    assert explorer.html() == explorer.html() == source


def test_nothing_is_fetched_from_elsewhere(source):
    assert not re.search(r"(src|href)=\"(?!data:)", source)
    assert "http" not in re.sub(r"base64,[^\"]*", "", source)


def test_figures_are_closed(source):
    before = plt.get_fignums()
    explorer = two_sliders()
    explorer.html()
    explorer.live()
    assert plt.get_fignums() == before


def test_points_and_text():
    explorer = two_sliders()
    assert explorer.points == [{"nodes": n, "share": s} for n in NODES for s in SHARES]
    assert repr(explorer).splitlines() == [alt(n, s) for n in NODES for s in SHARES]


# In a kernel


def test_moving_a_live_slider_redraws():
    box = two_sliders("Nodes").live()
    nodes, share, picture = box.children
    assert [nodes.description, share.description] == ["Nodes", "share"]
    assert list(nodes.options) == NODES
    seen = [picture.value]
    nodes.value = 16
    seen.append(picture.value)
    share.value = 0.9
    seen.append(picture.value)
    nodes.value = 1
    seen.append(picture.value)
    for value, text in zip(seen, [alt(1, 0.5), alt(16, 0.5), alt(16, 0.9), alt(1, 0.9)], strict=True):
        (shown,) = Page(value).every("img")
        assert shown["alt"] == text
        assert base64.b64decode(shown["src"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert len(set(seen)) == 4


def test_mimebundle():
    explorer = two_sliders()
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png", VIEW}
    assert bundle["text/plain"] == repr(explorer)
    assert bundle["text/html"] == explorer.html()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["image/png"] == two_sliders()._repr_mimebundle_()["image/png"]
    assert set(bundle[VIEW]) >= {"model_id", "version_major"}
    assert bundle[VIEW]["model_id"] == explorer._live.model_id  # kept alive as long as its figure


def test_each_frame_is_drawn_once_however_often_it_is_shown():
    drawn = []

    def count(nodes):
        drawn.append(nodes)
        return plt.figure(figsize=(1, 1)), f"{nodes} nodes"

    explorer = explore(count, name="fig-once", nodes=Slider("nodes", NODES, 4))
    assert (repr(explorer), explorer.html(), repr(explorer)) == (
        repr(explorer),
        explorer.html(),
        "1 nodes\n4 nodes\n16 nodes",
    )
    assert drawn == NODES


# Refusals


@pytest.mark.parametrize("name", ["", "Fig", "fig speedup", "1fig", "fig_1", '"><script>', "fig\n", None, 3])
def test_name_refused(name):
    with pytest.raises(DomainError, match=r"^explore: name must be lower-case letters, digits and hyphens, got "):
        explore(draw, name=name, nodes=Slider("n", NODES, 1), share=Slider("p", SHARES, 0.5))


@pytest.mark.parametrize(
    "sliders",
    [
        {},
        {"nodes": Slider("n", [], 1)},
        {"nodes": Slider("n", [1], 1), "share": Slider("p", [], None)},
        {"nodes": Slider("n", NODES, 11)},
        {"nodes": NODES},
        {"nodes": ("n", NODES, 1)},
    ],
)
def test_a_slider_has_values_and_starts_at_one(sliders):
    with pytest.raises(DomainError, match=r"^explore: sliders must be Sliders, one or more, that start at a"):
        explore(draw, name="fig", **sliders)


def test_more_than_25_frames_refused():
    assert LIMIT == 25
    five = Slider("five", range(5), 0)
    assert len(explore(draw, name="fig", nodes=five, share=five).points) == 25
    for sliders in ({"nodes": range(26)}, {"nodes": range(13), "share": range(2)}):
        with pytest.raises(DomainError, match=r"^explore: sliders must make at most 25 frames, got 26$"):
            explore(draw, name="fig", **{n: Slider(n, values, 0) for n, values in sliders.items()})


def test_start_places_the_sliders_everywhere():
    figure = two_sliders(start=(1, 0.9))
    page = figure.html()
    assert len(re.findall(r'<img alt="[^"]*" src', page)) == 1  # the one that is not hidden
    assert html.escape(alt(1, 0.9)) in re.findall(r'<img alt="([^"]*)" src', page)
    assert re.findall(r'value="(\d)" aria-valuetext="([\d.]+)"', page) == [("0", "1"), ("1", "0.9")]
    assert [slider.value for slider in figure.live().children[:-1]] == [1, 0.9]


def test_a_value_cannot_end_the_script():
    sliders = {"nodes": Slider("</script>", ["</script>"], "</script>"), "share": Slider("p", [1], 1)}
    figure = explore(lambda **_: (plt.figure(), "a frame </script>"), name="fig-end", **sliders)
    assert figure.html().count("</script>") == 1
