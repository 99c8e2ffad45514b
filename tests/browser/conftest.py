"""What the browser tests share: Chromium, the built book behind a server, and pages that note what goes wrong."""

import contextlib
import functools
import os
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import outline
import pytest
from playwright.sync_api import TimeoutError, sync_playwright

from .checks import READY, STILL

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html")).resolve()  # or a broken copy
DESK, PHONE = (1280, 900), (390, 844)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a request to another host fails, and fails at once
]


def pytest_xdist_make_scheduler(config, log):
    """Give each test to whoever is free; those in JupyterLab share one server, so one worker has them all."""
    from xdist.scheduler import LoadScopeScheduling

    class OneServer(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "lab" if "test_lab.py" in nodeid else nodeid

    return OneServer(config, log)


def has_sliders(name):
    path = ROOT / f"{name}.ipynb"
    return path.exists() and r"class=\"explore\"" in path.read_text("utf-8")


def chosen(names):
    """Return the pages to open: all, or those that `make check` names."""
    wanted = os.environ.get("BOOK_PAGES")
    return [name for name in names if wanted is None or name in wanted.split()]


BOOK = outline.pages()
PAGES = [*BOOK, "genindex", "search"]
WITH_SLIDERS = [name for name in BOOK if has_sliders(name)]


@pytest.fixture(scope="session")
def pages():
    """Every page of the book, without .html."""
    return PAGES


@pytest.fixture(params=chosen(PAGES))
def page_name(request):
    """One page of the book after the other."""
    return request.param


@pytest.fixture(scope="session")
def slider_pages():
    """The pages with sliders."""
    return WITH_SLIDERS


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        refuse = pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip
        refuse("no Chromium on the PATH (chromium, chromium-browser or google-chrome): on Debian, apt install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a line in the terminal for each."""

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def serving(folder):
    """Serve `folder` on a free port of this machine; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session", name="serving")
def serving_fixture():
    """`with serving(folder) as address:` serves a folder that is not the book."""
    return serving


def size(window):
    """Return the size of a window as Playwright wants it."""
    return dict(zip(("width", "height"), window, strict=True))


@pytest.fixture(scope="session")
def desk():
    """The size of a window on a desk."""
    return size(DESK)


@pytest.fixture(scope="session")
def phone():
    """The size of a window on a phone."""
    return size(PHONE)


@pytest.fixture(scope="session")
def site():
    """The folder of the built book."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"the book is not built: no index.html in {SITE}; run `make book` first", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def smallest_figure(site):
    """The smallest of the book's figures with sliders, as it stands in its page, with its script."""
    texts = [(site / f"{name}.html").read_text("utf-8") for name in WITH_SLIDERS]
    found = [
        f for text in texts for f in re.findall(r'<div id="explore-[^"]*" class="explore".*?</script>', text, re.S)
    ]
    return min(found, key=len)


@pytest.fixture(scope="session")
def address(site):
    """The address of the built book."""
    with serving(site) as found:
        yield found


class Visit:
    """One page in a fresh browser context.

    `page` is Playwright's, `urls` what was asked for, `faults` what went wrong: requests to other hosts, answers of 400
    and above, requests without an answer, errors and warnings on the console.
    """

    def __init__(self, browser, home, name, window=DESK, mode="light", script=""):
        self.faults, self.urls, self.home = [], [], home
        self.context = browser.new_context(viewport=size(window), color_scheme=mode)
        self.context.add_init_script("localStorage.setItem('mode', 'auto'); localStorage.setItem('theme', 'auto')")
        self.context.add_init_script(STILL)
        self.context.add_init_script(script or ";")
        self.page = self.context.new_page()
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda request: self._note(f"no answer: {request.url[:200]}"))
        self.page.on("response", lambda r: r.status >= 400 and self._note(f"{r.status}: {r.url[:200]}"))
        self.page.on("console", lambda m: m.type in ("error", "warning") and self._note(f"{m.type}: {m.text[:200]}"))
        self.page.on("pageerror", lambda error: self._note(f"script: {error}"))
        self.page.goto(f"{home}{name}.html")
        self.page.evaluate(READY)

    def switch(self, mode):
        """Let the reader's system ask for light or dark; return faults where the page does not follow."""
        self.page.emulate_media(color_scheme=mode)
        try:
            self.page.wait_for_function(
                "mode => document.documentElement.dataset.theme === mode", arg=mode, timeout=3000
            )
        except TimeoutError:
            return [f"the page does not turn {mode}"]
        return []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def _note(self, fault):
        self.faults.append(fault)

    def _request(self, request):
        if request.url.startswith(self.home):
            self.urls.append(request.url)
        elif not request.url.startswith(("data:", "blob:")):
            self._note(f"leaves the book: {request.url[:200]}")


@pytest.fixture(scope="session")
def visit(browser):
    """`with visit(home, name) as opened:` opens one page of the book, or of another folder, and closes it."""
    return functools.partial(Visit, browser)
