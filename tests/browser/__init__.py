"""Checks that need Chromium: the pages of the built book, and its notebooks in JupyterLab."""
