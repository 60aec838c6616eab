"""``%lk_load``: load a file of the bucket as a value of the notebook."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.errors import InsufficientMemory
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.live import StatusLine
from lk_jupyter.options.storage import LoadOptions
from lk_jupyter.session import current
from lk_jupyter.storage.load import SAMPLE, LoadRequest, code_for, load
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import SCHEME
from lk_jupyter.text.units import count_label, size_label


@magic(LoadOptions)
def lk_load(options: LoadOptions, shell: InteractiveShell) -> Any:
    """Load a file of the bucket as a DataFrame, an array, an image or a text.

    The suffix of the file decides the format: csv, tsv, json, jsonl, parquet, feather, xlsx, npy, npz, png, jpg, txt
    and more. The file can be compressed (gz, bz2, xz, zst, zip). From a parquet file, --columns downloads only the
    columns that you list.

    A DataFrame has the columns of the file. parquet and feather files keep their dtypes. For other files, pandas infers
    the dtypes (int64, float64, bool, datetime64, str). An npy file gives an array with the shape and dtype of the file.
    An npz file gives a dict of arrays.

    Examples::

        %lk_load data/train.parquet --as df
        %lk_load data/train.csv.gz --as head --sample 1000
        %lk_load data/train.parquet --columns price size --as df
    """
    key = options.key.removeprefix(SCHEME).lstrip("/")
    wish = LoadRequest(options.columns or None, options.sample)
    storage = current().storage
    try:
        value = load(storage, key, columns=wish.columns, sample=wish.sample)
    except InsufficientMemory as problem:
        if not ask(f"{problem}\nLoad the first {SAMPLE:,} rows instead? [y/N] "):
            raise
        wish = LoadRequest(wish.columns, SAMPLE)
        value = load(storage, key, columns=wish.columns, sample=wish.sample)
    if options.save is None:
        return value
    shell.user_ns[options.save] = value
    _show_loaded(options.save, value, key, wish)
    return None


def _show_loaded(name: str, value: Any, key: str, wish: LoadRequest) -> None:
    part = f"the first {wish.sample:,} at most" if wish.sample is not None else ""
    code = code_for(key, wish)
    line = StatusLine(name, [_describe_shape(value), part, f"from {SCHEME}{key}", f"in a run: {remote_path(key)}"])
    line.notice = f"{name} = {code}" if code else ""
    line.mark = "✓"
    display(line)


def _describe_shape(value: Any) -> str:
    """Describe a value: type, and shape or size."""
    kind = type(value).__name__
    if hasattr(value, "memory_usage"):
        rows, columns = value.shape
        size = size_label(int(value.memory_usage(deep=False).sum()))
        return f"{kind}, {count_label(rows, 'row')}, {count_label(columns, 'column')}, {size} in memory"
    if hasattr(value, "dtype"):
        return f"array of {value.dtype}, {' by '.join(f'{n:,}' for n in value.shape)}"
    if isinstance(value, str):
        return f"text, {len(value):,} letters"
    if isinstance(value, dict):
        return f"{kind} of {', '.join(map(str, list(value)[:5]))}{' …' if len(value) > 5 else ''}"
    return f"{kind}, {' by '.join(map(str, value.size))} pixels" if hasattr(value, "size") else kind
