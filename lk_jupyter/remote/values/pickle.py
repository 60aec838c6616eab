"""Pickled values, with the versions of Python and packages that the reader must have.

Reading a pickle executes code, so both sides must allow pickles.
"""

from __future__ import annotations

import builtins
import functools
import io
import pickle
import pickletools
import sys
import types
from importlib import import_module

from .. import IN_RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    #: An item of the stack that ``_Calls`` follows.
    Item = tuple[Any, ...]

PROTOCOL = 4

#: Module → names that execute, import, or read and write outside of a value; None means all functions.
_RISKY = {
    "builtins": {
        "eval", "exec", "compile", "__import__", "open", "input", "breakpoint", "setattr", "delattr", "globals",
    },
    "io": {"open", "open_code", "FileIO"}, "_io": {"open", "open_code", "FileIO"},
    "os": None, "posix": None, "nt": None, "subprocess": None, "_posixsubprocess": None, "pty": None,
    "runpy": None, "_imp": None, "code": None, "pkgutil": None, "pydoc": None, "uuid": None, "doctest": None,
    "_osx_support": None, "_aix_support": None,
    "codeop": None, "pdb": None, "bdb": None, "timeit": None, "profile": None, "cProfile": None, "trace": None,
    "pickle": {"loads", "load", "_loads", "_load", "Unpickler", "_Unpickler"},
    "_pickle": {"loads", "load", "Unpickler"},
    "marshal": None, "shelve": None, "joblib.numpy_pickle": {"load"}, "dill._dill": {"load", "loads"},
    "numpy": {"load"}, "pandas.io.pickle": {"read_pickle"}, "torch.serialization": {"load"},
    "socket": None, "_socket": None, "ssl": None, "webbrowser": None, "http.client": None, "urllib.request": None,
    "ftplib": None, "smtplib": None, "telnetlib": None, "requests.api": None, "httpx": None,
    "ctypes": {"CDLL", "PyDLL", "WinDLL", "OleDLL", "LibraryLoader"},
    "shutil": None, "tempfile": None, "pathlib": None, "pathlib._local": None, "pathlib._abc": None,
    "sys": None, "signal": None, "gc": None, "_thread": None,
    "multiprocessing.util": None, "numpy.testing._private.utils": {"runstring"},
    "pandas.core.computation.eval": {"eval"},
}  # fmt: skip

#: Packages all of whose functions do so.
_RISKY_PACKAGES = {
    "distutils", "setuptools", "idlelib", "lib2to3", "test", "venv", "ensurepip", "pip", "_pyrepl", "numpy.f2py",
    "aiohttp", "asyncio",
}  # fmt: skip

#: Module → classes that do so when they are called.
_RISKY_CLASSES = {
    "subprocess": {"Popen"},
    "socket": {"socket"},
    "_socket": {"socket"},
    "logging": {"FileHandler"},
    "imaplib": {"IMAP4_stream"},
}

#: Callables whose result calls a further function: only a pickle that calls the result is refused.
_INDIRECT = {
    "operator": {"attrgetter", "methodcaller"},
    "functools": {"partial", "reduce"},
    "_functools": {"reduce"},
    "builtins": {"map", "filter"},
    "itertools": {"starmap"},
}

_WIDGET = ("ipywidgets.widgets.widget", "Widget")

_GETATTR = {("builtins", "getattr"), ("__builtin__", "getattr")}

#: Bytes of a pickle that is read without a copy, at least.
_LARGE = 1 << 20

#: Names that were looked up before and are harmless.
_harmless: set[tuple[str, str]] = set()


def is_run_module(module: str) -> bool:
    """Return whether a module is uploaded with a run and exists nowhere else."""
    return IN_RUN and module.partition(".")[0] == "_lk"


def reason_to_stay(value: Any) -> str:
    """Return why a value must stay in its process even if pickle accepts the value; empty if none."""
    kind = value if isinstance(value, type) else type(value)
    if is_run_module(str(kind.__module__)) or is_run_module(str(getattr(value, "__module__", ""))):
        return "is an output of the run, which can't be returned: show it in the cell that creates it"
    if any((base.__module__, base.__name__) == _WIDGET for base in type(value).__mro__):
        return "is a widget, which belongs to its kernel: send its value, such as widget.value"
    return ""


def dumps(value: Any) -> bytes:
    """Pickle a value, with definitions of the notebook if cloudpickle is installed."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value, protocol=PROTOCOL)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if reason := reason_to_stay(value):
                raise pickle.PicklingError("it contains a value that " + reason)
            return reduce_dataset(value) or super().reducer_override(value)

    file = io.BytesIO()
    Pickler(file, protocol=PROTOCOL).dump(value)
    return file.getvalue()


def reduce_dataset(value: Any) -> tuple[Any, ...] | None:
    """Reduce a memory-mapped table of Hugging Face's datasets to its rows; None for any other value."""
    tables: Any = sys.modules.get("datasets.table")
    is_in_file = isinstance(value, getattr(tables, "MemoryMappedTable", ()))
    return (tables.InMemoryTable, (value.table,)) if is_in_file else None


class Unsafe(Exception):
    """A pickle calls a function that no value needs."""


class Unpickler(pickle.Unpickler):
    """Reads a pickle, and refuses calls that execute commands, import code or read further pickles.

    Each name is checked by its object, so an alias is recognized. A function may refer to such an object, as
    ``subprocess.run``; only a pickle that calls the object is refused. This is a safety net: the code of a pickled
    function isn't checked.
    """

    def __init__(self, file: Any, content: Any) -> None:
        super().__init__(file)
        self._content = content
        self._risky: set[tuple[str, str]] = set()
        self._indirect: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or a function by name. Raises Unsafe."""
        value = super().find_class(module, name)
        if (module, name) not in _harmless:
            if value is builtins.getattr:
                return self._load_attribute
            if (module, name) == ("torch.storage", "_load_from_bytes"):
                return _load_storage
            names = self._risky if _is_risky(value) else self._indirect
            if names is self._indirect and not _is_listed(value, _INDIRECT):
                _harmless.add((module, name))
            elif (module, name) not in names:
                names.add((module, name))
                _refuse_calls(_find_called_names(self._content, self._risky, self._indirect))
        return value

    def _load_attribute(self, owner: Any, name: str, *default: Any) -> Any:
        """Return an attribute, as ``getattr``: old protocols write methods of classes so. Raises Unsafe."""
        value = getattr(owner, name, *default)
        if _is_risky(getattr(value, "__func__", value)):
            is_named = not isinstance(owner, types.ModuleType)
            names = _find_called_names(self._content, self._risky, self._indirect | _GETATTR) if is_named else {name}
            _refuse_calls({"{}.{}".format(getattr(value, "__module__", "?"), name)} if names else ())
        return value


class _InnerUnpickler(pickle.Unpickler):
    """Reads a pickle inside a pickle, and refuses any risky name: such pickles contain only sizes and types."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or a function by name. Raises Unsafe."""
        value = super().find_class(module, name)
        if _is_risky(value) or _is_listed(value, _INDIRECT) or value is builtins.getattr:
            _refuse_calls({"{}.{}".format(module, name)})
        return value


def _load_storage(content: Any) -> Any:
    """Return the storage of a tensor, which torch writes as bytes that contain pickles. Raises Unsafe."""
    reader: Any = types.ModuleType("pickle")
    reader.Unpickler = _InnerUnpickler
    reader.load = lambda file, **options: _InnerUnpickler(file, **options).load()
    return import_module("torch").load(io.BytesIO(content), pickle_module=reader)


def loads(content: Any) -> Any:
    """Return a pickled value. Raises Unsafe."""
    content = memoryview(content).cast("B")
    file = io.BytesIO(content) if len(content) < _LARGE else _View(content)
    return Unpickler(file, content).load()


class _View:
    """A file of bytes in memory, without a copy."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Return bytes."""
        end = len(self._content) if size < 0 else self._position + size
        part = bytes(self._content[self._position : end])
        self._position += len(part)
        return part

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        part = self._content[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def readline(self) -> bytes:
        """Return a line."""
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.read(1)
            if not byte:
                break
            line += byte
        return bytes(line)


def _is_risky(value: Any) -> bool:
    """Return whether a call of an object executes, imports, or reads and writes outside of a value."""
    return _is_listed(value, _RISKY) or _is_in_risky_package(value)


def is_risky(value: Any) -> bool:
    """Return whether a call of an object or its result executes, imports, or reads and writes outside of a value."""
    return _is_risky(value) or _is_listed(value, _INDIRECT)


def _is_listed(value: Any, table: Mapping[str, AbstractSet[str] | None]) -> bool:
    """Return whether a table lists an object, by the object's module and name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or isinstance(value, types.ModuleType):
        return False
    if isinstance(value, type):
        return name in (_RISKY_CLASSES.get(module, ()) if table is _RISKY else ()) or name in (table.get(module) or ())
    if module not in table:
        return False
    listed = table[module]
    return listed is None or name in listed


def _is_in_risky_package(value: Any) -> bool:
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or isinstance(value, (types.ModuleType, type)):
        return False
    parts = module.split(".")
    return parts[0] in _RISKY_PACKAGES or ".".join(parts[:2]) in _RISKY_PACKAGES


def _refuse_calls(names: Iterable[str]) -> None:
    if names:
        raise Unsafe("calls '{}', which isn't allowed in a value: nothing was set".format("', '".join(sorted(names))))


def _find_called_names(
    content: Any, risky: AbstractSet[tuple[str, str]], indirect: AbstractSet[tuple[str, str]]
) -> set[str]:
    """Return which of the risky names (module, name) a pickle calls, directly or by the result of an indirect name."""
    calls = _Calls(risky, indirect)
    file = io.BytesIO(content)
    try:
        while file.tell() < len(content):
            for code, argument, _position in pickletools.genops(file):
                calls.apply_opcode(code, argument)
    except Exception:  # bytes that can't be followed aren't trusted
        return calls.names or {"{}.{}".format(*name) for name in risky | indirect}
    return calls.names


_MARK, _OTHER, _UNKNOWN = ("mark",), ("other",), ("name", "?", "?")

#: Indirect names that call the first argument; results of all further indirect names are called later.
_APPLYING = {"map", "filter", "reduce", "starmap"}


class _Calls:
    """Follows the stack of a pickle without executing anything; ``names`` are the risky names that the pickle calls.

    An item of the stack is ("name", module, name), ("text", text), ("items", item, ...), ("result", module, name) of an
    indirect name, or a different tuple.
    """

    def __init__(self, risky: AbstractSet[tuple[str, str]], indirect: AbstractSet[tuple[str, str]]) -> None:
        self.names: set[str] = set()
        self._risky = risky
        self._indirect = indirect
        self._stack: list[Item] = []
        self._memo: dict[int, Item] = {}

    def apply_opcode(self, code: pickletools.OpcodeInfo, argument: Any) -> None:
        """Take the step of an opcode."""
        step = _STEPS.get(code.name)
        if step:
            step(self, argument)
        else:
            self._move_items(code, argument)

    def _store_in_memo(self, number: int | None) -> None:
        self._memo[len(self._memo) if number is None else number] = self._stack[-1]

    def _push_from_memo(self, number: int) -> None:
        self._stack.append(self._memo[number])

    def _push_name(self, argument: Any) -> None:
        """Push a name that is text of the opcode, or text on the stack."""
        if argument is not None:
            self._stack.append(("name", *argument.split(" ", 1)))
            return
        module, attribute = self._pop_items(2)
        are_texts = module[0] == attribute[0] == "text"
        self._stack.append(("name", module[1], attribute[1]) if are_texts else _UNKNOWN)

    def _call_class(self, argument: Any) -> None:
        if argument is None:
            owner, *arguments = self._pop_to_mark()
        else:
            owner, arguments = ("name", *argument.split(" ", 1)), self._pop_to_mark()
        self._record_call(owner, arguments)

    def _call_with_arguments(self, count: int) -> None:
        arguments = self._pop_items(count)
        self._record_call(self._stack.pop(), arguments)

    def _push_tuple(self, count: int | None) -> None:
        self._stack.append(("items", *(self._pop_to_mark() if count is None else self._pop_items(count))))

    def _drop_item(self, _argument: Any) -> None:
        if self._stack:
            self._stack.pop()

    def _move_items(self, code: pickletools.OpcodeInfo, argument: Any) -> None:
        """Apply an opcode that calls nothing, by the number of removed and added items."""
        before = list(code.stack_before)
        if pickletools.markobject in before:
            items = self._pop_to_mark()
            if code.name == "DICT":
                self._set_items(items)
            before = before[: before.index(pickletools.markobject)]
        removed = self._pop_items(len(before))
        if code.stack_after:
            self._stack.append(("text", argument) if isinstance(argument, str) else (removed or [_OTHER])[0])

    def _record_call(self, function: Item, arguments: list[Item]) -> None:
        kind, name = function[0], function[1:]
        items = [each for item in arguments for each in (item[1:] if item[0] == "items" else [item])]
        if kind == "result" or function == _UNKNOWN or (kind == "name" and name in self._risky):
            self.names.add(".".join(name))
        is_indirect = kind == "name" and name in self._indirect
        if is_indirect and name[-1] in _APPLYING:
            self._add_names(items)
        self._stack.append(("result", *name) if is_indirect and name[-1] not in _APPLYING else _OTHER)

    def _set_items(self, items: list[Item]) -> None:
        """Read keys and values: later opcodes call a risky name that is set as a method, such as ``__setstate__``."""
        for key, value in zip(items[::2], items[1::2]):
            if key[0] == "text" and key[1].startswith("__"):
                self._add_names([value])

    def _add_names(self, items: Iterable[Item]) -> None:
        self.names.update(".".join(item[1:]) for item in items if item[0] == "name" and item[1:] in self._risky)

    def _pop_items(self, number: int) -> list[Item]:
        items = self._stack[len(self._stack) - number :]
        del self._stack[len(self._stack) - number :]
        return items

    def _pop_to_mark(self) -> list[Item]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items


#: Opcode → step. Any other opcode only removes and adds items of the stack.
_STEPS = {
    "MARK": lambda calls, _: calls._stack.append(_MARK),
    "DUP": lambda calls, _: calls._stack.append(calls._stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Calls._store_in_memo),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Calls._push_from_memo),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Calls._push_name),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda calls, _: calls._stack.append(_UNKNOWN)),
    **dict.fromkeys(("INST", "OBJ"), _Calls._call_class),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda calls, _: calls._call_with_arguments(1)),
    "NEWOBJ_EX": lambda calls, _: calls._call_with_arguments(2),
    "TUPLE": lambda calls, _: calls._push_tuple(None),
    "TUPLE1": lambda calls, _: calls._push_tuple(1),
    "TUPLE2": lambda calls, _: calls._push_tuple(2),
    "TUPLE3": lambda calls, _: calls._push_tuple(3),
    "SETITEM": lambda calls, _: calls._set_items(calls._pop_items(2)),
    "SETITEMS": lambda calls, _: calls._set_items(calls._pop_to_mark()),
    **dict.fromkeys(("STOP", "POP"), _Calls._drop_item),
}


def list_packages(content: Any) -> dict[str, str]:
    """Return package → version for each package outside Python that reading the pickle imports."""
    versions = {}
    for module in list_modules(content):
        name, version = find_package(module)
        if version is not None:
            versions[name] = version
    return versions


def code_python_version() -> str:
    """Return the version of Python that pickles of code are bound to."""
    return "{}.{}".format(*sys.version_info)


def list_differences(versions: Mapping[str, str], python_version: str) -> list[str]:
    """Return in words the differences from the versions with which the pickle was made."""
    different = []
    if python_version != code_python_version():
        different.append(
            "this side has Python {}, and the other side has Python {}".format(code_python_version(), python_version)
        )
    for name, version in sorted(versions.items()):
        installed = installed_version(name)
        if installed is None:
            different.append("{} isn't installed on this side, and the other side has version {}".format(name, version))
        elif installed != version:
            different.append(
                "{0} has version {1} on this side, and {2} on the other side (-r {0}=={2})".format(
                    name, installed, version
                )
            )
    return different


def list_modules(content: Any) -> set[str]:
    """Return the top-level modules that a pickle refers to.

    A module within a function is plain text, recognized by its name.
    """
    names: set[Any] = set()
    memo: list[Any] = []
    last: list[Any] = [None, None]
    argument: Any
    has_modules = b"subimport" in content
    for code, argument, _place in pickletools.genops(content):
        if has_modules and isinstance(argument, str) and argument in sys.modules and argument != "__main__":
            names.add(argument)
        if code.name == "GLOBAL":
            names.add(argument.split(" ")[0])
        elif code.name == "STACK_GLOBAL":
            names.add(last[0])
        if code.name == "MEMOIZE":
            memo.append(last[1])
        elif code.name in ("BINGET", "LONG_BINGET"):
            last = [last[1], memo[argument]]
        else:
            last = [last[1], argument if isinstance(argument, str) else None]
    return {name.partition(".")[0] for name in names if isinstance(name, str)}


def find_package(module: str) -> tuple[str, str | None]:
    """Return the package of a module and the version; None for a module of Python or of the author."""
    if module == "__main__" or module in getattr(sys, "stdlib_module_names", ()):
        return module, None
    names = _list_providers(module, tuple(sys.path)) or [module]
    versions = [(name, installed_version(name)) for name in names]
    return next((entry for entry in versions if entry[1] is not None), (module, None))


def installed_version(name: str) -> str | None:
    """Return the version of a package without the local part, None if not installed."""
    from importlib import metadata

    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


@functools.lru_cache(maxsize=None)
def _list_providers(module: str, _path: tuple[str, ...]) -> list[str]:
    """Return the packages that contain a module: first by the module's name, then by a search of all packages."""
    from importlib import metadata

    try:
        distribution = metadata.distribution(module)
        if _contains_module(distribution, module):
            return [distribution.metadata["Name"]]
    except metadata.PackageNotFoundError:
        pass
    return [package.metadata["Name"] for package in metadata.distributions() if _contains_module(package, module)]


def _contains_module(package: Any, module: str) -> bool:
    """Return whether a package contains a module; the file list is searched as text, as parsing takes long."""
    declared = (package.read_text("top_level.txt") or "").split()
    files = "\n" + (package.read_text("RECORD") or "")
    if declared or len(files) > 1:
        return module in declared or (not declared and any("\n" + module + end in files for end in "/."))
    return any(path.parts[0].partition(".")[0] == module for path in package.files or ())
