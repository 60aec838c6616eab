"""Who schemathesis is: the local user, and where that would end the local user, one made for the purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import httpx
import schemathesis

from lk_jupyter.localcloud.options import Options
from lk_jupyter.localcloud.people.signup import sign_up

CLOUD = json.loads(os.environ["LK_CONTRACT_CLOUD"])
PREFIX = "/api/v2/external"


@schemathesis.auth(refresh_interval=None).skip_for(path=f"{PREFIX}/user/delete")
class LocalUser:
    def get(self, case, context):
        return CLOUD["api_key"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=None, cache_by_key=lambda case, context: uuid4().hex).apply_to(
    path=f"{PREFIX}/user/delete"
)
class Newcomer:
    def get(self, case, context):
        email = f"{uuid4().hex}@example.com"
        sign_up(Path(CLOUD["data"]), Options(), email, "correct horse")
        body = {"email": email, "password": "correct horse"}
        return httpx.post(f"{CLOUD['base_url']}{PREFIX}/auth/login", json=body).json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"
