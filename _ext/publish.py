"""Binder and download links, from the one repository address in _config.yml; none while that is empty."""


def links(app, config):
    options = config.html_theme_options
    published = bool(options.get("repository_url"))
    options["use_repository_button"] = options["use_issues_button"] = published
    if published:
        options.setdefault("launch_buttons", {})["binderhub_url"] = "https://mybinder.org"


def setup(app):
    app.connect("config-inited", links, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
