"""What the tests of the book share: how to read notebooks and the notation. The outline is in _ext/outline.py."""

import re

import nbformat
from outline import ROOT, chapters, items

NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
CHAPTERS = {number: [ROOT / f"{page}.ipynb" for page in found] for number, found in chapters().items()}
ITEMS, PLANNED = items()


def read(path):
    """Return the cells of a notebook."""
    return nbformat.read(path, as_version=4).cells


def cells(path, kind):
    """Return the cells of one kind."""
    return [c for c in read(path) if c.cell_type == kind]


def text_of(path):
    """Return the prose of a notebook."""
    return "\n".join(c.source for c in cells(path, "markdown"))


def code_of(path):
    """Return the code of a notebook, without IPython's own lines."""
    return "\n".join(re.sub(r"^[%!].*$", "", c.source, flags=re.M) for c in cells(path, "code"))


def chapter_of_notebook(path):
    """Return the chapter of a notebook; a primer belongs to the first chapter that sends its reader there."""
    if path.stem[:2].isdigit():
        return int(path.stem[:2])
    links = (n for n, own in CHAPTERS.items() if any(f"({path.stem}.ipynb" in text_of(p) for p in own))
    return next(links, None)


def notation():
    """The tables of notation.md: {heading: [(symbol, meaning, unit, word)]}, chapters under their number."""
    tables, heading = {}, None
    for line in (ROOT / "chapters/notation.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            number = re.match(r"## Chapter (\d+)", line)
            heading = int(number[1]) if number else line[3:]
            tables[heading] = []
        elif line.startswith("| $"):
            symbol, meaning, unit, word = (part.strip() for part in line.strip("| ").split(" | "))
            tables[heading].append((symbol.strip("$"), meaning, unit, word.strip("`")))
    return tables


def opening():
    """Return the shortest start of a notebook that ends with a figure with sliders, as a notebook of its own."""
    found = []
    for path in NOTEBOOKS:
        book = nbformat.read(path, as_version=4)
        code = [c for c in book.cells if c.cell_type == "code"]
        ends = [i for i, c in enumerate(code) if re.search(r"\bexplore\(", c.source)]
        if ends:
            found.append((ends[0], path.stem, code[: ends[0] + 1], book.metadata))
    _, _, code, metadata = min(found, key=lambda f: f[:2])
    return nbformat.v4.new_notebook(cells=code, metadata=metadata)
