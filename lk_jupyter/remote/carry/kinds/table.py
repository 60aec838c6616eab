"""The tables of kinds: the content of an object, the change in place, and the pickle."""

from __future__ import annotations

import collections
import copyreg
import functools
import gc
import io
import itertools
import sys
import types
import weakref
from importlib import import_module

from ...values import codec
from ...values import pickle as pickles
from ..base import EMPTY, IN_SESSION, has_dict, named
from . import databases, generators
from .classes import (
    NEW_OBJECT,
    fill_class,
    fill_enum,
    make_class,
    make_instance,
    reduce_by_state,
    reduce_instance,
    reduce_with_keywords,
    set_state,
)
from .files import FILE_KINDS, file_state, go_to, load_arrays, make_file, reduce_file, stream_name
from .functions import (
    CACHED,
    NamespaceReference,
    fill_cell,
    fill_function,
    is_filled,
    make_cached,
    make_cell,
    make_function,
    module_namespace,
)
from .ipython import formatter_for, ipython_formatters, is_shell, shell
from .libraries import (
    fill_image,
    fill_optimizer,
    find_global,
    is_image,
    is_optimizer,
    make_figure,
    make_optimizer,
    reduce_bokeh,
    reduce_patsy,
    reduce_plotly,
)
from .memory import (
    array_state,
    fill_array,
    is_array_subclass,
    make_array,
    reduce_array,
    reduce_memoryview,
    set_attributes,
)
from .python import (
    VIEW_KINDS,
    WEAK_KINDS,
    advance,
    dict_view,
    error_chain,
    fill_error,
    is_iterator,
    is_path,
    is_rebuilt,
    iterator_state,
    make_error,
    reduce_error,
    reduce_weak,
)
from .widgets import fill_widget, is_widget, make_widget, widget_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def _is_database(value: Any) -> bool:
    sqlite = sys.modules.get("sqlite3")
    return sqlite is not None and type(value) in (sqlite.Connection, sqlite.Cursor)


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    **dict.fromkeys(FILE_KINDS, file_state),
    list: list,
    tuple: list,
    set: list,
    frozenset: list,
    collections.deque: list,
    bytearray: bytes,
    dict: dict,
    collections.Counter: dict,
    **dict.fromkeys(WEAK_KINDS, dict),
    weakref.WeakSet: list,
    types.MappingProxyType: gc.get_referents,
    types.CellType: lambda cell: [cell.cell_contents] if is_filled(cell) else EMPTY,
    types.FunctionType: lambda function: [
        function.__defaults__,
        function.__kwdefaults__,
        function.__dict__,
        list(function.__closure__ or ()),
    ],
}

_NEVER: tuple[Any, ...] = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    types.ModuleType,
    types.CodeType,
    range,
    slice,
)

_NEVER = (*_NEVER, weakref.ref, types.BuiltinFunctionType, types.MethodType, property, classmethod, staticmethod)

_NEVER = (*_NEVER, functools.cached_property)


def read_content(value: Any) -> Any:
    """Return the content of a value, to compare or send alone; None for a value that never changes in place."""
    kind = type(value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if isinstance(value, _NEVER) or _is_on_both_sides(value):
        return None
    for belongs, read_state, _ in _MOVED:
        if belongs(value):
            return read_state(value)
    reduce = copyreg.dispatch_table.get(kind)
    reduced: Any = reduce(value) if reduce else reduce_instance(value)
    if not isinstance(reduced, tuple):
        return None
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if kind is itertools.chain and state is None:  # the iterator has ended
        state = (iter(()),)
    is_error = isinstance(value, BaseException)
    may_get_attributes = (make is NEW_OBJECT or is_error) and hasattr(value, "__dict__")
    is_sentinel = make is NEW_OBJECT and len(arguments) == 1  # such as ``object()``: only the identity counts
    is_empty = state is None and items is None and pairs is None and not (may_get_attributes or is_sentinel)
    if is_empty or is_rebuilt(value, arguments, lambda argument: read_content(argument) is None):
        return None
    return [
        arguments[1:] if arguments and isinstance(arguments[0], type) else arguments,
        state,
        _list_or_none(items),
        _list_or_none(pairs),
        *([error_chain(value)] if is_error else []),
    ]


def _list_or_none(items: Iterable[Any] | None) -> list[Any] | None:
    return None if items is None else list(items)


def change_content(value: Any, holds: Any) -> None:
    """Set the content of a value in place. Raises TypeError if the value can't change in place."""
    kind = type(value)
    if kind in (list, bytearray):
        value[:] = holds
    elif kind in (dict, set, collections.deque, collections.Counter, weakref.WeakSet, *WEAK_KINDS):
        value.clear()
        (value.extend if kind is collections.deque else value.update)(holds)
    elif kind is types.CellType:
        if holds == EMPTY:
            del value.cell_contents
        else:
            value.cell_contents = holds[0]
    elif kind in FILE_KINDS:
        go_to(value, holds)
    elif kind is CACHED:
        pass  # earlier versions sent the answers of a memo
    elif kind is types.FunctionType:
        value.__defaults__, value.__kwdefaults__ = holds[:2]
        value.__dict__.clear()
        value.__dict__.update(holds[2])
    elif fill := next((fill for belongs, _, fill in _MOVED if belongs(value)), None):
        fill(value, holds)
    elif kind in _PLAIN:
        raise TypeError("never changes in place")
    else:
        _change_instance(value, *holds[1:])


def _change_instance(value: Any, state: Any, items: Any, pairs: Any, chain: Any = None) -> None:
    if items is not None:
        value[:] = items
    if pairs is not None:  # before the attributes: a dict may be the dict of its attributes
        value.clear()
        value.update(pairs)
    set_state(value, state, clears=pairs is None or not has_dict(value) or vars(value) is not value)
    if chain is not None:
        fill_error(value, (None, chain))


#: Iterators that share their position with other iterators, which may not be sent.
_LINKED: tuple[Any, ...] = type(itertools.tee(())[0]), itertools.groupby, type(next(itertools.groupby("a"))[1])


def reason_to_stay(value: Any) -> str:
    """Return why a value must stay in this process, even if cloudpickle could pickle the value; empty if none."""
    is_file = isinstance(value, io.IOBase) and not isinstance(value, (io.BytesIO, io.StringIO))
    is_once = isinstance(value, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, *_LINKED))
    is_bound = type(value).__module__ in codec.PROCESS_MODULES
    is_type = type(value) is getattr(sys.modules.get("typing"), "NewType", None) and value.__module__ == "__main__"
    return codec.explain_unsendable(value) + IN_SESSION if is_file or is_once or is_bound or is_type else ""


def _is_on_both_sides(value: Any) -> bool:
    """Return whether each side has a separate instance, which the peer must not change."""
    is_formatter = type(value).__module__ == "IPython.core.formatters"
    return bool(is_formatter or is_shell(value) or stream_name(value) or find_global(value))


def reduce_kind(value: Any) -> tuple[Any, ...] | None:  # noqa: PLR0911 (one for each kind)
    """Reduce an object that each side has or makes separately; None for any other value."""
    if type(value) is NamespaceReference:
        return value.__reduce__()
    if is_widget(value):
        return make_widget, (type(value), value.model_id), widget_state(value), None, None, fill_widget
    if is_shell(value):
        return shell, ()
    if is_optimizer(value):
        return make_optimizer, (type(value),), dict(vars(value)), None, None, fill_optimizer
    if _is_database(value):
        return databases.reduce_connection(value)
    if isinstance(value, types.ModuleType) and type(value) is not types.ModuleType:
        return (import_module, (value.__name__,)) if sys.modules.get(value.__name__) is value else None
    if (
        type(value) is types.GeneratorType
        or (type(value) in FILE_KINDS and not stream_name(value))
        or type(value).__name__ == "NpzFile"
    ):
        return generators.reduce_generator(value) if type(value) is types.GeneratorType else reduce_file(value)
    if place := stream_name(value) or find_global(value):
        return named, place
    return (
        _reduce_builtin(value)
        or reduce_error(value)
        or reduce_weak(value)
        or reduce_patsy(value)
        or reduce_bokeh(value)
        or reduce_plotly(value)
        or reduce_array(value)
        or reduce_memoryview(value)
        or pickles.reduce_dataset(value)
        or reduce_by_state(value)
        or reduce_with_keywords(value)
    )


def _reduce_builtin(value: Any) -> tuple[Any, ...] | None:
    """Reduce an absolute path, a view of a dict or pairs of items; None for any other value."""
    kind = type(value)
    if is_path(value):
        return (kind, (str(value),)) if value.is_absolute() else None
    if kind in VIEW_KINDS:
        return dict_view, (gc.get_referents(value)[0], VIEW_KINDS[kind])
    if kind is getattr(itertools, "pairwise", None):
        referents, empty = (
            [each for each in gc.get_referents(pairs) if each is not kind] for pairs in (value, kind(()))
        )
        more = len(empty) - 1  # later Pythons keep a tuple to give next
        iterator, *before = referents[: len(referents) - more] or [iter(())]
        return kind, (itertools.chain(before, iterator) if before else iterator,)
    is_formatter = kind.__module__ == "IPython.core.formatters"
    forms = ipython_formatters().items() if is_formatter else ()
    form = next((name for name, formatter in forms if formatter is value), None)
    return (formatter_for, (form,)) if form else None


#: Kinds with a separate instance on each side: predicate, content, and change in place.
_MOVED = (
    (is_widget, widget_state, fill_widget),
    (_is_database, databases.connection_state, databases.fill),
    (is_optimizer, lambda value: dict(vars(value)), fill_optimizer),
    (is_array_subclass, array_state, fill_array),
    (is_image, lambda image: image.__getstate__(), fill_image),
    (is_iterator, iterator_state, advance),
    (lambda value: type(value) is types.GeneratorType, generators.generator_state, generators.go_to),
)

#: Name in a pickle → function of this package. A pickle refers to no module that exists on one side only. The names are
#: those in pickles of earlier versions.
MAKERS = {
    **{
        maker.__name__: maker
        for maker in (
            make_function, fill_function, make_cell, fill_cell, make_cached, make_class, fill_class, fill_enum,
            set_state, make_file, go_to, load_arrays, make_widget, fill_widget, shell,
            make_error, fill_error, make_optimizer, fill_optimizer, named, generators.make_generator,
            generators.make_library_generator, databases.open_database, make_array, set_attributes,
            make_figure, make_instance,
        )
    },
    "names_of": module_namespace, "formatter_of": formatter_for, "view_of": dict_view,
}  # fmt: skip
MAKER_NAMES = {maker: name for name, maker in MAKERS.items()}
