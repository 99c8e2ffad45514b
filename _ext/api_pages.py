"""The pages of the API reference, one a module, written when the book is built: they are not in git.

Small pages, because a reader looks up one module, and because a browser checks them faster than one long page.
"""

from pathlib import Path

import outline

# reStructuredText: within MyST each of these pages would keep a copy of all that Sphinx knows, 18 MB read at each build
PAGE = """{name}
{rule}

``from {package} import {name}``

.. automodule:: {package}.{name}
   :members:
"""


def write(app, config):
    root = Path(app.srcdir)
    wanted = {}
    for page, module in outline.api_pages(root).items():
        package, name = module.rsplit(".", 1)
        wanted[root / f"{page}.rst"] = PAGE.format(package=package, name=name, rule="=" * len(name))
    folder = root / "chapters/api"
    folder.mkdir(exist_ok=True)
    for path in set(folder.glob("*.*")) - set(wanted):
        path.unlink()  # a module that is gone
    for path, text in wanted.items():
        if not path.exists() or path.read_text("utf-8") != text:  # else the page would be built again
            path.write_text(text, "utf-8")


def setup(app):
    app.connect("config-inited", write, priority=100)  # before the table of contents is read
    return {"parallel_read_safe": True, "parallel_write_safe": True}
