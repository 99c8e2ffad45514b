"""Pages that load little: the frames of sliders become files, and scripts wait until the page is there.

The notebooks hold each frame as a `data:` address, which JupyterLab and GitHub need. In the built book a frame is a
file that a browser fetches when it is first to be seen (assets/frames.js), from a folder as from a server.
"""

import base64
import hashlib
import re
import struct
from pathlib import Path

FRAME = re.compile(r'(<img alt="[^"]*"[^>]*) src="data:image/svg\+xml;base64,([^"]+)">')
PICTURE = re.compile(r'<img (?!loading)([^>]*src="(?:\.\./)*(_images/[^"]+\.png)"[^>]*?) ?/?>')
SCRIPT = re.compile(r'<script (?:data-sd[^>]*)?src="([^"]+)"></script>')
UNUSED = re.compile(r"searchtools|language_data|searchindex|design-tabs")  # no page has tabs
MATHJAX = re.compile(r'\s*<script>window\.MathJax = [^<]*</script>|\s*<script[^>]*src="[^"]*mathjax/[^"]*"></script>')
# before MathJax stands, once, what tells it to work in pieces
SETTER = re.compile(r'(?<!mathematics\.js"></script>)(?=<script[^>]*src="[^"]*mathjax/)')
# set by a line of script that runs before the deferred ones, and read only where one searches while typing
PAGE_NAME = re.compile(r"\s*<script>DOCUMENTATION_OPTIONS\.\w+ = [^<]*</script>")


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
        head = MATHJAX.sub("", head)
    head = SETTER.sub(f'<script defer src="{home}_static/mathematics.js"></script>', head)
    return SCRIPT.sub(script, PAGE_NAME.sub("", head)) + "</head>" + rest


def finish(app, exception):
    if exception or app.builder.name != "html":
        return
    site, used = Path(app.outdir), set()
    (site / "_images").mkdir(exist_ok=True)
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
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
