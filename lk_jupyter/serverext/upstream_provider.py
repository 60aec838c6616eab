"""The shared account of all requests: the signed-in account, checked again and again, and its connections."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from lk_jupyter.errors import LkError, LocalCloudError, NotSignedIn
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Target
    from lk_jupyter.serverext.upstream import Upstream

#: Seconds between checks whether a kernel has signed in or out.
LOOK_AGAIN = 2.0


class UpstreamProvider:
    """Gives out the connection of the account that is signed in."""

    def __init__(self) -> None:
        self._upstream: Upstream | None = None
        self._looked = 0.0
        self._looking = asyncio.Lock()

    async def upstream(self, *, rereads: bool = False) -> Upstream:
        """Return the connection of the account that is signed in. Raises RequestProblem.

        With ``rereads``, the stored sign-in is read again, however recently it was read.
        """
        async with self._looking:
            if rereads or self._upstream is None or time.monotonic() - self._looked > LOOK_AGAIN:
                await self._check_target()
            assert self._upstream is not None  # noqa: S101 (else there was trouble)
            return self._upstream

    async def look_again(self) -> None:
        """Forget the account, after a sign-in or sign-out."""
        async with self._looking:
            await self._replace_upstream(None)

    async def _check_target(self) -> None:
        try:
            target = await asyncio.to_thread(_find_target)
        except RequestProblem:
            await self._replace_upstream(None)
            raise
        if self._upstream is None or self._upstream.connection.target != target:
            await self._replace_upstream(target)
        self._looked = time.monotonic()

    async def _replace_upstream(self, target: Target | None) -> None:
        older, self._upstream = self._upstream, None
        if older is not None:
            await older.aclose()
        if target is not None:
            self._upstream = await asyncio.to_thread(_connect_upstream, target)


def _find_target() -> Target:
    from lk_jupyter.connection.connection import find_target  # noqa: PLC0415 (heavy, and not needed before the first request)

    try:
        return find_target(start=False)
    except NotSignedIn as problem:
        raise RequestProblem("signed-out", str(problem)) from None
    except LocalCloudError as problem:
        raise RequestProblem("unreachable", str(problem)) from None
    except LkError as problem:
        raise RequestProblem("signed-out", str(problem)) from None


def _connect_upstream(target: Target) -> Upstream:
    from lk_jupyter.serverext.upstream import Upstream  # noqa: PLC0415 (as above)

    try:
        return Upstream(target)
    except LkError as problem:
        raise RequestProblem("unreachable", str(problem)) from None
