// Two builds of the same sources are equal, in whatever folder. Module ids are hashes of relative paths. Rspack hashes
// the absolute path for the id of the entry, and requests the chunks of an import in an order that differs by folder.
const REQUESTS = /(?<=\bPromise\.all\([^[]*\[)(?:\w+\.e\(\d+\), )+\w+\.e\(\d+\)(?=\])/g;
const HASHES = /(?<=")[0-9a-f]{16}(?=")/g;

class ReproducibleBuild {
  apply(compiler) {
    const { Compilation, ids, sources } = compiler.webpack;
    new ids.HashedModuleIdsPlugin({ hashDigestLength: 3 }).apply(compiler);
    compiler.hooks.compilation.tap('ReproducibleBuild', compilation => {
      const change = (stage, changed) =>
        compilation.hooks.processAssets.tap({ name: 'ReproducibleBuild', stage }, assets => {
          for (const name of Object.keys(assets).filter(name => /\.js(\?|$)/.test(name))) {
            compilation.updateAsset(name, new sources.RawSource(changed(assets[name].source().toString())));
          }
        });
      const hashes = []; // of chunks as Rspack wrote them; the final ones are those of the files
      // The minifier names variables by how often each letter occurs, so all texts are made equal before it.
      change(Compilation.PROCESS_ASSETS_STAGE_PRE_PROCESS, text => {
        const entry = [...compilation.modules].find(module => module.identifier().startsWith('container entry'));
        const id = JSON.stringify(compilation.chunkGraph.getModuleId(entry));
        return text
          .replaceAll(id, '"entry"')
          .replace(REQUESTS, requests => requests.split(', ').sort().join(', '))
          .replace(HASHES, hash => String((hashes.indexOf(hash) + 1 || hashes.push(hash)) - 1).padStart(16, '0'));
      });
      change(Compilation.PROCESS_ASSETS_STAGE_SUMMARIZE, text =>
        text.replace(HASHES, number => hashes[Number(number)] ?? number)
      );
    });
  }
}

module.exports = { optimization: { moduleIds: false }, plugins: [new ReproducibleBuild()] };
