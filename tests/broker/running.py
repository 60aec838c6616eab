"""Brokers as real processes in front of a local cloud, or of a cloud that answers as a test orders."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import httpx
from cloud_process import PROCESSES, ForkedKernel
from patience import PATIENCE, wait_until

from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.broker.files import BUCKET, S3_PATH
from lk_jupyter.broker.grants import SCOPES
from lk_jupyter.broker.signature import SignedRequest, sign

API = "/api/v2/external"

#: Scopes of a key whose files pass through the broker: with ``bucket``, they would pass next to it.
ALL_SCOPES = [scope for scope in SCOPES if scope != "bucket"]
START = {"code": "print(6 * 7)", "execution_type": "gpu.a100", "timeout": 60}

#: Credits that a start of START reserves: 120 s of an A100 for 1.59 credits an hour.
RESERVED = 1.59 * 120 / 3600


#: Prices of an odd cloud: an A100 as a VM, and a model.
PRICE_BOOK = [
    {
        "meter_slug": "vm_running",
        "applies_to": {"hardware_profile": "on-demand.a100.1x"},
        "unit_price_per_hour": "1.59",
    },
    *(
        {
            "meter_slug": f"serverless_inference_{kind}_tokens",
            "applies_to": {"deployment_id": "serverless:local/echo"},
            "unit_price": "0.000001",
        }
        for kind in ("prompt", "completion")
    ),
]


class RunningBroker:
    """A broker in its own process; it can be killed and started again on its data.

    ``is_forked`` is whether the process is forked from one that has imported what a broker needs: a tenth of its start.
    """

    def __init__(self, data, base_url, key, *options, is_forked=False):
        self.is_forked = is_forked
        self.data, self.upstream, self.key = data, base_url, key
        self.options = ["--margin", "60", *options]
        self.clients = []
        self.start()

    def start(self):
        command = [sys.executable, "-m", "lk_jupyter.broker", "serve", "--data", str(self.data)]
        command += ["--upstream", self.upstream, *self.options]
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with (self.data.parent / "broker.log").open("a") as log:
            start = fork_with_pipes if self.is_forked else start_with_pipes
            self.process = start(command, log)
        self.process.stdin.write(self.key + "\n")
        self.process.stdin.close()
        self.base_url = json.loads(self.process.stdout.readline())["base_url"]
        self.operator_key = json.loads((self.data / "broker.json").read_text())["api_key"]
        self.operator = self.client(self.operator_key)

    def client(self, key):
        headers = {"Authorization": f"Bearer {key}"}
        self.clients.append(httpx.Client(base_url=self.base_url, headers=headers, timeout=PATIENCE))
        return self.clients[-1]

    def grant(self, **limits):
        """Issue a key; return its client, whose ``key`` and ``id`` are set."""
        answer = self.operator.post("/broker/keys", json={"credits": 10, **limits})
        assert answer.status_code == 201, answer.text
        client = self.client(answer.json()["api_key"])
        client.key, client.id = answer.json()["api_key"], answer.json()["id"]
        return client

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def stop(self):
        for client in self.clients:
            client.close()
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


def start_with_pipes(command, log):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)


def fork_with_pipes(command, log):
    """Fork a process of a command, with pipes as ``start_with_pipes`` has."""
    (stdin, writer), (reader, stdout) = PROCESSES.Pipe(duplex=False), PROCESSES.Pipe(duplex=False)
    with stdin, stdout, Connection(os.dup(log.fileno()), readable=False) as stderr:
        process = ForkedKernel(command, env=dict(os.environ), pipes={0: stdin, 1: stdout, 2: stderr})
    process.stdin, process.stdout = os.fdopen(os.dup(writer.fileno()), "w"), os.fdopen(os.dup(reader.fileno()))
    writer.close()
    reader.close()
    return process


@dataclass(frozen=True)
class ChildAccount:
    """Where the cloud's own client signs in with a child key."""

    base_url: str
    api_key: str


def read_state(client):
    return client.get("/broker/key").json()


def start(client, **changes):
    return client.post(f"{API}/execution/streaming/start", json={**START, **changes})


def start_run(client, **changes):
    answer = start(client, **changes)
    assert answer.status_code == 200, answer.text
    return answer.json()["execution_id"]


def wait_settled(client):
    return wait_until(lambda: not read_state(client)["active"])


class OddCloud:
    """A cloud whose answers to starts a test chooses. ``runs`` and ``vms`` are what its lists show: id → fields."""

    def __init__(self):  # noqa: C901 (a small server)
        self.starts, self.aborts, self.deleted, self.runs, self.vms = [], [], [], {}, {}
        self.price = "1.59"
        self.stream_closed = threading.Event()
        self.pieces: Iterable[bytes] = ()
        self.is_listing, self.list_requested = threading.Event(), threading.Event()
        self.is_listing.set()
        self.answer = lambda _: (500, {"detail": "failed"})
        self.start_received = threading.Event()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.removeprefix(API).partition("?")[0]
                if path == "/workloads/list":
                    cloud.list_requested.set()
                    cloud.is_listing.wait(PATIENCE)
                runs = list(cloud.runs.values())
                answers = {
                    "/machine-types": {
                        "machine_types": [{"hardware_profile": "gpu.a100", "price_per_hour": cloud.price}]
                    },
                    "/pricing": {"prices": PRICE_BOOK},
                    "/workloads/list": [run for run in runs if run["status"] == "running"],
                    "/billing/history": {"executions": [run for run in runs if run["status"] != "running"]},
                    "/vms/list": {"vms": list(cloud.vms.values())},
                }
                answers |= {f"/execution/{run_id}": run for run_id, run in cloud.runs.items()}
                answers |= {f"/vms/{vm_id}/status": vm for vm_id, vm in cloud.vms.items()}
                self.send(*((200, answers[path]) if path in answers else (404, {"detail": "Not Found"})))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if "/abort/" in self.path:
                    cloud.aborts.append(self.path.rpartition("/")[2])
                    return self.send(200, {})
                if "/stream/" in self.path and not cloud.pieces:
                    return self.stream_endlessly()
                if cloud.pieces:
                    return self.stream_pieces()
                cloud.starts.append(json.loads(body))
                cloud.start_received.set()
                return self.send(*cloud.answer(cloud.starts[-1]))

            def do_DELETE(self):
                cloud.deleted.append(self.path.rpartition("/")[2])
                self.send(200, {})

            def stream_endlessly(self):
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                    while True:
                        self.wfile.write(b": nothing\n\n" * 1000)
                except OSError:
                    self.close_connection = True
                    cloud.stream_closed.set()

            def stream_pieces(self):
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                for piece in cloud.pieces:
                    self.wfile.write(piece)

            def send(self, status, content, headers=()):
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in dict(headers).items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add_run(self, run_id, start, status="running", **fields):
        self.runs[run_id] = {"execution_id": run_id, "status": status, "metadata": start["metadata"], **fields}

    def add_vm(self, vm_id, name, status="ready"):
        self.vms[vm_id] = {"vm_id": vm_id, "status": status, "display_name": name, "billed": None}


class KeyFiles:
    """The files of a child key, by signed requests."""

    def __init__(self, key, base_url):
        self.key = key
        answer = self.key.post(f"{API}/storage/credentials")
        assert answer.status_code == 200, answer.text
        self.credentials = StorageCredentials.model_validate(answer.json())
        self.base_url, self.host = base_url, base_url.partition("//")[2]

    def send(self, method, path, query="", content=b"", digest="UNSIGNED-PAYLOAD", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        full_path = f"{S3_PATH}/{BUCKET}{path}"
        signed = sign(
            SignedRequest(method, full_path, query, {"host": self.host, **named}),
            self.credentials.access_key, self.credentials.secret_key, digest=digest, now=datetime.now(timezone.utc),
        )  # fmt: skip
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)  # sends a path without changes
        connection.request(method, f"{full_path}?{query}" if query else full_path, content, signed)
        answer = connection.getresponse()
        response = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
        connection.close()
        return response

    def upload_parts(self, name, *parts):
        upload_id = find_text(self.send("POST", f"/{name}", "uploads=").text, "UploadId")
        tags = [
            self.send("PUT", f"/{name}", f"partNumber={number}&uploadId={upload_id}", part).headers["etag"]
            for number, part in enumerate(parts, 1)
        ]
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in enumerate(tags, 1)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        return self.send("POST", f"/{name}", f"uploadId={upload_id}", body)


def find_text(text, tag):
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
