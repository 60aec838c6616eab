"""A message: the tree of each value by name, small leaves as text, and the places of large leaves."""

from __future__ import annotations

import json

from . import codec, families  # noqa: F401 (families fills a table of codec)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .codec import LeafWriter

#: A leaf of at most this number of bytes is part of the message.
SMALL = 4096

#: Frequent packages. A package with the name of another module may belong to anybody.
_FREQUENT = {
    *("altair", "catboost", "jax", "lightgbm", "matplotlib", "networkx", "numpy", "pandas", "plotly", "polars"),
    *("pyarrow", "scipy", "seaborn", "statsmodels", "sympy", "tensorflow", "torch", "transformers", "xgboost"),
}

#: Module → package, if the names differ.
_PACKAGES = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
}


class Failed(Exception):
    """Bytes were not sent or received; the text gives the reason."""


class Envelope:
    """Values to send.

    ``sizes`` is name → bytes, ``refused`` name → reason; ``large`` are the leaves that are sent next to the message.
    """

    def __init__(self, pickle: bool = False) -> None:
        self.refused: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.large: list[tuple[dict[str, Any], LeafWriter]] = []
        self._encoder = codec.Encoder(pickle)
        self._values: dict[str, Any] = {}
        self._leaves: list[dict[str, Any]] = []

    @property
    def modules(self) -> set[str]:
        """Return the modules that are required to read the values."""
        return self._encoder.modules

    def add(self, name: str, value: Any) -> bool:
        """Add a value, or the reason why the value can't be sent. Return whether the value was added."""
        first = len(self._leaves)
        try:
            self._values[name] = self._encoder.value(name, value)
            self._leaves += [self._pack_leaf(write) for write in self._encoder.leaves[first:]]
        except codec.CannotTravel as refusal:
            self.refused[name] = str(refusal)
        except Exception as error:
            self._values.pop(name, None)
            self._leaves += [{"v": ""}] * (len(self._encoder.leaves) - len(self._leaves))
            self.refused[name] = "{} cannot be sent ({}: {})".format(name, type(error).__name__, error)
        else:
            leaves = sum(leaf["size"] for leaf in self._leaves[first:])
            self.sizes[name] = leaves or len(json.dumps(self._values[name]))
        return name not in self.refused

    @property
    def leaves(self) -> list[dict[str, Any]]:
        """Return all leaves, with the bytes or the size of each."""
        return self._leaves

    def add_leaves(self, writes: Iterable[LeafWriter]) -> None:
        """Add leaves that are no value of the message."""
        self._leaves += map(self._pack_leaf, writes)

    def _pack_leaf(self, write: LeafWriter) -> dict[str, Any]:
        size = leaf_size(write)
        if size <= SMALL:
            return {"v": codec.encode_leaf_text(write), "size": size}
        leaf = {"size": size}
        self.large.append((leaf, write))
        return leaf

    def text(self, **more: Any) -> str:
        """Return the message; the dicts of ``large`` are parts of the message, and must be complete by then."""
        content = {"values": self._values, "leaves": self._leaves, "refused": self.refused}
        if self._encoder.pickled:
            from . import pickle as pickles

            content.update(packages=self._encoder.pickled, python=pickles.code_python_version())
        content.update(more)
        return json.dumps(content, separators=(",", ":"))


class Received:
    """Values that came. ``leaf(found)`` gives the bytes of a leaf that is not in the message.

    ``pickle`` is whether pickles are read, ``imports`` whether names may import their modules, ``names`` whether
    functions and classes are given by their names at all.
    """

    def __init__(
        self,
        text: str | bytes,
        leaf: Callable[[dict[str, Any]], Any],
        pickle: bool = False,
        imports: bool = True,
        names: bool = True,
    ) -> None:
        self._content = json.loads(text)
        self.refused = dict(self._content["refused"])
        self._unread = dict(enumerate(self._content["leaves"]))
        self._decoder = codec.Decoder(lambda number: self._take_bytes(number, leaf))
        self._decoder.imports = imports
        self._decoder.names = names
        self._decoder.no_pickle = self._describe_differences() if pickle else "--pickle was not given"

    def _take_bytes(self, number: int, leaf: Callable[[dict[str, Any]], Any]) -> Any:
        """Return the bytes of a leaf, once: a short message could use a large leaf any number of times."""
        message = self._unread.pop(number, None)
        if message is None:
            raise codec.CannotTravel("uses bytes that aren't in the message, or uses them twice")
        return codec.decode_leaf_text(message["v"]) if "v" in message else leaf(message)

    def values(self) -> dict[str, Any]:
        """Return name → value; ``refused`` has the reason and the fix for each unreadable value."""
        values = {}
        for name, node in self._content["values"].items():
            try:
                values[name] = self._decoder.value(node)
            except ImportError as missing:
                self.refused[name] = "{} {}".format(name, missing_package(missing, name))
            except MemoryError as error:
                self.refused[name] = "{} does not fit into memory: {}".format(name, error or "it is full")
            except codec.CannotTravel as refusal:
                self.refused[name] = "{} {}".format(name, refusal)
            except Failed:
                raise
            except Exception as error:
                self.refused[name] = "{} cannot be read ({}: {})".format(name, type(error).__name__, error)
        return values

    def _describe_differences(self) -> str:
        if "packages" not in self._content:
            return ""
        from . import pickle as pickles

        return "; ".join(pickles.list_differences(self._content["packages"], self._content["python"]))


def leaf_size(write: LeafWriter) -> int:
    """Return how many bytes a leaf has."""
    total = [0]

    def count(piece: Any) -> None:
        total[0] += memoryview(piece).nbytes

    write(count)
    return total[0]


def byte_view(piece: Any) -> memoryview:
    """Return the bytes of a piece of a leaf without a copy. A view of an empty array can't be cast."""
    view = memoryview(piece)
    return view.cast("B") if view.nbytes else memoryview(b"")


def pack_leaves(large: Iterable[tuple[dict[str, Any], LeafWriter]]) -> list[bytes]:
    """Return the bytes of the large leaves of a message, and record the place of each leaf in the joined bytes."""
    pieces: list[bytes] = []
    at = 0
    for leaf, write in large:
        leaf["at"] = at
        at += leaf["size"]
        write(lambda piece: pieces.append(bytes(piece)))
    return pieces


def packed_leaf_reader(packed: memoryview) -> Callable[[dict[str, Any]], Any]:
    """Return a function that returns the bytes of a large leaf of a message, from the joined bytes of all leaves."""

    def read_leaf(leaf: dict[str, Any]) -> Any:
        start, size = leaf["at"], leaf["size"]
        if type(start) is not int or type(size) is not int or not 0 <= start <= start + size <= len(packed):
            raise codec.CannotTravel("isn't in the saved bytes, so it wasn't read")
        return bytearray(packed[start : start + size])

    return read_leaf


def missing_package(missing: ImportError, name: str) -> str:
    """Return which package the value of a variable lacks, and how to install it on this side."""
    module = (missing.name or "").partition(".")[0]
    package = _PACKAGES.get(module, module if module in _FREQUENT else "")
    problem = "is" if name == module else "needs {}, which is".format(module or missing)
    if name == module and not __name__.startswith(_IN_RUN):  # the run imported a package that -r installed there
        fix = ": %pip install {}".format(package) if package else ""
        return "is a module that the run has but this notebook doesn't have{}".format(fix)
    if not __name__.startswith(_IN_RUN):
        fix = "%pip install {}".format(package) if package else "install its package"
        return "{} not installed in this notebook: {}, and run the cell again".format(problem, fix)
    if module and not package:
        text = "{0} not installed: add --files for your own module, such as {1}.py, or -r for a package"
        return text.format(problem, module)
    return "{} not installed: add -r {}".format(problem, package or "NAME")


#: Start of the names of these modules in a run.
_IN_RUN = "_lk."
