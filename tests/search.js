// Run queries with the search of the built site. Arguments: the folder of the site, the queries as JSON.
const { readFileSync } = require('fs');
const { runInNewContext } = require('vm');

const [site, queries] = process.argv.slice(2);
const context = {
  document: { getElementById: () => null, querySelectorAll: () => [], addEventListener() {}, readyState: 'loading' },
  localStorage: { setItem() {} },
  SPHINX_HIGHLIGHT_ENABLED: false,
  _ready: () => {},
  _: text => text
};
context.window = context;
const scripts = ['searchtools.js', 'language_data.js'].map(name => readFileSync(`${site}/_static/${name}`, 'utf8'));
const index = readFileSync(`${site}/searchindex.js`, 'utf8');
const ask = `JSON.parse(${JSON.stringify(queries)}).map(query => Search._performSearch(...Search._parseQuery(query)).reverse().map(row => row[0]))`;
const answers = runInNewContext([...scripts, index, ask].join('\n;'), context);
console.log(JSON.stringify(answers));
