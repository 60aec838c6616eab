"""The package that an import needs, if the names of import and package differ."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from lk_jupyter.code.imports import local_version, providers
from lk_jupyter.errors import UsageError

#: Import → package, for frequent imports. A dotted import has a separate row.
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


def package_providing(module: str, installed: Mapping[str, list[str]] | None = None) -> tuple[str, bool] | None:
    """Return the package that provides a module, and whether the package is certain, not a guess by the same name.

    ``installed`` maps modules to the packages of this kernel. None for a part of the standard library, and for a
    submodule without a row in the table.
    """
    top = module.partition(".")[0]
    if module in PACKAGE_NAMES:
        return PACKAGE_NAMES[module], True
    if "." in module or top in sys.stdlib_module_names:
        return None
    provided_by = set((providers() if installed is None else installed).get(top, []))
    if len(provided_by) == 1:
        return provided_by.pop(), True
    return (top, False) if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", top) else None


def installed_requirements(names: AbstractSet[str]) -> list[str]:
    """Return ``package==version`` of this kernel for each import outside the standard library.

    An import that no package of this kernel provides is required without a version if the package is in the table.
    Raises UsageError with all other imports.
    """
    provided = providers()
    foreign = names - set(sys.stdlib_module_names)
    unknown = sorted(name for name in foreign if name not in provided and name not in PACKAGE_NAMES)
    if unknown:
        quoted = ", ".join(f"'{name}'" for name in unknown)
        is_one, them = ("isn't", "its package") if len(unknown) == 1 else ("aren't", "their packages")
        raise UsageError(
            f"-r auto: {quoted} {is_one} installed here, so {them} can't be looked up. Nothing was sent. Name "
            f"the packages: {' '.join(f'-r {name}' for name in unknown)}"
        )
    local = {package for name in foreign for package in provided.get(name, ())}
    elsewhere = {PACKAGE_NAMES[name] for name in foreign if name not in provided}
    return sorted([*(f"{package}=={local_version(package)}" for package in local), *elsewhere])
