/* The search box finds the book's text before its reference: same scores as Sphinx's own, the reference after the rest. */
var Scorer = {
  score: ([page, , , , score]) => (page.startsWith("chapters/api") || page === "genindex" ? score - 1000 : score),
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
