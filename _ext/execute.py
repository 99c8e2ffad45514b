"""Run notebooks and store outputs that a second run on this machine would store again, byte for byte.

usage: python _ext/execute.py [--measured | --check] [notebook ...]     (all of chapters/ where none is named)

Cells tagged `measured` hold what some machine measured: they keep their stored output unless --measured is given.
With --check nothing is stored: each notebook runs twice, and the command fails where the two runs differ in a byte, or
where their text is not the stored one.
"""

import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from configparser import ConfigParser
from functools import partial
from pathlib import Path

os.environ.update(PYTHONHASHSEED="0", MPLBACKEND="module://matplotlib_inline.backend_inline", OPENBLAS_NUM_THREADS="1")

import nbformat
import student
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
# What JupyterLab writes into a notebook that it opens with the Python of environment.yml; were it not there already,
# the notebook would be marked as changed before its reader has touched it. So would a folded output not `collapsed`.
PYTHON = re.search(r"python=([\d.]+)", (ROOT / "environment.yml").read_text(encoding="utf-8"))[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": PYTHON,
    },
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # names a live widget: another one in every run
PICTURES = {"image/png", "image/jpeg"}  # their bytes differ between machines


def run(text, folder, measured=False):
    """Execute a notebook, given as text; return it with the outputs that are to be stored."""
    book = nbformat.reads(text, as_version=4)
    kept = {cell.id: cell.outputs for cell in book.cells if "measured" in cell.metadata.get("tags", [])}
    NotebookClient(
        book,
        timeout=600,
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,  # how printed lines arrive, in one piece or in two, is a matter of time
        resources={"metadata": {"path": folder}},
    ).execute()
    book.metadata = METADATA
    student.hide_solutions(book)
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.metadata.get("jupyter", {}).get("outputs_hidden"):
            cell.metadata["collapsed"] = True
        if not measured and kept.get(cell.id):
            cell.outputs = kept[cell.id]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    return nbformat.writes(book) + "\n"


def store(path, measured=False):
    """Execute one notebook in place; return whether its text changed."""
    before = path.read_text(encoding="utf-8")
    after = run(before, path.parent, measured)
    path.write_text(after, encoding="utf-8")
    return "changed" if after != before else "unchanged"


def comparable(text):
    """Return what must be the same on every machine: the outputs without pictures, as nbval compares them."""
    rules = ConfigParser()
    rules.read(ROOT / "tests/nbval.cfg")
    rules = [(rules[name]["regex"], rules[name]["replace"]) for name in rules.sections()]
    found = []
    for cell in nbformat.reads(text, as_version=4).cells:
        outputs = []
        for output in cell.get("outputs", []):
            shown = {k: v for k, v in output.get("data", {}).items() if k not in PICTURES}
            shown = f"{output.get('text', '')} {shown} {output.get('evalue', '')}"
            for regex, replacement in rules:
                shown = re.sub(regex, replacement, shown)
            outputs.append(shown)
        found.append("\n".join(outputs))
    return found


def check(path):
    """Execute one notebook twice and store nothing; return what is wrong with its outputs."""
    stored = path.read_text(encoding="utf-8")
    first, second = (run(stored, path.parent) for _ in range(2))
    faults = [] if first == second else ["WRONG: a second run stores other bytes"]
    for number, (old, new) in enumerate(zip(comparable(stored), comparable(first), strict=True), 1):
        if old != new:
            faults.append(f"WRONG: cell {number} holds\n{old}\nbut shows\n{new}")
    return "\n".join(faults) or "well"


def timed(work, path):
    start = time.monotonic()
    return path, work(path), time.monotonic() - start


def main(arguments):
    paths = [Path(a) for a in arguments if not a.startswith("--")] or sorted((ROOT / "chapters").glob("*.ipynb"))
    paths.sort(key=lambda p: -p.stat().st_size)  # the long ones first
    work = check if "--check" in arguments else partial(store, measured="--measured" in arguments)
    workers = 1 if "--measured" in arguments else 2  # what measures this machine has it for itself
    wrong = 0
    with ProcessPoolExecutor(min(workers, len(paths))) as pool:
        for number, (path, result, seconds) in enumerate(pool.map(partial(timed, work), paths), 1):
            print(f"[{number}/{len(paths)}] {path.name}: {seconds:.0f} s, {result}", flush=True)
            wrong += result.startswith("WRONG")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
