"""Common parts of all models: unknown fields stay, money is exact, times have a zone, lists are pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    WithJsonSchema,
)

from lk_jupyter.api.states import UNKNOWN, canonical

T = TypeVar("T")

#: Maximum number of GPUs of a machine or replica; the service reads 0 as 1 and bills a GPU.
GPU_COUNTS = (1, 2, 4, 8)

#: Fields with the id of a run, by server.
RUN_ID_NAMES = ("execution_id", "executionId", "id", "run_id", "runId", "job_id", "jobId", "workload_id")


class Model(BaseModel):
    """A JSON object of the API; unknown fields are stored."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, allow_inf_nan=False, defer_build=True)

    def problem(self) -> str:
        """Return in words why a request must not be sent; empty for a valid request."""
        return ""

    def broker_reason(self) -> str:
        """Return in words why only a broker may get a request; empty for a request that a cloud may get."""
        return ""


def _shorten_float(value: Any) -> Any:
    """Read a float by its shortest decimal form, so that 0.0041 stays 0.0041."""
    return repr(value) if isinstance(value, float) else value


def _assume_utc(moment: datetime) -> datetime:
    """Read a time without a zone as UTC, as the API's times are."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def count_problem(name: str, count: int | None) -> str:
    """Return the problem with a number of GPUs in words; empty for a valid number."""
    return "" if count is None or count in GPU_COUNTS else f"{name} must be 1, 2, 4 or 8, got '{count}'."


#: A number of GPUs to send: the ``problem`` of a request refuses invalid numbers, so that answers may contain any.
GpuCount = Annotated[int, WithJsonSchema({"type": "integer", "enum": list(GPU_COUNTS)})]


def _wrap_text_in_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def unless_null(default: T) -> BeforeValidator:
    """Mark a field whose default also replaces null."""
    return BeforeValidator(lambda value: default if value is None else value)


def _normalize_state(value: Any) -> Any:
    return (value or "").strip().lower() or UNKNOWN if value is None or isinstance(value, str) else value


def _normalize_run_state(value: Any) -> Any:
    return canonical(value or "") if value is None or isinstance(value, str) else value


#: Credits as a JSON number (runs, machine types, ``/billing``).
Credits = Annotated[
    Decimal, BeforeValidator(_shorten_float), PlainSerializer(float, return_type=float, when_used="json-unless-none")
]

#: Credits as a decimal string (organization ledger, price book), never as 6E-7.
DecimalString = Annotated[
    Decimal,
    BeforeValidator(_shorten_float),
    PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json-unless-none"),
]

#: A price or a bill in credits. Numbers beyond these limits count as unknown: a negative bill would raise a budget.
Cost = Annotated[Credits, Field(ge=0, lt=10**9)]

#: A price or bill as a decimal string.
CostString = Annotated[DecimalString, Field(ge=0, lt=10**9)]

#: The price of an hour of a GPU. No GPU is free: a server that sends 0 doesn't know the price.
GpuPrice = Annotated[Cost | None, AfterValidator(lambda price: price or None)]

#: The price of an hour of a GPU as a decimal string.
GpuPriceString = Annotated[CostString | None, AfterValidator(lambda price: price or None)]

#: A time; without a zone, UTC is assumed.
Timestamp = Annotated[datetime, AfterValidator(_assume_utc)]

#: A time as Unix seconds; ISO text is accepted.
UnixTime = Annotated[
    datetime,
    BeforeValidator(lambda moment: moment, json_schema_input_type=int | str),
    AfterValidator(_assume_utc),
    PlainSerializer(lambda moment: int(moment.timestamp()), return_type=int, when_used="json-unless-none"),
]

#: The id of a run, under any name of a server.
RunId = Annotated[str, Field(validation_alias=AliasChoices(*RUN_ID_NAMES), coerce_numbers_to_str=True)]

#: The id of another object.
Id = Annotated[str, Field(coerce_numbers_to_str=True)]

#: Text that identifies nothing; empty if a server omits the text.
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value, json_schema_input_type=str | None)]

#: Elements; empty if a server sends null.
Items = Annotated[list[T], BeforeValidator(lambda value: [] if value is None else value)]

#: Elements of which only the first problem is reported: millions of problems would take gigabytes.
FewProblems = Annotated[list[T], FailFast(), BeforeValidator(lambda value: [] if value is None else value)]

#: A state in lower case; ``unknown`` if a server sends none.
State = Annotated[str, BeforeValidator(_normalize_state, json_schema_input_type=str | None)]

#: The state of a run in the API's own word, if the server uses a synonym.
RunStatus = Annotated[str, BeforeValidator(_normalize_run_state, json_schema_input_type=str | None)]

#: Text that some answers contain as a string and some as a list.
Texts = Annotated[list[str], BeforeValidator(_wrap_text_in_list, json_schema_input_type=str | list[str])]


#: Fields that distinguish the elements of a list.
_IDS = ("id", "execution_id", "activity_id")


class Listing(Model, Generic[T]):
    """An answer that wraps a list: iterate over, index and measure the answer like a list."""

    _key = ""

    @property
    def items(self) -> list[T]:
        """The elements of this answer."""
        rows: list[T] = getattr(self, self._key)
        return rows

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]


class Paged(Listing[T], Generic[T]):
    """A page of a longer list; ``next_page`` and ``all`` request further pages."""

    _query: dict[str, Any] = PrivateAttr(default_factory=dict)
    _fetch: Callable[[dict[str, Any]], Paged[T]] | None = PrivateAttr(default=None)

    def _build_next_page_query(self) -> dict[str, Any] | None:
        """Return the changes in the query for the next page, None after the last page."""
        raise NotImplementedError

    def next_page(self) -> Paged[T] | None:
        """Return the next page, or None after the last page."""
        changes = self._build_next_page_query() if len(self) else None
        return self._fetch(changes) if self._fetch and changes else None

    def all(self) -> Iterator[T]:
        """Iterate from this page to the end of the list, requesting further pages."""
        page: Paged[T] | None = self
        ids_before: set[Any] = set()
        last: list[T] = []
        while page is not None:
            ids = {next((item_id for name in _IDS if (item_id := getattr(item, name, None))), None) for item in page}
            if page.items == last or (ids and None not in ids and ids <= ids_before):
                return  # the server repeats a page
            ids_before |= ids
            last = page.items
            yield from page
            page = page.next_page()


class TotalPage(Paged[T], Generic[T]):
    """A page with the length of the entire list; the query contains the offset."""

    @property
    def total(self) -> int | None:
        """The length of the entire list; None if the server reports no number."""
        raise NotImplementedError

    @property
    def start(self) -> int:
        """The number of elements before this page."""
        return int(self._query.get("offset", 0))

    def _build_next_page_query(self) -> dict[str, Any] | None:
        offset, limit = self.start + len(self), self._query.get("limit")
        is_last = offset >= self.total if self.total is not None else limit is not None and len(self) < limit
        return None if is_last else {"offset": offset}


class OffsetPage(TotalPage[T], Generic[T]):
    """A page with the number of elements before the page."""

    limit: int | None = None
    offset: int | None = None

    @property
    def start(self) -> int:
        """The number of elements before this page."""
        return super().start if self.offset is None else self.offset


class CursorPage(Paged[T], Generic[T]):
    """A page that reports whether more follow; the next page starts after the id of the last element."""

    _key = "data"
    has_more: bool | None = None

    def _build_next_page_query(self) -> dict[str, Any] | None:
        return {"after": self[-1].id} if self.has_more else None  # type: ignore[attr-defined]


class Page(RootModel[list[T]], Generic[T]):
    """An answer that is a plain list: iterate over, index and measure the answer like a list."""

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        return iter(self.root)

    def __len__(self) -> int:
        return len(self.root)

    def __getitem__(self, index: int) -> T:
        return self.root[index]


class Message(Model):
    """An answer with a message."""

    message: str | None = Field(None, description="For display.")
