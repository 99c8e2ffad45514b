"""The student's edition of each notebook: the page without its solutions, and an empty cell after each exercise.

usage: python _ext/student.py [folder]     (`make student`: into _build/student)

The built book has the same files in its folder `student`, and links each page's in the menu of downloads.
"""

import re
import sys
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parent.parent
FOLDED = r"^(`{3,}|:{3,})\{%s\}.*?^\1[ \t]*$"  # a directive, from its fence to the same fence
SOLUTION = re.compile(FOLDED % "solution", re.M | re.S)
ANSWER = re.compile((FOLDED % "dropdown").replace(r"\}", r"\} Answer"), re.M | re.S)
# The text that follows leans on the cell beside a question, so this stays: its numbers are the check.
INSTEAD = "Write down your answer before you look: a cell beside this question prints the numbers."
# JupyterLab shows the output of a folded cell again when it runs, but leaves hidden what stands below a collapsed
# heading. So each exercise ends with a heading that only JupyterLab sees: for MyST the line is a comment.
HIDDEN_HEADING = "% <h6>Solution</h6>"
COLLAPSED = "jp-MarkdownHeadingCollapsed"
NOTE = (
    "*This is the student's edition of a page of the book “{title}”: it has no solutions, and an empty cell after each "
    "exercise. It needs the package `web3scale`: {install}.*"
)


def hide_solutions(book):
    """Let each exercise end with the hidden heading under which JupyterLab keeps its solution."""
    for cell in book.cells:
        if cell.cell_type == "markdown" and "{exercise}" in cell.source:
            cell.source = cell.source.removesuffix(HIDDEN_HEADING).rstrip() + "\n\n" + HIDDEN_HEADING
            cell.metadata[COLLAPSED] = True


def edition(text, note):
    """Return the student's edition of a notebook; both are the text of a file."""
    book = nbformat.reads(text, as_version=4)
    kept = []
    for cell in book.cells:
        if "solution" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            cell.source, cut = SOLUTION.subn("", cell.source)
            cell.source = ANSWER.sub(INSTEAD, cell.source)
            if "{solution" in cell.source:
                raise ValueError(f"cell {cell.id}: a solution stands in one whole {{solution}} block")
            if cut and not cell.source.strip():
                continue
        kept.append(cell)
        if "{exercise}" in cell.source:
            cell.source = cell.source.removesuffix(HIDDEN_HEADING).rstrip()
            cell.metadata.pop(COLLAPSED, None)
            kept.append(nbformat.v4.new_code_cell(id=f"{cell.id}-work", metadata={"tags": ["work"]}))
    title, rest = kept[0].source.split("\n", 1)
    kept[0].source = f"{title}\n\n{note}\n{rest}"
    book.cells = kept
    return nbformat.writes(book) + "\n"


def write(folder, root=ROOT):
    """Write the editions of all notebooks of a book into a folder; return their paths."""
    config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    address = config["repository"]["url"].strip().rstrip("/")
    here = "`pip install .` in the folder of the book installs it"
    install = f"`pip install git+{address}` installs it, and the book's Binder has it" if address else here
    note = NOTE.format(title=config["title"], install=install)
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((root / "chapters").glob("*.ipynb")):
        try:
            made = edition(path.read_text("utf-8"), note)
        except ValueError as fault:
            raise ValueError(f"{path.name}, {fault}") from fault
        written.append(folder / path.name)
        written[-1].write_text(made, "utf-8")
    for old in set(folder.glob("*.ipynb")) - set(written):
        old.unlink()  # of a notebook that is gone
    return written


def link(app, pagename, templatename, context, doctree):
    """Add the edition to the menu of downloads, where the theme has the notebook itself."""
    if not Path(app.srcdir, f"{pagename}.ipynb").exists():
        return
    button = {
        "type": "link",
        "url": f"{context['pathto']('student', 1)}/{pagename.rsplit('/', 1)[-1]}.ipynb",
        "text": "Without solutions (.ipynb)",
        "tooltip": "Download the notebook without its solutions, with an empty cell after each exercise",
        "icon": "fas fa-pencil",
        "label": "download-student-button",
    }
    (menu,) = (b for b in context["header_buttons"] if b["label"] == "download-buttons")
    menu["buttons"].insert(1, button)


def finish(app, exception):
    if not exception and app.builder.name == "html":
        write(Path(app.outdir, "student"), Path(app.srcdir))


def setup(app):
    app.connect("html-page-context", link, priority=502)  # after the theme has made its buttons
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build/student"
    print(f"{len(write(target))} notebooks without solutions: {target}")
