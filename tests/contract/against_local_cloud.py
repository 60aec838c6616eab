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
]

#: The header that picks an organization is the same everywhere, and a foreign one is refused with 403 also
#: where the page does not list that. Its own operation, which does, stands for all.
ORG_HEADERS = {"XOrgSlug", "OrgSlug", "InferenceXOrgSlug"}
ORG_OPERATION = "/user/org"

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
            here = paths.setdefault(server + path, {"parameters": kept(path, item)})
            operation = {key: value for key, value in item[method].items() if key != "servers"}
            here[method] = {**operation, "parameters": kept(path, operation)}
    return {**described, "paths": paths, "servers": [{"url": "/"}]}


def adapt(described):
    """Say what the description leaves out, and name an organization that is there and stays."""
    for method, path, status, form in DEVIATIONS:
        described["paths"][path][method]["responses"][str(status)] = {"$ref": f"#/components/responses/{form}"}
    parts = described["components"]
    parts["parameters"]["Slug"] |= {"schema": {"const": LOCAL_ORG}, "example": LOCAL_ORG}
    parts["schemas"]["OrgUpdate"]["properties"]["slug"] = {"const": LOCAL_ORG}
    everything = [*parts["responses"].values()]
    everything += [
        r for p in described["paths"].values() for o in p.values() if "responses" in o for r in o["responses"].values()
    ]
    for response in everything:  # the schema there is that of all bytes, and would be held against each event
        response.get("content", {}).get("text/event-stream", {}).pop("schema", None)


def kept(path, row):
    """Return the parameters that take part."""
    parameters = row.get("parameters", [])
    return [p for p in parameters if path == ORG_OPERATION or p.get("$ref", "").rpartition("/")[2] not in ORG_HEADERS]


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
