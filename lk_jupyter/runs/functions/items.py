"""Call a function for many items: repeat items that fail, and store the result of each item."""

from __future__ import annotations

import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from lk_jupyter.api._polling import add_advice
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, LkError
from lk_jupyter.runs.functions.call import Arguments, FunctionCall, ItemError, StoredCall
from lk_jupyter.runs.functions.stored_answers import StoredAnswers
from lk_jupyter.runs.functions.stored_results import StoredResults

#: Chunks for each worker of a map that chooses the size of its chunks.
_CHUNKS_PER_WORKER = 4

#: Bytes: a chunk with more than this is divided.
_LARGEST_CHUNK = 8_000_000

#: Seconds after which a machine sends results, and gets the remaining items of the chunk in another call.
SLICE_SECONDS = 1.0


@dataclass(frozen=True)
class Item:
    """An item of a map: its arguments, and its key in the stored results."""

    arguments: Arguments
    key: str = ""


@dataclass(frozen=True)
class ItemPolicy:
    """The treatment of the items of a map: tries after a failure, and errors as results.

    After ``seconds``, a machine leaves the remaining items to another call.
    """

    function: Callable[..., Any]
    folder: Path
    seconds: float | None = None
    retries: int = 0
    returns_errors: bool = False

    def pack(self, items: Sequence[Item]) -> FunctionCall:
        """Pack the calls for items. Raises UsageError for objects that can't be pickled."""
        call = FunctionCall.pack(self.function, [item.arguments for item in items], self.folder)
        return replace(call, by_item=True, seconds=self.seconds)


@dataclass
class Chunk:
    """Items of a map that are called one after another, with the packed first call.

    ``number`` is the position in the map, ``failed`` are the numbers of chunks that ended the map.
    """

    policy: ItemPolicy
    items: Sequence[Item]
    call: FunctionCall
    answers: StoredAnswers
    stored: StoredResults | None = None
    number: int = 0
    failed: list[int] = field(default_factory=list)
    _failures: Counter[int] = field(default_factory=Counter)
    _losses: Counter[int] = field(default_factory=Counter)
    _results: dict[int, Any] = field(default_factory=dict)

    def run(self, send: Callable[[FunctionCall], list[Any]], read: Callable[[Any], Any]) -> list[Any]:
        """Return the results of the items, in order, with an ``ItemError`` for each item that failed.

        ``send`` makes a call and returns entries of the first items, ``read`` returns the result in an entry. After an
        item failed too often, the list ends with its error, unless the policy returns errors. An item whose machine is
        lost is called once more. The list is shorter if an earlier chunk ended the map: its results aren't used.
        """
        pending, size = list(range(len(self.items))), len(self.items)
        while pending and not any(number <= self.number for number in self.failed):
            selected = pending[:size]
            call = self._prepare_call(selected)
            entries: list[Any]
            try:
                entries = send(call)[: len(selected)]
                if not entries:
                    raise InvalidResponse(
                        "A call of the function with several items returned no result. Call the function again with "
                        "these items."
                    )
                size = min(2 * size, len(self.items)) if self.stored else size
            except ConnectionFailed as error:
                size = 1  # one item at a time shows the item that ends machines
                entries = self._read_entries_before_loss(call)[: len(selected)]
                lost = selected[len(entries) :]
                if lost and self._count_loss(lost) > 1:
                    entries, size = [*entries, error], len(self.items)
            pending = self._add_results(call, selected, entries, read) + pending[len(entries) :]
            if self._has_failed:
                self.failed.append(self.number)
        results = [self._results[index] for index in sorted(self._results)]
        self._results.clear()
        return results

    def _read_entries_before_loss(self, call: FunctionCall) -> list[Any]:
        """Return the entries that arrived before the machine was lost, or that the machine stored before."""
        if call.stored is None:
            return []
        with suppress(LkError):  # the bucket may be lost too
            return max(call.stored.entries, self.answers.read(call.token), key=len)
        return call.stored.entries

    def _count_loss(self, lost: Sequence[int]) -> int:
        """Return how many machines were lost while they called the first of these items.

        Without stored answers, the pool has made the call twice, and both losses are of its item if it is the only one.
        """
        if self.stored is None:
            return 2 if len(lost) == 1 else 0
        self._losses[lost[0]] += 1
        return self._losses[lost[0]]

    def _prepare_call(self, selected: Sequence[int]) -> FunctionCall:
        """Return the call for the selected items, each time with another token; the first call is packed already.

        The answer of an earlier call is removed in the background, which must not remove the next answer.
        """
        items = [self.items[index] for index in selected]
        packed = self.call if len(items) == len(self.items) else self.policy.pack(items)
        call = replace(packed, token=uuid.uuid4().hex)
        if self.stored is None:
            return call
        begin = partial(self.stored.begin_call, call.token, [item.key for item in items])
        return replace(call, stored=StoredCall(begin))

    @property
    def _has_failed(self) -> bool:
        """Whether an item failed too often, so that the map ends."""
        return not self.policy.returns_errors and any(
            isinstance(result, ItemError) for result in self._results.values()
        )

    def _add_results(
        self, call: FunctionCall, selected: Sequence[int], entries: Sequence[Any], read: Callable[[Any], Any]
    ) -> list[int]:
        """Add and store the results of the first selected items; return the items that must be called again."""
        repeated, stored = [], {}
        for index, entry in zip(selected, entries, strict=False):
            result = ItemError(entry) if isinstance(entry, BaseException) else read(entry)
            if isinstance(result, ItemError):
                self._failures[index] += 1
                if self._failures[index] <= self.policy.retries:
                    repeated.append(index)
                    continue
            else:
                stored[self.items[index].key] = entry
            self._results[index] = result
        if self.stored:
            self.stored.put(stored, call.token)
            self.answers.remove(call.token)
        return repeated


class ItemMap:
    """The items of a map, the results that an earlier map of the name ``resume`` stored, and the other items' chunks.

    With ``is_listed``, all items are read first, so that the size of the chunks follows from their count.
    ``answers`` are the answers of calls that an earlier process made.
    """

    def __init__(
        self,
        policy: ItemPolicy,
        arguments: Iterable[Arguments],
        resume: str | None,
        answers: StoredAnswers,
        *,
        is_listed: bool,
    ) -> None:
        self._policy = policy
        self._resume, self._answers = resume, answers
        self._numbers, self._failed = count(), list[int]()
        self._stored = None if resume is None else StoredResults(resume, policy.function, policy.folder, warnings.warn)
        items = (Item(each, self._stored.next_key(each) if self._stored else "") for each in arguments)
        self._items: Iterable[Item] = list(items) if self._stored or is_listed else items
        if self._stored:
            self._stored.add_earlier({item.key for item in self._items}, answers)
        self._loaded = self._stored.load(item.key for item in self._items) if self._stored else {}

    def chunks(self, size: int | None, workers: int | None) -> Iterator[Chunk]:
        """Yield chunks of ``size`` items without a stored result; by default, several for each of ``workers``."""
        if size is None and workers and isinstance(self._items, list):
            size = max(1, -(-(len(self._items) - len(self._loaded)) // (_CHUNKS_PER_WORKER * workers)))
        missing = (item for item in self._items if item.key not in self._loaded)
        for items in iter(lambda: list(islice(missing, size or 1)), []):
            yield from self._pack_chunks(items)

    def merge(self, results: Iterator[Any]) -> Iterator[Any]:
        """Yield the results of all items: stored results, and ``results`` of the other items."""
        total = len(self._items) if isinstance(self._items, list) else 0
        position = 0
        try:
            for item in self._items if self._loaded else ():
                yield (
                    self._loaded.pop(item.key)
                    if item.key in self._loaded
                    else self._unwrap_result(next(results), position)
                )
                position += 1
            while True:
                result = [next(results)]  # popped: no reference to a result stays while the next is waited for
                yield self._unwrap_result(result.pop(), position)
                position += 1
        except StopIteration:
            return
        except LkError as error:
            raise add_advice(error, self._format_advice(position, total)) from error.__cause__
        finally:
            close = getattr(results, "close", None)
            if close:
                close()

    def _unwrap_result(self, result: Any, position: int) -> Any:
        """Return a result, or the error of an item. An error of the product shows the number of the item."""
        if not isinstance(result, ItemError):
            return result
        error = result.error
        if isinstance(error, LkError):
            error = add_advice(error, f"Item {position + 1:,} has no result.")
        if not self._policy.returns_errors:
            raise error
        return error

    def _format_advice(self, position: int, total: int) -> str:
        """Return which items have a result, and how another map continues."""
        items = f"Results of the first {position:,}{f' of {total:,}' if total else ''} items arrived."
        if self._resume is None:
            return f"{items} With resume='NAME', another map() call continues with the remaining items."
        return f"{items} Continue with the remaining items: map(..., resume='{self._resume}')"

    def _pack_chunks(self, items: Sequence[Item]) -> Iterator[Chunk]:
        """Yield items with their packed call, in several chunks if the items are large."""
        call = self._policy.pack(items)
        if len(call.payload) <= _LARGEST_CHUNK or len(items) == 1:
            number = next(self._numbers)
            yield Chunk(self._policy, items, call, self._answers, self._stored, number, self._failed)
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            yield from self._pack_chunks(half)
