"""Runs tests of others, and other clients, on a local cloud, and holds what fails against what is expected.

    python tests/suites [FOLDER] [--only TEXT]

With --only, the suites whose names contain the text are run.
What the tests need is fetched into FOLDER, by default .out/suites: packages from the package index, ceph's tests from
GitHub. Nothing is installed into the environment. Exits with 1 when a test fails that expected.yaml does not name,
when one passes that it names, or when a suite could not be fetched: the others run nevertheless.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

HERE = Path(__file__).parent
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
CEPH = "https://github.com/ceph/s3-tests"

#: Marks of ceph's tests: of what the bucket of an organization does not have.
NO_MORE = (
    "not encryption and not sse_s3 and not bucket_encryption and not versioning and not object_lock and not lifecycle"
)

#: Options of a local cloud whose VMs start quickly.
FAST_VMS = ("--clock-speed", "50", "--credits", "1000")


@dataclass(frozen=True)
class Suite:
    """Packages that it needs here, how it is started, and a repository that it needs, with the folder for that.

    Packages that would change those of the environment are in a ``library`` of their own, with all that they need.
    ``cloud`` are the options of its local cloud.
    """

    name: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    repository: str = ""
    clone: str = ""
    library: str = "lib"
    cloud: tuple[str, ...] = ()


#: Clones whose packages are imported from the clone.
IMPORTED_CLONES = ("s3-tests", "skypilot-lyceum")

SUITES = (
    Suite(
        "universal_pathlib",
        ("pathlib_abc", "smbprotocol", "pyspnego"),
        ("-p", "upath.tests.conftest", str(HERE / "lk_paths.py")),
    ),
    Suite(
        "ceph s3-tests, one bucket",
        ("httplib2", "isodate", "lxml", "munch", "pytz"),
        ("-p", "one_bucket", "-m", NO_MORE, "s3-tests/s3tests/functional/test_s3.py"),
        CEPH,
        "s3-tests",
    ),
    Suite(
        "litellm and langchain-openai",
        ("litellm", "langchain-openai"),
        (str(HERE / "model_clients.py"),),
        library="model_clients",
    ),
    Suite("joblib's Parallel", (), ("-p", "joblib_backend", str(HERE / "joblib_backend.py"))),
    Suite(
        "distributed's SpecCluster",
        (),
        (str(HERE / "spec_cluster.py"),),
        "https://github.com/dask/distributed",
        "distributed",
        cloud=FAST_VMS,
    ),
    Suite(
        "skypilot-lyceum's provisioner",
        ("skypilot==0.13.0",),  # the version that skypilot-lyceum needs
        (str(HERE / "skypilot_vms.py"),),
        "https://github.com/onticlabs/skypilot-lyceum",
        "skypilot-lyceum",
        library="skypilot",
        cloud=(*FAST_VMS, "--no-capacity", "h200"),
    ),
)


def fetch(folder, suites):
    """Put what the suites need into a folder, once; return in words what could not be had, by the suite."""
    library = folder / "lib"
    needs = {need for suite in SUITES if suite.library == "lib" for need in suite.needs}
    if not library.exists() and any(suite.library == "lib" and suite.needs for suite in suites):
        run(*PIP, "install", "--no-deps", "--target", str(library), *sorted(needs))
        run(*PIP, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "universal_pathlib")
        [source] = folder.glob("universal_pathlib-*.tar.gz")
        with tarfile.open(source) as packed:
            packed.extractall(folder, filter="data")
        shutil.move(folder / source.name.removesuffix(".tar.gz") / "upath", library)
    missing = {}
    for suite in suites:
        here = folder / suite.clone
        if suite.repository and not here.exists():
            command = ("git", "clone", "--quiet", "--depth", "1", suite.repository, str(here))
            if subprocess.run(command, check=False).returncode:
                missing[suite.name] = f"{suite.name}: not run, no {suite.repository}. Put a clone into {here}"
        library = folder / suite.library
        if suite.needs and not library.exists():
            command = (*PIP, "install", "--target", str(library), *suite.needs)
            if subprocess.run(command, check=False).returncode:
                shutil.rmtree(library, ignore_errors=True)
                named = " and ".join(suite.needs)
                missing[suite.name] = f"{suite.name}: not run, the package index does not give {named}"
    return missing


def run(*command):
    subprocess.run(command, check=True)


@contextmanager
def local_cloud(*options):
    """Give the address and the key of a local cloud that ends with the block."""
    with TemporaryDirectory() as data:
        command = [sys.executable, "-m", "lk_jupyter.localcloud", "--data", data, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                cloud = json.loads(process.stdout.readline())
                yield {"LK_BASE_URL": cloud["base_url"], "LK_API_KEY": cloud["api_key"]}
            finally:
                process.terminate()


def outcome(suite, folder, cloud):
    """Run a suite; return how many tests passed, the names of those that failed, and how many were skipped."""
    report = folder / "report.xml"
    paths = os.pathsep.join(map(str, (folder / suite.library, *(folder / name for name in IMPORTED_CLONES), HERE)))
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:schemathesis", "-p", "no:cacheprovider", "-c", os.devnull),
        *("--rootdir", str(folder), "-q", "--no-header", "--tb", "no", "-W", "ignore", "--timeout", "300"),
        *("--junitxml", str(report), *suite.options),
    ]
    subprocess.run(command, cwd=folder, env={**os.environ, **cloud, "PYTHONPATH": paths}, check=False)
    cases = ET.parse(report).getroot().iter("testcase")
    tags_by_name = {case.get("name"): {child.tag for child in case} for case in cases}
    failed = {name for name, tags in tags_by_name.items() if tags & {"failure", "error"}}
    skipped = sum("skipped" in tags for tags in tags_by_name.values())
    return len(tags_by_name) - len(failed) - skipped, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".out/suites"))
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    folder, suites = arguments.folder.resolve(), [suite for suite in SUITES if arguments.only in suite.name]
    folder.mkdir(parents=True, exist_ok=True)
    missing = fetch(folder, suites)
    expected = yaml.safe_load((HERE / "expected.yaml").read_text("utf-8"))
    surprises = [*missing.values()]
    for suite in (suite for suite in suites if suite.name not in missing):
        expectation = expected[suite.name]
        expected_failures = {*expectation["failed"]}
        with local_cloud(*suite.cloud) as cloud:
            passed, failed, skipped = outcome(suite, folder, cloud)
        print(f"{suite.name}: {passed} of {passed + len(failed)} passed ({skipped} skipped)")
        print(f"  expected: {expectation['passed']} passed, {len(expected_failures)} failed")
        surprises += [f"{suite.name}: {name} failed" for name in sorted(failed - expected_failures)]
        surprises += [f"{suite.name}: {name} passed" for name in sorted(expected_failures - failed)]
    print(*surprises or ["All as expected."], sep="\n")
    return bool(surprises)


if __name__ == "__main__":
    sys.exit(main())
