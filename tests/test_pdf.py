"""The book as a PDF: what is missing is named, what LaTeX complains of is seen, and a small book is printed.

The whole PDF is built by `make pdf` only: it takes minutes.
"""

import re
import shutil
import subprocess

import nbformat
import outline
import pdf
import pytest

from web3scale.pictures import PAGE, Picture

LOG = r"""This is XeTeX
Overfull \hbox (3.2pt too wide) in paragraph at lines 5--6
"""


def test_a_log_without_faults_is_well():
    assert pdf.faults(LOG) == []


@pytest.mark.parametrize(
    "line",
    [
        "! Undefined control sequence.",
        "./web3-scalability.tex:12: Missing $ inserted.",
        "LaTeX Warning: Reference `fig-x' on page 3 undefined on input line 90.",
        "LaTeX Warning: There were undefined references.",
        'Missing character: There is no 链 ("94FE) in font TeX Gyre Termes!',
        r"Overfull \hbox (61.5pt too wide) in paragraph at lines 5--6",
        r"Overfull \vbox (33.566pt too high) detected at line 16971",
    ],
)
def test_a_fault_in_the_log_is_seen(line):
    assert pdf.faults(LOG + line + "\n") == [line]


def test_what_is_missing_is_named_before_anything_is_built(monkeypatch, capsys):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.missing() == list(pdf.NEEDED)
    with pytest.raises(SystemExit, match=r"sudo apt install .*texlive-xetex"):
        pdf.main()
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not shutil.which("rsvg-convert"), reason="no rsvg-convert: on Debian, apt install librsvg2-bin")
def test_a_drawing_becomes_a_pdf(tmp_path):
    pdf.to_pdf((outline.ROOT / "assets/map.svg").read_text("utf-8"), tmp_path / "map.pdf")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")


def test_the_first_page_leads_to_the_pdf_where_there_is_one(tmp_path):
    (tmp_path / "chapters").mkdir()
    page = tmp_path / "chapters/preface.html"
    before = "<p>Before.</p><!-- pdf --><p>After.</p>"
    page.write_text(before)
    made = tmp_path / "made/book.pdf"
    pdf.link(tmp_path, made)
    assert page.read_text() == before
    made.parent.mkdir()
    made.write_bytes(b"%PDF-1.5")
    for _ in range(2):
        pdf.link(tmp_path, made)
        assert page.read_text().count('<a href="../book.pdf">') == 1
    assert (tmp_path / "book.pdf").read_bytes() == b"%PDF-1.5"


def test_the_site_is_published_with_a_pdf():
    steps = (outline.ROOT / ".github/workflows/pages.yml").read_text("utf-8")
    assert "make pdf" in steps
    assert all(f" {package}" in steps for package in pdf.NEEDED)


def test_the_preface_has_a_place_for_the_link():
    assert (outline.ROOT / "chapters/preface.md").read_text("utf-8").count("<!-- pdf -->") == 1


ALT = "Two blocks, the second points to the first."
INDEX = """# The book

Hello.

## Who it is for

```{figure} ../assets/map.svg
:name: fig-map

The map.
```

## Where from

Here.
"""
PAGES = {
    "one": """# Queues

```{prf:theorem} It holds 定理
:label: thm-one
:enumerator: 1.1

See {numref}`Figure <fig-one>` and {prf:ref}`thm-one`, {cite}`amdahl1967`, $x_1 \\le \\frac{1}{2}$.
```

```{prf:proof}
By looking.
```

:::{admonition} Model 1.1
:name: mod-1
:class: model

A star ★.
:::
""",
    "two": """# Servers

Back to the {ref}`model <mod-1>`.

```{exercise} Count
:label: ex-1-1
:enumerator: 1.1

How many?
```

```{solution} ex-1-1
:class: dropdown

Two of them.
```

| Item | Treatise | Verdict | Where |
|---|---|---|---|
| 分片 | $\\mathcal{S}_{side}=\\mathcal{F}_{bridge}$ | kept | `limits.longest_chain_throughput_of_all` |
""",
}


def drawing():
    picture = Picture(ALT, height=60)
    picture.box(200, 30, "block 2")
    return picture._repr_html_()


def test_a_drawing_gets_the_colours_of_paper(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(pdf.subprocess, "run", lambda command, input, check: given.append(input.decode()))
    source = drawing()
    assert PAGE in source
    pdf.to_pdf(source, tmp_path / "a.pdf")
    assert "var(" not in given[0]
    assert "#fff" in given[0]
    assert "block 2" in given[0]


def write(folder, name, text):
    output = nbformat.v4.new_output("display_data", {"text/html": drawing(), "text/plain": ALT})
    figure = {"figure": {"caption": "A picture.", "name": f"fig-{name}"}}
    cells = [
        nbformat.v4.new_markdown_cell(text, id="text"),
        nbformat.v4.new_code_cell(
            "draw_it()", id="draw", outputs=[output], metadata={"tags": ["hide-input"], "mystnb": figure}
        ),
        nbformat.v4.new_code_cell("prove_it()", id="prove", metadata={"tags": ["hide-input"]}),
    ]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(book, folder / f"chapters/{name}.ipynb")


@pytest.mark.skipif(bool(pdf.missing() or not shutil.which("pdftotext")), reason="needs LaTeX and poppler-utils")
def test_a_small_book_is_printed(tmp_path):
    for name in ("_config.yml", "references.bib"):
        shutil.copy(outline.ROOT / name, tmp_path)
    for name in ("_ext", "assets"):
        shutil.copytree(outline.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: chapters/index\nparts:\n"
        "  - {caption: The book, numbered: 2, chapters: [{file: chapters/one, sections: [{file: chapters/two}]}]}\n"
        "  - {caption: Back matter, chapters: [{file: chapters/bibliography}]}\n"
    )
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters/index.md").write_text(INDEX)
    (tmp_path / "chapters/bibliography.md").write_text("# Bibliography\n\n```{bibliography}\n```\n")
    for name, text in PAGES.items():
        write(tmp_path, name, text)

    built = pdf.build(tmp_path)

    text = subprocess.run(["pdftotext", "-layout", str(built), "-"], capture_output=True, text=True, check=True).stdout
    for words in [
        *("Theorem 1.1 (It holds 定理)", "See Figure 1.1 and Theorem 1.1, [Amdahl, 1967]", "Proof. By looking."),
        *("Model 1.1", "A star ★", "Back to the model.", "Exercise 1.1 (Count)", "Solution to Exercise 1.1 (Count)"),
        *("Two of them.", "Fig. 1.2: A picture.", "block 2", "Capstone", "prove_it()", "分片", "Gene M. Amdahl."),
    ]:
        assert words in text
    assert "draw_it" not in text
    assert ALT not in text  # it stands for the picture where there is none
    bookmarks = (built.parent / f"{pdf.NAME}.out").read_text("utf-8")  # UTF-16, in octal digits where it is no letter
    titles = [re.sub(r"\\\d{3}", octal, title) for title in re.findall(r"\\376\\377(.*?)\}", bookmarks)]
    assert titles == [
        "Preface",
        "Who it is for",
        "Where from",
        "The book",
        "1 Queues",
        "1.1 Servers",
        "Back matter",
        "Bibliography",
    ]


def octal(code):
    return chr(int(code[0][1:], 8)).strip("\0")
