"""The whole book as a PDF: run as a script by `make pdf`, and an extension for what LaTeX needs besides.

Jupyter Book's LaTeX builder (sphinx-jupyterbook-latex) writes the text. Here its parts and numbers become those of the
site, pictures become PDF, and folded code is printed, except where it only draws a figure.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import start_of_file
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter
from sphinx_exercise.nodes import depart_solution_node, solution_node, visit_solution_node
from sphinx_jupyterbook_latex.nodes import RootHeader
from sphinx_proof.nodes import proof_node

from web3scale.pictures import PAGE

ROOT = Path(__file__).parent.parent
NAME = "web3-scalability"
# Debian's packages, and the program, the style or the font that shows that one is there
NEEDED = {
    "fonts-dejavu-core": "DejaVuSansMono.ttf",
    "fonts-freefont-otf": "FreeSerif.otf",
    "fonts-noto-cjk": "NotoSerifCJK-Regular.ttc",
    "fonts-texgyre-math": "texgyretermes-math.otf",
    "latexmk": "latexmk",
    "librsvg2-bin": "rsvg-convert",
    "texlive-fonts-recommended": "pzdr.tfm",
    "texlive-lang-chinese": "ctexhook.sty",
    "texlive-latex-extra": "tabulary.sty",
    "texlive-xetex": "xelatex",
}
WIDE = 20  # points that a line or a page may run over the margin
NUMBERED, UNNUMBERED = r"\setcounter{secnumdepth}{1}", r"\setcounter{secnumdepth}{-2}"


def raw(text):
    return nodes.raw("", text, format="latex")


def to_pdf(svg, path):
    """Write a drawing as PDF, in the colours of paper and a font of the PDF."""
    style = "<style>svg { color: #000; font-family: FreeSans }</style>"
    svg = re.sub(r"<svg[^>]*>", rf"\g<0>{style}", svg.replace(PAGE, "#fff"), count=1)
    subprocess.run(["rsvg-convert", "--format=pdf", f"--output={path}"], input=svg.encode(), check=True)


class ConvertPictures(ImageConverter):
    """Convert drawings that are files."""

    conversion_rules = [("image/svg+xml", "application/pdf")]  # noqa: RUF012

    def is_available(self):
        return True

    def convert(self, source, target):
        to_pdf(Path(source).read_text("utf-8"), target)
        return True


class PrepareCells(SphinxPostTransform):
    """Convert drawings that are outputs of cells, and show folded code that does not draw."""

    default_priority = 3  # before myst-nb chooses among the forms of an output
    formats = ("latex",)

    def run(self):
        folder = Path(self.app.outdir, "drawings")
        folder.mkdir(parents=True, exist_ok=True)
        for cell in self.document.findall(nodes.container):
            if "tag_hide-input" in cell["classes"] and not any(cell.findall(nodes.figure)):
                cell["classes"].remove("tag_hide-input")
        for html in list(self.document.findall(nodes.raw)):
            if html["format"] == "html" and html.astext().startswith("<svg"):
                bundle = html.parent.parent
                (name,) = bundle.parent["ids"]
                path = str(folder / f"{name}.pdf")
                to_pdf(html.astext(), path)
                bundle.replace_self(nodes.image(uri=path, candidates={"application/pdf": path}))
                self.env.images.add_file(self.env.docname, path)


class FitTables(SphinxPostTransform):
    """Let larger tables break over pages, with columns as wide as their texts ask for."""

    default_priority = 710
    formats = ("latex",)
    line = 85  # letters

    def run(self):
        for table in self.document.findall(nodes.table):
            columns = list(table.findall(nodes.colspec))
            rows = [[self.printed(entry) for entry in row.findall(nodes.entry)] for row in table.findall(nodes.row)]
            if len(columns) < 4 and len(rows) < 12:
                continue  # Sphinx does well
            table["classes"] += ["longtable", "colwidths-given"]
            texts = list(zip(*rows, strict=True))
            words = [1 + max(len(word) for text in column for word in re.split(r"[\s_]", text)) for column in texts]
            sizes = [sum(map(len, column)) for column in texts]
            for column, word, size in zip(columns, words, sizes, strict=True):
                column["colwidth"] = round(word + max(0, self.line - sum(words)) * size / sum(sizes))

    @staticmethod
    def printed(entry):
        """The text of a cell, of about the length it has on paper: formulas do not break, Chinese breaks anywhere."""
        parts = []
        for text in entry.findall(nodes.Text):
            if isinstance(text.parent, nodes.math):
                text = re.sub(r"\\(?:math|text|operator)\w+|[{}^_\s]", "", text)
                parts.append(re.sub(r"\\\w+", "x", text))
            else:
                parts.append(re.sub(r"[\u4e00-\u9fff]", "xx ", text))
        return "".join(parts)


class NumberAsOnTheSite(SphinxPostTransform):
    """Give parts, chapters, figures and equations the numbers that the pages have; LaTeX would count by itself."""

    default_priority = 710  # after sphinx-jupyterbook-latex has arranged the parts
    formats = ("latex",)

    def run(self):
        title = next(self.document.findall(nodes.title))
        title.parent.insert(1, raw(UNNUMBERED + r"\chapter{Preface}"))
        for file in list(self.document.findall(start_of_file)):
            numbered = self.env.toc_secnumbers.get(file["docname"])
            file.insert(0, raw(NUMBERED if numbered else UNNUMBERED))
        numbers = {}
        for kinds in self.env.toc_fignumbers.values():
            for kind in ("figure", "displaymath"):
                numbers |= {name: ".".join(map(str, number)) for name, number in kinds.get(kind, {}).items()}
        for figure in self.document.findall(nodes.figure):
            figure.insert(0, raw(rf"\renewcommand{{\thefigure}}{{{numbers[figure['ids'][0]]}}}"))
        for formula in list(self.document.findall(nodes.math_block)):
            if formula.get("label"):
                number = numbers["equation-" + formula["label"]]
                change = raw(rf"\renewcommand{{\theequation}}{{{number}}}")
                formula.parent.insert(formula.parent.index(formula), change)
        for proof in list(self.document.findall(proof_node)):
            proof.replace_self(proof[0].children)  # plain text, as in any printed book
        for module in list(self.document.findall(nodes.target)):
            if module.get("ismod"):
                module.parent.insert(module.parent.index(module), raw(r"\par{}"))
        for box in list(self.document.findall(nodes.admonition)):
            if box["names"]:  # a model: nothing else marks its place
                box.parent.insert(box.parent.index(box), nodes.target(ids=box["ids"]))


def open_header(self, node):
    self.body.append(r"\section{")  # its level counts all headings before it: of no use


def close_header(self, node):
    self.body.append("}\n")


def open_solution(self, node):
    visit_solution_node(self, node)
    self.body[-1] = self.body[-1].replace("{note}", "{hint}")  # a colour of its own
    self.no_latex_floats += 1


def close_solution(self, node):
    self.no_latex_floats -= 1
    depart_solution_node(self, node)


def configure(app, config):
    """Replace what sphinx-jupyterbook-latex, loaded after this, has set: the class needs a gigabyte of fonts."""
    app.add_node(RootHeader, override=True, latex=(open_header, close_header))
    config.latex_theme = "manual"
    config.latex_elements["preamble"] = r"\usepackage{print}"


def keep_numbers(app):
    app.config.numfig_secnum_depth = 1  # sphinx-jupyterbook-latex would number Figure 1.2.3


# the script


def missing():
    """The packages that are not installed."""
    fonts = (
        subprocess.run(["fc-list", ":", "file"], capture_output=True, text=True).stdout
        if shutil.which("fc-list")
        else ""
    )

    def there(name):
        if name.endswith((".ttc", ".ttf", ".otf")):
            return name in fonts
        if name.endswith((".sty", ".tfm")):
            return shutil.which("kpsewhich") and not subprocess.run(["kpsewhich", name], capture_output=True).returncode
        return shutil.which(name)

    return [package for package, name in NEEDED.items() if not there(name)]


def faults(log):
    """What the log of LaTeX says that must not be in a book: errors, broken references, signs without a glyph."""
    bad = r"^(?:!|\S+:\d+: ).*|.*(?:undefined on input line|undefined references|Missing character).*"
    wide = r"^Overfull \\[hv]box \((\d+)\.\d+pt too (?:wide|high)\).*"
    found = re.findall(bad, log, re.MULTILINE)
    return found + [line[0] for line in re.finditer(wide, log, re.MULTILINE) if int(line[1]) > WIDE]


def build(book):
    """Build the PDF of a book and return its path, or end with the log."""

    def run(command, folder):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", env=environment)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "max_print_line": "1000"}  # else the log breaks lines
    folder = book / "_build/latex"
    jupyter_book = str(Path(sys.executable).parent / "jupyter-book")
    run([jupyter_book, "build", "-W", "-n", "--builder", "latex", "."], book)
    run(["latexmk", "-xelatex", "-interaction=nonstopmode", "-file-line-error", f"{NAME}.tex"], folder)
    log = (folder / f"{NAME}.log").read_text("utf-8", errors="replace")
    if found := faults(log):
        sys.exit("\n".join([log, "LaTeX built a PDF, but:", *found]))
    return folder / f"{NAME}.pdf"


def main():
    if packages := missing():
        sys.exit(f"a PDF needs more programs and fonts: on Debian or Ubuntu, sudo apt install {' '.join(packages)}")
    print("building the book as a PDF (two or three minutes)", flush=True)
    pdf = build(ROOT)
    link(ROOT / "_build/html", pdf)
    print(f"done: {pdf.as_uri()}")


# its link on the site


def link(site, pdf):
    """Put the PDF into the built site, and a link to it on the first page, where that has a place for it."""
    page = site / "chapters/preface.html"
    if not (pdf.exists() and page.exists()):
        return
    shutil.copy(pdf, site)
    text = page.read_text("utf-8")
    page.write_text(
        text.replace("<!-- pdf -->", f'<p><a href="../{pdf.name}">The whole book as a PDF</a></p>'), "utf-8"
    )


def finish(app, exception):
    if not exception and app.builder.name == "html":
        link(Path(app.outdir), Path(app.outdir).parent / f"latex/{NAME}.pdf")


def setup(app):
    app.connect("build-finished", finish)
    app.connect("config-inited", configure, priority=900)
    app.connect("builder-inited", keep_numbers, priority=900)
    app.add_node(solution_node, override=True, latex=(open_solution, close_solution))
    app.add_post_transform(ConvertPictures)
    app.add_post_transform(PrepareCells)
    app.add_post_transform(FitTables)
    app.add_post_transform(NumberAsOnTheSite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    main()
