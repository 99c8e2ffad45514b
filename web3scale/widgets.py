"""Figures with sliders: live in a kernel, prerendered on a page, a picture on paper."""

import base64
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from web3scale.errors import DomainError

VIEW = "application/vnd.jupyter.widget-view+json"
LIMIT = 25  # frames: each costs about 25 kB on the page and 0.1 s to draw
SCRIPT = (
    "(()=>{const root=document.getElementById(%(id)s);if(!root||root.dataset.ready)return;root.dataset.ready=1;"
    "const values=%(values)s,frames=root.querySelectorAll('img'),inputs=root.querySelectorAll('input'),"
    "outputs=root.querySelectorAll('output');root.querySelector('.explore-still').hidden=true;"
    "const update=()=>{let k=0;inputs.forEach((e,i)=>{const v=values[i][+e.value];k=k*values[i].length+ +e.value;"
    "outputs[i].textContent=v;e.setAttribute('aria-valuetext',v)});"
    "frames.forEach((e,i)=>{e.hidden=i!==k;e.style.display=i===k?'':'none'})};"
    "inputs.forEach(e=>e.addEventListener('input',update));update()})()"
)


def _svg(figure: Any) -> str:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "web3scale"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _png(figure: Any, dpi: int) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


class Explorer:
    """What `explore` returns: shown as widgets by a kernel, as HTML by a page, as its starting frame on paper.

    `points` holds the setting of the sliders at each frame, first slider slowest.
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        name: str,
        alt: Callable[..., str],
        values: dict[str, Sequence[Any]],
        labels: dict[str, str],
        start: dict[str, Any],
    ) -> None:
        self.name, self.draw, self.alt, self.values, self.labels, self.start = name, draw, alt, values, labels, start
        self.points = [dict(zip(values, p, strict=True)) for p in itertools.product(*values.values())]

    def __repr__(self) -> str:
        return "\n".join(self.alt(**point) for point in self.points)

    def html(self) -> str:
        """Return the figure as accessible HTML: native range inputs over one picture a setting, each with alt text."""
        rows = []
        for name, options in self.values.items():
            label, first = html.escape(self.labels[name]), html.escape(str(self.start[name]))
            rows.append(
                f'<label class="explore-row"><span>{label}</span> '
                f'<input type="range" min="0" max="{len(options) - 1}" step="1" '
                f'value="{list(options).index(self.start[name])}" aria-valuetext="{first}"> '
                f"<output>{first}</output></label>"
            )
        for point in self.points:
            hide = "" if point == self.start else ' hidden style="display: none"'
            picture = _svg(self.draw(**point))
            rows.append(f'<img alt="{html.escape(self.alt(**point))}"{hide} src="data:image/svg+xml;base64,{picture}">')
        values = json.dumps([[str(x) for x in v] for v in self.values.values()]).replace("</", "<\\/")
        script = SCRIPT % {"id": json.dumps(self.name), "values": values}
        still = '<p class="explore-still">If the slider does not change the figure, run this cell.</p>'
        return (
            f'<div id="{self.name}" class="explore" role="group" aria-label="Figure with sliders">\n'
            + "\n".join([*rows, still])
            + f"\n</div><script>{script}</script>"
        )

    def live(self) -> Any:
        """Return ipywidgets that redraw the figure at every move."""
        import ipywidgets as widgets  # only a live kernel needs it

        style = {"description_width": "12em"}
        sliders = {
            n: widgets.SelectionSlider(
                options=list(v), value=self.start[n], description=self.labels[n], style=style, layout={"width": "32em"}
            )
            for n, v in self.values.items()
        }
        picture = widgets.HTML()

        def redraw(_: Any = None) -> None:
            point = {n: s.value for n, s in sliders.items()}
            data = _png(self.draw(**point), dpi=96)
            picture.value = f'<img alt="{html.escape(self.alt(**point))}" src="data:image/png;base64,{data}">'

        for slider in sliders.values():
            slider.observe(redraw, "value")
        redraw()
        return widgets.VBox([*sliders.values(), picture])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        self._live = self.live()  # kept: a collected widget closes its connection to the page
        return {
            "text/plain": repr(self),
            "text/html": self.html(),
            "image/png": _png(self.draw(**self.start), dpi=144),
            VIEW: self._live._repr_mimebundle_()[VIEW],
        }


def explore(
    draw: Callable[..., Any],
    *,
    name: str,
    alt: Callable[..., str],
    labels: dict[str, str] | None = None,
    start: dict[str, Any] | None = None,
    **values: Sequence[Any],
) -> Explorer:
    """Draw a figure for every combination of `values`, behind sliders that work with and without a kernel.

    `draw` is called with one value of each slider, and returns a Matplotlib figure; `alt`, called likewise, returns
    the alternative text of that frame: what it shows, with its main numbers. `name` is a label for the page. `labels`
    are what sliders are called there (else by their parameter), `start` where they stand at first (else at their first
    value). There are at most 25 combinations in all.

    >>> explore(None, name="fig-x", alt=lambda n: f"a line of slope {n}", n=[1, 2])
    a line of slope 1
    a line of slope 2
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise DomainError(f"explore: name must be lower-case letters, digits and hyphens, got {name!r}")
    if not values or not all(len(v) for v in values.values()):
        raise DomainError(f"explore: values must hold a slider or more, none empty, got {values!r}")
    if unknown := (labels or {}).keys() - values.keys():
        raise DomainError(f"explore: labels must name sliders, got {sorted(unknown)!r}")
    first = {n: v[0] for n, v in values.items()} | (start or {})
    if first.keys() != values.keys() or any(first[n] not in v for n, v in values.items()):
        raise DomainError(f"explore: start must name sliders and their values, got {start!r}")
    explorer = Explorer(draw, name, alt, values, {n: (labels or {}).get(n, n) for n in values}, first)
    if len(explorer.points) > LIMIT:
        raise DomainError(f"explore: values must make at most {LIMIT} frames, got {len(explorer.points)}")
    return explorer
