// Weights of the search results. Pages of the reference follow all guides, and names of the API come last.
var Scorer = {
  score: ([page, , , , score, , kind]) => score - (kind === 'object' ? 200 : page.startsWith('reference/') ? 100 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2
};
