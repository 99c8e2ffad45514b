"""Try the package and its notebooks with the oldest or the newest libraries that pyproject.toml allows.

usage: python tests/versions.py oldest|newest

The environment is made anew in _build/oldest or _build/newest, with the package installed as its users do; that must
leave nothing behind in the repository. Every cell of the notebooks runs and its assertions hold; what it prints is not
compared, because other versions may print otherwise.
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ["hypothesis", "jupyter-repo2docker", "mypy", "nbclient", "nbval", "psutil", "pytest", "pytest-xdist", "pyyaml"]
BOOK = {"test_pdf", "test_publish", "test_site"}  # these need the tools that build the book


def oldest(requirements):
    """Return each requirement at its lower bound: scipy>=1.13 becomes scipy==1.13."""
    return [re.sub(r">=([\w.]+).*", r"==\1", r) for r in requirements]


def run(*command):
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")


def files():
    """Return what is in the repository beside what Git holds, without caches and what is built."""
    command = ["git", "status", "--porcelain", "--ignored", "--untracked-files=all"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in said if not re.search(r"cache|_build/|\.venv|\.hypothesis", line)}


def main(which):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = oldest(project["dependencies"]) if which == "oldest" else project["dependencies"]
    python = ROOT / "_build" / which / "bin/python"
    venv.create(ROOT / "_build" / which, clear=True, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    before = files()
    run(*install, *TOOLS, *wanted)
    run(*install, ".")
    if files() != before:
        sys.exit(f"`pip install .` left behind {files() - before}")
    run(python, "-m", "pip", "check")
    test = [python, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope"]
    chosen = [path for path in sorted((ROOT / "tests").glob("test_*.py")) if path.stem not in BOOK]
    run(*test, "--doctest-modules", "-m", "not browser and not built", "web3scale", *chosen)
    run(*test, "--nbval-lax", "chapters")


if __name__ == "__main__":
    main(sys.argv[1])
