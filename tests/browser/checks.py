"""Rules for a page: each is a function from what a browser or a parser sees to a list of faults.

`page_faults` applies them all to one opened page: read on a desk, then in the dark, then on a phone, without opening it
again, because opening (MathJax, fonts, scripts) and axe are what costs.
"""

import gzip
import os.path
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT

# MathJax and the fonts are there, or will not come any more.
READY = """async () => {
  const end = Date.now() + 15000, pause = milliseconds => new Promise(go => setTimeout(go, milliseconds));
  while (document.querySelector('script[data-mathjax]') && !window.MathJax?.startup?.promise && Date.now() < end)
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
    const [wide, high] = [image.offsetWidth, image.offsetHeight];
    const stretch = high && image.naturalWidth ? wide * image.naturalHeight / (high * image.naturalWidth) : 1;
    if (stretch > 1.02 || stretch < 0.98) faults.push('out of shape: ' + image.src.slice(0, 80));
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
    // figures are lettered at 10 points, that is 13.3 px; a narrow window shrinks letters and picture alike
    letters: Math.min(...frames.filter(seen).map(e => e.width / e.naturalWidth * 40 / 3)),
    hint: seen(root.querySelector('.explore-still')),
    outside: inputs.filter(e => {
      const box = e.getBoundingClientRect();
      return box.left < 0 || box.right > innerWidth || box.width < 80;
    }).length,
    cut: [...root.querySelectorAll('.explore-row > *, img')].filter(e => {
      let parent = e.parentElement;
      while (parent && getComputedStyle(parent).overflowX === 'visible') parent = parent.parentElement;
      const box = e.getBoundingClientRect(), room = parent?.getBoundingClientRect();
      return parent && seen(e) && (box.left < room.left - 0.5 || box.right > room.right + 0.5);
    }).length,
  };
}"""


# Colours change at once: one that fades is another at each look.
STILL = """addEventListener('DOMContentLoaded', () => {
  const style = document.createElement('style');
  style.textContent = '*, *::before, *::after { transition: none !important; animation: none !important }';
  document.head.append(style);
})"""

# What contrast is made of, for every element of the text; and whether it is there at all.
COLOURS = """() => ([...document.querySelectorAll('.bd-article, .bd-article *')].map(e => {
  const style = getComputedStyle(e), size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
  const large = size >= 24 || (bold && size >= 18.66);
  return [e.tagName, style.color, style.backgroundColor, style.backgroundImage, style.opacity, large].join(' ');
}))"""
SHAPE = """() => [...document.querySelectorAll('.bd-article *')].map(
  e => `${e.tagName} ${getComputedStyle(e).display} ${getComputedStyle(e).visibility}`)"""

# Formulas and code are most of a page's elements and have few colours. axe needs seconds to judge them one by one; here
# each pair of colours is judged once (WCAG 2.1, 1.4.3). axe does not see MathJax's letters at all: they are no text.
CONTRAST = r"""rule => {
  const numbers = colour => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+(e-?\d+)?/g).map(Number);
    return colour.startsWith('color(') ? [r, g, b, a] : [r / 255, g / 255, b / 255, a];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
  const light = colour => colour.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const known = new Map([[null, {ground: [1, 1, 1], opacity: 1, picture: false}]]);
  const behind = e => {  // what is wholly transparent is folded away, and will be opaque
    if (!known.has(e)) {
      const style = getComputedStyle(e), {ground, opacity, picture} = behind(e.parentElement);
      known.set(e, {ground: over(numbers(style.backgroundColor), ground), opacity: opacity * (+style.opacity || 1),
        picture: picture || style.backgroundImage !== 'none'});
    }
    return known.get(e);
  };
  const faults = new Map();
  for (const e of document.querySelectorAll(rule)) {
    const written = e.matches('mjx-c') || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!written || e.closest('mjx-assistive-mml')) continue;
    const style = getComputedStyle(e), {ground, opacity, picture} = behind(e), ink = numbers(style.color);
    const size = parseFloat(style.fontSize), least = size >= 24 || (style.fontWeight >= 700 && size >= 18.66) ? 3 : 4.5;
    const inked = over([...ink.slice(0, 3), ink[3] * opacity], ground);
    const [low, high] = [light(inked), light(ground)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05), where = `${e.tagName}.${e.className} ${style.color}`;
    if (picture) faults.set(where, `${where}: a picture is behind it`);
    else if (ratio < least) faults.set(where, `${where}: contrast ${ratio.toFixed(2)}, not ${least}: ${
      (e.closest('.math') ?? e).textContent.trim().slice(0, 40)}`);
  }
  return [...faults.values()];
}"""

# The window has its new size, and so has what the theme computes from it 0.3 s later (which code scrolls).
NARROWED = """() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go, 400))))"""

# While axe looks, formulas and code are plain text. Preload would fetch style sheets a second time, for rules that are
# off by default.
AXE = """async runs => {
  const parts = [...document.querySelectorAll('mjx-container, .highlight pre')].map(e => [e, [...e.childNodes]]);
  for (const [e] of parts) e.replaceChildren((e.querySelector('mjx-assistive-mml') ?? e).textContent);
  const found = [], all = {resultTypes: ['violations'], preload: false};
  for (const [where, only] of runs) found.push(...(await axe.run(where ?? document, {...all, ...only})).violations);
  for (const [e, inner] of parts) e.replaceChildren(...inner);
  return found.flatMap(v => v.nodes.map(n => `${v.id}: ${n.target} ${n.failureSummary} ${n.html.slice(0, 200)}`));
}"""
ALL = [None, {}]
OTHERS = [None, {"rules": {"color-contrast": {"enabled": False}}}]
CONTRASTS = [None, {"runOnly": "color-contrast"}]
AROUND = [{"exclude": [[".bd-article"]]}, {"runOnly": "color-contrast"}]


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
        before = opened = figure.evaluate(SLIDERS)
        first, sizes = _frame(before["values"], before["sizes"]), before["sizes"]
        named = [_says(before["frames"][first], output) for output in before["outputs"]]
        told = [[known] for known in named]  # whether each slider's number stands in the words of each picture seen
        if before["hint"]:
            faults.append(f"{name}: shows the hint that it does not move")
        if before["outside"]:
            faults.append(f"{name}: {before['outside']} sliders too narrow or outside of the window")
        if before["cut"]:
            faults.append(f"{name}: {before['cut']} parts cut off at the edge")
        if before["letters"] < 11:
            faults.append(f"{name}: letters of {before['letters']:.1f} px")
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
                says = [_says(after["frames"][frame], output) for output in after["outputs"]]
                for seen, said in zip(told, says, strict=True):
                    seen.append(said)
                if any(known and not said for known, said in zip(named, says, strict=True)):
                    faults.append(f"{where}: {after['outputs']} beside a picture of {after['frames'][frame]!r}")
                changed = [a != b for a, b in zip(after["outputs"], before["outputs"], strict=True)]
                if changed != [j == i for j in range(len(wanted))]:
                    faults.append(f"{where}: numbers beside the sliders: {before['outputs']}, then {after['outputs']}")
                if after["spoken"] != after["outputs"]:
                    faults.append(f"{where}: says {after['spoken']}, shows {after['outputs']}")
                before = after
        if any(sum(seen) >= len(seen) / 2 and not seen[0] for seen in told):
            faults.append(f"{name}: at first {opened['outputs']} beside a picture of {opened['frames'][first]!r}")
    return faults


def weight(urls, folder, home):
    """Return the bytes that a server sends for `urls`: text compressed, fonts and pictures as they are."""
    total = 0
    for path in {unquote(urlsplit(url.removeprefix(home)).path) for url in urls}:
        if not (folder / path).is_file():
            continue  # an answer of 404
        data = (folder / path).read_bytes()
        total += len(gzip.compress(data)) if path.endswith((".html", ".css", ".js", ".json", ".svg")) else len(data)
    return total


def axe_faults(page, *runs):
    """Let axe look at the page; each run names where, and which rules."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(AXE, list(runs))


def contrast_faults(page):
    """Judge the colours of formulas and of code."""
    return page.evaluate(CONTRAST, "mjx-c, .highlight pre, .highlight pre *")


def different(what, one, other):
    """Compare two lists that should be alike, element by element."""
    if len(one) != len(other):
        return [f"{what}: {len(one)} elements, then {len(other)}"]
    return [f"{what}: {a}, then {b}" for a, b in zip(one, other, strict=True) if a != b][:5]


def page_faults(found, folder, phone, sliders=False, limit=800_000):
    """Apply every rule to an opened page, in one visit; return all faults, each with the place where it was seen."""
    page, faults = found.page, []

    def note(where, some):
        faults.extend(f"{where}: {fault}" for fault in some)

    # on a desk, by day: all that a reader gets
    desk = page.viewport_size
    page.wait_for_load_state("networkidle")
    if (size := weight(found.urls, folder, found.home)) >= limit:
        note("weight", [f"{size} bytes"])
    note("math", math_faults(page))
    note("images", image_faults(page))
    note("title", heading_faults(page))
    seen = {("light", "desk"): page.evaluate(COLOURS)}
    shape = page.evaluate(SHAPE)
    note("light", [*axe_faults(page, ALL), *contrast_faults(page)])
    if sliders:
        note("desk", slider_faults(page))

    # in the dark: other colours; the same page, or axe looks at all of it again
    note("dark", found.switch("dark"))
    seen["dark", "desk"] = page.evaluate(COLOURS)
    rules = CONTRASTS if page.evaluate(SHAPE) == shape else ALL
    note("dark", [*axe_faults(page, rules), *contrast_faults(page)])

    # on a phone: the same colours in the text, so axe looks at the contrast of what is around it
    page.set_viewport_size(phone)
    page.evaluate(NARROWED)
    seen["dark", "phone"] = page.evaluate(COLOURS)
    note("dark, phone", axe_faults(page, OTHERS, AROUND))
    note("phone", found.switch("light"))
    seen["light", "phone"] = page.evaluate(COLOURS)
    note("light, phone", axe_faults(page, AROUND))
    for mode in ("light", "dark"):
        note(f"{mode}, phone", different("colours on a desk", seen[mode, "desk"], seen[mode, "phone"]))
    note("phone", width_faults(page))
    if sliders:
        note("phone", slider_faults(page))
    page.set_viewport_size(desk)
    return [*faults, *found.faults]


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
