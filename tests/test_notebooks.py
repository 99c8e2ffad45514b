"""Running the notebooks: within a small machine's means, and twice with the same result."""

import os
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from book import NOTEBOOKS, ROOT


def execute(path):
    """Run one notebook as `make notebooks` does; return its seconds and its peak of memory in bytes."""
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "_ext/execute.py"), str(path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        for member in [watched, *watched.children(recursive=True)]:
            try:
                peak = max(peak, member.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr.read().decode()
    return time.monotonic() - start, peak


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_within_30_seconds_and_1_gigabyte(path, tmp_path):
    copy = shutil.copy(path, tmp_path)
    seconds, peak = execute(copy)
    assert seconds < 30
    assert peak < 1e9


def test_a_second_run_stores_the_same_bytes(tmp_path):
    copy = tmp_path / "twice.ipynb"
    shutil.copy(ROOT / "chapters/01_3_laws.ipynb", copy)
    execute(copy)
    once = copy.read_bytes()
    execute(copy)
    assert copy.read_bytes() == once


def test_measured_cells_keep_what_they_hold(tmp_path):
    import nbformat

    path = tmp_path / "measured.ipynb"
    cell = nbformat.v4.new_code_cell(
        "import time; print(time.perf_counter_ns())", id="a", metadata={"tags": ["measured"]}
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    execute(path)
    first = nbformat.read(path, as_version=4).cells[0].outputs
    assert first
    execute(path)
    assert nbformat.read(path, as_version=4).cells[0].outputs == first
