"""What all models share: unknown fields kept, money exact, times with a zone, lists as pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
)

T = TypeVar("T")


class Model(BaseModel):
    """A JSON object of the API; fields that it does not know are kept."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


def _decimal(value: Any) -> Any:
    """Read a float by its shortest decimal form, so that 0.0041 stays 0.0041."""
    return repr(value) if isinstance(value, float) else value


def _aware(moment: datetime) -> datetime:
    """Take a time without a zone as UTC, as the API's own times are."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _text_or_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


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

#: A moment; without a zone it is taken as UTC.
Timestamp = Annotated[datetime, AfterValidator(_aware)]

#: A moment that travels as Unix seconds; ISO text is read as well.
UnixTime = Annotated[
    datetime,
    BeforeValidator(lambda moment: moment, json_schema_input_type=int | str),
    AfterValidator(_aware),
    PlainSerializer(lambda moment: int(moment.timestamp()), return_type=int, when_used="json-unless-none"),
]

#: Text that some answers give as one string and some as a list.
Texts = Annotated[list[str], BeforeValidator(_text_or_list, json_schema_input_type=str | list[str])]


class Listing(Model, Generic[T]):
    """An answer that wraps a list: iterate it, index it, take its length."""

    _key = ""

    @property
    def items(self) -> list[T]:
        """The elements of this answer."""
        found: list[T] = getattr(self, self._key)
        return found

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
        while page is not None:
            yield from page
            page = page.next_page()


class OffsetPage(Paged[T], Generic[T]):
    """A page that tells how many elements stand before it."""

    limit: int
    offset: int

    @property
    def total(self) -> int:
        """How many elements the whole list has."""
        raise NotImplementedError

    def _following(self) -> dict[str, Any] | None:
        offset = self.offset + len(self)
        return {"offset": offset} if offset < self.total else None


class TotalPage(Paged[T], Generic[T]):
    """A page that tells how long the whole list is; the query said where the page begins."""

    @property
    def total(self) -> int:
        """How many elements the whole list has."""
        raise NotImplementedError

    def _following(self) -> dict[str, Any] | None:
        offset = self._query.get("offset", 0) + len(self)
        return {"offset": offset} if offset < self.total else None


class CursorPage(Paged[T], Generic[T]):
    """A page that tells whether there are more; the next one begins after its last element's id."""

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
