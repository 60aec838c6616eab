"""Arrays, scalars and dtypes of numpy, as nodes and leaves; a leaf is a ``.npy`` file, version 3.

Contiguous arrays are neither copied to send nor to read.
"""

from __future__ import annotations

import ast
import base64
import math
import operator
import struct

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from .codec import Decoder, Encoder, Sink

MAGIC = b"\x93NUMPY\x03\x00"
ALIGNED = 64

#: The longest description of a dtype that is parsed, in characters, and the most elements of arrays without bytes.
MAX_HEADER, MAX_EMPTY = 100_000, 1_000_000


def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    """Fill the node of a value of numpy; return False without a native form."""
    kind = type(value)
    if kind in (np.ndarray, np.memmap):
        node.update(t="numpy.array", leaf=_encode_leaf(encoder, np.asarray(value)))
    elif kind is np.ma.MaskedArray:
        node.update(t="numpy.masked", hard=bool(value.hardmask), fill=_encode_fill_value(encoder, value))
        node["v"] = [encoder.node(np.asarray(value.data)), encoder.node(_read_mask(value))]
    elif kind is np.recarray or kind is np.matrix:
        node.update(t="numpy." + kind.__name__, v=encoder.node(_convert_to_plain_array(value)))
    elif isinstance(value, np.generic) and kind.__module__ == "numpy":
        node.update(t="numpy.scalar", d=_describe_dtype(encoder, value.dtype))
        node["v"] = base64.b64encode(np.asarray(value).tobytes()).decode()
    elif isinstance(value, np.dtype):
        node.update(t="numpy.dtype", d=_describe_dtype(encoder, value))
    else:
        return False
    encoder.modules.add("numpy")
    return True


def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
    """Return the value of a node that ``encode`` made."""
    kind = node["t"].partition(".")[2]
    if kind == "array":
        return read(decoder.leaf(node["leaf"]))
    if kind == "scalar":
        return _view_as_array(base64.b64decode(node["v"]), _parse_dtype(node["d"]), ())[()]
    if kind == "dtype":
        return _parse_dtype(node["d"])
    if kind == "masked":
        data, mask = decoder.values(node["v"])
        fill = decoder.value(node["fill"])
        return np.ma.MaskedArray(
            data, np.ma.nomask if mask is None else mask, fill_value=fill, hard_mask=node["hard"], copy=False
        )
    return decoder.value(node["v"]).view({"recarray": np.recarray, "matrix": np.matrix}[kind])


def write(array: np.ndarray[Any, Any], sink: Sink) -> None:
    """Write an array without objects as a ``.npy`` file."""
    by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    head = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": by_columns,
        "shape": array.shape,
    }
    text = repr(head).encode("utf-8")
    room = -(len(MAGIC) + 4 + len(text) + 1) % ALIGNED
    sink(MAGIC + struct.pack("<I", len(text) + room + 1) + text + b" " * room + b"\n")
    if array.nbytes:
        flat = np.ascontiguousarray(array.T if by_columns else array).reshape(-1)
        sink(flat.view(np.uint8).data)


def read(content: Any) -> Any:
    """Return the array in the bytes of a ``.npy`` file; the array uses the bytes without a copy."""
    view = memoryview(content)
    (length,) = struct.unpack("<I", view[len(MAGIC) : len(MAGIC) + 4])
    start = len(MAGIC) + 4 + length
    head = _parse_literal(bytes(view[len(MAGIC) + 4 : start]).decode("utf-8").strip())
    dtype = np.lib.format.descr_to_dtype(head["descr"])
    return _view_as_array(content, dtype, tuple(head["shape"]), start, "F" if head["fortran_order"] else "C")


def _view_as_array(
    content: Any, dtype: np.dtype[Any], shape: tuple[int, ...], start: int = 0, order: Literal["C", "F"] = "C"
) -> np.ndarray[Any, Any]:
    if dtype.hasobject:  # the bytes would be addresses
        raise ValueError("objects have no bytes")
    shape = tuple(map(operator.index, shape))
    if dtype.itemsize == 0 or 0 in shape:
        if 0 not in shape and math.prod(shape) > MAX_EMPTY:
            raise ValueError("an array without bytes has too many elements")
        return np.zeros(shape, dtype, order=order)
    if start + math.prod(shape) * dtype.itemsize > len(content):  # numpy's own check of this sum overflows
        raise ValueError("the data of an array is shorter than its shape and type require")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, content, start, order=order)
    require_bools(array)
    return array


def require_bools(array: np.ndarray[Any, Any]) -> None:
    """Raise ValueError for bools that are neither 0 nor 1: numpy would write out of bounds when counting."""
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("the byte of a bool must be 0 or 1")


def plain_dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype of a short name, such as ``<f8``. Raises ValueError for a dtype of any but plain values."""
    dtype = np.dtype(text) if isinstance(text, str) else None
    if dtype is None or dtype.hasobject or dtype.kind not in "biufcmMSUV" or dtype.shape:
        raise ValueError("a dtype isn't a plain type")
    return dtype


def _encode_leaf(encoder: Encoder, array: np.ndarray[Any, Any]) -> int:
    if array.dtype.hasobject and array.dtype.kind != "T":
        raise encoder.refusal("is an array of objects: use another dtype or a list, or add --pickle")
    _describe_dtype(encoder, array.dtype)
    return encoder.leaf(lambda sink: write(array, sink))


def _describe_dtype(encoder: Encoder, dtype: np.dtype[Any]) -> str:
    """Return a dtype as JSON, from which the same dtype is read."""
    try:
        text = repr(np.lib.format.dtype_to_descr(dtype))
        if _parse_dtype(text) == dtype and dtype.kind != "T":
            return text
    except (TypeError, ValueError, UserWarning):
        pass
    raise encoder.refusal("has the dtype {}, which can't be sent: use another dtype".format(dtype))


def _parse_dtype(text: str) -> np.dtype[Any]:
    return np.lib.format.descr_to_dtype(_parse_literal(text))


def _parse_literal(text: str) -> Any:
    if len(text) > MAX_HEADER:
        raise ValueError("the description of a dtype is too long")
    try:
        return ast.literal_eval(text)
    except (MemoryError, RecursionError):  # the parser's own stack is full, not the memory
        raise ValueError("the description of a dtype is nested too deeply") from None


def _read_mask(masked: np.ma.MaskedArray[Any, Any]) -> Any:
    return None if masked.mask is np.ma.nomask else np.asarray(masked.mask)


def _encode_fill_value(encoder: Encoder, masked: Any) -> Any:
    return None if masked._fill_value is None else encoder.node(masked._fill_value[()])


def _convert_to_plain_array(value: Any) -> Any:
    """Return a record array or matrix as an ordinary array."""
    plain = value.view(np.ndarray)
    return plain.view(np.dtype(plain.dtype.descr)) if plain.dtype.type is np.record else plain
