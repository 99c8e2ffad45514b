"""The commands that run notebooks: what they store, what they refuse, and the limits that nbval holds them to.

The notebooks of the book are not run here: `pytest --nbval chapters` runs each once, and `.ci/run` twice more.
"""

import importlib.util
import subprocess
import sys

import nbformat
import pytest
from book import ROOT, opening


def loaded(path):
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem + "_of_the_book", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = loaded(ROOT / "_ext/execute.py")
limits = loaded(ROOT / "chapters/conftest.py")


def notebook(path, *cells):
    """Write a notebook of code cells, each with its tags."""
    made = [
        nbformat.v4.new_code_cell(source, id=f"c{i}", metadata={"tags": tags})
        for i, (source, *tags) in enumerate(cells)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)
    return path


def test_a_figure_and_its_sliders_are_stored_twice_alike(tmp_path):
    path = tmp_path / "opening.ipynb"
    nbformat.write(opening(), path)
    execute.store(path)
    once = path.read_bytes()
    assert b"data:image/svg" in once
    assert execute.store(path) == "unchanged"
    assert path.read_bytes() == once


CLOCK = "import time; print(time.perf_counter_ns())"


def test_measured_cells_keep_what_they_hold(tmp_path):
    path = notebook(tmp_path / "measured.ipynb", (CLOCK, "measured"))
    execute.store(path)
    first = path.read_bytes()
    assert b'"text": [' in first
    assert execute.store(path) == "unchanged"
    assert path.read_bytes() == first
    assert execute.store(path, measured=True) == "changed"


def test_the_check_finds_what_differs_and_stores_nothing(tmp_path):
    path = notebook(tmp_path / "faulty.ipynb", ("print('what is stored')",), ("1 + 1",), ("import itertools; 2",))
    execute.store(path)
    assert execute.check(path) == "well"
    stale = path.read_text().replace("what is stored", "what is new", 1)  # the code comes first in the file
    path.write_text(stale)
    assert "cell 1 holds" in execute.check(path)
    assert path.read_text() == stale
    random = notebook(tmp_path / "random.ipynb", (CLOCK,))
    execute.store(random)
    assert "other bytes" in execute.check(random)


def test_a_picture_that_a_second_run_draws_otherwise_is_seen(tmp_path):
    drawn = "import os; from IPython.display import Image; Image(data=b'\\x89PNG' + os.urandom(8), format='png')"
    path = notebook(tmp_path / "picture.ipynb", (drawn, "x"))
    execute.store(path)
    assert execute.check(path) == "WRONG: a second run stores other bytes"


@pytest.mark.parametrize(("seconds", "peak", "faults"), [(29, 9e8, 0), (31, 9e8, 1), (29, 1.1e9, 1), (31, 1.1e9, 2)])
def test_limits(seconds, peak, faults):
    assert len(limits.excess(seconds, peak)) == faults


BUSY = "while __import__('time').process_time() < 3: pass"


def test_nbval_notices_a_notebook_beyond_the_limits(tmp_path):
    rules = (ROOT / "chapters/conftest.py").read_text()
    low = rules.replace("SECONDS = 30 ", "SECONDS = 3 ").replace("BYTES = 1e9 ", "BYTES = 3e8 ")
    assert low.count(" = 3 ") == low.count(" = 3e8 ") == 1
    (tmp_path / "conftest.py").write_text(low)
    notebook(tmp_path / "modest.ipynb", ("pass",))
    # the work of a child counts as well, though it has ended when the kernel is asked
    notebook(tmp_path / "slow.ipynb", (f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}]);",))
    notebook(tmp_path / "large.ipynb", ("large = b'x' * 300_000_000; del large",))
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "slow.ipynb: 3 s of processor" in done.stdout or "slow.ipynb: 4 s of processor" in done.stdout, done.stdout
    assert "large.ipynb: 0.3" in done.stdout
    assert "3 passed, 2 errors" in done.stdout, done.stdout
