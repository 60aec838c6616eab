"""Files that a program would execute or obey unasked, or that Python would import in place of another module."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from pathlib import Path

from lk_jupyter.config.files import config_file, platform_path

#: Modules that Python and pytest import unasked, and files whose code Jupyter and IPython execute at their start.
_EXECUTED = {"sitecustomize", "usercustomize", "conftest"}
_CONFIG = re.compile(r"(?:jupyter|ipython)\w*_config\.(?:py|json)")

#: Folders that Python reads as byte code or as an installed package, and folders of kernels, profiles, configuration,
#: hooks and start scripts.
_LOADED_FOLDERS = re.compile(
    r"__pycache__|.*\.(?:dist-info|egg-info|egg|data-info)|kernels|startup|nbextensions|labextensions|labconfig"
    r"|profile_default|.*config\.d|hooks"
)

#: Files that a tool obeys in whose folder it is started, or executes at an import: byte code, extension modules,
#: configuration of test, build and package tools, of editors and of desktops. pytest executes its tests, and the
#: examples in test*.txt; git takes a folder with HEAD for a repository.
_LOADED_FILES = re.compile(
    r".*\.(?:pth|pyc|pyo|pyd|so|dylib|dll|egg-link|ini|cfg|toml|code-workspace|desktop|service|inf|lnk)|.*\.so\.[0-9.]+"
    r"|(?:setup|noxfile|fabfile|tasks|dodo|manage|wscript|sconstruct|test_.*|.*_test)\.py|test.*\.txt|pip\.conf"
    r"|(?:jupyter|ipython)\w*_config\..*|.*\.config\.\w+|head|cmakelists\.txt|build|workspace|sconstruct"
    r"|(?:package|package-lock|composer|tsconfig|jsconfig|devcontainer|kernel|pyrightconfig|lerna|deno|nx|turbo|vercel"
    r"|firebase|angular|overrides|page_config|pom|build)\.(?:jsonc?|xml)"
    r"|(?:make|gnumake|docker|vagrant|just|rake|gem|proc|jenkins|tilt|snake|task|earth|container)file(?:\..*)?"
    r"|(?:compose|docker-compose|environment|_config|mkdocs|_quarto|dvc|skaffold|action|anaconda-project|meta)\.ya?ml"
)

#: Formats of files that contain data: no program loads or executes such a file automatically. A folder from elsewhere
#: brings only these, and names without a format that no tool looks for.
_DATA_FORMATS = frozenset(
    re.findall(
        r"\w+",
        """
    7z, aac, ann, arff, arrow, asc, avi, avif, avro, bam, bed, bib, bin, blosc, bmp, br, bz2, cif, ckpt, csv,
    db, dbf, dcm, dict, doc, docx, dta, duckdb, edf, eps, fa, fasta, fastq, feather, fif, fits, flac, fna, fq,
    geojson, gexf, gff, gguf, gif, gml, gpkg, gpx, graphml, grb, grib, gtf, gz, h5, h5ad, hdf, hdf5, hdr, htm,
    html, hub, idx, img, index, ipc, ipynb, joblib, jp2, jpeg, jpg, json, json5, jsonl, kml, las, laz, lbl,
    lmdb, log, loom, lz4, m4a, mat, md, mdb, merges, meta, mhd, mid, midi, mkv, mmap, model, mov, mp3, mp4,
    mpeg, mpg, msgpack, mtx, nc, ndjson, netcdf, nii, npy, npz, nrrd, obj, odb, ods, odt, ogg, onnx, opus, orc,
    params, parquet, pb, pbf, pbtxt, pcap, pcd, pdb, pdf, pgm, pickle, pkl, ply, png, pnm, ppm, ppt, pptx, prj,
    proto, ps, psv, pt, pt2, ptl, qoi, rar, raw, rda, rdata, rds, rec, ris, rst, safetensors, sam, sas7bdat,
    sav, shp, shx, snappy, spm, sql, sqlite, sqlite3, srt, stl, svg, tab, tar, tbi, tex, text, tfevents, tflite,
    tfrecord, tfrecords, tgz, tif, tiff, tokenizer, trc, trk, tsv, txt, vcf, vec, vocab, vtk, vtt, vtu, wav,
    webm, webp, weights, wkt, wmv, xls, xlsx, xml, xpt, xyz, xz, yaml, yml, zarr, zip, zst
""",
    )
)

#: Names without a format that tools look for in the folder where they start.
_TOOL_NAMES = re.compile(r".*file|.*script|sconstruct|head|config|build|workspace|install|configure|gradlew|mvnw")

#: Hidden files that belong to a store of arrays: no program executes them.
_ARRAY_FILES = {".zarray", ".zattrs", ".zgroup", ".zmetadata"}

#: The start of an example that doctest executes.
_EXAMPLE = b">>>"


@dataclass(frozen=True)
class Risk:
    """Why a download must not create a file: the reason, and the index of the path's part that causes the risk."""

    words: str
    index: int


def find_name_risk(name: str, content: bytes | None = None) -> Risk | None:
    """Return why a program may load a file automatically; None without a risk. ``name`` is its path below a folder.

    Programs read such a file whenever they start in the folder. So a download of the folder skips it, and a run writes
    it under another name. ``index`` counts the parts of ``name``, which are separated by ``/``. A text of pytest is a
    risk only if its ``content``, where known, has an example.
    """
    *folders, last = name.lower().split("/")
    if content is not None and last.endswith(".txt") and last.startswith("test") and _EXAMPLE not in content:
        last = "text.txt"
    for index, part in enumerate((*folders, last)):
        pattern = _LOADED_FOLDERS if index < len(folders) else _LOADED_FILES
        if part.startswith(".") and (index < len(folders) or part not in _ARRAY_FILES):
            return Risk("has a hidden part, which programs may obey", index)
        if pattern.fullmatch(part):
            return Risk("may be executed or obeyed by a program in this folder", index)
    return None


def explain_skip(path: Path, name: str, *, include_hidden: bool = False) -> str:
    """Return why a download of a folder skips the file at ``path``; empty if it doesn't.

    ``name`` is its path below the folder. Other members can write into the bucket, so a folder brings only data: a file
    that a program would load unasked, or whose format isn't one of data, is downloaded only by its own name or with
    ``include_hidden``, also if the file exists. Our own settings come in no folder.
    """
    resolved = path.resolve()
    if not {config_file().parent.resolve(), platform_path("data").resolve()}.isdisjoint(resolved.parents):
        return "would change the settings or records of lk_jupyter"
    if include_hidden:
        return ""
    risk = execution_risk(resolved)
    return risk.words if risk else explain_name(name)


def explain_name(name: str) -> str:
    """Return why a folder doesn't bring the file of this name to any machine; empty if it does."""
    if risk := find_name_risk(name):
        return risk.words
    return "" if _is_data(name.rpartition("/")[2].lower()) else "isn't in a format of data, and programs may load it"


def _is_data(name: str) -> bool:
    """Return whether a file of this name, in lower case, contains data, according to its format or its name."""
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        return not _TOOL_NAMES.fullmatch(name)
    return not stem or suffix in _DATA_FORMATS or suffix.isdigit()


def execution_risk(path: Path) -> Risk | None:
    """Return why Python would execute the file at this resolved path; None without a risk. Nothing is imported."""
    last, name = len(path.parts) - 1, path.name.lower()
    if name.endswith(".pth") or _CONFIG.fullmatch(name):
        return Risk("would be executed when Python or Jupyter starts in this folder", last)
    if not name.endswith(tuple(all_suffixes())):
        return None
    working, entries = Path.cwd().resolve(), _resolve_folders(tuple(sys.path))
    bases = [folder for folder in path.parents if folder == working or folder in entries]
    first = min((len(folder.parts) for folder in bases), default=last)
    for index in range(first, last + 1):
        if _build_module_name(path.parts[index]).lower() in _EXECUTED:
            return Risk("would be executed when Python or pytest starts in this folder", index)
    for base in bases:
        index = len(base.parts)
        module = _build_module_name(path.parts[index])
        if module.isidentifier() and _is_elsewhere(module, base / path.parts[index]):
            return Risk(f"would be imported here in place of the module {module}", index)
    return None


@lru_cache(8)
def _resolve_folders(entries: tuple[str, ...]) -> frozenset[Path]:
    """Return the folders of these entries; an empty entry is the working folder, which is always checked."""
    return frozenset(Path(entry).resolve() for entry in entries if entry)


def _build_module_name(part: str) -> str:
    return part.partition(".")[0]


def _is_elsewhere(module: str, path: Path) -> bool:
    """Return whether a module of this name is importable from another place than this file or folder."""
    siblings = {path.with_name(module + suffix) for suffix in all_suffixes()} - {path}
    if module in sys.stdlib_module_names or any(sibling.exists() for sibling in siblings):
        return True
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):  # a module that was made in this process has no spec
        return module in sys.modules
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location and spec.origin else []
    folders = list(spec.submodule_search_locations or ())
    return path not in {Path(place).resolve() for place in (*places, *folders)}
