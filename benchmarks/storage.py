"""How fast our Storage is beside boto3's transfer manager, s3fs and the cloud's own tool: large, many, parquet, a list.

One run on one cloud. Sizes: LK_BENCH_S3_BYTES, LK_BENCH_FILES, LK_BENCH_FILE_BYTES, LK_BENCH_ROWS, LK_BENCH_KEYS.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import boto3
import obstore
import pandas as pd
import s3fs
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from figures import Figure

from lk_jupyter.api._client import Client
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.localcloud import launch
from lk_jupyter.storage.fsspec import StorageFileSystem
from lk_jupyter.storage.storage import Storage

SIZE = int(os.environ.get("LK_BENCH_S3_BYTES", "1_000_000_000"))
FILES = int(os.environ.get("LK_BENCH_FILES", "5_000"))
FILE_SIZE = int(os.environ.get("LK_BENCH_FILE_BYTES", "20_000"))
ROWS = int(os.environ.get("LK_BENCH_ROWS", "6_000_000"))  # of twenty columns of numbers: 1 GB
KEYS = int(os.environ.get("LK_BENCH_KEYS", "100_000"))
ROUNDS = int(os.environ.get("LK_BENCH_ROUNDS", "2"))
PIECE = 1024 * 1024
COLUMNS = ["c3", "c17"]


class Mover(Protocol):
    """Who moves files; ``down_many`` may be missing."""

    name: str

    def up(self, path: Path, key: str) -> object:
        """Send a file."""

    def down(self, key: str, path: Path) -> object:
        """Fetch a file."""

    def up_many(self, folder: Path, key: str) -> object:
        """Send a folder."""

    def down_many(self, key: str, folder: Path) -> object:
        """Fetch a folder."""


class Ours:
    """lk_jupyter."""

    name = "lk_jupyter"

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def up(self, path: Path, key: str) -> object:
        return self.storage.put(path, key)

    def down(self, key: str, path: Path) -> object:
        return self.storage.get(key, path)

    def up_many(self, folder: Path, key: str) -> object:
        return self.storage.put(folder, key)

    def down_many(self, key: str, folder: Path) -> object:
        return self.storage.get(f"{key}/", folder)


class Boto:
    """boto3 with its transfer manager as it comes, and a thread for each of ten files."""

    name = "boto3"

    def __init__(self, given: StorageCredentials) -> None:
        self._bucket = given.bucket_name
        self._s3 = boto3.client(
            "s3",
            endpoint_url=given.endpoint,
            aws_access_key_id=given.access_key,
            aws_secret_access_key=given.secret_key,
            aws_session_token=given.session_token,
            region_name=given.region,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
        )
        self._one = TransferConfig(use_threads=False)

    def up(self, path: Path, key: str) -> object:
        return self._s3.upload_file(str(path), self._bucket, key)

    def down(self, key: str, path: Path) -> object:
        return self._s3.download_file(self._bucket, key, str(path))

    def up_many(self, folder: Path, key: str) -> object:
        def send(path: Path) -> None:
            self._s3.upload_file(str(path), self._bucket, f"{key}/{path.name}", Config=self._one)

        return _at_once(send, list(folder.iterdir()))

    def down_many(self, key: str, folder: Path) -> object:
        folder.mkdir()
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{key}/")

        def fetch(name: str) -> None:
            path = folder / name.rpartition("/")[2]
            self._s3.download_file(self._bucket, name, str(path), Config=self._one)

        return _at_once(fetch, [row["Key"] for page in pages for row in page.get("Contents", ())])


class S3fs:
    """s3fs as it comes."""

    name = "s3fs"

    def __init__(self, given: StorageCredentials) -> None:
        self._bucket = given.bucket_name
        self._fs = s3fs.S3FileSystem(
            key=given.access_key,
            secret=given.secret_key,
            token=given.session_token,
            endpoint_url=given.endpoint,
            client_kwargs={"region_name": given.region},
            config_kwargs={"s3": {"addressing_style": "path"}},
            use_listings_cache=False,
        )

    def up(self, path: Path, key: str) -> object:
        return self._fs.put(str(path), f"{self._bucket}/{key}")

    def down(self, key: str, path: Path) -> object:
        return self._fs.get(f"{self._bucket}/{key}", str(path))

    def up_many(self, folder: Path, key: str) -> object:
        return self._fs.put(f"{folder}/", f"{self._bucket}/{key}/", recursive=True)

    def down_many(self, key: str, folder: Path) -> object:
        return self._fs.get(f"{self._bucket}/{key}/", f"{folder}/", recursive=True)


class Tool:
    """The cloud's own command line tool: a process for each command, and no command that fetches a folder."""

    name = "lyceum"

    def __init__(self, base_url: str, api_key: str, home: Path) -> None:
        self._env = {**os.environ, "HOME": str(home), "USERPROFILE": str(home), "NO_COLOR": "1"}
        (home / ".lyceum").mkdir(parents=True)
        told = {"api_key": api_key, "base_url": base_url}
        (home / ".lyceum" / "config.json").write_text(json.dumps(told))

    def _run(self, *words: str) -> None:
        command = [sys.executable, "-m", "lyceum", "storage", *words]
        subprocess.run(command, env=self._env, check=True, capture_output=True)

    def up(self, path: Path, key: str) -> object:
        return self._run("upload", str(path), "--key", key)

    def down(self, key: str, path: Path) -> object:
        return self._run("download", key, "--output", str(path))

    def up_many(self, folder: Path, key: str) -> object:
        return self._run("upload", str(folder), "-rf", "--key", f"{key}/")

    def down_many(self, key: str, folder: Path) -> object:
        raise NotImplementedError


def measure() -> Iterator[Figure]:
    """Yield our times beside the best of the others, parquet beside a local disk, and the time of a long list."""
    with tempfile.TemporaryDirectory() as name, _cloud(Path(name, "data")) as (client, address):
        folder, ours = Path(name), Ours(Storage(client.storage.credentials))
        given = client.storage.credentials()
        others = [Boto(given), S3fs(given)]
        with suppress(ModuleNotFoundError):
            __import__("lyceum")
            others.append(Tool(address.base_url, address.api_key, folder / "home"))
        movers: list[Mover] = [ours, *others]
        yield from _large(folder, movers)
        yield from _many(folder, movers)
        yield _parquet(folder, ours.storage)
        yield from _list(ours.storage)


def _large(folder: Path, movers: list[Mover]) -> Iterator[Figure]:
    source, target = folder / "source", folder / "target"
    piece = os.urandom(PIECE)
    with source.open("wb") as file:
        for start in range(0, SIZE, PIECE):
            file.write(piece[: SIZE - start])
    what = f"{SIZE / 1e9:g} GB"
    yield _compare(f"{what} up", movers, lambda mover: mover.up(source, f"large-{mover.name}"), SIZE)
    yield _compare(f"{what} down", movers, lambda mover: mover.down(f"large-{mover.name}", target), SIZE)
    assert target.stat().st_size == SIZE
    movers[0].storage.remove_all(f"large-{mover.name}" for mover in movers)  # type: ignore[attr-defined]
    source.unlink()
    target.unlink()


def _many(folder: Path, movers: list[Mover]) -> Iterator[Figure]:
    source = folder / "many"
    source.mkdir()
    for number in range(FILES):
        (source / f"{number:06}.bin").write_bytes(os.urandom(FILE_SIZE))
    what, size = f"{FILES:,} x {FILE_SIZE / 1000:g} kB", FILES * FILE_SIZE
    storage: Storage = movers[0].storage  # type: ignore[attr-defined]

    def up(mover: Mover) -> object:
        return mover.up_many(source, f"many-{mover.name}")

    def clear(mover: Mover) -> object:
        return storage.remove(f"many-{mover.name}/")

    def down(mover: Mover) -> object:
        return mover.down_many(f"many-{mover.name}", folder / f"back-{mover.name}")

    def clear_here(mover: Mover) -> object:
        return shutil.rmtree(folder / f"back-{mover.name}", ignore_errors=True)

    yield _compare(f"{what} up", movers, up, size, before=clear)
    yield _compare(f"{what} down", movers, down, size, before=clear_here)
    assert len(list((folder / f"back-{movers[0].name}").iterdir())) == FILES


def _compare(
    what: str,
    movers: list[Mover],
    act: Callable[[Mover], object],
    size: int,
    *,
    before: Callable[[Mover], object] = lambda _: None,
) -> Figure:
    """Return our time as a share of the best other one's; rounds take turns."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for mover in movers:
            before(mover)
            with suppress(NotImplementedError):
                best[mover.name] = min(best.get(mover.name, float("inf")), _seconds(lambda: act(mover)))  # noqa: B023
    ours = best.pop(movers[0].name)
    beside = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items())
    speed = f"{ours:.2f} s, {size / ours / 1e6:.0f} MB/s; {beside}"
    return Figure(f"Storage: {what}, beside the best other", ours / min(best.values()), 1, "times", speed)


def _parquet(folder: Path, storage: Storage) -> Figure:
    """Return the time of two columns of twenty, beside that of the same from disk and the bytes' transfer."""
    import numpy as np  # noqa: PLC0415 (this bench only)
    import pyarrow.parquet as pq  # noqa: PLC0415

    path, numbers = folder / "wide.parquet", np.random.default_rng(0)
    pd.DataFrame({f"c{n}": numbers.random(ROWS) for n in range(20)}).to_parquet(path, row_group_size=ROWS // 10 or 1)
    size = path.stat().st_size
    storage.put(path, "wide.parquet")
    fs = StorageFileSystem(storage)
    rounds = [
        (
            _seconds(lambda: pq.read_table(path, columns=COLUMNS).to_pandas()),
            _seconds(lambda: _fetch(storage, size // 10)),
            _seconds(lambda: pd.read_parquet("wide.parquet", filesystem=fs, columns=COLUMNS)),
        )
        for _ in range(ROUNDS + 1)
    ]
    local, transfer, ours = (min(column) for column in zip(*rounds, strict=True))
    beside = f"{ours:.2f} s; pyarrow from disk {local:.2f} s, the bytes {transfer:.2f} s"
    what = f"Storage: 2 of 20 columns, parquet of {size / 1e9:.2g} GB"
    return Figure(what, ours / (local + transfer), 1.2, "times", beside)


def _fetch(storage: Storage, size: int) -> None:
    with storage.open("wide.parquet") as file:
        file.read(size)


def _list(storage: Storage) -> Iterator[Figure]:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: obstore.put(storage._library.store, f"keys/{number:06}", b"x"), range(KEYS)))
    found: list[Any] = []
    seconds = _seconds(lambda: found.extend(storage.ls("keys")))
    assert len(found) == KEYS
    yield Figure(f"Storage: {KEYS:,} keys listed in", seconds, 5, "s")
    seconds = _seconds(lambda: storage.ls_page("keys"))
    yield Figure(f"Storage: a folder of {KEYS:,} keys opened in", seconds, 1, "s", "its first page")


def _at_once(act: Callable[[Any], None], items: list[Any]) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(act, items))


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


@contextmanager
def _cloud(data: Path) -> Iterator[tuple[Client, launch.Address]]:
    """Yield a client of a fresh local cloud, and where that is."""
    address = launch.start(data)
    try:
        with Client(address.base_url, address.api_key) as client:
            yield client, address
    finally:
        launch.stop(data)
