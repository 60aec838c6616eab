"""Sends schemathesis, which makes up requests from the pinned API description, against a running local cloud.

    python tests/contract/against_local_cloud.py [--seconds 100] [--examples 60]

Every operation that the local cloud mounts takes part, at each of its servers. Exits with the code of
schemathesis: 0 when nothing was found. What is not held against the cloud stands in schemathesis.toml, with
reasons.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from lk_jupyter.localcloud import app
from lk_jupyter.localcloud._mount import HANDLERS

HERE = Path(__file__).parent
PLACEHOLDER = ":path}"

LOCAL_ORG = "local"

#: Answers of the local cloud that the description lacks: operation, status, and whose form they have.
DEVIATIONS = [
    # The operation asks for a token as all do, and its page forgets to say what happens without one.
    ("get", "/invites/{token}", 401, "Unauthorized"),
    # Whoever tries one password or code after the other has to wait.
    *(
        (method, path, 429, "TooManyRequests")
        for method, path in (
            ("post", "/auth/login"),
            ("post", "/auth/refresh"),
            ("post", "/mfa/verify"),
            ("post", "/mfa/verify-enrollment"),
            ("post", "/mfa/disable"),
            ("post", "/mfa/regenerate-backup-codes"),
        )
    ),
]

#: The header that picks an organization. "Membership is checked", says the description, and most operations that
#: take it list the 403 of a foreign one; those that do not list it get it here, in the form of their 401.
ORG_HEADERS = {"XOrgSlug", "OrgSlug", "InferenceXOrgSlug"}

#: An organization that nobody here is a member of.
FOREIGN_ORG = "foreign"

#: Where the hooks find the schema of each event of a stream.
EVENT_SCHEMA = "x-event-schema"

assert app.GROUPS  # importing them fills HANDLERS


def mounted():
    """Return the description of what is mounted, by the paths at which this machine has it."""
    described = yaml.load((HERE / "openapi.yaml").read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    adapt(described)
    paths = {}
    for endpoint in HANDLERS:
        path = endpoint.path.replace(PLACEHOLDER, "}")
        item = described["paths"][path]
        method = endpoint.method.lower()
        for server in endpoint.servers:
            here = paths.setdefault(server + path, {"parameters": item.get("parameters", [])})
            here[method] = {key: value for key, value in item[method].items() if key != "servers"}
    return {**described, "paths": paths, "servers": [{"url": "/"}]}


def adapt(described):
    """Say what the description leaves out, and name an organization that is there and stays, and one that is not."""
    for method, path, status, form in DEVIATIONS:
        described["paths"][path][method]["responses"][str(status)] = {"$ref": f"#/components/responses/{form}"}
    parts = described["components"]
    for item in described["paths"].values():
        for operation in (row for row in item.values() if "responses" in row):
            if picks_org(item) or picks_org(operation):
                operation["responses"].setdefault("403", operation["responses"]["401"])
    for name in ORG_HEADERS:
        parts["parameters"][name] |= {"schema": {"enum": [LOCAL_ORG, FOREIGN_ORG]}, "example": LOCAL_ORG}
    parts["parameters"]["Slug"] |= {"schema": {"const": LOCAL_ORG}, "example": LOCAL_ORG}
    parts["schemas"]["OrgUpdate"]["properties"]["slug"] = {"const": LOCAL_ORG}
    everything = [*parts["responses"].values()]
    everything += [
        r for p in described["paths"].values() for o in p.values() if "responses" in o for r in o["responses"].values()
    ]
    for response in everything:
        if content := response.get("content", {}).get("text/event-stream"):
            schema = content.pop("schema", {})  # that of all bytes, which would be held against each event
            content[EVENT_SCHEMA] = content.get("x-sse-data-schema") or schema.get(EVENT_SCHEMA)


def picks_org(row):
    """Return whether a row of the description takes the header that picks an organization."""
    return any(p.get("$ref", "").rpartition("/")[2] in ORG_HEADERS for p in row.get("parameters", []))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the cloud ends, too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, help="stop after this time")
    parser.add_argument("--examples", type=int, default=60, help="random requests for each operation")
    parser.add_argument("rest", nargs="*", help="options for schemathesis, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder, "openapi.json")
        description.write_text(json.dumps(mounted(), default=str))
        with local_cloud(Path(folder, "cloud")) as cloud:
            return schemathesis(cloud, description, options)


class local_cloud:  # noqa: N801 (used as a function)
    """A local cloud with credits for all that comes, for as long as the block runs."""

    def __init__(self, data):
        options = ("--credits", "1000000", "--clock-speed", "100", "--storage-bytes", "100000000")
        command = [sys.executable, "-m", "lk_jupyter.localcloud", "--data", str(data), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return json.loads(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


def schemathesis(cloud, description, options):
    """Run it and return its exit code; what it keeps goes with the folder of the description."""
    limits = ["--max-time", str(options.seconds)] if options.seconds else []
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"),
        *(str(description), "--url", cloud["base_url"], "--max-examples", str(options.examples), *limits),
        *("--suppress-health-check", "all"),  # they are about how quickly requests are made up
        *("--report", "json", "--report-json-path", str(description.with_name("report.json"))),
        *options.rest,
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    env = {**os.environ, **hooks, "LK_CONTRACT_CLOUD": json.dumps(cloud)}
    return subprocess.run(command, env=env, cwd=description.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
