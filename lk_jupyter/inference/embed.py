"""Turn texts into vectors: send requests in order, each with many texts."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lk_jupyter.api.serverless import EmbeddingRequest, EmbeddingResponse, Usage
from lk_jupyter.errors import InvalidResponse
from lk_jupyter.inference.catalogue import ModelOffer
from lk_jupyter.inference.conversation import explain_error
from lk_jupyter.session import Session

#: Maximum texts, and about the maximum letters, of a request.
TEXTS, LETTERS = 256, 200_000
#: Letters of a token, estimated.
TOKEN_LETTERS = 4


@dataclass(frozen=True)
class EmbeddingEstimate:
    """The tokens of texts, estimated from their letters, and the cost in credits; None for an unknown price.

    ``most`` is the highest cost: no token is shorter than a byte.
    """

    tokens: int
    cost: Decimal | None
    most: Decimal | None


def estimate_cost(offer: ModelOffer, texts: Sequence[str]) -> EmbeddingEstimate:
    """Return the estimated and the highest cost of the vectors of texts; nothing is sent."""
    tokens = sum(max(1, len(text) // TOKEN_LETTERS) for text in texts)
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    price = offer.prices.prompt
    return EmbeddingEstimate(tokens, None if price is None else tokens * price, None if price is None else size * price)


@dataclass
class Vectors:
    """The vectors so far, in the order of their texts, all of the same length.

    ``tokens`` is None after an answer without a token count: the cost is unknown too.
    """

    offer: ModelOffer
    rows: list[array[float]] = field(default_factory=list)
    tokens: int | None = 0

    @property
    def cost(self) -> Decimal | None:
        """The cost in credits; None for an unknown price."""
        return self.offer.prices.cost(Usage(prompt_tokens=self.tokens, completion_tokens=0))

    def take(self, answer: EmbeddingResponse, count: int) -> None:
        """Add the vectors of a request with ``count`` texts. Raises InvalidResponse if vectors are missing."""
        ordered = sorted(enumerate(answer), key=lambda pair: pair[0] if pair[1].index is None else pair[1].index)
        try:
            rows = [_decode_vector(each.embedding) for _, each in ordered]
        except ValueError:
            raise InvalidResponse(f"{self.offer.id} returned a vector that can't be read. It may be billed.") from None
        if any(each.index not in {None, place} for place, (_, each) in enumerate(ordered)):
            raise InvalidResponse(
                f"{self.offer.id} returned vectors for texts that weren't sent. These vectors may be billed."
            )
        if len(rows) != count or len({len(row) for row in [*self.rows[:1], *rows]}) > 1:
            raise InvalidResponse(
                f"{self.offer.id} returned {len(rows)} vectors for {count} texts, or vectors of different lengths."
            )
        self.rows += rows
        counted = answer.usage.prompt_tokens if answer.usage else None
        self.tokens = None if counted is None or self.tokens is None else self.tokens + counted


def embed(session: Session, offer: ModelOffer, texts: Sequence[str]) -> Iterator[Vectors]:
    """Yield the vectors as they grow, after each request."""
    vectors = Vectors(offer)
    for piece in split_texts(texts):
        request = EmbeddingRequest(model=offer.id, input=piece, encoding_format="base64")
        try:
            answer = session.client.serverless.embeddings(request)
        except Exception as problem:  # noqa: BLE001 (told with what to do)
            raise explain_error(problem) from None
        vectors.take(answer, len(piece))
        yield vectors


def split_texts(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in pieces, each small enough for a request."""
    piece: list[str] = []
    for text in texts:
        if piece and (len(piece) == TEXTS or sum(map(len, piece)) + len(text) > LETTERS):
            yield piece
            piece = []
        piece.append(text)
    if piece:
        yield piece


def _decode_vector(vector: Any) -> array[float]:
    """Return a vector as 32-bit numbers, decoded from either of two forms."""
    if not isinstance(vector, str):
        return array("f", vector)
    numbers = array("f")
    numbers.frombytes(base64.b64decode(vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
