"""Write the table of imports and packages, ``lk_jupyter/code/import_names.txt``, from the index of pigar.

pigar (BSD-3-Clause) lists the modules of each package on PyPI. Of a wheel of pigar, unpack ``pigar/.db.sqlite3``; the
ranking has the names of the most downloaded packages, a name a line, the most downloaded first:

    python tests/import_names.py .db.sqlite3 ranking.txt
"""

import re
import sqlite3
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "lk_jupyter" / "code" / "import_names.txt"

#: Packages of the table.
COUNT = 5000

#: A package with the name of the import is preferred to a package with a rank that is better by up to this factor.
FACTOR = 3

#: Imports of more packages than this are namespaces, such as ``google``: their package can't be known.
NAMESPACE = 5

#: Folders that packages install by mistake, and common words that no import of another package means.
MISTAKES = {
    *("tests", "test", "testing", "conftest", "docs", "doc", "examples", "example", "samples", "notebooks"),
    *("benchmarks", "benchmark", "src", "lib", "bin", "build", "dist", "scripts", "script", "tools", "tool"),
    *("utils", "util", "common", "core", "config", "setup", "data", "models", "images", "main"),
    *("DUMMY", "Examples", "FAKE_NAME", "build_backend", "build_tests", "build_tools", "build_utils", "demo"),
    *("cdk_integration_tests", "integration_tests", "sast_integration_tests", "testfunctions", "third_party"),
    *("authorization", "base", "bits", "certs", "cli", "clidriver", "com", "common_util", "cpp", "cpython"),
    *("ddc459050edb75a05942__mypyc", "enhancement_proposals", "es", "exceptions", "exchange", "extension_templates"),
    *("gallery", "include", "interactive", "internet", "meta", "node_modules", "numbergen", "org", "plugin", "ptr"),
    *("packaging_legacy_version", "results", "runtime_client", "services", "shell", "swagger", "timer", "typings"),
    *("v2", "validate", "version", "wheelhouse", "wheels"),
}

HEAD = "# Imports of PyPI's packages, most downloaded first, from pigar (BSD-3-Clause): see tests/import_names.py\n"


def normalize(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def choose(module, packages, ranks):
    """Return the package of an import; None for a namespace."""
    best, *others = sorted(packages, key=ranks.__getitem__)
    same = normalize(module)
    if same in packages and ranks[same] <= FACTOR * ranks[best]:
        return same
    return None if len(others) >= NAMESPACE else best


def read_modules(index, ranks):
    """Yield pairs of an import and a ranked package that provides the import."""
    query = "SELECT d.name, m.name FROM distributions d JOIN top_level_module_names m ON m.distribution_id = d.id"
    for package, module in sqlite3.connect(index).execute(query):
        is_import = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) and module not in MISTAKES | sys.stdlib_module_names
        if is_import and normalize(package) in ranks:
            yield module, normalize(package)


def main(index, ranking):
    names = Path(ranking).read_text(encoding="utf-8").split()[:COUNT]
    ranks = {normalize(name): rank for rank, name in enumerate(names, 1)}
    providers = {}
    for module, package in read_modules(index, ranks):
        providers.setdefault(module, set()).add(package)
    packages = {module: choose(module, names, ranks) for module, names in sorted(providers.items())}
    rows = [(module, package) for module, package in packages.items() if package]
    rows.sort(key=lambda row: ranks[row[1]])
    lines = [module if normalize(module) == package else f"{module} {package}" for module, package in rows]
    TARGET.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(len(lines), "imports")


if __name__ == "__main__":
    main(*sys.argv[1:])
