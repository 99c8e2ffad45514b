"""Figures with sliders: live in a kernel, prerendered on a page, a picture on paper."""

import base64
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.resources import files
from typing import Any, NamedTuple

from web3scale.errors import DomainError

VIEW = "application/vnd.jupyter.widget-view+json"
LIMIT = 25  # frames: each costs about 25 kB in the notebook and 0.1 s to draw
SCRIPT = "".join(files("web3scale").joinpath("explore.js").read_text(encoding="utf-8").splitlines())


def _picture(figure: Any, **options: Any) -> str:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "web3scale"}):
        figure.savefig(buffer, bbox_inches="tight", **options)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


# without what would differ from run to run: the time, the version
_svg = partial(_picture, format="svg", metadata={"Date": None, "Creator": None})
_png = partial(_picture, format="png", metadata={"Software": None})


class Slider(NamedTuple):
    """One slider: its `label` on the page, the `values` that it can take, and the one where it stands at `start`."""

    label: str
    values: Sequence[Any]
    start: Any


class Explorer:
    """What `explore` returns: shown as widgets by a kernel, as HTML by a page, as its starting frame on paper.

    `points` holds the setting of the sliders at each frame, first slider slowest.
    """

    def __init__(self, draw: Callable[..., tuple[Any, str]], name: str, sliders: dict[str, Slider]) -> None:
        self.draw, self.name, self.sliders = draw, name, sliders
        settings = itertools.product(*(s.values for s in sliders.values()))
        self.points = [dict(zip(sliders, setting, strict=True)) for setting in settings]
        self.start = {n: s.start for n, s in sliders.items()}

    @cached_property
    def frames(self) -> list[tuple[str, str]]:
        """The picture (SVG) and the sentence of each of the `points`."""
        drawn = (self.draw(**point) for point in self.points)
        return [(_svg(figure), sentence) for figure, sentence in drawn]

    def __repr__(self) -> str:
        return "\n".join(sentence for _, sentence in self.frames)

    def html(self) -> str:
        """Return the figure as accessible HTML: native range inputs over one picture a setting, each with alt text."""
        rows = [f'<div id="{self.name}" class="explore" role="group" aria-label="Figure with sliders">']
        for label, options, start in self.sliders.values():
            first = html.escape(str(start))
            rows.append(
                f'<label class="explore-row"><span>{html.escape(label)}</span> '
                f'<input type="range" min="0" max="{len(options) - 1}" step="1" '
                f'value="{list(options).index(start)}" aria-valuetext="{first}"> '
                f"<output>{first}</output></label>"
            )
        for point, (picture, sentence) in zip(self.points, self.frames, strict=True):
            hide = "" if point == self.start else ' hidden style="display: none"'
            rows.append(f'<img alt="{html.escape(sentence)}"{hide} src="data:image/svg+xml;base64,{picture}">')
        values = json.dumps([[str(x) for x in s.values] for s in self.sliders.values()]).replace("</", "<\\/")
        script = SCRIPT % {"id": json.dumps(self.name), "values": values}
        rows.append('<p class="explore-still">If the slider does not change the figure, run this cell.</p>')
        rows.append(f"</div><script>{script}</script>")
        return "\n".join(rows)

    def live(self) -> Any:
        """Return ipywidgets that redraw the figure at every move."""
        import ipywidgets as widgets  # only a live kernel needs it

        look = {"style": {"description_width": "12em"}, "layout": {"width": "32em"}}
        sliders = {
            n: widgets.SelectionSlider(options=list(s.values), value=s.start, description=s.label, **look)
            for n, s in self.sliders.items()
        }
        picture = widgets.HTML()

        def redraw(_: Any = None) -> None:
            figure, sentence = self.draw(**{n: s.value for n, s in sliders.items()})
            picture.value = f'<img alt="{html.escape(sentence)}" src="data:image/png;base64,{_png(figure, dpi=96)}">'

        for slider in sliders.values():
            slider.observe(redraw, "value")
        redraw()
        return widgets.VBox([*sliders.values(), picture])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        self._live = self.live()  # kept: a collected widget closes its connection to the page
        return {
            "text/plain": repr(self),
            "text/html": self.html(),
            "image/png": _png(self.draw(**self.start)[0], dpi=144),
            VIEW: self._live._repr_mimebundle_()[VIEW],
        }


def explore(draw: Callable[..., tuple[Any, str]], *, name: str, **sliders: Slider) -> Explorer:
    """Draw a figure for every setting of the `sliders`, which work with and without a kernel.

    `draw`, called with one value of each slider, returns a Matplotlib figure and a sentence: what that frame shows,
    with its main numbers, for those who cannot see it. `name` is a label for the page: lower-case letters, digits and
    hyphens. There are at most 25 settings in all.

    >>> import matplotlib.pyplot as plt
    >>> explore(lambda n: (plt.figure(), f"a line of slope {n}"), name="fig-x", n=Slider("slope", [1, 2], start=1))
    a line of slope 1
    a line of slope 2
    """
    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9-]*", name)):
        raise DomainError(f"explore: name must be lower-case letters, digits and hyphens, got {name!r}")
    if not sliders or not all(isinstance(s, Slider) and s.start in s.values for s in sliders.values()):
        raise DomainError(f"explore: sliders must be Sliders, one or more, that start at a value, got {sliders!r}")
    explorer = Explorer(draw, name, sliders)
    if len(explorer.points) > LIMIT:
        raise DomainError(f"explore: sliders must make at most {LIMIT} frames, got {len(explorer.points)}")
    return explorer
