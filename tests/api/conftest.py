from __future__ import annotations

import pytest
from api.scripted import KEY, ScriptedServer

from lk_jupyter.api._client import Client


@pytest.fixture
def server():
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture
def client(server):
    with Client(server.url, KEY, backoff=0) as client:
        yield client


@pytest.fixture
def start_client(server):
    """Make clients of the scripted server, closed after the test."""
    made = []

    def start(token=KEY, **options):
        made.append(Client(server.url, token, **{"backoff": 0, **options}))
        return made[-1]

    yield start
    for client in made:
        client.close()
