"""The rules of the house: what imports what, how fast, how long, and whether every name says what it means.

Rules that read source are functions from source to a list of faults, tried here on a faulty example as well: a rule
that cannot fail checks nothing. What the rules speak of (modules, chapters, their order) is read from the book: see
_ext/outline.py.
"""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
from graphlib import CycleError, TopologicalSorter

import outline
import pytest
from book import NOTEBOOKS, code_of
from outline import ROOT

from web3scale.errors import DomainError, Rejected
from web3scale.formula import Formula

SOURCES = outline.sources()
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in SOURCES.items()}
MODULES = [name for name, path in SOURCES.items() if path.name != "__init__.py"]
FOR_PAGES = outline.for_pages()
WORDS = outline.chapter_words()
each_module = pytest.mark.parametrize("name", SOURCES)


def modules_of(chapter):
    return [m for m in MODULES if outline.chapter_of(m) == chapter]


def test_the_package_was_found():
    assert WORDS[1] == "foundations"
    assert {"web3scale", "web3scale.errors", "web3scale.formula"} <= set(SOURCES)
    assert {f"web3scale.{name}" for name in ("figures", "meridian", "pictures", "widgets")} == FOR_PAGES
    assert all(modules_of(chapter) for chapter in [outline.CORE, *WORDS])


def test_a_folder_belongs_to_a_chapter_and_only_says_which():
    for name, path in SOURCES.items():
        if path.name == "__init__.py" and name != "web3scale":
            assert outline.chapter_of(name), f"{name} bears the word of no chapter in _toc.yml"
            assert ast.get_docstring(ast.parse(TEXTS[name])), name
            assert only_a_docstring(TEXTS[name]), f"{name} is more than a docstring"


def only_a_docstring(source):
    return len(ast.parse(source).body) == 1


def test_more_than_a_docstring_is_seen():
    assert only_a_docstring('"""Chapter 3."""\n')
    assert not only_a_docstring('"""Chapter 3."""\nfrom web3scale.layers import ledger\n')


# A chapter imports only what stands earlier in the book


def running_ahead(name: str, source: str, is_package: bool = False) -> list[str]:
    """List imports of anything that does not stand earlier in the book, or that only pages may use."""
    own, faults = outline.chapter_of(name), []
    for target in sorted(outline.imported(source, name, is_package)):
        if target.split(".")[0] != "web3scale":
            continue
        found = outline.module_of(target, SOURCES)
        if found is None or found in FOR_PAGES or outline.chapter_of(found) > own:
            faults.append(f"{name} imports {target}")
    return faults


def loop(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a ring."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@each_module
def test_imports_follow_the_book(name):
    path = SOURCES[name]
    if name != outline.STORY:  # each of its cards is shown in a chapter that has read what it uses
        assert running_ahead(name, TEXTS[name], path.name == "__init__.py") == []


def test_nothing_imports_in_a_ring():
    assert loop(outline.graph()) == []


def test_a_ring_is_seen():
    assert set(loop({"errors": {"formula"}, "formula": {"errors"}, "crypto": {"errors"}})) == {"errors", "formula"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("web3scale.foundations.laws", "from web3scale.layers import ledger"),
        ("web3scale.foundations.laws", "import web3scale.limits"),
        ("web3scale.foundations.laws", "from web3scale import limits as earlier"),
        ("web3scale.foundations.laws", "def late():\n    from web3scale.layers.ledger import Ledger"),
        ("web3scale.foundations.laws", "from ..limits import trilemma"),
        ("web3scale.foundations.laws", "from web3scale import figures"),
        ("web3scale.layers.ledger", "from web3scale.figures import new"),
        ("web3scale.widgets", "from web3scale.figures import new"),
        ("web3scale.formula", "import web3scale.foundations"),
        ("web3scale.limits", "from web3scale import whatever"),
        ("web3scale.limits", "import web3scale"),
        ("web3scale.limits", "from web3scale.nowhere import thing"),
        ("web3scale", "from web3scale.limits import trilemma"),
    ],
)
def test_running_ahead_is_seen(name, source):
    assert len(running_ahead(name, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("web3scale.foundations.laws", "from web3scale.errors import DomainError\nimport numpy, ast"),
        ("web3scale.layers.ledger", "from web3scale.layers import channels"),
        ("web3scale.layers.ledger", "from .channels import lock\nfrom . import channels"),
        ("web3scale.layers.ledger", "from web3scale.limits import trilemma\nimport web3scale.crypto"),
        ("web3scale.figures", "from web3scale.errors import DomainError"),
    ],
)
def test_looking_back_is_fine(name, source):
    assert running_ahead(name, source) == []


# Importing is cheap

HEAVY = ["scipy.stats", "scipy.optimize", "matplotlib", "networkx", "ipywidgets"]
PROBE = """
import sys, time
times = [time.process_time()]  # of this process only: what others do at the same time does not count
for modules in ["numpy, sympy", {modules!r}]:
    exec("import " + modules)
    times.append(time.process_time())
start, before, after = times
print((after - before) / (before - start), *[m for m in {heavy!r} if m in sys.modules])
"""


def imported_fresh(modules: list[str]) -> tuple[float, list[str]]:
    """Return the cost of an import after NumPy and SymPy, as a share of theirs, and the heavy modules it loads."""
    code = PROBE.format(modules=", ".join(modules), heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    share, *loaded = run.stdout.split()
    return float(share), loaded


@pytest.mark.parametrize("chapter", [outline.CORE, *WORDS], ids=["core", *WORDS.values()])
def test_a_chapter_costs_little_more_than_numpy_and_sympy_and_loads_nothing_heavy(chapter):
    share, loaded = imported_fresh([m for m in modules_of(chapter) if m not in FOR_PAGES])
    assert share < 0.5
    assert loaded == []


def test_heavy_modules_are_seen():
    share, loaded = imported_fresh(["scipy.optimize", "matplotlib.pyplot"])
    assert share > 0.5
    assert loaded == ["scipy.optimize", "matplotlib"]


# Every public name says what it means


def public_names(source: str) -> set[str]:
    """Names that a module defines for others: no underscore, and no mere shorthand for an annotation."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            shorthand = isinstance(node.value, ast.Subscript) and ast.unparse(node.value.value).endswith("Annotated")
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name) and not shorthand}
    return {n for n in names if not n.startswith("_")}


def test_public_names_are_seen():
    source = (
        "A = 1\nB: int = 2\n_C = 3\nD, E = 4, 5\nF = Annotated[int, 6]\ndef g(): h = 1\ndef _i(): ...\nclass J: k = 1"
    )
    assert public_names(source) == {"A", "B", "D", "E", "g", "J"}


def public_objects() -> list[tuple[str, object]]:
    """Functions, formulas and classes that a module of the package defines, and not mere types (`Number = Any`)."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for public in sorted(public_names(TEXTS[name])):
            thing = getattr(module, public)
            meant = isinstance(thing, Formula) or inspect.isclass(thing) or inspect.isfunction(inspect.unwrap(thing))
            if meant and thing.__module__ == name:
                found.append((f"{name.removeprefix('web3scale.')}.{public}", thing))
    return found


def doctests(text: str) -> str:
    """The lines of a docstring that run."""
    return "\n".join(re.findall(r"^\s*(?:>>>|\.\.\.) (.*)$", text, flags=re.MULTILINE))


def examples_of(thing: type, neighbours: list[object], module_doc: str) -> str:
    """Every example beside a class: its module's, and those of its neighbours there that return it or name it."""
    return "\n".join([doctests(module_doc), *(doctests(inspect.getdoc(n) or "") for n in neighbours)])


def makes(function: object, cls: type) -> bool:
    """Whether a function, or a method, says that it returns or takes a class, and shows it in an example."""
    members = [function, *(vars(function).values() if inspect.isclass(function) else [])]
    kinds = [getattr(inspect.unwrap(getattr(m, "fget", m)), "__annotations__", {}) for m in members]  # type: ignore
    named = any(re.search(rf"\b{cls.__name__}\b", str(kind)) for said in kinds for kind in said.values())
    return named and bool(doctests(inspect.getdoc(function) or ""))


def docstring_faults(thing: object, neighbours: list[object] = (), module_doc: str = "") -> list[str]:
    """List what a docstring lacks.

    By hand: the meaning in the first sentence, and an example that runs. What a parameter is follows from its
    annotation; where there is none, the docstring says it. A class may be shown by a neighbour in its module that makes
    or uses it, and its methods need one sentence each. What a decorator writes (the parameters of a `Formula` and of a
    `@validated` function) must be there.
    """
    text = inspect.getdoc(thing) or ""
    first = re.split(r"\n\s*\n", text)[0].strip()
    faults = [] if re.search(r"[.:?]$", first) else ["no sentence that says what it means"]
    if inspect.isclass(thing):
        if issubclass(thing, Rejected) and thing is not Rejected:
            return faults  # the rule; the tests of its module break it
        shown = re.search(rf"\b{thing.__name__}\b", examples_of(thing, neighbours, module_doc))
        if not (doctests(text) or shown or any(makes(n, thing) for n in neighbours)):
            faults.append("no doctest")
        for name, member in vars(thing).items():
            member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
            if not name.startswith("_") and inspect.isfunction(member) and not inspect.getdoc(member):
                faults.append(f"no word on {name}")
        return faults
    faults += [] if doctests(text) else ["no doctest"]
    parameters = inspect.signature(thing).parameters  # type: ignore[arg-type]
    if isinstance(thing, Formula) or getattr(thing, "__validated__", False):
        section = re.search(r"^Parameters\n-+\n((?:.*\n?)*)", text, flags=re.MULTILINE)
        lines = section[1] if section else ""
        return faults + [f"no line on {p}" for p in parameters if not re.search(rf"\b{p}\b.*\S", lines)]
    for name, parameter in parameters.items():
        annotated = parameter.annotation is not inspect.Parameter.empty
        if not annotated and not re.search(rf"`{name}`|^\*{{0,2}}{name}\b.*:?", text, flags=re.MULTILINE):
            faults.append(f"no word on {name}")
    return faults


OBJECTS = public_objects()


@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=lambda v: v if isinstance(v, str) else "")
def test_docstring(name, thing):
    module = sys.modules[thing.__module__]
    neighbours = [other for other in vars(module).values() if getattr(other, "__module__", None) == module.__name__]
    assert docstring_faults(thing, [n for n in neighbours if n is not thing], module.__doc__ or "") == []


def test_missing_documentation_is_seen():
    def bare(size):
        return size

    def documented(size):
        """Return `size`.

        >>> documented(1)
        1
        """
        return size

    def annotated(size: float) -> float:
        """Return the size.

        >>> annotated(1)
        1
        """
        return size

    assert docstring_faults(bare) == ["no sentence that says what it means", "no doctest", "no word on size"]
    assert docstring_faults(documented) == []
    assert docstring_faults(annotated) == []


def test_what_the_decorator_should_have_written_is_seen():
    def step(size: float, rate: float) -> float:
        """Return the size.

        Parameters
        ----------
        size : float, bytes

        >>> step(1, 2)
        1
        """
        return size

    assert docstring_faults(step) == []
    step.__validated__ = True
    assert docstring_faults(step) == ["no line on rate"]


def test_missing_words_on_a_class_are_seen():
    @dataclasses.dataclass(frozen=True)
    class Vote:
        """What a replica says."""

        view: int

        def later(self):
            return Vote(self.view + 1)

    def vote(view: int) -> Vote:
        """Return a vote.

        >>> vote(1).view
        1
        """
        return Vote(view)

    class Refused(Rejected):
        """no sentence"""

    assert docstring_faults(Vote) == ["no doctest", "no word on later"]
    assert docstring_faults(Vote, [vote]) == ["no word on later"]
    assert docstring_faults(Vote, [], ">>> Vote(1)") == ["no word on later"]
    assert docstring_faults(Refused) == ["no sentence that says what it means"]


def caught(source: str) -> set[str]:
    """Names that code catches, or asks for by isinstance."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and node.type:
            found.add(node.type)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            found.add(node.args[1])
    return {re.split(r"\W", ast.unparse(n))[-1] if not isinstance(n, ast.Tuple) else ast.unparse(n) for n in found}


def test_what_is_caught_is_seen():
    source = "try:\n    pay()\nexcept ledger.Overdraft:\n    pass\nisinstance(refusal, WrongNonce)"
    assert caught(source) == {"Overdraft", "WrongNonce"}


def test_a_rule_has_a_class_only_where_a_program_tells_it_apart():
    # else it is a sentence: Rejected("transfer: nonce must be the next one", nonce=3)
    programs = [*TEXTS.values(), *map(code_of, NOTEBOOKS)]
    wanted = " ".join(set().union(*map(caught, programs)))
    named = [thing.__name__ for _, thing in OBJECTS if inspect.isclass(thing) and issubclass(thing, Rejected)]
    assert [n for n in named if n != "Rejected" and not re.search(rf"\b{n}\b", wanted)] == []


def test_the_two_errors_are_what_the_package_raises():
    kinds = [thing for _, thing in OBJECTS if inspect.isclass(thing) and issubclass(thing, Exception)]
    assert [k.__name__ for k in kinds if not issubclass(k, (DomainError, Rejected))] == []


# Small is beautiful

MODULE_CODE, MODULE_LINES = 300, 600
# the core, pictures and Meridian included, and ten sections of chapters 1 to 3
NOW_CODE, NOW_LINES, NOW_SECTIONS = 2550, 5200, 10
SECTION_CODE, BOOK_CODE = 250, 8000  # each section that follows, and thirteen chapters in all


def sections() -> int:
    """The sections of the book that are in the table of contents; a chapter of one page is a section."""
    return sum(max(1, len(own) - 1) for own in outline.chapters().values())


def code_lines(source: str) -> int:
    """Count lines that are code: not blank, no comment, no docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    idle = {getattr(tokenize, k) for k in ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER")}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in idle:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def test_code_is_counted_without_words():
    source = (
        '"""A module."""\n\n# a comment\ndef f():\n    """Two\n    lines."""\n    return (\n        1\n    )  # one\n'
    )
    assert code_lines(source) == 4


@each_module
def test_a_module_has_one_topic(name):
    assert code_lines(TEXTS[name]) <= MODULE_CODE
    assert len(TEXTS[name].splitlines()) <= MODULE_LINES


def test_the_package_is_small():
    code = sum(map(code_lines, TEXTS.values()))
    lines = sum(len(text.splitlines()) for text in TEXTS.values())
    more = sections() - NOW_SECTIONS
    assert code <= min(NOW_CODE + SECTION_CODE * more, BOOK_CODE)
    assert lines <= NOW_LINES + SECTION_CODE * more * NOW_LINES / NOW_CODE


# Small rules


def assertions(source: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


@each_module
def test_no_assert_in_the_package(name):
    # python -O drops them
    assert assertions(TEXTS[name]) == []


def test_an_assert_is_seen():
    assert assertions("def f(x):\n    assert x\n    return x  # assert") == [2]


def test_no_catch_all_module():
    assert [p for p in SOURCES.values() if p.stem in {"utils", "util", "helpers", "common", "misc"}] == []


def test_the_code_of_the_readme_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert re.search(r"\d", capsys.readouterr().out)
