"""Objects as values of Python: tables as DataFrames, arrays, images, text, by the suffix of the key."""

from __future__ import annotations

import bz2
import gzip
import importlib
import importlib.util
import io
import json
import lzma
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from lk_jupyter._extras import build_extra_command, build_install_command
from lk_jupyter._threads import import_safely
from lk_jupyter.errors import InsufficientMemory, LkError, StorageError
from lk_jupyter.remote.values import tables
from lk_jupyter.storage.storage import Storage
from lk_jupyter.text.units import size_label

#: Rows that are offered where all do not fit.
SAMPLE = 100_000

#: The share of the free memory that a loaded object may use.
_SHARE = 0.7

#: Linux files with the free memory, and with the memory limit of a container.
_SYSTEM, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class LoadRequest:
    """The parts of an object to load: columns and number of first rows; None for all."""

    columns: list[str] | None = None
    sample: int | None = None


@dataclass(frozen=True)
class Format:
    """A file format: its read function, and its memory per byte of the file."""

    name: str
    read: Callable[[Any, LoadRequest], Any]
    growth: float = 1.0
    has_columns: bool = True


def load(storage: Storage, key: str, *, columns: list[str] | None = None, sample: int | None = None) -> Any:
    """Return the content of an object by its suffix: a DataFrame, an array, an image, or text.

    ``columns`` and ``sample`` (the first rows or lines) read no more than they need where the format allows it. Raises
    InsufficientMemory before an object larger than the free memory is loaded, and StorageError for an unknown suffix
    and for a broken file.
    """
    key = key.removeprefix("lk://").lstrip("/")
    kind, unpack = _format_for(key)
    wish = LoadRequest(columns or None, sample)
    if columns and not kind.has_columns:
        raise StorageError(f"{key!r} is {kind.name}, which has no columns.")
    with ExitStack() as stack:
        file = stack.enter_context(storage.open(key))
        if not file.size and kind.name != "text":
            raise StorageError(f"{key!r} is empty: it contains no {kind.name}.")
        if sample is None:
            _check_memory(key, kind, file, wish, packed=unpack is not None)
        with _report_broken_file(key, kind):
            return kind.read(stack.enter_context(unpack(file)) if unpack else file, wish)


def code_for(key: str, wish: LoadRequest) -> str:
    """Return a line of pandas code that loads an object without lk_jupyter; "" if pandas has no such call."""
    kind, _ = _format_for(key)
    call = _CALLS.get(kind.name)
    if not call or (wish.sample is not None and not call.rows):
        return ""
    chosen = f", {call.columns}={wish.columns!r}" if wish.columns else ""
    part = f", {call.rows}={wish.sample}" if wish.sample is not None else ""
    return f"pd.{call.name}({json.dumps('lk://' + key, ensure_ascii=False)}{call.always}{chosen}{part})"


def is_loadable(key: str) -> bool:
    """Return whether an object with this suffix can be loaded."""
    with suppress(StorageError):
        return bool(_format_for(key))
    return False


def is_table(key: str) -> bool:
    """Whether an object of this key becomes a DataFrame."""
    return is_loadable(key) and _format_for(key)[0].name in {*_CALLS, "json"}


#: Suffixes of files that contain pickles.
_PICKLED = {".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth"}


def _format_for(key: str) -> tuple[Format, Callable[[Any], Any] | None]:
    suffixes = [suffix.lower() for suffix in PurePosixPath(key).suffixes]
    unpack = PACKED.get(suffixes[-1]) if suffixes else None
    inner = suffixes[:-1] if unpack else suffixes
    kind = FORMATS.get(inner[-1] if inner else "")
    if inner and inner[-1] in _PICKLED:
        raise StorageError(
            f"{key!r} is a pickle file. Reading it executes code of its author, and every member of your organization "
            f"can write the file. Nothing was read. If you trust the author, download it: %lk_get {key}"
        )
    if kind is None:
        loadable = " ".join(sorted([*FORMATS, *PACKED]))
        raise StorageError(
            f"{key!r} can't be loaded, because its suffix is unknown. Known suffixes: {loadable}. "
            f"Download it: %lk_get {key}"
        )
    return kind, unpack


def _check_memory(key: str, kind: Format, file: Any, wish: LoadRequest, *, packed: bool) -> None:
    free = free_memory()
    needed = _read_parquet_size(file, wish) if kind.name == "parquet" and not packed else 0
    needed = needed or int(file.size * kind.growth * (4 if packed else 1))
    if free is not None and needed > free * _SHARE:
        less = " or fewer --columns" if kind.has_columns else ""
        raise InsufficientMemory(
            f"{key!r} has {size_label(file.size)} and needs about {size_label(needed)} of memory; "
            f"{size_label(free)} are free. Nothing was loaded. Load a sample: --sample {SAMPLE}{less}"
        )


def free_memory() -> int | None:
    """Return the number of bytes that this process may still use; None if the system doesn't report it."""
    sizes = [size for size in (_read_available_memory(), _read_group_memory()) if size is not None]
    return min(sizes) if sizes else None


def _read_available_memory() -> int | None:
    """Return the bytes of memory that the system can give to a new process; None if unknown."""
    with suppress(OSError):
        match = re.search(r"MemAvailable:\s+(\d+) kB", _SYSTEM.read_text())
        return int(match[1]) * 1024 if match else None
    with suppress(OSError, ValueError, AttributeError):  # macOS reports the total memory; Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _read_group_memory() -> int | None:
    """Return the remaining bytes below the memory limit of a container; None without a limit."""
    with suppress(OSError, ValueError):
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, limit - used)
    return None


def _read_parquet_size(file: Any, wish: LoadRequest) -> int:
    """Return the bytes of the wanted columns when they are unpacked; 0 if unknown."""
    try:
        meta = library("pyarrow.parquet").ParquetFile(file).metadata
    except LkError:
        raise
    except Exception:  # noqa: BLE001 (that it is broken is said when it is read)
        return 0
    finally:
        file.seek(0)
    chunks = (meta.row_group(group).column(n) for group in range(meta.num_row_groups) for n in range(meta.num_columns))
    columns = set(wish.columns or ())
    return sum(
        c.total_uncompressed_size for c in chunks if not columns or c.path_in_schema.partition(".")[0] in columns
    )


@contextmanager
def _report_broken_file(key: str, kind: Format) -> Iterator[None]:
    """Raise StorageError with one line, if a file doesn't match its suffix or lacks requested columns."""
    try:
        yield
    except (LkError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (each library has its own)
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise StorageError(f"Can't read {key!r} as {kind.name}: {reason}.") from None


def library(name: str) -> Any:
    """Import and return an optional library. Raises the error with the package to install."""
    try:
        return import_safely(name)
    except ImportError:
        raise _build_missing_library_error(name) from None


def require_library(name: str) -> None:
    """Raise the error with the package to install, if a library is missing. Nothing is imported."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        raise _build_missing_library_error(name)


def _build_missing_library_error(name: str) -> StorageError:
    module = name.partition(".")[0]
    command = build_install_command("pillow") if module == "PIL" else build_extra_command("pandas")
    return StorageError(f"This needs {module}: {command}")


def _load_csv(file: Any, wish: LoadRequest, separator: str = ",") -> Any:
    return library("pandas").read_csv(file, sep=separator, usecols=wish.columns, nrows=wish.sample)


def _load_tsv(file: Any, wish: LoadRequest) -> Any:
    return _load_csv(file, wish, "\t")


def _load_json(file: Any, wish: LoadRequest) -> Any:
    content = bytes(file.read())
    try:
        table = library("pandas").read_json(io.BytesIO(content))
    except ValueError:
        return json.loads(content)  # a document, and no table
    return _select_part(table, wish)


def _load_jsonl(file: Any, wish: LoadRequest) -> Any:
    if wish.sample is not None:
        file = io.BytesIO(b"".join(islice(file, wish.sample)))
    return _select_part(library("pandas").read_json(file, lines=True), wish)


def _load_parquet(file: Any, wish: LoadRequest) -> Any:
    parquet = library("pyarrow.parquet")
    if wish.sample is None:
        return _require_valid_offsets(parquet.read_table(file, columns=wish.columns)).to_pandas()
    batches = parquet.ParquetFile(file).iter_batches(batch_size=max(1, wish.sample), columns=wish.columns)
    return _select_part(
        _build_frame_from_batches(islice(batches, 1), parquet.ParquetFile(file).schema_arrow, wish), wish
    )


def _build_frame_from_batches(batches: Any, schema: Any, wish: LoadRequest) -> Any:
    arrow = library("pyarrow")
    parts = list(batches)
    table = arrow.Table.from_batches(parts) if parts else schema.empty_table()
    return _require_valid_offsets(table.select(wish.columns) if wish.columns else table).to_pandas()


def _require_valid_offsets(table: Any) -> Any:
    """Return a pyarrow table with valid offsets: invalid offsets would read foreign memory. Raises ValueError."""
    tables.require_valid(table)
    return table


def _load_feather(file: Any, wish: LoadRequest) -> Any:
    if wish.sample is None:
        return _require_valid_offsets(library("pyarrow.feather").read_table(file, columns=wish.columns)).to_pandas()
    reader = library("pyarrow").ipc.open_file(file)
    batches, rows = list[Any](), 0
    while rows < wish.sample and len(batches) < reader.num_record_batches:
        batches.append(reader.get_batch(len(batches)))
        rows += batches[-1].num_rows
    return _select_part(_build_frame_from_batches(batches, reader.schema, wish), wish)


def _load_excel(file: Any, wish: LoadRequest) -> Any:
    return library("pandas").read_excel(io.BytesIO(file.read()), usecols=wish.columns, nrows=wish.sample)


def _select_part(table: Any, wish: LoadRequest) -> Any:
    """Return the wanted part of a table that was read completely."""
    chosen = table if wish.columns is None or list(table.columns) == wish.columns else table[wish.columns]
    return chosen if wish.sample is None else chosen.head(wish.sample)


def _load_npy(file: Any, wish: LoadRequest) -> Any:
    numpy = library("numpy")
    if wish.sample is None:
        content = io.BytesIO(file.read())
        _require_complete(numpy, content)
        return numpy.load(content, allow_pickle=False)
    version = numpy.lib.format.read_magic(file)
    read = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if is_fortran or not shape or dtype.hasobject:
        file.seek(0)
        return numpy.load(io.BytesIO(file.read()), allow_pickle=False)[: wish.sample]
    shape = (min(shape[0], wish.sample), *shape[1:])
    count = math.prod(shape)
    return numpy.frombuffer(bytearray(file.read(count * dtype.itemsize)), dtype, count).reshape(shape)


def _require_complete(numpy: Any, content: io.BytesIO) -> None:
    """Raise ValueError, before memory is allocated, if a numpy header states more elements than the file has."""
    version = numpy.lib.format.read_magic(content)
    read = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
    shape, _, dtype = read(content)
    if math.prod(shape) * max(1, dtype.itemsize) > len(content.getbuffer()) - content.tell() and not dtype.hasobject:
        raise ValueError("the file is shorter than its header states")
    content.seek(0)


def _load_npz(file: Any, wish: LoadRequest) -> Any:
    with library("numpy").load(file, allow_pickle=False) as arrays:
        return {name: arrays[name][: wish.sample] for name in wish.columns or arrays.files}


def _load_image(file: Any, _: LoadRequest) -> Any:
    image = library("PIL.Image").open(io.BytesIO(file.read()))
    image.load()
    return image


def _load_text(file: Any, wish: LoadRequest) -> str:
    content = file.read() if wish.sample is None else b"".join(islice(file, wish.sample))
    return bytes(content).decode("utf-8-sig")


def _open_zip(file: Any) -> Any:
    archive = zipfile.ZipFile(file)
    if len(archive.namelist()) != 1:
        raise StorageError(
            f"Only a zip with one file can be loaded; this one has {len(archive.namelist())}. Download it: %lk_get"
        )
    return archive.open(archive.namelist()[0])


def _open_zst(file: Any) -> Any:
    return library("zstandard").ZstdDecompressor().stream_reader(file)


PACKED: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
    ".zst": _open_zst,
}

_IMAGE = Format("an image", _load_image, 8, has_columns=False)
_TEXT = Format("text", _load_text, 2, has_columns=False)

FORMATS: dict[str, Format] = {
    ".csv": Format("csv", _load_csv, 2.5),
    ".tsv": Format("tsv", _load_tsv, 2.5),
    ".json": Format("json", _load_json, 5),
    ".jsonl": Format("jsonl", _load_jsonl, 5),
    ".ndjson": Format("jsonl", _load_jsonl, 5),
    ".parquet": Format("parquet", _load_parquet, 5),
    ".pq": Format("parquet", _load_parquet, 5),
    ".feather": Format("feather", _load_feather, 3),
    ".arrow": Format("feather", _load_feather, 3),
    ".xlsx": Format("excel", _load_excel, 20),
    ".xls": Format("excel", _load_excel, 10),
    ".npy": Format("npy", _load_npy, 2, has_columns=False),
    ".npz": Format("npz", _load_npz, 2),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"), _IMAGE),
    **dict.fromkeys((".txt", ".md", ".log", ".py", ".yaml", ".yml", ".toml", ".ini", ".xml", ".html", ".sql"), _TEXT),
}


@dataclass(frozen=True)
class _Call:
    """A function of pandas, its constant arguments, and the names of its parameters for columns and first rows."""

    name: str
    columns: str
    rows: str = ""
    always: str = ""


_CALLS = {
    "csv": _Call("read_csv", "usecols", "nrows"),
    "tsv": _Call("read_csv", "usecols", "nrows", r', sep="\t"'),
    "parquet": _Call("read_parquet", "columns"),
    "feather": _Call("read_feather", "columns"),
    "jsonl": _Call("read_json", "", "nrows", ", lines=True"),
    "excel": _Call("read_excel", "usecols", "nrows"),
}
