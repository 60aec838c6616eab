"""A folder as a drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import size_label


@dataclass(frozen=True)
class Branch:
    """An item of a folder in a Tree.

    ``name``, ``size`` in words (empty for a folder), and ``below``, the items of a folder.

    Example:
        >>> _ = session.storage.put(b"x", "branch/deep/a.txt")
        >>> session.storage.tree("branch").branches[0].below[0].size
        '1 B'
    """

    name: str
    size: str = ""
    below: tuple[Branch, ...] = ()


@dataclass(frozen=True, repr=False)
class Tree:
    """A folder as a drawing, for ``print``.

    ``top`` is the folder, ``branches`` are its items.

    Example:
        >>> _ = session.storage.put(b"x", "tree/a.txt")
        >>> session.storage.tree("tree").lines
        ['tree/', '└── a.txt  1 B']
    """

    top: str
    branches: tuple[Branch, ...]

    @property
    def lines(self) -> list[str]:
        """The lines of the drawing."""
        return [plain(self.top), *_draw_branches(self.branches)]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__


def draw_tree(top: str, ls: Callable[[str], Iterable[ObjectInfo]], depth: int, most: int) -> Tree:
    """Return a folder as a drawing; ``ls`` lists a folder, of which at most ``most`` items are read."""
    root = "" if top.endswith("://") else top
    return Tree(top, tuple(_list_branches(root, ls, depth, most)))


def _list_branches(folder: str, ls: Callable[[str], Iterable[ObjectInfo]], depth: int, most: int) -> Iterator[Branch]:
    items = list(islice(ls(folder), most + 1))
    for item in items[:most]:
        deeper = _list_branches(item.key, ls, depth - 1, most) if item.is_folder and depth > 1 else ()
        yield Branch(_format_name(item.name), "" if item.is_folder else size_label(item.size), tuple(deeper))
    if len(items) > most:
        yield Branch("and more")


def _format_name(name: str) -> str:
    """Return a name as one line, without control characters of terminals."""
    return plain(name).replace("\n", "\N{RETURN SYMBOL}")


def _draw_branches(branches: tuple[Branch, ...]) -> Iterator[str]:
    for number, branch in enumerate(branches, start=1):
        is_last = number == len(branches)
        yield f"{'└── ' if is_last else '├── '}{branch.name}{f'  {branch.size}' if branch.size else ''}"
        yield from (("    " if is_last else "│   ") + line for line in _draw_branches(branch.below))
