"""Accessibility: axe finds nothing on any page, in light and dark, on a desk and on a phone."""

import contextlib
import itertools

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from .checks import refuse

pytestmark = pytest.mark.browser
# preload would fetch style sheets a second time, for rules that are off by default
START = """narrow => {
  const options = {resultTypes: ['violations'], preload: false}, contrast = 'color-contrast';
  // the colours of the text do not depend on the width: on a phone, contrast is checked around it only
  const runs = narrow
    ? [[document, {rules: {[contrast]: {enabled: false}}}], [{exclude: ['.bd-article']}, {runOnly: contrast}]]
    : [[document, {}]];
  const run = async () => {
    const found = [];
    for (const [where, only] of runs) found.push(...(await axe.run(where, {...options, ...only})).violations);
    return found;
  };
  window.violations = run();
}"""


def start(page, narrow=False):
    page.evaluate(AXE_SCRIPT)
    page.evaluate(START, narrow)


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
            start(found.page, narrow=size == phone)  # axe works here while the next page loads
            opened[f"{mode}, {size[0]} px"] = found.page
        for where, page in opened.items():
            faults += [f"{where}: {fault}" for fault in violations(page)]
    refuse(faults)


@pytest.mark.parametrize("narrow", [False, True])
def test_axe_finds_a_fault(visit, address, narrow):
    with visit(address, "search") as found:
        found.page.evaluate("document.body.append(new Image())")
        pale = "<p style='color: #eee; background: white; position: fixed; top: 0; z-index: 9999'>pale</p>"
        found.page.evaluate("pale => document.body.insertAdjacentHTML('beforeend', pale)", pale)
        start(found.page, narrow)
        seen = {fault.split(":")[0] for fault in violations(found.page)}
        assert seen >= {"image-alt", "color-contrast"}
