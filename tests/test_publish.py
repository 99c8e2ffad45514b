"""The one address of the repository, and what follows from it; the built pages are looked at in test_site.py."""

import publish
import pytest
from sphinx.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "url", "site"),
    [
        ("https://github.com/our/book", "https://github.com/our/book", "https://our.github.io/book/"),
        ("https://github.com/Our/Book.git", "https://github.com/Our/Book", "https://our.github.io/Book/"),
        ("https://github.com/our/book/", "https://github.com/our/book", "https://our.github.io/book/"),
        ("https://github.com/our/our.github.io", "https://github.com/our/our.github.io", "https://our.github.io/"),
        (" https://gitlab.com/our/book.git/", "https://gitlab.com/our/book", "https://our.gitlab.io/book/"),
        ("https://gitlab.com/our/lab/book", "https://gitlab.com/our/lab/book", "https://our.gitlab.io/lab/book/"),
        ("https://codeberg.org/our/book", "https://codeberg.org/our/book", "https://our.codeberg.page/book/"),
    ],
)
def test_an_address_is_read_however_it_is_written(address, url, site):
    found = publish.parts(address)
    assert found["url"] == url
    assert publish.site(found) == site


@pytest.mark.parametrize(
    "address",
    [
        "github.com/our/book",
        "git@github.com:our/book.git",
        "https://github.com/our",
        "https://git.example.org/our/book.git",
    ],
)
def test_what_is_no_address_on_a_known_host_is_refused(address):
    with pytest.raises(ConfigError, match=r"repository\.url must be .* github\.com, gitlab\.com, codeberg\.org, or"):
        publish.parts(address)
