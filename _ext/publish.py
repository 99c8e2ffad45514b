"""What a published book needs, from the one repository address in _config.yml; nothing of it while that is empty.

Buttons for Binder, the source, an edit and an issue; the address of the site, from which canonical links, the picture
for links in chats and the map for search engines follow.
"""

import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from sphinx.errors import ConfigError

# Of each Git host: where its pages are published, how Binder calls it, and the address of its page that edits a file.
HOSTS = {
    "github.com": ("https://{owner}.github.io", "gh/{path}", "{url}/edit/{branch}/{file}"),
    "gitlab.com": ("https://{owner}.gitlab.io", "gl/{quoted}", "{url}/-/edit/{branch}/{file}"),
    "codeberg.org": ("https://{owner}.codeberg.page", "git/{whole}", "{url}/_edit/{branch}/{file}"),
}
BINDER = "https://mybinder.org/v2"


def parts(address):
    """Take the address of a repository apart: https://github.com/our/book.git/ and the like."""
    url = re.sub(r"(\.git)?/*$", "", address.strip())
    host, path = urlsplit(url).netloc, urlsplit(url).path.strip("/")
    if host not in HOSTS or not re.fullmatch(r"https://[^/]+/[^/]+/.+", url):
        hosts = ", ".join(HOSTS)
        raise ConfigError(
            f"_config.yml: repository.url must be https://HOST/owner/name with HOST one of {hosts}, or empty; "
            f"got {address!r}"
        )
    owner, *groups, name = path.split("/")
    return {
        "url": url,
        "host": host,
        "owner": owner,
        "path": path,
        "quoted": quote(path, safe=""),
        "whole": quote(url, safe=""),
        "name": "/".join([*groups, name]),
    }


def site(found):
    """The address at which the host publishes the pages of a repository."""
    home = HOSTS[found["host"]][0].format(**found).lower()
    return f"{home}/" if f"https://{found['name']}".lower() == home else f"{home}/{found['name']}/"


def configure(app, config):
    options = config.html_theme_options
    # the theme's own buttons know two hosts, and take a `.git` for a part of the name
    for button in ("repository", "issues", "edit_page", "source"):
        options[f"use_{button}_button"] = False
    options["launch_buttons"] = {}
    address = options.pop("repository_url", "")
    if not address:
        return
    config.our_repository = found = {**parts(address), "branch": options.get("repository_branch") or "main"}
    config.html_baseurl = config.html_baseurl or site(found)
    config.ogp_site_url = config.html_baseurl
    config.ogp_image = config.html_baseurl + "_static/page.png"
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path


def link(text, url, tooltip, icon):
    return {"type": "link", "text": text, "url": url, "tooltip": tooltip, "icon": icon, "label": text.lower()}


def add_buttons(app, page, template, context, doctree):
    found, buttons = app.config.our_repository, context.get("header_buttons")
    if not found or buttons is None:
        return
    _, binder, edit = HOSTS[found["host"]]
    own = []
    if doctree is not None and not page.startswith("chapters/api/"):
        file = str(app.env.doc2path(page, base=False))
        own.append(link("Edit", edit.format(file=file, **found), "Suggest an edit of this page", "fas fa-pencil-alt"))
        if file.endswith(".ipynb"):
            start = f"{BINDER}/{binder.format(**found)}/{quote(found['branch'], safe='')}?urlpath=lab/tree/{file}"
            rocket = link("Binder", start, "Run this page on Binder", "_static/images/logo_binder.svg")
            buttons.insert(0, group("launch-buttons", "Run this page", "fas fa-rocket", [rocket]))
    new_issue = "/-/issues/new" if found["host"] == "gitlab.com" else "/issues/new"
    own.insert(0, link("Repository", found["url"], "The source of the book", "fas fa-code-branch"))
    own.append(link("Open issue", found["url"] + new_issue, "Report an error", "fas fa-lightbulb"))
    buttons.insert(0, group("source-buttons", "Source", "fas fa-code-branch", own))


def finish(app, exception):
    if not exception and app.builder.name == "html":
        (Path(app.outdir) / ".nojekyll").touch()  # else GitHub leaves out the folders that begin with an underscore


def group(label, tooltip, icon, buttons):
    return {"type": "group", "label": label, "tooltip": tooltip, "icon": icon, "buttons": buttons}


def setup(app):
    app.add_config_value("our_repository", None, "html")
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", add_buttons, priority=800)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
