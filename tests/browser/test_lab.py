"""The notebooks in JupyterLab, as a reader sees them: MyST drawn, solutions folded, sliders that compute."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from book import opening
from playwright.sync_api import TimeoutError

from .checks import refuse

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "chapters"
NOTEBOOKS = sorted(path.stem for path in CHAPTERS.glob("*.ipynb"))
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # draw all cells, not those on the screen
}

# All cells are in the page, and MyST has drawn every one that holds text.
DRAWN = """count => {
  const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')];
  return cells.length === count && cells.every(cell => !cell.matches('.jp-MarkdownCell')
    || cell.querySelector('.myst')?.childElementCount);
}"""

# What is left unsaid: JupyterLab knows neither references.bib nor the other notebooks, and shows such names in yellow.
MARKDOWN = r"""own => {
  const faults = [], raw = /:::|```|\$\$|Unknown (Directive|Role)|\{(prf:\w+|cite(:\w+)?|numref|term|ref|eq|doc)\}/;
  document.querySelectorAll('.jp-MarkdownCell .myst').forEach((cell, i) => {
    const found = fault => faults.push(`text ${i + 1}: ${fault}`);
    const text = cell.cloneNode(true);
    text.querySelectorAll('pre, code, annotation').forEach(e => e.remove());
    for (const line of text.textContent.split('\n')) if (raw.test(line)) found('raw: ' + line.trim().slice(0, 100));
    cell.querySelectorAll('.katex-error, .myst-error, .myst-admonition-error').forEach(e =>
      found('error: ' + e.textContent.trim().slice(0, 100)));
    cell.querySelectorAll('.text-yellow-600').forEach(e => {
      const name = e.textContent.trim();
      if (!/^(Cross Reference|Citation) Not Found$/.test(e.title)) found(`${e.title}: ${name}`);
      else if (own.includes(name)) found(`does not find ${name}, which is in this notebook`);
    });
    cell.querySelectorAll('img').forEach(e => { if (!e.naturalWidth) found('picture not shown: ' + e.src); });
  });
  return faults;
}"""

SEEN = """numbers => numbers.filter(number => {
  const cell = document.querySelector(`.jp-Notebook .jp-Cell[data-windowed-list-index="${number}"]`);
  return cell.checkVisibility() && cell.getBoundingClientRect().height > 0;
})"""

IDLE = """() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'
  && ![...document.querySelectorAll('.jp-InputPrompt')].some(e => e.textContent.includes('[*]'))"""

STARTED = r"() => [...document.querySelectorAll('.jp-InputPrompt')].some(e => /\[(\*|\d+)\]/.test(e.textContent))"

ERROR = "[data-mime-type='application/vnd.jupyter.stderr']"  # tracebacks, and warnings: there should be none

FAULTY = [
    "# Faults",
    "```{nonsense}\nAn unknown directive.\n```",
    "Formulas $\\frac{1}{$ and $\\nonsense$ and $$ a + b",
    "```{prf:theorem} One\n:label: here\n\nSee {prf:ref}`there` and {cite}`nobody1900`.\n```",
    "{numref Figure} and ::: and {term}` speed",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks, one more with faults, and nothing of the user's Jupyter."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(CHAPTERS, root / "chapters", ignore=shutil.ignore_patterns(".*"))
    faulty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in FAULTY])
    faulty.cells.append(nbformat.v4.new_code_cell("1 / 0", metadata={"tags": ["solution"]}))
    faulty.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(faulty, root / "chapters" / "faulty.ipynb")
    slider = opening()  # a chapter as far as its first slider: enough to see it compute
    for cell in slider.cells:
        cell.outputs = [o for o in cell.outputs if "image/png" in o.get("data", {})]
        cell.execution_count = None  # what has a number has run
    nbformat.write(slider, root / "chapters" / "slider.ipynb")
    unrun = nbformat.read(CHAPTERS / "c_chain.ipynb", as_version=4)  # as after Clear Outputs of All Cells
    for cell in unrun.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    nbformat.write(unrun, root / "chapters" / "unrun.ipynb")
    (root / "overrides").mkdir()
    shutil.copy(ROOT / "_ext/jupyterlab.json", root / "overrides/overrides.json")  # as postBuild does
    for plugin, values in SETTINGS.items():
        path = root / "settings" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    return root


@pytest.fixture(scope="module")
def lab(browser, folder):
    """The address of a JupyterLab on that folder, with the kernel of this environment."""
    own = {
        "HOME": "home",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    environment |= {name: str(folder / place) for name, place in own.items()}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += [
        f"--LabApp.app_settings_dir={folder / 'overrides'}",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        f"--ServerApp.root_dir={folder / 'chapters'}",
    ]
    with (folder / "log").open("w") as log:
        trust = [sys.executable, "-m", "jupyter", "trust", *sorted((folder / "chapters").glob("*.ipynb"))]
        fonts = [sys.executable, "-c", "import matplotlib.font_manager"]
        for command_of in (trust, fonts):  # as postBuild does
            subprocess.run(command_of, env=environment, stdout=log, stderr=log, check=True)
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while not (found := list((folder / "runtime").glob("jpserver-*.json"))) or not found[0].read_text():
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"JupyterLab does not start:\n{(folder / 'log').read_text()}", pytrace=False)
            time.sleep(0.05)
        yield json.loads(found[0].read_text())["url"]
    finally:
        server.terminate()  # it ends its kernels
        server.wait(30)


@pytest.fixture(scope="module")
def shown(browser, lab, folder):
    """`with shown(name) as (page, notebook):` opens a notebook, all of it drawn."""

    @contextlib.contextmanager
    def opened(name):
        notebook = nbformat.read(folder / "chapters" / f"{name}.ipynb", as_version=4)
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.goto(f"{lab}lab/tree/{name}.ipynb?reset")
        page.wait_for_function(DRAWN, arg=len(notebook.cells), timeout=60_000)
        yield page, notebook
        context.close()

    return opened


def labels(notebook):
    """Return the names that the notebook gives to its theorems, equations and sections."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    pattern = r"^:(?:label|name): *(\S+)|^\(([\w-]+)\)=|\$\$ *\(([\w-]+)\)"
    return [name for names in re.findall(pattern, text, re.MULTILINE) for name in names if name]


def solutions(notebook):
    """Return the numbers of the cells with a solution's text or code."""
    cells = enumerate(notebook.cells)
    return [i for i, c in cells if "{solution}" in c.source or "solution" in c.metadata.get("tags", [])]


def run_all(page):
    page.wait_for_function(IDLE, timeout=180_000)
    for _ in range(5):  # a session that is still being connected loses the command without a word: say it again
        if (dialog := page.locator(".jp-Dialog", has_text="Select Kernel")).count():
            # on a busy machine the list of kernels may come later than the notebook: then JupyterLab asks which one
            dialog.locator("select").select_option(label="Python 3 (ipykernel)")
            dialog.locator("button.jp-mod-accept").click()
        with contextlib.suppress(TimeoutError):
            page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click(timeout=5_000)
            page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click(timeout=5_000)
            return page.wait_for_function(STARTED, timeout=20_000)
    pytest.fail("no cell runs", pytrace=False)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_drawn_in_jupyterlab(shown, name):
    with shown(name) as (page, notebook):
        faults = page.evaluate(MARKDOWN, labels(notebook))
        open_ones = page.evaluate(SEEN, solutions(notebook))
        refuse([*faults, *(f"cell {number + 1}: solution not folded" for number in open_ones)])


@pytest.mark.parametrize("name", ["start", "02_2_network"])
def test_a_notebook_opens_as_it_is_and_without_news(shown, name):
    with shown(name) as (page, notebook):
        page.wait_for_function(IDLE, timeout=180_000)
        page.wait_for_timeout(500)  # what a kernel says of itself is written into the notebook a moment later
        assert page.locator(".jp-mod-dirty").all_text_contents() == []
        assert page.locator(".Toastify__toast").all_text_contents() == []
        assert [text for text in page.said if "Unsatisfied version" in text] == []
        shown_by = [o.get("data", {}).get("text/html", "") for c in notebook.cells for o in c.get("outputs", [])]
        assert page.locator(".jp-OutputArea svg[role=img]").count() == sum("<svg" in html for html in shown_by)
        text = "\n".join(cell.source for cell in notebook.cells)
        for label, number in re.findall(r"```\{math\}\n:label: (\S+)\n:enumerator: (\S+)", text):
            assert f"({number})" in page.locator(f".myst [id='{label}']").text_content()


def test_a_term_leads_to_the_glossary(shown):
    with shown("start") as (page, _):
        page.locator(".myst a", has_text="speed-up").first.click()
        page.locator(".jp-MarkdownViewer .myst h1", has_text="Glossary").wait_for(timeout=30_000)


def test_each_rule_finds_its_fault(shown):
    with shown("faulty") as (page, notebook):
        assert labels(notebook) == ["here"]
        faults = page.evaluate(MARKDOWN, ["there"])
        for fault in ("Unknown Directive", r"\frac", r"\nonsense", "$$", "does not find there", ":::"):
            assert any(fault in found for found in faults), fault
        assert not any("nobody1900" in found for found in faults)
        assert page.evaluate(SEEN, solutions(notebook)) == [len(FAULTY)]
        run_all(page)
        page.locator(ERROR).wait_for(timeout=180_000)


def test_running_a_page_unfolds_no_solution(shown):
    with shown("unrun") as (page, notebook):
        hidden = solutions(notebook)
        assert len(hidden) > 6
        run_all(page)
        page.wait_for_function(IDLE, timeout=180_000)
        printed = page.locator(".jp-Notebook .jp-Cell .jp-OutputArea-output").all()
        assert sum(p.is_visible() for p in printed) > 8
        assert page.evaluate(SEEN, hidden) == []
        page.locator(".jp-Notebook button", has_text="2 cells hidden").first.click()
        assert page.evaluate(SEEN, hidden) == hidden[:2]
        cell = page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{hidden[1]}']")
        assert cell.locator(".jp-OutputArea-output").first.is_visible()  # it has run all the same


def test_slider_computes(shown):
    with shown("slider") as (page, _):
        handles = page.locator(".jp-OutputArea .noUi-handle")
        assert handles.count() == 0  # the stored figure is still
        run_all(page)
        handles.first.wait_for(timeout=180_000)
        page.wait_for_function(IDLE, timeout=180_000)
        assert page.locator(ERROR).all_text_contents() == []
        picture = page.locator(".jp-OutputArea .widget-html img")
        described, drawn = picture.get_attribute("alt"), picture.get_attribute("src")
        assert drawn.startswith("data:image/png")
        handles.first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "old => document.querySelector('.jp-OutputArea .widget-html img').src !== old", arg=drawn, timeout=30_000
        )
        assert picture.get_attribute("alt") != described
        assert picture.evaluate("async e => { await e.decode(); return e.naturalWidth }") > 100
