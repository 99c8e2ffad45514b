"""Final touches on the built pages that no theme option offers."""

import gc
import re
from pathlib import Path

EDITS = [
    # 1.5 MB of script; the theme's style sheet and font already draw the same icons
    (r'\s*<link rel="preload" as="script" href="[^"]*scripts/fontawesome\.js[^"]*" ?/?>', ""),
    (r'\s*<script defer(="defer")? src="[^"]*scripts/fontawesome\.js[^"]*"></script>', ""),
    # a name that differs from the visible text confuses voice control (WCAG 2.5.3)
    (r'(<button[^>]*search-button-field[^>]*?) title="Search" aria-label="Search"', r"\1"),
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    # a button to unfold a chapter's sections has an icon only: name it
    (
        r'(>([^<]+)</a><details[^>]*>)<summary>(?=<span class="toctree-toggle")',
        r'\1<summary aria-label="Sections of \2">',
    ),
    # a role that WAI-ARIA has withdrawn, inside a list whose items it hides
    (r' role="doc-biblioentry"', ' role="listitem"'),
    # every part of a page belongs to a landmark
    (
        r'<(dialog|div) (id="pst-primary-sidebar"|class="bd-sidebar-primary[^"]*")',
        r'<\1 role="complementary" aria-label="Book" \2',
    ),
]


def polish(app, exception):
    if exception or app.builder.name != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = edited = path.read_text("utf-8")
        for pattern, replacement in EDITS:
            edited = re.sub(pattern, replacement, edited)
        if edited != page:
            path.write_text(edited, "utf-8")


def setup(app):
    gc.set_threshold(100_000, 20, 100)  # else it looks through all pages again and again while they are loaded
    app.connect("build-finished", polish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
