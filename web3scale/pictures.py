"""Pictures of protocols and systems: boxes, arrows and swimlanes, drawn as SVG inside the page.

A picture takes the colour of the text around it, so it is dark on a light page and light on a dark one; its words are
text, which can be searched and read aloud. It is 360 units wide, a phone's column, and grows to one and a half times
that: letters are as large as the page's own. The drawing is done by drawsvg.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import drawsvg as svg  # type: ignore[import-untyped]

from web3scale.errors import DomainError, shown
from web3scale.quantities import Number, One, Quantity, validated

TONES = {"plain": "currentColor", "accent": "#2b83c6", "good": "#009E73", "bad": "#D55E00"}
LETTER = 12  # height of a letter, in units
PAGE = "var(--pst-color-background, var(--jp-layout-color0, transparent))"  # of the book, of JupyterLab
Place = One[Annotated[Number, Quantity("1", low=-10_000, high=10_000)]]  # in units
Size = One[Annotated[Number, Quantity("1", high=10_000, open="low")]]
Point = tuple[Place, Place]
Moment = One[Annotated[Number, Quantity("s", high=1e9)]]


@validated
class Picture:
    """An empty picture, 360 units wide; `alt` says in a sentence what one sees. Its last line in a cell shows it.

    Places are (x, y) from the upper left corner. A `tone` is plain, accent, good or bad; a line break in a text is a
    new line.

    >>> picture = Picture("Two blocks, the second points to the first.", height=60)
    >>> picture.box(60, 30, "block 1")
    >>> picture.box(200, 30, "block 2", tone="accent")
    >>> picture.arrow((160, 30), (100, 30))
    >>> picture
    Two blocks, the second points to the first.
    """

    def __init__(self, alt: str, height: Size, width: Size = 360) -> None:
        if len(alt) <= 20:
            raise DomainError(f"Picture: alt must say in a sentence what one sees, got {shown(alt)}")
        style = f"display:block;width:100%;max-width:{1.5 * width:g}px;height:auto;margin:auto"
        self.alt = alt
        self._drawing = svg.Drawing(width, height, role="img", aria_label=alt, style=style)

    def box(
        self, x: Place, y: Place, text: str = "", *, width: Size = 80, height: Size = 34, tone: str = "plain"
    ) -> None:
        """Draw a box around (x, y) with a text in it."""
        tint = 0.06 if tone == "plain" else 0.2
        corner = x - width / 2, y - height / 2
        self._add(svg.Rectangle(*corner, width, height, rx=4, style=f"fill:{PAGE}"))  # hides what lies below
        self._add(svg.Rectangle(*corner, width, height, rx=4, **_stroke(tone), fill=TONES[tone], fill_opacity=tint))
        self._write(x, y, text, {})

    def label(self, x: Place, y: Place, text: str, *, anchor: str = "middle", bold: bool = False) -> None:
        """Write a text around (x, y), or from there on (anchor "start"), or up to there ("end")."""
        rim = f"paint-order:stroke;stroke:{PAGE};stroke-width:3px;stroke-linejoin:round"  # no line runs into it
        self._write(x, y, text, {"style": rim, "text_anchor": anchor} | ({"font_weight": "bold"} if bold else {}))

    def _write(self, x: float, y: float, text: str, options: dict[str, str]) -> None:
        lines = text.split("\n")
        top = y + LETTER * (0.35 - 0.6 * (len(lines) - 1))
        for number, line in enumerate(lines):
            at = top + 1.2 * LETTER * number
            self._add(svg.Text(line, LETTER, x, at, **{"text_anchor": "middle", "fill": "currentColor"} | options))

    def line(self, start: Point, end: Point, *, tone: str = "plain", dashed: bool = False) -> None:
        """Draw a line, dashed for what is only meant or waited for."""
        dash = {"stroke_dasharray": "4 3"} if dashed else {}
        self._add(svg.Line(*start, *end, **_stroke(tone), **dash))

    def arrow(
        self, start: Point, end: Point, text: str = "", *, tone: str = "plain", dashed: bool = False, lost: bool = False
    ) -> None:
        """Draw an arrow with a text above its middle; one that is `lost` ends half way, at a cross."""
        (x, y), (to_x, to_y) = start, end
        if lost:
            to_x, to_y = x + 0.7 * (to_x - x), y + 0.7 * (to_y - y)
        angle = math.atan2(to_y - y, to_x - x)
        self.line(start, (to_x, to_y), tone=tone, dashed=dashed)
        for turn in (0.8, 2.4, 3.9, 5.5) if lost else (2.7, 3.6):  # the arms of a cross, or the barbs of a tip
            tip = to_x + 8 * math.cos(angle + turn), to_y + 8 * math.sin(angle + turn)
            self.line((to_x, to_y), tip, tone=tone)
        if text:
            self.label((x + end[0]) / 2, (y + end[1]) / 2 - 0.6 * LETTER * (1 + text.count("\n")) - 2, text)

    def _add(self, element: Any) -> None:
        self._drawing.append(element)

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        return str(self._drawing.as_svg(header=""))


def _stroke(tone: str) -> dict[str, object]:
    if tone not in TONES:
        raise DomainError(f"tone must be one of {', '.join(TONES)}, got {shown(tone)}")
    return {"stroke": TONES[tone], "stroke_width": 1.3}


@validated
def swimlanes(alt: str, actors: Sequence[str], steps: Sequence[tuple[str, ...]]) -> Picture:
    """Draw who sends what to whom, from top to bottom: a lane for each of `actors`, a row for each of `steps`.

    A step is a tuple of texts, which begins with what it is. ``("send", source, target, text)`` is a message, and
    ``("lose", source, target, text)`` one that does not arrive. ``("do", actor, text)`` is what somebody does alone, in
    a box, ``("good", …)`` and ``("bad", …)`` the same in colour. ``("line", text)`` goes across all lanes: a moment
    after which all is decided, or a time that passes.

    >>> swimlanes("Alice sends Bob a state, and he signs it.", ["Alice", "Bob"],
    ...     [("send", "Alice", "Bob", "state 2"), ("do", "Bob", "sign"), ("lose", "Bob", "Alice", "signature")])
    Alice sends Bob a state, and he signs it.
    """
    lane = {actor: 360 * (2 * number + 1) / (2 * len(actors)) for number, actor in enumerate(actors)}
    heights = [26 + 1.2 * LETTER * str(step[-1]).count("\n") for step in steps]
    picture = Picture(alt, height=44 + sum(heights) + 8)
    for actor, x in lane.items():
        picture.label(x, 12, actor, bold=True)
        picture.line((x, 26), (x, 44 + sum(heights)), dashed=True)
    y = 32.0
    for (kind, *names, text), height in zip(steps, heights, strict=True):
        y += height
        if _NAMES.get(kind) is None:
            raise DomainError(f"swimlanes: a step must begin with send, lose, do, good, bad or line, got {shown(kind)}")
        if len(names) != _NAMES[kind]:
            raise DomainError(f"swimlanes: a step must have {_NAMES[kind]} actors after {kind}, got {len(names)}")
        if unknown := {*names} - {*lane}:
            raise DomainError(f"swimlanes: steps must name one of the actors, got {shown(min(unknown))}")
        middle = y - height / 2 + 4
        if kind in ("send", "lose"):
            source, target = (lane[name] for name in names)
            picture.arrow(
                (source, y), (target, y), text, lost=kind == "lose", tone="bad" if kind == "lose" else "plain"
            )
        elif kind == "line":
            rows = text.split("\n")
            size = 0.6 * LETTER * max(map(len, rows)), 1.2 * LETTER * len(rows)
            picture._add(svg.Rectangle(2, y - 4 - size[1], *size, style=f"fill:{PAGE}"))  # hides the lanes behind it
            picture.line((0, y), (360, y), tone="accent")
            picture.label(4, y - 4 - size[1] / 2, text, anchor="start", bold=True)
        else:
            width = 8 + 0.58 * LETTER * max(map(len, text.split("\n")))
            picture.box(
                lane[names[0]], middle, text, width=width, height=height - 6, tone="plain" if kind == "do" else kind
            )
    return picture


@validated
def timeline(
    alt: str, lanes: Sequence[str], messages: Sequence[tuple[Moment, Moment | None, int, int, str, str]], rest: str = ""
) -> Picture:
    """Draw messages on their way, time downwards: a lane for each of `lanes`, a row for each moment.

    A message is a tuple: when it leaves and when it arrives, in seconds, its sender's and receiver's places in `lanes`,
    its kind, which is written at the left once for each moment, and its tone. One that does not arrive (None) ends at a
    cross. Rows are about equally far apart, whatever time lies between them. `rest` is written below.

    >>> sent = [(0, 1, 0, 1, "question", "plain"), (1, None, 1, 0, "answer", "plain")]
    >>> timeline("Alice asks Bob, whose answer is lost.", ["Alice", "Bob"], sent)
    Alice asks Bob, whose answer is lost.
    """
    moments = sorted({time for leaves, arrives, *_ in messages for time in (leaves, arrives) if time is not None})
    kinds = [list(dict.fromkeys(m[4] for m in messages if m[0] == moment)) for moment in moments]
    rows = [40.0]
    for some in kinds:
        rows.append(rows[-1] + 24 + 14 * max(len(some), 1))
    y = dict(zip(moments, rows, strict=False))  # and one row more, for what is lost in the last
    x = [105 + 250 * (2 * lane + 1) / (2 * len(lanes)) for lane in range(len(lanes))]
    picture = Picture(alt, height=rows[-1] + (26 if rest else 8))
    for name, at in zip(lanes, x, strict=True):
        picture.label(at, 12, name, bold=True)
        picture.line((at, 24), (at, rows[-1]), dashed=True)
    for (moment, at), some in zip(y.items(), kinds, strict=True):
        picture.label(4, at, f"{moment:g} s", anchor="start", bold=True)
        if some:
            picture.label(4, at + 12 + 7 * len(some), "\n".join(some), anchor="start")
    for leaves, arrives, sender, receiver, _, tone in messages:
        if max(sender, receiver) >= len(lanes) or sender == receiver:
            raise DomainError(f"timeline: sender and receiver must be two of the lanes, got {sender} and {receiver}")
        lost = arrives is None
        end = rows[rows.index(y[leaves]) + 1] if arrives is None else y[arrives]
        picture.arrow((x[sender], y[leaves]), (x[receiver], end), lost=lost, tone="bad" if lost else tone)
    if rest:
        picture.label(180, rows[-1] + 12, rest)
    return picture


_NAMES = {"send": 2, "lose": 2, "do": 1, "good": 1, "bad": 1, "line": 0}  # how many actors each step names
