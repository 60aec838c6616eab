"""Who schemathesis is, and what it checks of streams.

It is the local user, and where that would end the local user, one made for the purpose.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import httpx
import jsonschema
import schemathesis

from lk_jupyter.localcloud.accounts.signup import sign_up
from lk_jupyter.localcloud.options import CloudOptions

DESCRIPTION = json.loads(Path("openapi.json").read_text("utf-8"))
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
        sign_up(Path(CLOUD["data"]), CloudOptions(), email, "correct horse")
        body = {"email": email, "password": "correct horse"}
        return httpx.post(f"{CLOUD['base_url']}{PREFIX}/auth/login", json=body).json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.check
def each_event_is_as_described(ctx, response, case):
    """Hold the JSON of each event against the schema that the description names for it."""
    media_type, _, _ = response.headers.get("content-type", [""])[0].partition(";")
    if media_type != "text/event-stream":
        return
    row = case.operation.definition.raw["responses"][str(response.status_code)]
    if "$ref" in row:
        row = DESCRIPTION["components"]["responses"][row["$ref"].rpartition("/")[2]]
    kinds = [row["content"][media_type]["x-event-schema"], "#/components/schemas/OpenAIError"]  # a stream may break off
    schema = {"anyOf": [{"$ref": kind} for kind in kinds], "components": DESCRIPTION["components"]}
    for line in response.text.splitlines():
        name, _, data = line.partition(": ")
        if name == "data" and data != "[DONE]":
            jsonschema.validate(json.loads(data), schema)
