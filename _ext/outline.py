"""The outline of the book, read from what is there: pages in _toc.yml, code in web3scale, items in the concordance.

Nothing is listed twice. A chapter is added by adding its notebooks to _toc.yml, its code to the folder or module of
web3scale that bears the word of its file (02_limits -> limits), and its items to chapters/concordance.md.
"""

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CORE = 0  # the number of what is no chapter's
STORY = "web3scale.meridian"
DRAWS = {"drawsvg", "matplotlib", "ipywidgets"}  # a module that imports one of these is for pages only


# Pages


def written_pages(root=ROOT):
    """Every page that _toc.yml names, in reading order, without its ending."""

    def walk(node):
        if isinstance(node, list):
            for entry in node:
                yield from walk(entry)
        elif isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for value in node.values():
                yield from walk(value)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))))


def pages(root=ROOT):
    """Every page of the built book, without its ending: the written ones, and those of the API reference."""
    return [*written_pages(root), *api_pages(root)]


def chapters(root=ROOT):
    """The pages of each chapter, overview first: {3: ["chapters/03_layers", "chapters/03_1_ledger", ...]}."""
    found = {}
    for page in written_pages(root):
        if number := re.match(r"chapters/(\d\d)_", page):
            found.setdefault(int(number[1]), []).append(page)
    return found


def word(page):
    """The word of a page, which its code bears as well: chapters/03_3_channels -> channels."""
    return re.sub(r"^[a-z\d]+_(\d+_)?", "", page.rsplit("/", 1)[-1])


def chapter_words(root=ROOT):
    """The part of web3scale that belongs to each chapter: {1: "foundations", 2: "limits"}."""
    return {number: word(overview) for number, (overview, *_) in chapters(root).items()}


# Code


def sources(root=ROOT):
    """Every module of the package, and its file."""
    files = sorted((root / "web3scale").rglob("*.py"))
    return {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def chapter_of(module, root=ROOT):
    """The number of the chapter that a module belongs to; 0 for what all chapters stand on."""
    part = f"{module}.".split(".")[1]
    return next((number for number, name in chapter_words(root).items() if name == part), CORE)


def imported(source, name="", is_package=False):
    """Every module that source imports, wherever in it; `from package import x` counts as package.x."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parts = name.split(".")
                base = parts[: len(parts) - node.level + is_package]
                start = ".".join([*base, start] if start else base)
            found |= {f"{start}.{alias.name}" for alias in node.names}
    return found


def graph(root=ROOT):
    """Which modules of the package each module imports: {"web3scale.crypto": {"web3scale.errors"}}."""
    files = sources(root)
    edges = {}
    for name, path in files.items():
        targets = imported(path.read_text("utf-8"), name, path.name == "__init__.py")
        edges[name] = {m for t in targets if (m := module_of(t, files))} - {name}
    return edges


def module_of(target, files):
    """The module that an imported name is or lives in; None for what is not the package's, or is the package itself."""
    while target.count(".") and target not in files:
        target = target.rsplit(".", 1)[0]
    return target if target in files and target != "web3scale" else None


def for_pages(root=ROOT):
    """Modules that draw, and the story whose cards use every chapter: pages import them, the package never does."""
    texts = {name: path.read_text("utf-8") for name, path in sources(root).items()}
    draws = {name for name, text in texts.items() if DRAWS & {t.split(".")[0] for t in imported(text)}}
    return draws | ({STORY} & set(texts))


# The API reference: a page a module, written by api_pages.py when the book is built


def api_pages(root=ROOT):
    """The page of each module, in the order of the book: {"chapters/api/1_laws": "web3scale.foundations.laws"}."""
    modules = [name for name, path in sources(root).items() if path.name != "__init__.py"]
    found = {f"chapters/api/{chapter_of(m, root)}_{m.rsplit('.', 1)[1]}": m for m in modules}
    return dict(sorted(found.items()))


# Items of the treatise

ITEM = re.compile(
    r"^\| (Definition|Model|Theorem|Algorithm|Principle|Pattern|Trend|Claim) (\d+)\.([\d.]+) (.*)\|$", re.M
)


def items(concordance=None):
    """The labels of the treatise's items, chapter by chapter, and what is only planned.

    `written` are the labels of the rows marked so, `planned` the names of the others; rows that the book has *added*
    are no items of the treatise.
    """
    text = (ROOT / "chapters/concordance.md").read_text("utf-8") if concordance is None else concordance
    written, planned = {}, {}
    for kind, chapter, number, rest in ITEM.findall(text):
        verdict, where = (cell.strip() for cell in (rest.split(" | ")[-3], rest.split(" | ")[-1]))
        if verdict == "added":
            continue
        label = re.match(r"written: \{(?:prf:)?ref\}`(?:[^`<]*<)?([\w-]+)>?`", where)
        if label:
            written.setdefault(int(chapter), []).append(label[1])
        else:
            planned.setdefault(int(chapter), []).append(f"{kind} {chapter}.{number}")
    return written, planned
