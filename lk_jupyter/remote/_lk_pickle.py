"""Pickled values, with the versions of Python and of the packages that must be the same where they are read.

Travels with a run. Reading a pickle runs its code, so both sides must ask for it.
"""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
import sys
from importlib import import_module

PROTOCOL = 4


def dumps(value):
    """Pickle a value; what is defined in the notebook goes along where cloudpickle is installed."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value, protocol=PROTOCOL)
    codec = import_module(("." if __package__ else "") + "_lk_codec", __package__)

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, value):
            if reason := codec.stays(value):
                raise pickle.PicklingError("it holds what " + reason)
            return of_datasets(value) or super().reducer_override(value)

    file = io.BytesIO()
    Pickler(file, protocol=PROTOCOL).dump(value)
    return file.getvalue()


def of_datasets(value):
    """Reduce a table in a file, of which Hugging Face's datasets pickle the path, to its rows; None for others."""
    tables = sys.modules.get("datasets.table")
    is_in_file = isinstance(value, getattr(tables, "MemoryMappedTable", ()))
    return (tables.InMemoryTable, (value.table,)) if is_in_file else None


def loads(content):
    """Return a pickled value."""
    return pickle.loads(memoryview(content))


def packages(content):
    """Return package → version for each package, not of Python itself, that reading the pickle imports."""
    found = {}
    for module in modules(content):
        name, version = package_of(module)
        if version is not None:
            found[name] = version
    return found


def python():
    """Return the version of Python that pickles of code are bound to."""
    return "{}.{}".format(*sys.version_info)


def differences(there, found_python):
    """Return in words what is different here from where the pickle was made."""
    different = []
    if found_python != python():
        different.append("Python is {} here, and was {} there".format(python(), found_python))
    for name, version in sorted(there.items()):
        here = version_of(name)
        if here is None:
            different.append("{} is not installed here, and was {} there".format(name, version))
        elif here != version:
            different.append("{0} is {1} here, and was {2} there (-r {0}=={2})".format(name, here, version))
    return different


def modules(content):
    """Return the first parts of the modules that a pickle names.

    A module within a function is text that only its name identifies.
    """
    found, memo, last = set(), [], [None, None]
    has_modules = b"subimport" in content
    for code, argument, _place in pickletools.genops(content):
        if has_modules and isinstance(argument, str) and argument in sys.modules and argument != "__main__":
            found.add(argument)
        if code.name == "GLOBAL":
            found.add(argument.split(" ")[0])
        elif code.name == "STACK_GLOBAL":
            found.add(last[0])
        if code.name == "MEMOIZE":
            memo.append(last[1])
        elif code.name in ("BINGET", "LONG_BINGET"):
            last = [last[1], memo[argument]]
        else:
            last = [last[1], argument if isinstance(argument, str) else None]
    return {name.partition(".")[0] for name in found if isinstance(name, str)}


def package_of(module):
    """Return the package that a module is of, and its version; None for one of Python itself, or of the author."""
    if module == "__main__" or module in getattr(sys, "stdlib_module_names", ()):
        return module, None
    names = _providers(module, tuple(sys.path)) or [module]
    versions = [(name, version_of(name)) for name in names]
    return next((found for found in versions if found[1] is not None), (module, None))


def version_of(name):
    """Return the version of a package without its local part, None when it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


@functools.lru_cache(maxsize=None)
def _providers(module, _path):
    """Return the packages that have a module: at once where one has its name, as most do. Else it asks each."""
    from importlib import metadata

    try:
        own = metadata.distribution(module)
        if _has(own, module):
            return [own.metadata["Name"]]
    except metadata.PackageNotFoundError:
        pass
    return [package.metadata["Name"] for package in metadata.distributions() if _has(package, module)]


def _has(package, module):
    """Whether a package has a module; its list of files is searched as text, as reading it takes long."""
    declared = (package.read_text("top_level.txt") or "").split()
    files = "\n" + (package.read_text("RECORD") or "")
    if declared or len(files) > 1:
        return module in declared or (not declared and any("\n" + module + end in files for end in "/."))
    return any(path.parts[0].partition(".")[0] == module for path in package.files or ())
