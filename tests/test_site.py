"""The built book, without a browser. Run after `jupyter-book build`."""

import ast
import os
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from book import ROOT

pytestmark = pytest.mark.built
SITE = ROOT / "_build/html"


def inventory():
    """Every name that the built book documents."""
    data = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(data).decode().splitlines()}


def public_names():
    for path in (ROOT / "web3scale").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name == "__init__.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def test_every_public_name_is_documented():
    missing = set(public_names()) - inventory()
    assert not missing


def build(folder, *options):
    start = time.monotonic()
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "-W", "-n", *options, "."]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(folder)}
    )
    return time.monotonic() - start, done


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    skip = shutil.ignore_patterns(".venv", "_build", ".git", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=skip, dirs_exist_ok=True)
    _, done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_one_line_change_rebuilds_within_15_seconds(copy):
    page = copy / "chapters/preface.md"
    page.write_text(page.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
    seconds, done = build(copy)
    assert done.returncode == 0, done.stderr
    assert "One more line." in (copy / "_build/html/chapters/preface.html").read_text(encoding="utf-8")
    assert seconds < 15


def test_a_wrong_number_fails_the_build(copy):
    page = copy / "chapters/01_2_measures.ipynb"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(":enumerator: 1.3", ":enumerator: 1.9"), encoding="utf-8")
    _, done = build(copy)
    page.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert "1.9" in done.stdout + done.stderr


def test_no_page_points_at_a_repository_that_is_not_ours():
    for path in SITE.glob("chapters/*.html"):
        page = path.read_text(encoding="utf-8")
        assert "mybinder.org" not in page
        assert "github.com/executablebooks/jupyter-book" not in page


def test_with_an_address_every_link_follows_from_it(copy):
    config = copy / "_config.yml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('url: ""', 'url: "https://github.com/our/book"'), encoding="utf-8")
    _, done = build(copy, "--all")
    config.write_text(text, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    page = (copy / "_build/html/chapters/01_1_meaning.html").read_text(encoding="utf-8")
    assert "github.com/our/book" in page
    assert "mybinder.org" in page
