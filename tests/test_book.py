"""The shape of the book: what every notebook and every chapter must have."""

import ast
import importlib
import re

import outline
import pytest
import student
import sympy as sp
from book import (
    CHAPTERS,
    ITEMS,
    NOTEBOOKS,
    PLANNED,
    ROOT,
    cells,
    chapter_of_notebook,
    code_of,
    notation,
    read,
    text_of,
)

from web3scale.formula import Formula

WRAPPED = str(2**64 - 10)  # what -10 becomes in an unsigned number of 64 bits: exact, and the point of a counterexample
PRIMERS = [p for p in NOTEBOOKS if not p.stem[0].isdigit()]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def printed(cell):
    """Return the text that a cell shows: what it printed, and the plain form of what it returned."""
    return [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]


def test_every_notebook_is_in_the_toc_and_every_entry_exists():
    files = outline.written_pages()
    assert {f"chapters/{p.stem}" for p in NOTEBOOKS} <= set(files)
    for name in files:
        assert any((ROOT / f"{name}{ending}").exists() for ending in (".ipynb", ".md")), name


@each_notebook
def test_stored_outputs_are_complete(path):
    code = cells(path, "code")
    for number, cell in enumerate(code, 1):
        assert cell.execution_count == number, f"cell {number} was not run in order: make notebooks"
        assert all(o.output_type != "error" for o in cell.outputs), cell.source


@each_notebook
def test_what_measures_this_machine_is_not_compared(path):
    for cell in cells(path, "code"):
        tags = set(cell.metadata.get("tags", []))
        assert ("measured" in tags) == ("nbval-ignore-output" in tags)
        assert "measured" in tags or not re.search(r"\btimeit\b|perf_counter", cell.source), cell.source


@each_notebook
def test_cells_fit_a_screen(path):
    for cell in cells(path, "code"):
        limit = 30 if "hide-input" in cell.metadata.get("tags", []) else 20  # folded away, or read
        assert len(cell.source.splitlines()) <= limit, cell.source


@each_notebook
def test_stored_text_is_the_same_on_every_processor(path):
    for cell in cells(path, "code"):
        for text in printed(cell):
            assert not re.search(r"0x[0-9a-f]{6,}", text), f"an address: {text}"
            for number in re.findall(r"\d[\d_]*\.?\d*", text):
                digits = number.replace(".", "").replace("_", "").strip("0")
                assert len(digits) <= 8 or number == WRAPPED, f"{number} in {text!r}: print fewer digits"


@each_notebook
def test_figures_have_caption_alt_text_and_data(path):
    for cell in cells(path, "code"):
        drawn = [o.data["text/html"] for o in cell.outputs if "<svg" in o.get("data", {}).get("text/html", "")]
        if not drawn and not any("image/png" in o.get("data", {}) for o in cell.outputs):
            continue
        options = cell.metadata.get("mystnb", {})
        assert options.get("figure", {}).get("caption"), f"no caption: {cell.source}"
        assert options["figure"].get("name", "").startswith("fig-"), cell.source
        if drawn:  # a picture of a protocol: its words are its description, and it has no data
            assert len(re.findall(r'aria-label="[^"]{21,}"', drawn[0])) == len(drawn) == 1, cell.source
            continue
        bundle = next(o.data for o in cell.outputs if "image/png" in o.get("data", {}))
        if "text/html" in bundle:
            alts = re.findall(r'<img alt="([^"]*)"', bundle["text/html"])
            assert len(alts) > 1
            assert all(len(alt) > 20 for alt in alts)
            assert len(set(alts)) == len(alts), "two frames with one description"
        assert len(options.get("image", {}).get("alt", "")) > 40, f"no alt text: {cell.source}"
        if "text/html" not in bundle:
            data = [t for t in printed(cell) if "<Figure" not in t]
            assert any(re.search(r"\d", t) for t in data), f"prints no data of what it draws: {cell.source}"


def small_letters(source):
    """List the sizes below 10 points that a figure with sliders sets: on a phone 10 points are 11 pixels."""
    sizes = re.findall(r"\b(?:font)?size=([\d.]+)", source) if "widgets.explore(" in source else []
    return [size for size in sizes if float(size) < 10]


@each_notebook
def test_a_figure_with_sliders_has_no_small_letters(path):
    assert [small_letters(cell.source) for cell in cells(path, "code") if small_letters(cell.source)] == []


def test_small_letters_are_seen():
    drawn = "ax.text(0, 0, 'a', {}=9.5)\nax.plot(x, y, markersize=4)\nwidgets.explore(draw)"
    assert small_letters(drawn.format("fontsize")) == small_letters(drawn.format("size")) == ["9.5"]
    assert small_letters(drawn.replace("9.5", "10")) == []


@each_notebook
def test_a_figure_is_referred_to_by_a_name_that_exists(path):
    names = {c.metadata.get("mystnb", {}).get("figure", {}).get("name") for c in cells(path, "code")}
    used = set(re.findall(r"\{numref\}`[^<`]*<([^>]+)>`", text_of(path)))
    assert used <= names
    assert not re.search(r"\{numref\}`fig-", text_of(path)), "write {numref}`Figure <name>`: JupyterLab shows the word"


@pytest.mark.parametrize("paths", [[p] for p in PRIMERS] + list(CHAPTERS.values()), ids=lambda p: p[0].stem)
def test_every_term_that_occurs_is_linked_to_the_glossary(paths):
    glossary = (ROOT / "chapters/glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\S[^\n]*)\n  \S", glossary.split("```{glossary}")[1], re.M)
    assert len(terms) > 40
    text = "\n".join(text_of(p) for p in paths)
    linked = set(re.findall(r"\]\(glossary\.md#term-([^)]+)\)", text))
    occurring = {t for t in terms if re.search(rf"\b{re.escape(t.lower())}\b", text.lower())}
    assert occurring
    assert {t for t in occurring if re.sub(r"[^A-Za-z0-9]+", "-", t.replace("–", "")) not in linked} == set()


@each_chapter
def test_a_chapter_states_every_item_of_the_treatise_and_checks_it(chapter):
    found = {}
    for path in CHAPTERS[chapter]:
        blocks = [("markdown", c.source) if c.cell_type == "markdown" else ("code", c.source) for c in read(path)]
        for at, (kind, source) in enumerate(blocks):
            for label in re.findall(r":(?:label|name): ((?:def|mod|thm|alg|prop)-[\d-]+)", source) * (
                kind == "markdown"
            ):
                after = "\n".join(code for k, code in blocks[at + 1 : at + 12] if k == "code")
                found[label] = (source, "assert" in after)
    assert chapter not in PLANNED, "the chapter is in the table of contents: all its items are written"
    assert set(ITEMS[chapter]) <= set(found)
    for label, (source, is_checked) in found.items():
        assert is_checked, f"{label}: no check follows it"
        if label in ITEMS[chapter]:
            assert re.search(r"[一-鿿]{2,}", source), f"{label}: no Chinese term"


@each_chapter
def test_models_are_numbered_as_their_titles_say(chapter):
    text = "\n".join(text_of(p) for p in CHAPTERS[chapter])
    titles = re.findall(r"\{admonition\} Model (\d+)\.(\d+) .*\n:class: model\n:name: mod-(\d+)-(\d+)", text)
    assert titles == [(str(chapter), str(i), str(chapter), str(i)) for i in range(1, len(titles) + 1)]
    assert len(titles) == text.count("{admonition} Model")


@each_chapter
def test_anatomy(chapter):
    overview, *sections = CHAPTERS[chapter]
    sections = sections or [overview]  # a short chapter is one notebook
    first = cells(overview, "markdown")[0].source
    assert "?" in first, "a chapter opens with a question"
    assert re.search(r"\d", first), "with a number in it"
    for part in ("What you will be able to do", "What you need", "How the chapter is built", "lecture", "core"):
        assert part in text_of(overview), part
    for path in sections:
        text = text_of(path)
        opening = cells(path, "markdown")[0].source
        assert "?" in opening
        assert re.search(r"\d", opening), path.stem
        if path != overview:
            for part in ("**You will learn**", "**You need**"):
                assert part in text, (path.stem, part)
        headings = re.findall(r"^## (.+)$", text, re.M)
        assert headings[-4:] == ["On real numbers", "Exercises", "Summary", "Further reading"], path.stem
        assert "{cite" in text.split("## Further reading")[1]
        code = "\n".join(c.source for c in cells(path, "code"))
        assert "widgets.explore(" in code, f"{path.stem} has no slider"
        assert "load_" in code, f"{path.stem} has no real numbers"


def hiding_faults(notebook):
    """List what JupyterLab would show of a solution once it runs, or hide beside it up to the next heading."""
    faults = []
    for at, cell in enumerate(notebook):
        if "{exercise}" not in cell.source:
            continue
        if not cell.source.endswith(f"\n\n{student.HIDDEN_HEADING}") or not cell.metadata.get(student.COLLAPSED):
            faults.append(f"not hidden (make notebooks): the solution of {cell.source}")
        after = [
            c
            for c in notebook[at + 1 :]
            if "{solution}" not in c.source and "solution" not in c.metadata.get("tags", [])
        ]
        if not after or not after[0].source.startswith(("```{exercise}", "## ")):
            faults.append(f"hidden with the solution of {cell.source}")
    return faults


@each_notebook
def test_jupyterlab_hides_solutions_and_nothing_else(path):
    assert hiding_faults(read(path)) == []


def test_a_solution_shown_and_a_text_hidden_are_seen():
    path = next(p for p in NOTEBOOKS if p.stem == "c_chain")
    first = next(i for i, c in enumerate(read(path)) if "{exercise}" in c.source)
    for change in (
        lambda cells: cells[first].metadata.clear(),
        lambda cells: cells[first].update(source="```{exercise}\n```"),
        lambda cells: cells[first + 2].metadata.tags.clear(),
        lambda cells: cells[first + 3].update(source="A text."),
    ):
        notebook = read(path)
        change(notebook)
        assert len(hiding_faults(notebook)) == 1


@each_chapter
def test_exercises_have_levels_numbers_and_running_solutions(chapter):
    numbers, levels = [], []
    for path in CHAPTERS[chapter]:
        notebook = read(path)
        for at, cell in enumerate(notebook):
            exercise = re.match(r"```\{exercise\} (\w+): .*\n:label: (ex-[\d-]+)\n:enumerator: ([\d.]+)\n", cell.source)
            assert bool(exercise) == ("{exercise}" in cell.source), cell.source
            if exercise:
                levels.append(exercise[1])
                numbers.append(exercise[3])
                solution, code = notebook[at + 1], notebook[at + 2]
                assert solution.source.startswith(f"```{{solution}} {exercise[2]}\n:class: dropdown"), exercise[2]
                assert code.cell_type == "code"
                assert "solution" in code.metadata.tags, f"{exercise[2]} has no running solution"
                assert code.metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}
    assert numbers == [f"{chapter}.{i}" for i in range(1, len(numbers) + 1)]
    assert len(numbers) >= 12
    assert set(levels) == {"Check", "Apply", "Extend"}


# Notation


def test_all_thirteen_chapters_have_their_notation():
    assert [h for h in notation() if isinstance(h, int)] == list(range(1, 14))


@pytest.mark.parametrize("chapter", range(1, 14))
def test_one_letter_has_one_meaning(chapter):
    tables = notation()
    symbols, meanings, _, words = zip(*(tables["Everywhere"] + tables[chapter]), strict=True)
    for column in (symbols, meanings, [w for w in words if w != "—"]):
        assert len(set(column)) == len(column), [x for x in column if column.count(x) > 1]


def plain(letter):
    r"""Return a letter without what only says how it is set: X_{side} is X_{\mathrm{side}}."""
    return re.sub(r"\\mathrm|[{}]", "", letter)


def formulas_of(module):
    """Return the formulas that a module defines."""
    names = vars(importlib.import_module(module)).values()
    return [f for f in names if isinstance(f, Formula) and f.__module__ == module]


def chapter_of_module(module):
    """Return the chapter whose letters a module uses: its own, or the first whose pages import it."""
    if chapter := outline.chapter_of(module):
        return chapter
    files = outline.sources()
    users = {outline.module_of(target, files): n for n, path in reversed(PAGES) for target in imports_of(path)}
    return users.get(module)


def imports_of(path):
    return outline.imported(code_of(path))


PAGES = [(n, path) for path in NOTEBOOKS if (n := chapter_of_notebook(path))]
PAGES.sort()
MODULES = [name for name, path in outline.sources().items() if path.name != "__init__.py"]
WITH_FORMULAS = [m for m in MODULES if formulas_of(m)]


def letter_faults(formula, table):
    """List the letters of a formula that its notation does not have, or has with another word or unit."""
    faults = []
    for name, symbol in formula.symbols.items():
        letter = plain(sp.latex(symbol))
        if letter not in table:
            faults.append(f"{formula.__name__}: {letter} is not in the notation")
        elif table[letter] != (formula.quantities[name].unit, name):
            faults.append(f"{formula.__name__}: {letter} is {table[letter]} in the notation")
    return faults


@pytest.mark.parametrize("module", WITH_FORMULAS)
def test_formulas_use_the_letters_words_and_units_of_the_notation(module):
    rows = notation()[chapter_of_module(module)]
    table = {plain(symbol): (unit, word) for symbol, _, unit, word in rows}
    assert [fault for formula in formulas_of(module) for fault in letter_faults(formula, table)] == []


def test_a_letter_beside_the_notation_is_seen():
    formula = formulas_of(WITH_FORMULAS[0])[0]
    right = {plain(sp.latex(s)): (formula.quantities[name].unit, name) for name, s in formula.symbols.items()}
    assert letter_faults(formula, right) == []
    assert len(letter_faults(formula, {})) == len(right)
    assert len(letter_faults(formula, dict.fromkeys(right, ("byte", "wrong")))) == len(right)


@each_chapter
def test_each_chapter_has_formulas(chapter):
    assert chapter in {chapter_of_module(m) for m in WITH_FORMULAS}


@each_notebook
def test_notebooks_use_the_letters_of_the_notation(path):
    chapter = chapter_of_notebook(path)
    assert chapter, f"no chapter sends its reader to {path.name}"
    rows = notation()["Everywhere"] + notation()[chapter]
    letters = {re.split(r"[_^]", symbol)[0] for symbol, *_ in rows}
    for call in ast.walk(ast.parse(code_of(path))):
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) in ("sp.symbols", "sp.Symbol")):
            continue
        for name in ast.literal_eval(call.args[0]).split():
            letter = re.split(r"[_^]", sp.latex(sp.Symbol(name)))[0]
            if len(letter) >= 4 and not letter.startswith("\\"):
                continue  # a word, not a letter
            assert letter in letters, f"{path.stem}: the symbol {name} is not in the notation"
