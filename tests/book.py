"""What the tests of the book share: where the notebooks are, and how to read the notation."""

import re
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
# The items of the treatise, section by section: a finished chapter states every one, under its number.
ITEMS = {
    1: ["def-1-1", "def-1-2", "def-1-3", "def-1-4", "mod-1-1", "mod-1-2"],
    2: ["thm-2-1", "def-2-1", "thm-2-2", "def-2-2"],
    3: ["def-3-1", "alg-3-1", "def-3-2", "alg-3-2", "def-3-3", "alg-3-3"],
}


def toc_files():
    """Every file of the table of contents, in reading order."""

    def walk(node):
        if isinstance(node, dict):
            for key in ("root", "file"):
                if key in node:
                    yield node[key]
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for entry in node:
                yield from walk(entry)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


def cells(path, kind):
    """Return the cells of one kind."""
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def chapter_notebooks(number):
    """Return the notebooks of a chapter, overview first."""
    names = [n for n in toc_files() if re.match(rf"chapters/{number:02}_", n)]
    return [ROOT / f"{name}.ipynb" for name in names]


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
