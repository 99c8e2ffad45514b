"""Rules for a page: each is a function from what a browser or a parser sees to a list of faults."""

import gzip
import os.path
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

# MathJax and the fonts are there, or will not come any more.
READY = """async () => {
  const end = Date.now() + 15000, pause = milliseconds => new Promise(go => setTimeout(go, milliseconds));
  while (document.querySelector('script[src*="mathjax"]') && !window.MathJax?.startup?.promise && Date.now() < end)
    await pause(20);
  await Promise.race([Promise.all([window.MathJax?.startup?.promise, document.fonts.ready]), pause(15000)]);
}"""

MATH = r"""() => {
  const faults = [], start = e => (e.data ?? e.textContent).trim().slice(0, 80);
  for (const e of document.querySelectorAll('.math'))
    if (!e.querySelector('mjx-container')) faults.push('not rendered: ' + start(e));
  for (const e of document.querySelectorAll('mjx-merror')) faults.push('MathJax reports: ' + start(e));
  for (const e of document.querySelectorAll('mjx-container mjx-mtext[style*="red"]'))
    faults.push('unknown to MathJax: ' + e.closest('.math')?.id);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode());) {
    if (text.parentElement.closest('script, style, pre, code, mjx-container')) continue;
    if (/\$\$|\\[A-Za-z]{2,}|\\[()\[\]]/.test(text.data)) faults.push('raw: ' + start(text));
  }
  return faults;
}"""

IMAGES = """async () => {
  const faults = [];
  for (const image of document.images) {
    image.loading = 'eager';
    await image.decode().catch(() => null);
    if (!image.naturalWidth) faults.push('not shown: ' + image.src.slice(0, 80));
    if (!image.alt.trim()) faults.push('no alternative text: ' + image.src.slice(0, 80));
  }
  return faults;
}"""

WIDE = """() => {
  const width = innerWidth + 1;
  if (document.scrollingElement.scrollWidth <= width) return [];
  const scrolls = e => e && e !== document.body && e !== document.documentElement
    && (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
  const wide = [...document.body.querySelectorAll('*')].filter(
    e => e.getBoundingClientRect().right > width && !scrolls(e.parentElement));
  return [`${document.scrollingElement.scrollWidth} px wide in a window of ${innerWidth}`,
    ...wide.slice(0, 5).map(e => `${e.tagName} ${e.className} ${e.id}: ${e.textContent.trim().slice(0, 60)}`)];
}"""

SLIDERS = """root => {
  const seen = e => e.checkVisibility() && e.getBoundingClientRect().width > 1;
  const frames = [...root.querySelectorAll('img')], inputs = [...root.querySelectorAll('input[type=range]')];
  return {
    shown: frames.flatMap((e, i) => seen(e) ? [i] : []),
    frames: frames.map(e => e.alt),
    values: inputs.map(e => +e.value),
    sizes: inputs.map(e => +e.max - +e.min + 1),
    outputs: [...root.querySelectorAll('output')].map(e => e.textContent),
    spoken: inputs.map(e => e.getAttribute('aria-valuetext')),
    hint: seen(root.querySelector('.explore-still')),
    outside: inputs.filter(e => {
      const box = e.getBoundingClientRect();
      return box.left < 0 || box.right > innerWidth || box.width < 80;
    }).length,
  };
}"""


def refuse(faults):
    """Fail where there are faults, and show all of them."""
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


def math_faults(page):
    return page.evaluate(MATH)


def image_faults(page):
    return page.evaluate(IMAGES)


def width_faults(page):
    return page.evaluate(WIDE)


def heading_faults(page):
    headings = page.get_by_role("heading", level=1).all_text_contents()  # not the one that only paper shows
    return [] if len(headings) == 1 and headings[0].strip() else [f"headings of the first level: {headings}"]


def _says(alt, value):
    """Whether `value` stands in `alt` as a word or a number of its own."""
    return re.search(rf"(?<![\w.,−-]){re.escape(value)}(?!\w|[.,]\d)", alt) is not None


def _frame(values, sizes):
    """Return which frame belongs to the settings `values`, where the first slider counts slowest."""
    frame = 0
    for value, size in zip(values, sizes, strict=True):
        frame = frame * size + value
    return frame


def slider_faults(page):
    """Move every slider of the page by keyboard, to its start, by one step, and to its end."""
    faults = []
    figures = page.locator(".explore")
    if not figures.count():
        faults.append("no figure with sliders")
    for figure in figures.all():
        name = figure.get_attribute("id")
        before = figure.evaluate(SLIDERS)
        first, sizes = _frame(before["values"], before["sizes"]), before["sizes"]
        named = [_says(before["frames"][first], output) for output in before["outputs"]]
        if before["hint"]:
            faults.append(f"{name}: shows the hint that it does not move")
        if before["outside"]:
            faults.append(f"{name}: {before['outside']} sliders too narrow or outside of the window")
        if before["shown"] != [first]:
            faults.append(f"{name}: shows the frames {before['shown']} at first, not {first} alone")
        for i, slider in enumerate(figure.locator("input[type=range]").all()):
            for key in ("Home", "ArrowRight", "End"):
                wanted = [*before["values"]]
                wanted[i] = {"Home": 0, "ArrowRight": wanted[i] + 1, "End": sizes[i] - 1}[key]
                if wanted[i] in (before["values"][i], sizes[i]):
                    continue  # it is there already
                slider.focus()
                page.keyboard.press(key)
                after, frame = figure.evaluate(SLIDERS), _frame(wanted, sizes)
                where = f"{name}, slider {i + 1}, {key}"
                if after["values"] != wanted:
                    faults.append(f"{where}: at {after['values']}, not at {wanted}")
                if after["shown"] != [frame]:
                    faults.append(f"{where}: shows the frames {after['shown']}, not {frame} alone")
                told = zip(after["outputs"], named, strict=True)
                if not all(_says(after["frames"][frame], output) for output, known in told if known):
                    faults.append(f"{where}: {after['outputs']} beside a picture of {after['frames'][frame]!r}")
                changed = [a != b for a, b in zip(after["outputs"], before["outputs"], strict=True)]
                if changed != [j == i for j in range(len(wanted))]:
                    faults.append(f"{where}: numbers beside the sliders: {before['outputs']}, then {after['outputs']}")
                if after["spoken"] != after["outputs"]:
                    faults.append(f"{where}: says {after['spoken']}, shows {after['outputs']}")
                before = after
    return faults


def weight(urls, folder):
    """Return the bytes that a server sends for `urls`: text compressed, fonts and pictures as they are."""
    total = 0
    for path in {unquote(urlsplit(url).path).lstrip("/") for url in urls}:
        if not (folder / path).is_file():
            continue  # an answer of 404
        data = (folder / path).read_bytes()
        total += len(gzip.compress(data)) if path.endswith((".html", ".css", ".js", ".json", ".svg")) else len(data)
    return total


class _Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.links = {""}, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.names.add(attributes.get("id"))
        if tag == "a":
            self.names.add(attributes.get("name"))
        self.links |= {attributes[key] for key in ("href", "src", "data") if attributes.get(key)}


def link_faults(folder, start):
    """Follow the links from the pages `start` to all others inside `folder`; return those that lead nowhere."""
    faults, pages = [], {}

    def read(path):
        if path not in pages:
            pages[path] = _Links(path.read_text("utf-8")) if path.suffix == ".html" else None
            if pages[path]:
                waiting.append(path)
        return pages[path]

    waiting = []
    for name in start:
        read(folder / name)
    while waiting:
        path = waiting.pop()
        for link in pages[path].links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            # a folder is not a page: a server adds index.html to it, a reader without a server gets a listing
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if folder not in target.parents or not target.is_file():
                faults.append(f"{path.relative_to(folder)} -> {link}: no such file")
            elif parts.fragment and (found := read(target)) and unquote(parts.fragment) not in found.names:
                faults.append(f"{path.relative_to(folder)} -> {link}: no such place on the page")
            else:
                read(target)
    return sorted(faults)
