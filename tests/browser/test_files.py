"""The book opened from its folder, without a server."""

import pytest

from .checks import image_faults, math_faults, refuse, slider_faults

pytestmark = pytest.mark.browser


def test_page_opens_from_a_folder(visit, site, page_name):
    with visit(f"{site.as_uri()}/", page_name) as found:
        found.page.wait_for_load_state("networkidle")
        refuse(found.faults)
        refuse(math_faults(found.page))
        refuse(image_faults(found.page))


def test_sliders_move_without_a_server(visit, site, slider_page):
    with visit(f"{site.as_uri()}/", slider_page) as found:
        refuse(slider_faults(found.page))
        refuse(found.faults)
