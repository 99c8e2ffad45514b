"""`make check` chooses what a change needs, and nothing else: tried on a small book."""

import json
import subprocess

import check
import pytest

TOC = """
root: chapters/preface
chapters:
  - file: chapters/a_queues
  - file: chapters/01_foundations
    sections: [{file: chapters/01_1_laws}]
  - file: chapters/02_limits
"""
FILES = {
    "_toc.yml": TOC,
    "chapters/preface.md": "# Preface",
    "web3scale/__init__.py": "",
    "web3scale/errors.py": "",
    "web3scale/queues.py": "from web3scale.errors import DomainError",
    "web3scale/foundations/__init__.py": "",
    "web3scale/foundations/laws.py": "from web3scale import queues",
    "web3scale/foundations/data.csv": "1,2",
    "web3scale/limits.py": "from web3scale.errors import DomainError",
    "tests/test_house.py": "import outline",
    "tests/test_errors.py": "from web3scale.errors import DomainError",
    "tests/test_queues.py": "from web3scale.queues import lindley",
    "tests/test_laws.py": "from web3scale.foundations.laws import amdahl",
    "tests/test_limits.py": "from web3scale import limits",
    "tests/test_all.py": "import pkgutil\nimport web3scale",
    "assets/book.css": "",
}
NOTEBOOKS = {
    "chapters/a_queues.ipynb": "from web3scale import queues",
    "chapters/01_foundations.ipynb": "1 + 1",
    "chapters/01_1_laws.ipynb": "%matplotlib inline\nfrom web3scale.foundations import laws",
    "chapters/02_limits.ipynb": "from web3scale import limits",
}


@pytest.fixture
def book(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, code in NOTEBOOKS.items():
        cell = {"cell_type": "code", "source": code.splitlines(keepends=True)}
        (tmp_path / name).write_text(json.dumps({"cells": [cell]}))
    return tmp_path


def stems(names):
    return {name.rsplit("/", 1)[1].split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("changed", "tests", "notebooks", "pages"),
    [
        (set(), set(), set(), set()),
        ({"chapters/02_limits.ipynb"}, set(), {"02_limits"}, {"02_limits"}),
        ({"chapters/preface.md"}, set(), set(), {"preface"}),
        ({"web3scale/limits.py"}, {"test_limits", "test_all"}, {"02_limits"}, {"2_limits"}),
        ({"web3scale/queues.py"}, {"test_queues", "test_laws", "test_all"}, {"a_queues"}, {"0_queues"}),
        (
            {"web3scale/errors.py"},
            {"test_errors", "test_queues", "test_laws", "test_limits", "test_all"},
            set(),
            {"0_errors"},
        ),
        ({"web3scale/foundations/data.csv"}, {"test_laws", "test_all"}, {"01_1_laws"}, {"1_laws"}),
        ({"tests/test_limits.py"}, {"test_limits"}, set(), set()),
        ({"assets/book.css"}, set(), set(), {"preface", "01_1_laws", "search"}),
    ],
)
def test_a_change_selects_what_leans_on_it(book, changed, tests, notebooks, pages):
    chosen = check.select(changed, book)
    assert stems(chosen.tests) == tests | {"test_house"}
    assert stems(chosen.notebooks) == notebooks
    assert {page.rsplit("/", 1)[-1] for page in chosen.pages} == pages


@pytest.mark.parametrize(
    ("chapter", "files"),
    [
        ("1", {"01_foundations.ipynb", "01_1_laws.ipynb", "__init__.py", "laws.py"}),
        ("01_1", {"01_1_laws.ipynb", "laws.py"}),
        ("2", {"02_limits.ipynb", "limits.py"}),
        ("a", {"a_queues.ipynb", "queues.py"}),
    ],
)
def test_a_chapter_is_its_pages_and_their_code(book, chapter, files):
    assert {name.rsplit("/", 1)[1] for name in check.files_of(chapter, book)} == files


def test_a_chapter_that_is_not_there_is_refused(book):
    with pytest.raises(SystemExit, match="CHAPTER=7"):
        check.files_of("7", book)


def test_what_was_touched_is_asked_of_git(book):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=book, check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "first")
    assert check.changed_files(book) == set()
    git("checkout", "-b", "branch")
    (book / "web3scale/limits.py").write_text("# committed")
    git("commit", "-am", "second")
    (book / "web3scale/errors.py").write_text("# not committed")
    (book / "tests/test_new.py").write_text("# not known to git")
    (book / "assets/book.css").unlink()
    assert check.changed_files(book) == {"web3scale/limits.py", "web3scale/errors.py", "tests/test_new.py"}


def test_each_check_is_there_and_only_where_it_is_needed(book):
    names = [name.split(" (")[0] for name, _ in check.commands(check.select({"chapters/02_limits.ipynb"}, book))]
    assert names == ["lint", "format", "types", "tests", "notebooks", "book", "browser"]
    names = [name.split(" (")[0] for name, _ in check.commands(check.select(set(), book))]
    assert names == ["lint", "format", "types", "tests", "book"]
