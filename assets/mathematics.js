// MathJax sets the formulas of a page in small pieces, so that the page answers in between: what is on the screen
// first, then all others from the top, until none is left. Raw TeX keeps a formula's place until then.
window.MathJax = {...window.MathJax, startup: {async pageReady() {
  const seen = e => { const {top, bottom} = e.getBoundingClientRect(); return bottom > 0 && top < innerHeight; };
  const all = [...document.querySelectorAll('.math')], first = all.filter(seen);
  let left = [...first, ...all.filter(e => !first.includes(e))];
  addEventListener('beforeprint', () => MathJax.typeset(left.splice(0)));  // paper does not wait
  for (let size = 4; left.length;) {  // a piece takes 12 ms; each costs some 5 ms whatever it holds
    const start = performance.now();
    await MathJax.typesetPromise(left.splice(0, size));
    size = Math.max(4, Math.round(size * Math.min(2, 12 / (performance.now() - start))));
    await new Promise(go => setTimeout(go));
  }
}}};
