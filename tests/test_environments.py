"""Where the book runs: pinned versions, Binder's image, a machine without a network, a newly opened notebook."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import nbformat
import pytest
import versions
import yaml
from book import NOTEBOOKS, ROOT
from repo2docker.app import Repo2Docker
from repo2docker.buildpacks import CondaBuildPack
from test_notebooks import execute

ENVIRONMENT = (ROOT / "environment.yml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def environment_faults(text, extras):
    """List what a conda environment says otherwise than the extras `pinned` and `lab` of pyproject.toml."""
    wanted = {"python", "pip", *(r.lower() for r in extras["pinned"] + extras["lab"])}
    found = set()
    for entry in yaml.safe_load(text)["dependencies"]:
        found |= {line.lower() for line in entry["pip"]} if isinstance(entry, dict) else {entry.split("=")[0]}
    return sorted(wanted ^ found)


def test_environment_has_the_pinned_versions_and_nothing_else():
    assert environment_faults(ENVIRONMENT, PROJECT["optional-dependencies"]) == []


@pytest.mark.parametrize("line", ["numpy==2.4.5", "numpy>=2.4", "numpy", "pytest==9.2.0", "-e ."])
def test_another_line_in_the_environment_is_seen(line):
    text = yaml.safe_dump({"dependencies": ["python=3.11.7", "pip", {"pip": ["numpy==2.4.6", line]}]})
    assert line in environment_faults(text, {"pinned": ["numpy==2.4.6"], "lab": []})


def test_the_package_states_ranges_and_the_book_exact_versions():
    ours = {re.split("[=<>]", r)[0] for r in PROJECT["dependencies"]}
    assert all(re.fullmatch(r"[a-z0-9-]+>=[\d.]+", r) for r in PROJECT["dependencies"])
    assert not ours & {"ipykernel", "ipython", "matplotlib-inline", "jupyterlab"}
    extras = PROJECT["optional-dependencies"]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", r) for extra in extras.values() for r in extra)
    assert ours < {re.split("=", r)[0] for r in extras["pinned"]}


def test_the_oldest_versions_are_the_lower_bounds():
    assert versions.oldest(["numpy>=1.26", "drawsvg>=2.3,<3"]) == ["numpy==1.26", "drawsvg==2.3"]


# Binder: what repo2docker would build, without building it


@pytest.fixture
def image(monkeypatch):
    """The steps by which Binder makes its image, as a Dockerfile."""
    monkeypatch.chdir(ROOT)
    pack = CondaBuildPack(Repo2Docker().base_image)
    pack.platform = "linux/amd64"
    assert pack.detect()
    return pack, pack.render({})


def test_binder_keeps_the_environment_from_commit_to_commit(image):
    pack, steps = image
    installed, copied, finished = (
        steps.index(text) for text in ("env update", "COPY --chown=1000:1000 src/ ${REPO_DIR}/", "./postBuild")
    )
    assert installed < copied < finished
    only = re.findall(r"^COPY --chown=1000:1000 src/(\S+)", steps[:installed], re.M)
    assert only == ["environment.yml"]
    assert pack.get_preassemble_script_files() == {"environment.yml": "environment.yml"}


def test_binder_has_the_python_that_the_notebooks_name(image):
    pack, _ = image
    stored = {nbformat.read(path, as_version=4).metadata["language_info"]["version"] for path in NOTEBOOKS}
    assert [f"python={version}" for version in stored] == yaml.safe_load(ENVIRONMENT)["dependencies"][:1]
    assert pack.python_version == stored.pop().rsplit(".", 1)[0]


def test_after_the_environment_comes_the_package_alone():
    script = (ROOT / "postBuild").read_text(encoding="utf-8")
    assert os.access(ROOT / "postBuild", os.X_OK)
    assert re.findall(r"pip install (.*)", script) == ["--quiet --disable-pip-version-check --no-deps --editable ."]
    assert (ROOT / re.search(r"cp (\S+)", script)[1]).exists()
    subprocess.run(["bash", "-n", ROOT / "postBuild"], check=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_jupyterlab_has_nothing_to_add_to_a_notebook(path):
    book = nbformat.read(path, as_version=4)
    assert book.metadata == execute.METADATA
    for cell in book.cells:
        assert cell.metadata.get("collapsed", False) == cell.metadata.get("jupyter", {}).get("outputs_hidden", False)


# The first command of a newcomer


def test_without_a_network_the_first_error_says_so(tmp_path):
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE"))}
    command = ["make", "book", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path, env=plain | nowhere, capture_output=True, text=True)
    assert done.returncode != 0
    _, first, *_ = done.stdout.splitlines()  # the line before says what is being done
    assert first.startswith("no network")
    assert not (tmp_path / ".venv/for-book").exists()
