"""Kill processes that stage a folder of the bucket, and compare the resumed result with the bucket.

python tests/killed_staging.py [--count 20] [--bytes 200_000_000] starts a local cloud, and kills each process at a
random moment with SIGKILL. For each case, it prints the bytes that were downloaded before and after the kill.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from storage.between import Network

from lk_jupyter.api._client import Client
from lk_jupyter.localcloud import launch
from lk_jupyter.storage.storage import Storage

KEY = "staged"

_CHILD = """
import sys
from lk_jupyter.api._client import Client
from lk_jupyter.storage.storage import Storage
base_url, api_key, endpoint, target = sys.argv[1:]
client = Client(base_url, api_key)
Storage(lambda: client.storage.credentials().model_copy(update={"endpoint": endpoint})).stage("staged", target)
"""


def _fill(storage: Storage, size: int, chance: random.Random) -> dict[str, str]:
    """Store a few large and many small files; return name → SHA-256."""
    sizes = {f"large-{number}.bin": size // 4 for number in range(3)}
    rest = size - sum(sizes.values())
    sizes |= {f"small/{number:04}.bin": rest // 200 for number in range(200)}
    digests = {}
    for name, count in sizes.items():
        content = chance.randbytes(count)
        storage.put(content, f"{KEY}/{name}")
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _digests(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def kill_and_resume(address: launch.Address, size: int, chance: random.Random, contents: dict[str, str]) -> str:
    """Return a line on one case. Raises AssertionError for a result that differs from the bucket."""
    client = Client(address.base_url, address.api_key)
    with tempfile.TemporaryDirectory() as folder, Network(client.storage.credentials().endpoint) as network:
        target, limit = Path(folder, "target"), chance.randrange(size // 100, size * 95 // 100)
        command = [sys.executable, "-c", _CHILD, address.base_url, address.api_key, network.endpoint, str(target)]
        with subprocess.Popen(command) as process:
            while network.down < limit and process.poll() is None:
                time.sleep(0.002)
            process.kill()
        assert process.returncode == -9, f"the process ended before {limit:,} bytes: {process.returncode}"
        before, network.down = network.down, 0
        complete = {name: digest for name, digest in _digests(target).items() if not Path(name).name.startswith(".lk-")}
        assert complete.items() <= contents.items(), "an incomplete file has its final name"
        subprocess.run(command, check=True)
        assert _digests(target) == contents, "the resumed folder differs from the bucket"
        assert network.down < size, "nothing was resumed"
        return (
            f"killed after {before / size:4.0%}, {len(complete)} files complete, then {network.down / size:4.0%} more"
        )


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=200_000_000)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        address = launch.start(Path(home, "data"))
        try:
            storage = Storage(Client(address.base_url, address.api_key).storage.credentials)
            contents = _fill(storage, options.bytes, chance)
            for number in range(options.count):
                line = kill_and_resume(address, options.bytes, chance, contents)
                print(f"{number + 1:3}: {line}; bytes equal", flush=True)
        finally:
            launch.stop(Path(home, "data"))
    print(f"{options.count} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
