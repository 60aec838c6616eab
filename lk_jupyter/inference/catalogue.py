"""The available models: prices of tokens, and context lengths."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

from lk_jupyter.api.serverless import ServedModel
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.prices import METERS, prices_by_model
from lk_jupyter.machines.prices import TokenPrices as TokenPrices  # noqa: PLC0414 (known by this place too)
from lk_jupyter.session import Session
from lk_jupyter.text.pandas import import_pandas
from lk_jupyter.text.terminal import plain_values

#: Seconds for which the list of models is kept.
FRESH = 60.0

MILLION = 1_000_000
_NEAR = 3

#: Fields with the context length in servers' lists of models; the API itself defines no field.
_CONTEXT = ("context_length", "max_model_len", "context_window")


@dataclass(frozen=True)
class ModelOffer:
    """A model that answers; ``context`` is the maximum number of tokens, None if the server reports none."""

    id: str
    owner: str
    context: int | None
    prices: TokenPrices

    @property
    def kind(self) -> str:
        """The purpose of the model, judged by its name."""
        return "embedding" if "embed" in self.id.lower() else "chat"


@dataclass(frozen=True)
class ModelCatalogue:
    """The models that an account can use."""

    offers: tuple[ModelOffer, ...]

    def __iter__(self) -> Iterator[ModelOffer]:
        return iter(self.offers)

    def __len__(self) -> int:
        return len(self.offers)

    def get(self, name: str) -> ModelOffer | None:
        """Return the model of this id; ids that differ in case only are different models."""
        return next((offer for offer in self.offers if offer.id == name), None)

    def find(self, name: str, kind: str) -> ModelOffer:
        """Return the model of this id. Raises UsageError for an unknown model, and for a model of another kind."""
        offer = self.get(name)
        if offer is None:
            raise UsageError(
                f"Unknown model '{name}'. {suggest_models(name, self._list_ids(kind))} All models: %lk_models"
            )
        if offer.kind != kind:
            use = "%lk_embed" if offer.kind == "embedding" else "%%lk_chat"
            raise UsageError(f"{name} is for {use}. {suggest_models('', self._list_ids(kind))}")
        return offer

    @property
    def df(self) -> Any:
        """The same as a DataFrame; prices in credits for a million tokens."""
        return import_pandas().DataFrame(plain_values(map(_build_offer_row, self.offers)))

    def _list_ids(self, kind: str) -> list[str]:
        return [offer.id for offer in self.offers if offer.kind == kind]


def suggest_models(name: str, candidates: Iterable[str]) -> str:
    """Return a sentence with similar names, or else with some of the available names."""
    names = list(candidates)
    short = {each.rpartition("/")[2]: each for each in names}
    close = get_close_matches(name, names, _NEAR) or [short[n] for n in get_close_matches(name, short, _NEAR)]
    return f"Near: {', '.join(close)}." if close else f"Models: {', '.join(names[:_NEAR]) or 'none'}."


_catalogues: WeakKeyDictionary[Session, tuple[float, ModelCatalogue]] = WeakKeyDictionary()


def read_catalogue(session: Session) -> ModelCatalogue:
    """Return the models of a session's server with their prices; kept for a minute."""
    read, cached = _catalogues.get(session, (0.0, None))
    if cached is None or time.monotonic() - read > FRESH:
        cached = ModelCatalogue(tuple(_read_offers(session)))
        _catalogues[session] = time.monotonic(), cached
    return cached


def _read_offers(session: Session) -> Iterator[ModelOffer]:
    prices = prices_by_model(session.client.pricing.get())
    for model in session.client.serverless.models():
        yield ModelOffer(model.id, model.owned_by or "", context_length(model), prices.get(model.id, TokenPrices()))


def context_length(model: ServedModel) -> int | None:
    """Return the maximum number of tokens of a model, if the server reports the number."""
    extra = model.model_extra or {}
    return next((extra[name] for name in _CONTEXT if isinstance(extra.get(name), int)), None)


def per_million(price: Decimal | None) -> Decimal | None:
    """Return the price of a million tokens."""
    return None if price is None else price * MILLION


def _build_offer_row(offer: ModelOffer) -> dict[str, Any]:
    prices = {name: per_million(getattr(offer.prices, name)) for name in METERS}
    return {
        "model": offer.id,
        "kind": offer.kind,
        **{name: None if price is None else float(price) for name, price in prices.items()},
        "context": offer.context,
        "owner": offer.owner,
    }
