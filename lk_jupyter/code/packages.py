"""The package that an import needs, also if the package isn't installed here."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from pathlib import Path

from lk_jupyter.code.imports import has_package, local_version, providers
from lk_jupyter.errors import UsageError

#: Import → package, where the table of frequent packages has none or another. A dotted import has a separate row.
PACKAGE_NAMES = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "Levenshtein": "levenshtein",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "clip": "openai-clip",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "flash_attn": "flash-attn",
    "git": "gitpython",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.storage": "google-cloud-storage",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pytorch_lightning": "pytorch-lightning",
    "ruamel": "ruamel.yaml",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


#: Shortest name whose similarity to a frequent name isn't an accident, and the most downloaded imports for comparison.
_SHORTEST, _COMPARED = 5, 1000


@lru_cache(maxsize=1)
def frequent_packages() -> dict[str, str]:
    """Return import → package of PyPI's most downloaded packages; see ``tests/import_names.py``."""
    lines = Path(__file__).with_name("import_names.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    packages = {row[0]: row[-1] if len(row) > 1 else normalize_name(row[0]) for row in rows}
    return {**packages, **{module: name for module, name in PACKAGE_NAMES.items() if "." not in module}}


@lru_cache(maxsize=1)
def _list_frequent_names() -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
    """Return the normal names of all frequent packages, and normal import and package of the compared rows."""
    rows = frequent_packages().items()
    compared = tuple((normalize_name(module), package) for module, package in islice(rows, _COMPARED))
    return frozenset(normalize_name(package) for _, package in rows), compared


def normalize_name(package: str) -> str:
    """Return the name of a package as an index compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def similar_package(name: str) -> str | None:
    """Return the frequent package for which an unknown name may be a typing error or a trap; None without one.

    A name is similar if one letter is added, missing, replaced or swapped with its neighbor.
    """
    normal, (package_names, compared) = normalize_name(name), _list_frequent_names()
    if len(normal) < _SHORTEST or name in frequent_packages() or normal in package_names:
        return None
    similar = (row[1] for row in compared if any(_differ_by_one(normal, each) for each in row))
    return next(similar, None)


def _differ_by_one(first: str, second: str) -> bool:
    if abs(len(first) - len(second)) > 1:
        return False
    same = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    if same is None:
        return len(first) != len(second)
    first, second = first[same:], second[same:]
    is_swapped = first[:2] == second[1::-1] and first[2:] == second[2:]
    return is_swapped or first[1:] == second[1:] or first[1:] == second or first == second[1:]


def package_providing(module: str, installed: Mapping[str, list[str]] | None = None) -> tuple[str, bool] | None:
    """Return the package that provides a module, and whether the package is certain, not a guess by the same name.

    ``installed`` maps modules to the packages of this kernel. None for a part of the standard library, for a
    submodule without a row in the table, and for a name that is similar to a frequent package.
    """
    top = module.partition(".")[0]
    if module in PACKAGE_NAMES:
        return PACKAGE_NAMES[module], True
    if "." in module or top in sys.stdlib_module_names:
        return None
    provided_by = set((providers() if installed is None else installed).get(top, []))
    if len(provided_by) == 1:
        return provided_by.pop(), True
    if top in frequent_packages():
        return frequent_packages()[top], True
    return (top, False) if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", top) and not similar_package(top) else None


#: The module that each run gets as files: no index has to provide it.
_OUR_MODULE = "lk_jupyter"

#: The name at the start of a requirement.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def installed_requirements(names: AbstractSet[str], requirements: Iterable[str] = ()) -> list[str]:
    """Return ``package==version`` of this kernel for each import outside the standard library.

    An import that no package of this kernel provides is required without a version if the package is frequent.
    ``requirements`` are all requirements of the run, which stay as listed, and whose packages may provide unknown
    imports. Raises UsageError for unknown imports if nothing is listed, and for a name that is similar to a frequent
    package.
    """
    provided, frequent = providers(), frequent_packages()
    foreign = names - set(sys.stdlib_module_names) - {_OUR_MODULE}
    matches = (_NAME.match(text) for text in requirements if text != "auto")
    listed = {normalize_name(match[0]) for match in matches if match}
    unknown = sorted(name for name in foreign - provided.keys() - frequent.keys() if normalize_name(name) not in listed)
    for name in unknown:
        if similar := similar_package(name):
            raise UsageError(
                f"-r auto: '{name}' isn't a widely used package, and its name is similar to '{similar}'. Nothing was "
                f"sent. Correct the import, or name the package: -r {name}==VERSION"
            )
    if unknown and not listed:
        quoted = ", ".join(f"'{name}'" for name in unknown)
        is_one, them = ("isn't", "its package") if len(unknown) == 1 else ("aren't", "their packages")
        raise UsageError(
            f"-r auto: {quoted} {is_one} installed here, so {them} can't be looked up. Nothing was sent. Name "
            f"the packages: {' '.join(f'-r {name}' for name in unknown)}"
        )
    local = {package for name in foreign for package in provided.get(name, ())}
    elsewhere = {frequent[name] for name in foreign & frequent.keys() if name not in provided}
    pins = [*(f"{package}=={local_version(package)}" for package in local), *elsewhere]
    return sorted(pin for pin in pins if normalize_name(pin.partition("==")[0]) not in listed)


def refuse_similar(package: str) -> None:
    """Refuse a package whose name is similar to a frequent package, unless it is installed here. Raises UsageError."""
    similar = None if has_package(package) else similar_package(package)
    if similar:
        raise UsageError(
            f"-r: '{package}' isn't a widely used package, and its name is similar to '{similar}'. Nothing was sent. "
            f"Use -r {similar}. If the name is correct, add the version: -r {package}==VERSION"
        )
