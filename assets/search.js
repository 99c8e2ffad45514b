/* The search box finds the book's text before what explains words and names: Sphinx's own scores, but the reference
   comes last, and the glossary, whose entries Sphinx finds only in a book built a second time, does not come first. */
var Scorer = {
  score: ([page, , , , score]) =>
    page.startsWith("chapters/api") || page === "genindex" ? score - 1000 : page === "chapters/glossary" ? score - 100 : score,
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
