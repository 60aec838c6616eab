"""Users of a local cloud beside its own, for whom lines of magics are run."""

import _thread
import os
import signal
import threading
from uuid import uuid4

from localcloud.conftest import until

from lk_jupyter.api._client import Client
from lk_jupyter.api.auth import ApiKeyCreate, LoginRequest


def add_person(cloud):
    """Add a user; return the e-mail address and a key of theirs."""
    email = f"{uuid4().hex[:10]}@example.com"
    cloud.add_user(email, "correct horse")
    with Client(cloud.base_url) as stranger:
        token = stranger.auth.login(LoginRequest(email=email, password="correct horse")).access_token
    with Client(cloud.base_url, token) as client:
        return email, client.auth.create_api_key(ApiKeyCreate(key_name="first")).api_key


def answers(*typed):
    """Return a stand-in for somebody who types these answers, one after the other."""
    left = list(typed)
    return lambda *_: left.pop(0)


def interrupt_us():
    """Interrupt this process as its terminal does; on Windows, ``os.kill`` would end it."""
    if os.name == "nt":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), signal.SIGINT)


def interrupt_at(cloud, path):
    """Delay a request of the cloud by a second, and interrupt this process in a thread when it has arrived."""
    faults = f"{cloud.base_url}/_faults"

    def interrupt():
        until(lambda: cloud.http.post(faults, json=[]).json()[-1]["times"] == 0)
        interrupt_us()

    cloud.http.post(faults, json={"path": path, "delay": 1}).raise_for_status()
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    return interrupting
