"""The book as a PDF: what is missing is named, pictures become PDF, and what LaTeX complains of is seen.

The whole PDF is built by `make pdf` only: it takes minutes, and LaTeX.
"""

import shutil

import outline
import pdf
import pytest

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
