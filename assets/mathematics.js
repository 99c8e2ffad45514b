// MathJax comes when the page has been shown once, and sets its formulas in small pieces, so that the page answers in
// between: what is on the screen first, then all others from the top, until none is left. An unset formula keeps the
// room it will take (_ext/light.py).
{
  const source = document.currentScript.dataset.mathjax;
  const set = (piece, way) => {
    piece.forEach(e => { e.classList.remove('unset'); e.removeAttribute('style'); });
    return way(piece);
  };
  window.MathJax = {...window.MathJax, startup: {async pageReady() {
    const seen = e => { const {top, bottom} = e.getBoundingClientRect(); return bottom > 0 && top < innerHeight; };
    const all = [...document.querySelectorAll('.math')], first = all.filter(seen);
    let left = [...first, ...all.filter(e => !first.includes(e))];
    addEventListener('beforeprint', () => set(left.splice(0), MathJax.typeset));  // paper does not wait
    for (let size = 4; left.length;) {  // a piece takes 12 ms; each costs some 5 ms whatever it holds
      const start = performance.now();
      await set(left.splice(0, size), MathJax.typesetPromise);
      size = Math.max(4, Math.round(size * Math.min(2, 12 / (performance.now() - start))));
      await new Promise(go => setTimeout(go));
    }
  }}};
  requestAnimationFrame(() => setTimeout(() => {
    document.head.append(Object.assign(document.createElement('script'), {src: source}));
  }));
}
