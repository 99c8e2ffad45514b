"""Accessibility: axe finds nothing on any page, in light and dark, on a desk and on a phone."""

import contextlib
import itertools

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from .checks import refuse

pytestmark = pytest.mark.browser
# preload would fetch style sheets a second time, for rules that are off by default
START = "{ window.violations = axe.run({resultTypes: ['violations'], preload: false}).then(found => found.violations) }"


def start(page):
    page.evaluate(AXE_SCRIPT)
    page.evaluate(START)


def violations(page):
    found = page.evaluate("window.violations")
    return [f"{v['id']}: {n['target']} {n['failureSummary']} {n['html'][:200]}" for v in found for n in v["nodes"]]


def test_axe_finds_nothing(visit, address, page_name, desk, phone):
    faults = []
    with contextlib.ExitStack() as stack:
        opened = {}
        for mode, size in itertools.product(["light", "dark"], [desk, phone]):
            found = stack.enter_context(visit(address, page_name, size=size, mode=mode))
            assert found.page.locator("html").get_attribute("data-theme") == mode
            start(found.page)  # axe works here while the next page loads
            opened[f"{mode}, {size[0]} px"] = found.page
        for where, page in opened.items():
            faults += [f"{where}: {fault}" for fault in violations(page)]
    refuse(faults)


def test_axe_finds_a_fault(visit, address):
    with visit(address, "search") as found:
        found.page.evaluate("document.body.append(new Image())")
        start(found.page)
        assert any(fault.startswith("image-alt") for fault in violations(found.page))
