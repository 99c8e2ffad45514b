"""Accessibility: axe finds nothing on any page, in light and dark, on a desk and on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser
AXE = Axe()


def violations(page):
    # preload would fetch style sheets a second time, for rules that are switched off by default
    found = AXE.run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [f"{v['id']}: {n['target']} {n['failureSummary']} {n['html'][:200]}" for v in found for n in v["nodes"]]


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(request, visit, address, page_name):
    with visit(address, page_name, mode=request.param) as found:
        assert found.page.locator("html").get_attribute("data-theme") == request.param
        yield found


@pytest.mark.parametrize("device", ["desk", "phone"])
def test_axe_finds_nothing(opened, device, request):
    width, height = request.getfixturevalue(device)
    opened.page.set_viewport_size({"width": width, "height": height})
    assert violations(opened.page) == []


def test_axe_finds_a_fault(visit, address):
    with visit(address, "search") as found:
        found.page.evaluate("document.body.append(new Image())")
        assert any(fault.startswith("image-alt") for fault in violations(found.page))
