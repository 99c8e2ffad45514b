"""Pages that load little: the frames of sliders become files, and scripts wait until the page is there.

The notebooks hold each frame as a `data:` address, which JupyterLab and GitHub need. In the built book a frame is a
file that a browser fetches when it is first to be seen (assets/frames.js), from a folder as from a server.

The sheets of style are one file. MathJax comes after the first picture of the page (assets/mathematics.js). A
formula's room is kept for it: its size is reckoned here with matplotlib's letters, which are those of MathJax, so that
no line moves when the formula is set.
"""

import base64
import functools
import hashlib
import html
import re
import struct
from pathlib import Path

from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

FRAME = re.compile(r'(<img alt="[^"]*"[^>]*) src="data:image/svg\+xml;base64,([^"]+)">')
PICTURE = re.compile(r'<img (?!loading)([^>]*src="(?:\.\./)*(_images/[^"]+\.png)"[^>]*?) ?/?>')
SCRIPT = re.compile(r'<script (?:data-sd[^>]*)?src="([^"]+)"></script>')
UNUSED = re.compile(r"searchtools|language_data|searchindex|design-tabs")  # no page has tabs
SETTINGS = re.compile(r"\s*<script>window\.MathJax = [^<]*</script>")
MATHJAX = re.compile(r'\s*<script[^>]* src="([^"]*mathjax/[^"]*)"></script>')
FORMULA = re.compile(
    r'<(span|div) class="math notranslate nohighlight"([^>]*>(?:<span class="eqno">.*?</span>)?)\\([(\[])'
)
ALL = "styles/all.css"
SHEET = re.compile(
    r'\s*<link (?:rel="stylesheet" type="text/css" )?href="([^"]*_static/)([^"?]+\.css)[^"]*"(?: rel="stylesheet")? />'
)
# set by a line of script that runs before the deferred ones, and read only where one searches while typing
PAGE_NAME = re.compile(r"\s*<script>DOCUMENTATION_OPTIONS\.\w+ = [^<]*</script>")

# what MathJax knows and matplotlib does not, by what takes the same room
SAME_ROOM = {
    r"\\(l|g)e(?![a-z])": r"\\\1eq",
    r"\\[td](frac|binom)": r"\\\1",
    r"\\text(it)?\b": r"\\mathrm",
    r"\\[bB]ig+[lr]?(?=\W)|\\!|\\(begin|end)\{\w+\*?\}|&": "",
    r"\\(qquad|quad|;|:)": r"\\ ",
    r"\\\|": r"\\Vert",
    r"\\frac(\w)(\w)": r"\\frac{\1}{\2}",
    r"\\(sqrt|mathsf) ?(\w)": r"\\\1{\2}",
}


@functools.cache
def room(formula):
    """Return width, height and depth of a formula in ex, or None where matplotlib does not know how to write it."""
    for theirs, ours in SAME_ROOM.items():
        formula = re.sub(theirs, ours, formula)
    letters = MathTextParser("path"), FontProperties(size=100, math_fontfamily="cm")
    try:
        rows = [letters[0].parse(f"${row.strip()}$", 72, letters[1]) for row in re.split(r"\\\\(?:\[\w+\])?", formula)]
    except ValueError:
        return None
    ex = 44.2  # hundredths of a letter's size: what MathJax makes as high as the small letters of the page
    height = sum(row.height for row in rows) + 40 * (len(rows) - 1)
    return max(row.width for row in rows) / ex, height / ex, rows[-1].depth / ex


def keep_room(match):
    tag, rest, bracket = match.groups()
    formula = match.string[match.end() : match.string.index("\\)" if bracket == "(" else "\\]", match.end())]
    size = room(html.unescape(formula))
    if size is None:
        return match[0]
    width, height, depth = size
    style = f"width:{width:.2f}ex;height:{height:.2f}ex;vertical-align:{-depth:.2f}ex"
    if tag == "div":
        style = f"min-height:calc({height:.2f}ex + 2em)"
    return f'<{tag} class="math notranslate nohighlight unset" style="{style}"{rest}\\{bracket}'


@functools.cache
def write_all(site, names):
    """Write the sheets of style of a page as one file, with their names in its first line."""
    texts = [(site / "_static" / name).read_text("utf-8").removeprefix('@charset "UTF-8";') for name in names]
    text = f"/* {' '.join(names)} */\n" + "\n".join(texts)
    for name in re.findall(r'@import "\.\./(.+)";', text):
        basic = (site / "_static" / name).read_text("utf-8").replace("url(file.png)", "url(../file.png)")
        text = text.replace(f'@import "../{name}";', basic)
    (site / "_static" / ALL).write_text(text, "utf-8")


def lighten(page, path, site):
    """Return the text of a page with its frames as files and its scripts deferred."""
    home = "../" * (len(path.relative_to(site).parts) - 1)

    def frame(match):
        drawing = base64.b64decode(match[2])
        name = f"frame-{hashlib.sha256(drawing).hexdigest()[:16]}.svg"
        (site / "_images" / name).write_bytes(drawing)
        width, height = (
            round(float(re.search(rb'<svg[^>]* %b="([\d.]+)pt"' % side, drawing)[1]) * 4 / 3)  # points to pixels
            for side in (b"width", b"height")
        )
        return f'{match[1]} loading="lazy" width="{width}" height="{height}" src="{home}_images/{name}">'

    def picture(match):
        head = (site / match[2]).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        size = "" if re.search(r"\b(width|style)=", match[1]) else f' width="{width}" height="{height}"'
        return f'<img loading="lazy" decoding="async"{size} {match[1]} />'

    def script(match):
        return "" if UNUSED.search(match[1]) else f'<script defer src="{match[1]}"></script>'

    page = PICTURE.sub(picture, FRAME.sub(frame, page))
    if path.stem == "search":
        return page  # its scripts stand in an order of their own
    head, rest = page.split("</head>", 1)
    if 'class="math' not in rest:
        head = MATHJAX.sub("", SETTINGS.sub("", head))
    head = MATHJAX.sub(rf'<script defer src="{home}_static/mathematics.js" data-mathjax="\1"></script>', head)
    sheets = [name for _, name in SHEET.findall(head)]
    if sheets != [ALL]:  # a page that was written again
        write_all(site, tuple(sheets))
        links = iter([f'\n<link href="{SHEET.search(head)[1]}{ALL}" rel="stylesheet" />'])
        head = SHEET.sub(lambda _: next(links, ""), head)
    return SCRIPT.sub(script, PAGE_NAME.sub("", head)) + "</head>" + FORMULA.sub(keep_room, rest)


def finish(app, exception):
    if exception or app.builder.name != "html":
        return
    site, used = Path(app.outdir), set()
    (site / "_images").mkdir(exist_ok=True)
    if (one := site / "_static" / ALL).exists():  # of an earlier build: a sheet may have changed, with no page
        write_all(site, tuple(one.read_text("utf-8").split("\n", 1)[0].split()[1:-1]))
    for path in site.rglob("*.html"):
        page = path.read_text("utf-8")
        if "</head>" not in page:
            continue  # a page that only leads to another
        light = lighten(page, path, site)
        if light != page:
            path.write_text(light, "utf-8")
        used |= set(re.findall(r"frame-[0-9a-f]{16}\.svg", light))
    for old in (site / "_images").glob("frame-*.svg"):
        if old.name not in used:
            old.unlink()


def setup(app):
    app.add_js_file("frames.js", loading_method="defer")
    app.connect("build-finished", finish, priority=900)  # after the theme has written its colours of code
    return {"parallel_read_safe": True, "parallel_write_safe": True}
