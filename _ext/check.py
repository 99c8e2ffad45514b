"""The checks that a change needs, for the one who writes: `make check`, or `make check CHAPTER=03_2`.

What was touched (since the branch left main, and what is not committed yet) decides:

- lint and types: always, they are quick;
- tests: those of the modules touched, and of every module that leans on them, by following the imports;
- notebooks: those touched run again, and so do those that import a module touched;
- the book is built incrementally, and the browser opens the pages touched.

`make test` stays the whole: pages far away can break by a change of the style sheet, and only it looks at them all.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import outline
from outline import ROOT

BIN = Path(sys.executable).parent
SHAPE = ["tests/test_house.py", "tests/test_book.py"]  # the rules on code and on pages


@dataclass
class Selection:
    """What a change needs: test files, notebooks that run, pages that the browser opens."""

    tests: list = field(default_factory=list)
    notebooks: list = field(default_factory=list)
    pages: list = field(default_factory=list)
    fresh: bool = False  # the book is built anew


# What leans on what


def leaning(modules, graph):
    """The modules, and all that import them, directly or through others."""
    found, waiting = set(modules), list(modules)
    while waiting:
        module = waiting.pop()
        more = {name for name, targets in graph.items() if module in targets} - found
        found |= more
        waiting += more
    return found


def used_by(path, files):
    """The modules of the package that a test file or a notebook imports; all, where it looks through the package."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text("utf-8"))["cells"]
        source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        source = re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)  # IPython's own lines
    else:
        source = path.read_text("utf-8")
    targets = outline.imported(source)
    if targets & {"pkgutil", "outline"} or "web3scale" in targets:
        return set(files)
    return {m for target in targets if (m := outline.module_of(target, files))}


def select(changed, root=ROOT):
    """Choose tests, notebooks and pages for a set of changed files, named from the root of the book."""
    files, graph = outline.sources(root), outline.graph(root)
    names = {str(path.relative_to(root)): name for name, path in files.items()}
    touched = {names[f] for f in changed if f in names}
    # a table of numbers beside the modules belongs to all of its folder
    for file in (Path(f) for f in changed if f.startswith("web3scale/") and f not in names):
        touched |= {name for f, name in names.items() if Path(f).parent == file.parent}
    tests = sorted((root / "tests").glob("test_*.py"))
    notebooks = sorted((root / "chapters").glob("*.ipynb"))
    lean = leaning(touched, graph)
    chosen = Selection(tests=[f for f in SHAPE if (root / f).exists()])
    for path in tests:
        name = str(path.relative_to(root))
        if (
            name not in chosen.tests
            and name != "tests/test_site.py"
            and (name in changed or used_by(path, files) & lean)
        ):
            chosen.tests.append(name)
    for path in notebooks:
        name = str(path.relative_to(root))
        if name in changed or used_by(path, files) & touched - {"web3scale"}:
            chosen.notebooks.append(name)
    documented = {module: page for page, module in outline.api_pages(root).items()}
    for page in outline.pages(root):
        if any(f"{page}{ending}" in changed for ending in (".ipynb", ".md")):
            chosen.pages.append(page)
    chosen.pages += [documented[m] for m in sorted(touched) if m in documented]
    chosen.fresh = bool(touched)
    if any(f.startswith(("assets/", "_ext/", "tests/browser/", "_config", "_toc", "references")) for f in changed):
        # what every page is made of: one page of each kind stands for all
        with_code = [f"chapters/{p.stem}" for p in notebooks][:1]
        chosen.pages += [p for p in [*outline.pages(root)[:1], *with_code, "search"] if p not in chosen.pages]
    return chosen


# What was touched


def changed_files(root=ROOT):
    """Files that differ from where the branch left main, committed or not, and new ones."""

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    base = next(
        (b.stdout.strip() for b in (git("merge-base", "HEAD", n) for n in ("origin/main", "main")) if not b.returncode),
        "HEAD",
    )
    found = (
        git("diff", "--name-only", base).stdout.split()
        + git("ls-files", "--others", "--exclude-standard").stdout.split()
    )
    return {f for f in found if (root / f).exists()}


def files_of(chapter, root=ROOT):
    """The files of one chapter (`3`), of one section (`03_2`) or of a primer (`a`): its pages and their code."""
    prefix = f"{int(chapter):02}_" if chapter.isdigit() else f"{chapter}_"
    pages = [p for p in outline.written_pages(root) if p.removeprefix("chapters/").startswith(prefix)]
    if not pages:
        sys.exit(f"CHAPTER={chapter}: no page in _toc.yml starts with {prefix}")
    found = {f"{p}{end}" for p in pages for end in (".ipynb", ".md") if (root / f"{p}{end}").exists()}
    number = int(prefix[:2]) if prefix[:2].isdigit() else outline.CORE
    words = {outline.word(p) for p in pages}
    for module, path in outline.sources(root).items():
        whole = chapter.isdigit() and number == outline.chapter_of(module, root)
        if whole or (outline.chapter_of(module, root) == number and path.stem in words):
            found.add(str(path.relative_to(root)))
    return found


# The run


def commands(chosen):
    """The checks in order, each with its name."""
    workers = ["-n", "2", "--dist", "loadscope"]
    stems = " or ".join(Path(f).stem for f in chosen.notebooks)
    yield "lint", [BIN / "ruff", "check", "-q", "."]
    yield "format", [BIN / "ruff", "format", "-q", "--check", "."]
    yield "types", [BIN / "mypy"]
    yield "tests", [BIN / "pytest", "-q", *(workers if len(chosen.tests) > 3 else []), *chosen.tests]
    if chosen.notebooks:
        several = workers if len(chosen.notebooks) > 1 else []
        nbval = ["--nbval", "--nbval-sanitize-with", "tests/nbval.cfg"]
        yield f"notebooks ({stems})", [BIN / "pytest", "-q", *several, *nbval, *chosen.notebooks]
    # a module that moved leaves pages behind which an incremental build does not mend
    yield "book", [BIN / "jupyter-book", "build", "-W", "-n", "-q", *(["--all"] if chosen.fresh else []), "."]
    if chosen.pages:
        several = ["-n", "2"] if len(chosen.pages) > 1 else []
        browser = [BIN / "pytest", "-q", *several, "tests/browser/test_pages.py", "-k", "test_page or links"]
        yield f"browser ({len(chosen.pages)} pages)", browser


def main(arguments):
    chosen = select(files_of(arguments[0]) if arguments else changed_files())
    environment = {**os.environ, "BOOK_PAGES": " ".join(chosen.pages)}
    failed, start = [], time.monotonic()
    for name, command in commands(chosen):
        print(f"{name} ...", end=" ", flush=True)
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        print(f"{'FAILED' if done.returncode else 'well'}, {time.monotonic() - begun:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout[-20_000:], done.stderr[-20_000:], sep="\n")
    print(f"{time.monotonic() - start:.0f} s. {'Failed: ' + ', '.join(failed) if failed else 'All is well.'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
