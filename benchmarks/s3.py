"""How fast a large object travels to S3 and back, beside a bare HTTP server, and how soon many keys are listed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from shutil import copyfileobj
from subprocess import PIPE, Popen

import httpx
import obstore
from figures import Figure
from obstore.store import S3Store

from lk_jupyter.api._client import Client
from lk_jupyter.localcloud import launch

SIZE = int(os.environ.get("LK_BENCH_S3_BYTES", "1_000_000_000"))
ROUNDS = 2
KEYS = 10_000
PIECE = 1024 * 1024
PART = 16 * 1024 * 1024


def measure() -> Iterator[Figure]:
    """Yield the ratios of a large object, and the time of a long listing."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        _fill(source)
        with _bare_server(Path(folder, "bare")) as url, _bucket(Path(folder, "data")) as store:
            yield from _compare("up", lambda: _put(url, source), lambda: obstore.put(store, "big", source, **_PARTS))
            yield from _compare("down", lambda: _get(url, target), lambda: _download(store, target))
            assert target.stat().st_size == SIZE
            obstore.delete(store, "big")
            _make_keys(store)
            began = time.perf_counter()
            listed = sum(len(page) for page in obstore.list(store, "keys"))
            seconds = time.perf_counter() - began
            assert listed == KEYS
            yield Figure(f"S3: {KEYS:,} keys listed in", seconds, 2, "s", "obstore")


_PARTS = {"chunk_size": PART, "max_concurrency": 4}


def _compare(way: str, bare: Callable[[], object], s3: Callable[[], object]) -> Iterator[Figure]:
    rounds = [(_seconds(bare), _seconds(s3)) for _ in range(ROUNDS)]
    by_bare, by_s3 = (min(column) for column in zip(*rounds, strict=True))
    beside = f"{SIZE / by_s3 / 1e6:.0f} MB/s, bare {SIZE / by_bare / 1e6:.0f} MB/s"
    yield Figure(f"S3: {SIZE / 1e9:g} GB {way}, beside a bare HTTP server", by_s3 / by_bare, 2, "times", beside)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _fill(path: Path) -> None:
    """Write bytes that no compression makes fewer."""
    piece = os.urandom(PIECE)
    with path.open("wb") as file:
        for start in range(0, SIZE, PIECE):
            file.write(piece[: SIZE - start])


def _put(url: str, source: Path) -> None:
    with source.open("rb") as file:
        httpx.put(url, content=file, headers={"Content-Length": str(SIZE)}, timeout=None).raise_for_status()


def _get(url: str, target: Path) -> None:
    with target.open("wb") as file, httpx.stream("GET", url, timeout=None) as answer:
        for piece in answer.iter_raw():
            file.write(piece)


def _download(store: S3Store, target: Path) -> None:
    """Read parts at once, as clients of S3 do."""
    with target.open("wb") as file:
        file.truncate(SIZE)

    def fetch(start: int) -> None:
        part = obstore.get_range(store, "big", start=start, end=min(start + PART, SIZE))
        with target.open("r+b") as file:
            file.seek(start)
            file.write(part)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fetch, range(0, SIZE, PART)))


def _make_keys(store: S3Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: obstore.put(store, f"keys/{n:05}", b"x"), range(KEYS)))


@contextmanager
def _bucket(data: Path) -> Iterator[S3Store]:
    """Yield a bucket of a fresh local cloud."""
    cloud = launch.start(data)
    try:
        with Client(cloud.base_url, cloud.api_key) as client:
            given = client.storage.credentials()
        yield S3Store(
            given.bucket_name,
            endpoint=given.endpoint,
            access_key_id=given.access_key,
            secret_access_key=given.secret_key,
            session_token=given.session_token,
            region=given.region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": "10 minutes"},
        )
    finally:
        launch.stop(data)


@contextmanager
def _bare_server(path: Path) -> Iterator[str]:
    """Yield the address of a server, in a process of its own, that keeps one file and gives it back."""
    with Popen([sys.executable, __file__, str(path)], stdout=PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class _File(BaseHTTPRequestHandler):
    """PUT writes the file, GET reads it."""

    path_of_file: Path
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        with self.path_of_file.open("wb") as file:
            while left:
                left -= file.write(self.rfile.read(min(PIECE, left)))
        self._answer(0)

    def do_GET(self) -> None:
        self._answer(self.path_of_file.stat().st_size)
        with self.path_of_file.open("rb") as file:
            copyfileobj(file, self.wfile, PIECE)

    def _answer(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(path: Path) -> None:
    _File.path_of_file = path
    server = HTTPServer(("127.0.0.1", 0), _File)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
