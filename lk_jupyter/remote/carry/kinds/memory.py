"""Subclasses of arrays, memoryviews, and values of different types in the same memory."""

from __future__ import annotations

import sys

from ..base import IN_SESSION, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

#: The maximum number of columns of a frame, and of parts of a value, whose memory is compared.
_MAX_COLUMNS = 200


def is_array_subclass(value: Any) -> bool:
    """Return whether a value is of a subclass of numpy's array that pickles without the attributes of the instance."""
    numpy = sys.modules.get("numpy")
    kind = type(value)
    if numpy is None or kind in (numpy.ndarray, numpy.memmap) or not isinstance(value, numpy.ndarray):
        return False
    reducers = numpy.ndarray.__reduce__, numpy.ma.MaskedArray.__reduce__
    return hasattr(value, "__dict__") and kind.__reduce__ in reducers


def array_state(value: Any) -> list[Any]:
    """Return the elements and the attributes of an array of a subclass."""
    return [value.view(sys.modules["numpy"].ndarray), dict(vars(value))]


def reduce_array(value: Any) -> tuple[Any, ...] | None:
    """Reduce an array of a subclass to its elements and attributes; None for any other value."""
    if not is_array_subclass(value):
        return None
    elements, attributes = array_state(value)
    return make_array, (type(value), elements), attributes, None, None, set_attributes


def make_array(kind: Any, elements: Any) -> Any:
    """Return an array of a subclass with these elements."""
    return elements.view(kind)


def set_attributes(value: Any, attributes: dict[str, Any]) -> None:
    """Set all attributes of an instance."""
    vars(value).clear()
    vars(value).update(attributes)


def fill_array(value: Any, content: list[Any]) -> None:
    """Set elements and attributes of an array of a subclass in place. Raises TypeError for another shape."""
    elements, attributes = content
    fill_elements(value.view(type(elements)), elements)
    value.flags.writeable = elements.flags.writeable
    set_attributes(value, attributes)


def fill_elements(array: Any, new: Any) -> None:
    """Set the elements of an array in place, also of a read-only array. Raises TypeError for another shape."""
    if array.shape != new.shape or array.dtype != new.dtype:
        raise TypeError("has another shape")
    if not array.flags.writeable:
        array.flags.writeable = True
    array[...] = new
    array.flags.writeable = new.flags.writeable


def reduce_memoryview(value: Any) -> tuple[Any, ...] | None:
    """Reduce a memoryview to the object that it shows; None for any other value. Raises Refused for a part."""
    if type(value) is not memoryview:
        return None
    complete = memoryview(value.obj)
    if any(getattr(complete, name) != getattr(value, name) for name in ("format", "shape", "strides", "readonly")):
        raise Refused("is a memoryview of a part of an object: use the object and a slice" + IN_SESSION)
    return memoryview, (value.obj,)


def separated_names(values: Mapping[str, Any]) -> set[str]:
    """Return the names of values whose shared memory is separate after a transfer.

    Arrays in one memory stay in one memory. A frame and a writable array don't, nor do an array and a bytearray.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return set()
    arrays = [(name, value) for name, value in values.items() if isinstance(value, numpy.ndarray)]
    arrays = [(name, array) for name, array in arrays if array.flags.writeable and array.size]
    separate: set[str] = set()
    for name, value in values.items() if arrays else ():
        for part in _yield_memory_parts(value, numpy):
            shared = {array_name for array_name, array in arrays if numpy.may_share_memory(part, array)}
            separate |= {name, *shared} if shared else set()
    return separate


def _yield_memory_parts(value: Any, numpy: Any) -> Iterator[Any]:
    """Yield arrays in the memory of a bytearray, of a series, or of the columns of a frame."""
    if type(value) is bytearray and value:
        yield numpy.frombuffer(value, numpy.uint8)
        return
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.Series, pandas.DataFrame)):
        return
    count = 1 if isinstance(value, pandas.Series) else min(value.shape[1], _MAX_COLUMNS)
    for at in range(count):
        column = value if isinstance(value, pandas.Series) else value.iloc[:, at]
        if isinstance(column.dtype, numpy.dtype) and len(column):
            yield column.to_numpy()
