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
  // the colours of the text do not depend on the width (compared below): on a phone, contrast is checked around it only
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


# What contrast is made of, for every element of the text.
COLOURS = """() => (document.getAnimations().forEach(a => a.finish()),
  [...document.querySelectorAll('.bd-article, .bd-article *')].map(e => {
  const style = getComputedStyle(e), size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
  const large = size >= 24 || (bold && size >= 18.66);
  return [e.tagName, style.color, style.backgroundColor, style.backgroundImage, style.opacity, large].join(' ');
}))"""


def test_axe_finds_nothing(visit, address, page_name, desk, phone):
    faults, colours = [], {}
    with contextlib.ExitStack() as stack:
        opened = {}
        for mode, size in itertools.product(["light", "dark"], [desk, phone]):
            found = stack.enter_context(visit(address, page_name, size=size, mode=mode))
            assert found.page.locator("html").get_attribute("data-theme") == mode
            colours[mode, size] = found.page.evaluate(COLOURS)
            start(found.page, narrow=size == phone)  # axe works here while the next page loads
            opened[f"{mode}, {size[0]} px"] = found.page
        for where, page in opened.items():
            faults += [f"{where}: {fault}" for fault in violations(page)]
    for mode in ("light", "dark"):
        wide, narrow = colours[mode, desk], colours[mode, phone]
        assert len(wide) == len(narrow)
        assert len(wide) > 20 or page_name == "search"  # it has no article: axe looks at all of it, on a phone too
        faults += [f"{mode}: {w}, on a phone {n}" for w, n in zip(wide, narrow, strict=True) if w != n][:5]
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
