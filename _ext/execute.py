"""Run notebooks and store outputs that a second run on this machine would store again, byte for byte.

usage: python _ext/execute.py [--measured] [notebook ...]     (all of chapters/ where none is named)

Cells tagged `measured` hold what some machine measured: they keep their stored output unless --measured is given.
"""

import os
import sys
import time
from pathlib import Path

os.environ.update(PYTHONHASHSEED="0", MPLBACKEND="module://matplotlib_inline.backend_inline", OPENBLAS_NUM_THREADS="1")

import nbformat
from nbclient import NotebookClient

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # names a live widget: another one in every run


def execute(path, measured=False):
    """Execute one notebook in place; return whether its text changed."""
    before = path.read_text(encoding="utf-8")
    book = nbformat.reads(before, as_version=4)
    kept = {cell.id: cell.outputs for cell in book.cells if "measured" in cell.metadata.get("tags", [])}
    NotebookClient(
        book,
        timeout=600,
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,  # how printed lines arrive, in one piece or in two, is a matter of time
        resources={"metadata": {"path": path.parent}},
    ).execute()
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if not measured and kept.get(cell.id):
            cell.outputs = kept[cell.id]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    after = nbformat.writes(book) + "\n"
    path.write_text(after, encoding="utf-8")
    return after != before


def main(arguments):
    measured = "--measured" in arguments
    paths = [Path(a) for a in arguments if a != "--measured"] or sorted(Path("chapters").glob("*.ipynb"))
    for number, path in enumerate(paths, 1):
        print(f"[{number}/{len(paths)}] {path} ...", end=" ", flush=True)
        start = time.monotonic()
        changed = execute(path, measured)
        print(f"{time.monotonic() - start:.0f} s, {'changed' if changed else 'unchanged'}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
