// Lists the packages of others that the built files hold: their versions as CycloneDX, and their licences in full.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

const TARGET = '../lk_jupyter/widgets/static';
const LAB = JSON.parse(readFileSync('../lk_jupyter/labextension/static/third-party-licenses.json', 'utf8'));

const inWidgets = JSON.parse(readFileSync('lib/widgets.json', 'utf8'));
const names = [
  ...inWidgets.flatMap(path => path.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? []),
  ...LAB.packages.map(each => each.name)
];
const packages = [...new Set(names)].sort().map(name => {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
  const file = readdirSync(folder).find(each => /^licen[cs]e/i.test(each));
  // Some packages come without the text: licenses/ has the text of their repository.
  return { name, version, license, text: readFileSync(file ? `${folder}/${file}` : `licenses/${name}`, 'utf8') };
});

const purl = ({ name, version }) => `pkg:npm/${name.replace('@', '%40')}@${version}`;
const sbom = {
  bomFormat: 'CycloneDX',
  specVersion: '1.6',
  version: 1,
  metadata: {
    component: { type: 'library', name: 'lk-jupyter', version: JSON.parse(readFileSync('package.json', 'utf8')).version }
  },
  components: packages.map(each => ({
    type: 'library',
    'bom-ref': purl(each),
    name: each.name,
    version: each.version,
    purl: purl(each),
    licenses: [{ license: { id: each.license } }]
  }))
};
writeFileSync(`${TARGET}/sbom.cdx.json`, JSON.stringify(sbom, null, 1) + '\n');
const notice = each => `${each.name} ${each.version} (${each.license})\n\n${each.text.trim()}\n`;
writeFileSync(`${TARGET}/THIRD-PARTY-LICENSES.txt`, packages.map(notice).join(`\n${'-'.repeat(80)}\n\n`));
