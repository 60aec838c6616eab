"""Signs of life, asked by the client on a local cloud."""

from __future__ import annotations

from api.calls import calls

from lk_jupyter import __version__
from lk_jupyter.api.health import Health


@calls(Health.ping)
def ping(client, ended):
    assert client.health.ping().message


@calls(Health.version)
def version(client, ended):
    assert client.health.version().version == __version__
