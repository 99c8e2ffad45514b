"""The student's editions: nothing of a solution is left in them, and all else is."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
import student
from book import NOTEBOOKS, ROOT, read
from nbclient import NotebookClient

LONG = 20  # shorter lines, such as `import heapq`, stand in many places
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    assert {p.name for p in student.write(folder)} == {p.name for p in NOTEBOOKS}
    return folder


def strings(node):
    """Every string in a JSON value, keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from strings(value)
    elif isinstance(node, list):
        yield from (s for value in node for s in strings(value))
    elif isinstance(node, str):
        yield node


def lines(node):
    """Every line and every sentence that is long enough to be known again."""
    found = {
        part.strip() for text in strings(node) for line in text.split("\n") for part in re.split(r"(?<=[.?!:;]) ", line)
    }
    return {line for line in found if len(line) >= LONG}


def parted(path):
    """What a notebook gives away, and the rest of it, found otherwise than student.py finds it."""
    secret, rest = [], []
    for cell in read(path):
        if cell.source.startswith("```{solution}") or "solution" in cell.metadata.get("tags", []):
            # `{solution} ex-1-1` and the options are no part of its text
            text = cell.source.split("\n", 2)[2] if cell.cell_type == "markdown" else cell.source
            secret += [text, cell.get("outputs", []), cell.get("attachments", {})]
        elif "A question on the way" in cell.source:
            question, answer = cell.source.split("```{dropdown} Answer\n")
            answer, after = answer.split("```", 1)
            secret.append(answer)
            rest.append(question + after)
        else:
            rest.append(cell)
    return lines(secret), "\n".join(strings(rest))


def secrets(path):
    secret, rest = parted(path)
    return {line for line in secret if line not in rest}


def leaks(path, made):
    """The lines of a notebook's solutions that stand anywhere in the text of a file."""
    whole = "\n".join(strings(json.loads(nbformat.writes(nbformat.reads(made, as_version=4), split_lines=False))))
    return {line for line in secrets(path) if line in whole}


def exercises(path):
    return [c for c in read(path) if "{exercise}" in c.source]


@each_notebook
def test_nothing_of_a_solution_is_left(editions, path):
    assert len(secrets(path)) >= 4 * len(exercises(path))
    made = (editions / path.name).read_text("utf-8")
    assert leaks(path, made) == set()
    assert "{solution" not in made


PLACES = {
    "text": lambda book, line: book.cells[0].update(source=f"{book.cells[0].source}\n\n{line}"),
    "cell metadata": lambda book, line: book.cells[1].metadata.update(note={"deep": [line]}),
    "notebook metadata": lambda book, line: book.metadata.update(note=f"before {line} after"),
    "attachment": lambda book, line: book.cells[0].update(attachments={"a.txt": {"text/plain": line}}),
    "output": lambda book, line: book.cells.append(
        nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=f"first\n{line}\nlast")])
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_line_that_is_left_is_found(editions, place):
    path = max(NOTEBOOKS, key=lambda p: len(exercises(p)))
    book = read_edition(editions, path)
    line = min(secrets(path))
    PLACES[place](book, line)
    assert line in leaks(path, nbformat.writes(book))


def read_edition(folder, path):
    return nbformat.read(folder / path.name, as_version=4)


def test_a_solution_that_is_not_taken_out_is_found(monkeypatch):
    path = max(NOTEBOOKS, key=lambda p: len(exercises(p)))
    monkeypatch.setattr(student, "SOLUTION", re.compile("nothing like this"))
    with pytest.raises(ValueError, match=r"one whole \{solution\} block"):
        student.edition(path.read_text("utf-8"), "")
    monkeypatch.undo()
    monkeypatch.setattr(student, "ANSWER", re.compile("nothing like this"))
    assert len(leaks(path, student.edition(path.read_text("utf-8"), ""))) > 0


@each_notebook
def test_the_rest_is_as_it_was(editions, path):
    book = read_edition(editions, path)
    nbformat.validate(book)
    cells = {cell.id: cell for cell in book.cells}
    assert len(cells) == len(book.cells)
    original = [c for c in read(path) if not re.match(r"```\{solution\}", c.source)]
    original = [c for c in original if "solution" not in c.metadata.get("tags", [])]
    assert [c.id for c in original] == [c.id for c in book.cells if "work" not in c.metadata.get("tags", [])]
    for was in original[1:]:
        was.source = was.source.removesuffix(f"\n\n{student.HIDDEN_HEADING}")
        was.metadata.pop(student.COLLAPSED, None)
        assert cells[was.id] == was or "A question on the way" in was.source
    title, note, rest = cells[original[0].id].source.split("\n\n", 2)
    assert original[0].source == f"{title}\n\n{rest}"
    for word in ("student's edition", "Web3 Scalability", "`web3scale`", "pip install"):
        assert word in note


@each_notebook
def test_each_exercise_has_an_empty_cell(editions, path):
    book = read_edition(editions, path)
    after = [b for a, b in zip(book.cells, book.cells[1:], strict=False) if "{exercise}" in a.source]
    assert [c.id for c in after] == [f"{c.id}-work" for c in exercises(path)]
    assert all(c.cell_type == "code" and c.source == "" and c.outputs == [] for c in after)


@each_notebook
def test_each_question_keeps_its_text_and_loses_its_answer(editions, path):
    for was in (c for c in read(path) if "A question on the way" in c.source):
        (cell,) = (c for c in read_edition(editions, path).cells if c.id == was.id)
        question = was.source.split("```{dropdown} Answer")[0]
        assert cell.source.startswith(question + student.INSTEAD)
        assert "dropdown" not in cell.source


def code(cells):
    return [c.source for c in cells if c.cell_type == "code" and c.source]


@each_notebook
def test_no_code_leans_on_a_solution(editions, path):
    # What stands before the first solution runs as nbval runs it. Code after a solution could need its names.
    kept = code(read_edition(editions, path).cells)
    assert kept == code(read(path))[: len(kept)]


def test_an_edition_runs_from_top_to_bottom(editions):
    path = min((p for p in NOTEBOOKS if exercises(p)), key=lambda p: p.stat().st_size)
    book = read_edition(editions, path)
    before = [[o.get("text") for o in c.outputs] for c in book.cells if c.cell_type == "code"]
    NotebookClient(book, timeout=600, coalesce_streams=True, resources={"metadata": {"path": editions}}).execute()
    assert [[o.get("text") for o in c.outputs] for c in book.cells if c.cell_type == "code"] == before


def test_the_command_writes_the_same_bytes_and_removes_what_is_gone(editions, tmp_path):
    (tmp_path / "00_gone.ipynb").write_text("{}")
    done = subprocess.run([sys.executable, "_ext/student.py", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in editions.iterdir()}
    assert str(len(NOTEBOOKS)) in done.stdout


MARKDOWN = {
    "longer fence": ("````{solution} ex\n```python\n1\n```\n````", ""),
    "colons": (":::{solution} ex\nText.\n:::", ""),
    "text around it": ("Before.\n\n```{solution} ex\nText.\n```\n\nAfter.", "Before.\n\n\n\nAfter."),
}


def made_of(text):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(t) for t in ("# Title\n\nText.", text)])
    return nbformat.reads(student.edition(nbformat.writes(book), "Note."), as_version=4).cells


@pytest.mark.parametrize("form", MARKDOWN)
def test_a_solution_is_known_in_each_form(form):
    text, left = MARKDOWN[form]
    title, *rest = made_of(text)
    assert title.source == "# Title\n\nNote.\n\nText."
    assert [cell.source for cell in rest] == [left] * bool(left)


@pytest.mark.parametrize(
    "text", ["```{solution-start} ex\n```", "```{solution} ex\nno end", "> ```{solution} ex\n> ```"]
)
def test_a_solution_in_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"cell \w+: a solution"):
        made_of(text)
