"""The built book, without a browser. Run after `jupyter-book build`."""

import ast
import gzip
import os
import re
import resource
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import nbformat
import outline
import pytest
import student
from book import ROOT

pytestmark = pytest.mark.built
SITE = ROOT / "_build/html"


def inventory():
    """Every name that the built book documents."""
    data = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(data).decode().splitlines()}


def public_names():
    for module, path in outline.sources().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def test_every_public_name_is_documented():
    wanted, found = set(public_names()), inventory()
    assert len(wanted) > 50
    assert wanted - found == set()


def test_every_module_has_a_page_of_its_own():
    built = {f"chapters/api/{path.stem}" for path in (SITE / "chapters/api").glob("*.html")}
    assert built == set(outline.api_pages())


def test_no_page_points_at_a_repository_that_is_not_ours():
    for path in SITE.glob("chapters/*.html"):
        page = path.read_text(encoding="utf-8")
        assert "mybinder.org" not in page
        assert "github.com/executablebooks/jupyter-book" not in page


def head(text):
    return text.split("</head>")[0]


def test_room_is_kept_for_nearly_all_formulas():
    texts = "".join((SITE / f"{page}.html").read_text(encoding="utf-8") for page in outline.pages())
    kept, all_ = (texts.count(f'"math notranslate nohighlight{end}') for end in (' unset"', ""))
    assert kept > 0.95 * all_ > 1000


@pytest.mark.parametrize("page", [*outline.pages(), "genindex", "search"])
def test_a_page_is_light(page):
    text = (SITE / f"{page}.html").read_text(encoding="utf-8")
    assert len(gzip.compress(text.encode())) < 80_000
    scripts = re.findall(r"<script[^>]*src=[^>]*>", text)
    assert len(scripts) > 5
    if page != "search":
        assert [s for s in scripts if "defer" not in s] == []
        assert "searchindex.js" not in text
        assert re.findall(r"<link[^>]*stylesheet[^>]*>", text) == [
            f'<link href="{"../" * page.count("/")}_static/styles/all.css" rel="stylesheet" />'
        ]
    assert ("mathjax/" in head(text)) == ('class="math' in text)
    assert text.count("mathematics.js") == text.count('data-mathjax="' + "../" * page.count("/") + "_static/mathjax/")
    frames = re.findall(r'<img alt="[^"]*"[^>]*src="([^"]+\.svg)">', text)
    assert "base64" not in text
    assert all((SITE / page).parent.joinpath(f).is_file() for f in frames)
    notebook = ROOT / f"{page}.ipynb"
    stored = notebook.read_text(encoding="utf-8").count("data:image/svg+xml") if notebook.exists() else 0
    assert len(frames) == stored


def test_no_frame_is_left_of_an_earlier_build():
    found = {path.name for path in (SITE / "_images").glob("frame-*.svg")}
    texts = "".join(path.read_text(encoding="utf-8") for path in SITE.glob("chapters/*.html"))
    assert found == set(re.findall(r"frame-\w+\.svg", texts))


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    student.write(folder)
    return folder


@pytest.mark.parametrize("page", [*outline.pages(), "genindex", "search"])
def test_a_page_made_of_a_notebook_links_its_edition_without_solutions(page, editions):
    text = (SITE / f"{page}.html").read_text(encoding="utf-8")
    found = re.findall(
        r'<a href="([^"]*)"[^>]*?btn-download-student-button[^>]*?title="([^"]+)"[^>]*>(.*?)</a>', text, re.S
    )
    assert len(found) == text.count("student/") == (ROOT / f"{page}.ipynb").exists()
    for address, title, inside in found:
        made = (SITE / page).parent / address
        assert made.read_bytes() == (editions / made.name).read_bytes()
        assert "without its solutions" in title
        assert "Without solutions (.ipynb)" in inside


def build(folder, *options):
    """Build a book; return its processor seconds (what others do at the same time does not count) and the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "-W", "-n", *options, "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def test_a_change_of_one_page_rebuilds_within_15_seconds():
    # a page with a new date is a changed page; its neighbours' dates tell that only few are written again
    page, other = SITE / "chapters/preface.html", SITE / "chapters/a_queues.html"
    before, source = [p.stat().st_mtime_ns for p in (page, other)], ROOT / "chapters/preface.md"
    os.utime(source)
    seconds, done = build(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert page.stat().st_mtime_ns > before[0]
    assert other.stat().st_mtime_ns == before[1]
    assert seconds < 15


THEOREM = """# One page

```{prf:theorem} It holds
:label: thm-one
:enumerator: 1

See {prf:ref}`thm-one`.
```
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A book of one page under the book's own configuration and extensions: it is built in a second or two."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("_config.yml", "references.bib"):
        shutil.copy(ROOT / name, folder)
    for name in ("_ext", "assets"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "_toc.yml").write_text("format: jb-book\nroot: chapters/index\nchapters: [{file: chapters/one}]\n")
    (folder / "chapters").mkdir()
    (folder / "chapters/index.md").write_text("# The book\n\n{cite}`amdahl1967`\n\n```{bibliography}\n```\n")
    write(folder, THEOREM)
    return folder


def write(folder, text):
    """Write the one chapter: a notebook, since only those have a link to Binder."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="one")])
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(book, folder / "chapters/one.ipynb")


def test_a_small_book_is_built_and_a_wrong_number_fails_it(small):
    _, done = build(small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mybinder.org" not in (small / "_build/html/chapters/one.html").read_text()
    assert not (small / "_build/html/sitemap.xml").exists()
    write(small, THEOREM.replace(":enumerator: 1", ":enumerator: 1.9"))
    _, done = build(small)
    write(small, THEOREM)
    assert done.returncode != 0
    assert "1.9" in done.stdout + done.stderr


BINDER = "https://mybinder.org/v2/{}/main?urlpath=lab/tree/chapters/one.ipynb"


@pytest.mark.parametrize(
    ("address", "binder", "edit", "site"),
    [
        (
            "https://github.com/our/book.git",
            BINDER.format("gh/our/book"),
            "https://github.com/our/book/edit/main/chapters/one.ipynb",
            "https://our.github.io/book/",
        ),
        (
            "https://gitlab.com/our/lab/book/",
            BINDER.format("gl/our%2Flab%2Fbook"),
            "https://gitlab.com/our/lab/book/-/edit/main/chapters/one.ipynb",
            "https://our.gitlab.io/lab/book/",
        ),
        (
            "https://codeberg.org/our/book",
            BINDER.format("git/https%3A%2F%2Fcodeberg.org%2Four%2Fbook"),
            "https://codeberg.org/our/book/_edit/main/chapters/one.ipynb",
            "https://our.codeberg.page/book/",
        ),
    ],
)
def test_with_an_address_every_link_follows_from_it(small, address, binder, edit, site):
    built = small / "_build/html"
    config = small / "_config.yml"
    text = config.read_text()
    assert 'url: ""' in text
    config.write_text(text.replace('url: ""', f'url: "{address}"'))
    _, done = build(small, "--all")
    page, map_of_site, lost = ((built / p).read_text() for p in ("chapters/one.html", "sitemap.xml", "404.html"))
    config.write_text(text)
    assert done.returncode == 0, done.stdout + done.stderr
    links = set(re.findall(r'<a href="(https://[^"]+)"', page))
    assert {binder, edit} < links
    assert all(link.startswith(("https://mybinder.org/", re.sub(r"(\.git)?/?$", "", address))) for link in links)
    assert f'<link rel="canonical" href="{site}chapters/one.html"' in page
    assert f'<meta property="og:image" content="{site}_static/page.png"' in page
    assert (built / "_static/page.png").is_file()
    assert f"<loc>{site}chapters/one.html</loc>" in map_of_site
    assert "search.html" not in map_of_site
    assert 'href="/' + site.split("/", 3)[3] + "_static/" in lost
    assert "There is no such page" in lost
    made = (built / "student/one.ipynb").read_text(encoding="utf-8")
    assert f"`pip install git+{address.rstrip('/')}` installs it, and the book's Binder has it" in made


def test_a_host_that_is_not_known_is_named(small):
    config = small / "_config.yml"
    text = config.read_text()
    config.write_text(text.replace('url: ""', 'url: "https://git.example.org/our/book"'))
    _, done = build(small, "--all")
    config.write_text(text)
    assert done.returncode != 0
    assert "github.com, gitlab.com, codeberg.org" in done.stdout + done.stderr


@pytest.mark.parametrize("page", outline.written_pages())
def test_a_page_says_what_it_is_about(page):
    text = (SITE / f"{page}.html").read_text(encoding="utf-8")
    (about,) = re.findall(r'<meta name="description" content="([^"]*)"', text)
    assert len(about) > 50


def test_the_site_is_taken_as_it_is():
    assert (SITE / ".nojekyll").exists()
