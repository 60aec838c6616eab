"""A request of the Jupyter server to the API, from its start to its end."""

from __future__ import annotations

import asyncio

import pytest
from patience import PATIENCE

from lk_jupyter.api._endpoint import endpoint_of
from lk_jupyter.api.serverless import Serverless
from lk_jupyter.config.credentials import Credential
from lk_jupyter.connection.connection import Target
from lk_jupyter.serverext.upstream import Upstream


def test_a_stream_ends_there_though_its_end_is_cancelled_here(recorder, home):
    endpoint = endpoint_of(Serverless.stream_chat_completions)

    async def begin_to_read(upstream):
        async with upstream.open(endpoint, "/serverless/chat/completions") as response:
            assert "tick" in await anext(response.aiter_text())
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # as when a page is seen to have gone

    async def read():
        upstream = Upstream(Target(Credential(recorder.base_url, "lk_stream")))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(begin_to_read(upstream))
        assert await asyncio.to_thread(recorder.reader_has_gone.wait, PATIENCE)
        await upstream.aclose()

    recorder.reader_has_gone.clear()
    asyncio.run(read())
