"""What all models share: unknown fields kept, money exact, times with a zone, lists as pages."""

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

#: How many GPUs one machine or replica may have; the service takes 0 for 1 and bills it.
GPU_COUNTS = (1, 2, 4, 8)

#: The names under which servers give the id of a run.
RUN_ID_NAMES = ("execution_id", "executionId", "id", "run_id", "runId", "job_id", "jobId", "workload_id")


class Model(BaseModel):
    """A JSON object of the API; fields that it does not know are kept."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, allow_inf_nan=False)

    def problem(self) -> str:
        """Return in words why a request must not be sent; empty where it may."""
        return ""


def _decimal(value: Any) -> Any:
    """Read a float by its shortest decimal form, so that 0.0041 stays 0.0041."""
    return repr(value) if isinstance(value, float) else value


def _aware(moment: datetime) -> datetime:
    """Take a time without a zone as UTC, as the API's own times are."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def count_problem(name: str, count: int | None) -> str:
    """Return in words what is wrong with a number of GPUs; empty where it may be sent."""
    return "" if count is None or count in GPU_COUNTS else f"{name} must be 1, 2, 4 or 8, got '{count}'."


#: A number of GPUs that may be sent: ``problem`` of a request refuses others, so that answers may hold any.
GpuCount = Annotated[int, WithJsonSchema({"type": "integer", "enum": list(GPU_COUNTS)})]


def _text_or_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def unless_null(default: T) -> BeforeValidator:
    """Mark a field whose default stands for null as well."""
    return BeforeValidator(lambda value: default if value is None else value)


def _state(value: Any) -> Any:
    return (value or "").strip().lower() or UNKNOWN if value is None or isinstance(value, str) else value


def _run_state(value: Any) -> Any:
    return canonical(value or "") if value is None or isinstance(value, str) else value


#: Credits that travel as a JSON number (runs, machine types, ``/billing``).
Credits = Annotated[
    Decimal, BeforeValidator(_decimal), PlainSerializer(float, return_type=float, when_used="json-unless-none")
]

#: Credits that travel as a decimal string (organization ledger, price book), never as 6E-7.
DecimalString = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json-unless-none"),
]

#: A price or a bill in credits. Numbers beyond these limits count as unknown: a negative bill would add to a budget.
Cost = Annotated[Credits, Field(ge=0, lt=10**9)]

#: The same as a decimal string.
CostString = Annotated[DecimalString, Field(ge=0, lt=10**9)]

#: A moment; without a zone it is taken as UTC.
Timestamp = Annotated[datetime, AfterValidator(_aware)]

#: A moment that travels as Unix seconds; ISO text is read as well.
UnixTime = Annotated[
    datetime,
    BeforeValidator(lambda moment: moment, json_schema_input_type=int | str),
    AfterValidator(_aware),
    PlainSerializer(lambda moment: int(moment.timestamp()), return_type=int, when_used="json-unless-none"),
]

#: The id of a run, whatever the server calls it.
RunId = Annotated[str, Field(validation_alias=AliasChoices(*RUN_ID_NAMES), coerce_numbers_to_str=True)]

#: The id of anything else.
Id = Annotated[str, Field(coerce_numbers_to_str=True)]

#: Text that identifies nothing: empty where a server leaves it out.
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value, json_schema_input_type=str | None)]

#: Elements; none where a server sends null.
Items = Annotated[list[T], BeforeValidator(lambda value: [] if value is None else value)]

#: The same of which only the first problem is reported: millions of problems would take gigabytes.
FewProblems = Annotated[list[T], FailFast(), BeforeValidator(lambda value: [] if value is None else value)]

#: The state of a thing in lower case, ``unknown`` where a server gives none.
State = Annotated[str, BeforeValidator(_state, json_schema_input_type=str | None)]

#: The same of a run, as the API's own word where the server has a synonym of it.
RunStatus = Annotated[str, BeforeValidator(_run_state, json_schema_input_type=str | None)]

#: Text that some answers give as one string and some as a list.
Texts = Annotated[list[str], BeforeValidator(_text_or_list, json_schema_input_type=str | list[str])]


#: Fields that tell the elements of a list from each other.
_IDS = ("id", "execution_id", "activity_id")


class Listing(Model, Generic[T]):
    """An answer that wraps a list: iterate it, index it, take its length."""

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
    """One page of a longer list; ``next_page`` and ``all`` fetch on."""

    _query: dict[str, Any] = PrivateAttr(default_factory=dict)
    _fetch: Callable[[dict[str, Any]], Paged[T]] | None = PrivateAttr(default=None)

    def _following(self) -> dict[str, Any] | None:
        """Return what the query for the next page says differently, None after the last page."""
        raise NotImplementedError

    def next_page(self) -> Paged[T] | None:
        """Return the page that follows, or None after the last."""
        changes = self._following() if len(self) else None
        return self._fetch(changes) if self._fetch and changes else None

    def all(self) -> Iterator[T]:
        """Iterate from this page to the end of the list, fetching as it goes."""
        page: Paged[T] | None = self
        ids_before: set[Any] = set()
        last: list[T] = []
        while page is not None:
            ids = {next((item_id for name in _IDS if (item_id := getattr(item, name, None))), None) for item in page}
            if page.items == last or (ids and None not in ids and ids <= ids_before):
                return  # a server that gives the same page for every query, or goes round in circles
            ids_before |= ids
            last = page.items
            yield from page
            page = page.next_page()


class TotalPage(Paged[T], Generic[T]):
    """A page that gives the length of the entire list; the query says where the page begins."""

    @property
    def total(self) -> int | None:
        """How many elements the entire list has; None where the server gives no number."""
        raise NotImplementedError

    @property
    def start(self) -> int:
        """How many elements come before this page."""
        return int(self._query.get("offset", 0))

    def _following(self) -> dict[str, Any] | None:
        offset, limit = self.start + len(self), self._query.get("limit")
        is_last = offset >= self.total if self.total is not None else limit is not None and len(self) < limit
        return None if is_last else {"offset": offset}


class OffsetPage(TotalPage[T], Generic[T]):
    """A page that gives the number of elements before it."""

    limit: int | None = None
    offset: int | None = None

    @property
    def start(self) -> int:
        """How many elements come before this page."""
        return super().start if self.offset is None else self.offset


class CursorPage(Paged[T], Generic[T]):
    """A page that says whether there are more; the next page begins after the id of the last element."""

    _key = "data"
    has_more: bool | None = None

    def _following(self) -> dict[str, Any] | None:
        return {"after": self[-1].id} if self.has_more else None  # type: ignore[attr-defined]


class Page(RootModel[list[T]], Generic[T]):
    """An answer that is a bare list: iterate it, index it, take its length."""

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        return iter(self.root)

    def __len__(self) -> int:
        return len(self.root)

    def __getitem__(self, index: int) -> T:
        return self.root[index]


class Message(Model):
    """An answer in words."""

    message: str | None = Field(None, description="For display.")
