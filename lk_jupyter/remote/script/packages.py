"""Provides the packages of a run: restores the packages that an earlier run kept in the bucket, or installs them.

The packages are in a separate folder, which precedes the packages of the run's Python. Large packages are restored
while the code starts, see ``late``. The run packs a new folder while the code runs, and uploads it in parts. Only bytes
with the SHA-256 of the plan are unpacked. The plan is sent with the request, by the machine that has the signed message
of the earlier run.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time

from . import late, links
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: The file with requirements and links, which is deleted before the code starts.
PLAN = "_lk_packages.json"

#: Folders in a folder of packages: modules, and commands.
MODULES, COMMANDS = "modules", "bin"

#: The least bytes of a part in the bucket, and the most bytes of all packages that are kept.
PART_BYTES, MOST_BYTES = 64 << 20, 20 << 30

#: Bytes of packages from which the code starts before its packages are complete.
LARGE_BYTES = PART_BYTES

#: Bytes of the disk that are left for the code.
SPARE_BYTES = 1 << 30

#: Parts that are downloaded or uploaded at the same time.
_AT_ONCE = 4

#: Days after which an unused folder of packages is deleted from a machine that lasts.
_DAYS = 7

#: The longest time that the end of a run waits until its packages are kept, in seconds.
_LONGEST_WAIT = 60.0

#: Lines of a failed installation that are shown.
_LINES = 20


class Unusable(Exception):
    """The kept packages can't be used; the text gives the reason."""


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Provide the packages; end the run if they can't be installed."""
    path = os.path.join(driver.FOLDER, PLAN)
    if not os.path.exists(path):  # the cloud has installed the packages
        return
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    os.unlink(path)
    started, root, base = time.monotonic(), _create_private_folder(), describe_base()
    try:
        record = _select_record(plan["kept"], base)
        if _must_restore_late(record, root):
            _require_room(record, root)
            _restore_late(plan, record, root, base, started)
            return
        folder, source = _restore_packages(record, root)
    except Unusable as error:
        _activate_packages(_install_and_upload(plan, root, base, str(error)))
        return
    _activate_packages(folder)
    _report_source(source, time.monotonic() - started)


def _report_source(source: str, seconds: float, problem: str = "") -> None:
    """Report the source of the packages, and the seconds that the code waited for them."""
    driver.frame("packages", {"source": source, "seconds": round(seconds, 2), "problem": problem})


def _install_and_upload(plan: dict[str, Any], root: str, base: str, problem: str = "") -> str:
    """Install the packages, report that, keep them if the plan has links, and return their folder."""
    started = time.monotonic()
    reason = "Packages from the bucket can't be used: {}. ".format(problem) if problem else ""
    sys.stderr.write("{}Installing {}.\n".format(reason, ", ".join(plan["names"])))
    folder = _install_requirements(plan["requirements"], root)
    _report_source("installed", time.monotonic() - started, problem)
    if plan["put"]:
        _upload_in_background(folder, root, base, plan)
    return folder


def _must_restore_late(record: dict[str, Any], root: str) -> bool:
    """Return whether the code starts before its packages are complete."""
    is_large = bool(record.get("names")) and _compute_packed_size(record) > LARGE_BYTES
    return is_large and not os.path.isdir(_build_folder_path(record, root))


def _compute_packed_size(record: dict[str, Any]) -> int:
    return sum(part[0] for part in record["parts"])


def _restore_late(plan: dict[str, Any], record: dict[str, Any], root: str, base: str, started: float) -> None:
    """Restore the packages in another process while the code starts; the first use of a package waits."""
    import shutil
    import subprocess
    import tempfile

    holder, folder = tempfile.mkdtemp(dir=root), _build_folder_path(record, root)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from {} import packages; packages.restore_from_stdin()"
    command = [sys.executable, "-I", "-c", code.format(__name__.rpartition(".")[0]), driver.FOLDER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stream: Any = process.stdin
    stream.write(json.dumps([record, holder, folder]).encode())  # the links are secrets: in no command line
    stream.close()

    def finish(problem: str, waited: float) -> None:
        if os.path.isdir(folder):
            _activate_packages(folder)
            _report_source("bucket", waited)
        else:
            _activate_packages(
                _install_and_upload(plan, root, base, problem or "the download of the packages ended early")
            )

    def stop() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(holder, ignore_errors=True)

    atexit.register(stop)
    late.LatePackages(record["names"], _compute_packed_size(record), process, finish).start()
    _report_source("pending", time.monotonic() - started)


def restore_from_stdin() -> None:
    """Restore the packages of a record on stdin into a folder, and write the reason if that fails."""
    record, holder, folder = json.load(sys.stdin)
    try:
        _unpack_parts(record, holder, folder)
    except Unusable as error:
        sys.stdout.buffer.write(str(error).encode())


def describe_base() -> str:
    """Return a digest of the Python of the run, its packages and its platform: packages fit no other."""
    import hashlib
    import sysconfig

    names = {
        name for path in _list_package_folders() for name in os.listdir(path) if name.endswith(("-info", ".egg-link"))
    }
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ()) else ""
    facts = [sys.version, sys.executable, sysconfig.get_platform(), libc, sorted(names)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _list_package_folders() -> list[str]:
    return [path for path in sys.path if os.path.basename(path).endswith("-packages") and os.path.isdir(path)]


def _create_private_folder() -> str:
    """Return a folder that only this user can write."""
    import stat
    import tempfile

    path = os.path.join(tempfile.gettempdir(), "lk_packages_{}".format(getattr(os, "getuid", lambda: 0)()))
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        state = os.lstat(path)
        is_private = os.name == "nt" or (state.st_uid == os.getuid() and not state.st_mode & 0o077)
        if stat.S_ISDIR(state.st_mode) and is_private:
            return path
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="lk_packages_")


def content_name(parts: list[list[Any]]) -> str:
    """Return the name of a folder with the content of parts, each a list of size and digests."""
    import hashlib

    return hashlib.sha256(repr([[size, *digests] for size, digests in parts]).encode()).hexdigest()[:32]


def _select_record(records: list[dict[str, Any]], base: str) -> dict[str, Any]:
    """Return the record of packages for this Python. Raises Unusable."""
    if not records:
        raise Unusable("")
    record = next((each for each in records if each["base"] == base), None)
    if record is None:
        raise Unusable("the packages are for another Python or platform")
    return record


def _build_folder_path(record: dict[str, Any], root: str) -> str:
    return os.path.join(root, content_name(record["parts"]))


def _restore_packages(record: dict[str, Any], root: str) -> tuple[str, str]:
    """Return the folder with the kept packages, and its source: the machine or the bucket. Raises Unusable."""
    folder = _build_folder_path(record, root)
    if os.path.isdir(folder):
        os.utime(folder)
        return folder, "machine"
    _require_room(record, root)
    _unpack_parts(record, root, folder)
    return folder, "bucket"


def _require_room(record: dict[str, Any], root: str) -> None:
    """Compare the size of the packages with the free bytes of the disk. Raises Unusable."""
    import shutil

    _delete_old_folders(root)
    size, free = _compute_packed_size(record), shutil.disk_usage(root).free
    if free < size + SPARE_BYTES:
        raise Unusable("the disk needs {:,} free bytes, but has {:,}".format(size + SPARE_BYTES, free))


def _unpack_parts(record: dict[str, Any], root: str, folder: str) -> None:
    """Download and unpack parts into a folder that gets its name when it is complete. Raises Unusable."""
    import shutil
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    draft = tempfile.mkdtemp(dir=root)
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs = zip(record["links"], record["parts"], range(len(record["parts"])))
            list(pool.map(lambda job: _unpack_part(draft, *job), jobs))
        try:
            os.rename(draft, folder)
        except OSError:
            if not os.path.isdir(folder):  # else another run was faster
                raise
    except OSError as error:
        raise Unusable(links.describe_error(error)) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unpack_part(draft: str, link: str, part: list[Any], number: int) -> None:
    """Download and unpack a part, each piece after a comparison of its SHA-256. Raises Unusable or OSError."""
    try:
        with links.open_url(link) as answer:
            _unpack_tar(_VerifiedStream(answer, part[1], number), draft)
            if answer.read(1):
                raise Unusable(_CHANGED.format(number + 1))
    except OSError as error:
        if getattr(error, "code", 0) in (403, 404):
            raise Unusable("the packages are no longer in the bucket") from None
        raise


_CHANGED = "part {} was changed in the bucket"


class _VerifiedStream:
    """The bytes of a part, which are read only if their SHA-256 is in the plan."""

    def __init__(self, answer: Any, digests: list[str], number: int) -> None:
        self._answer = answer
        self._digests = list(reversed(digests))
        self._number = number
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; none at the end. Raises Unusable for a changed piece."""
        if not self._rest and self._digests:
            self._rest = links.read_piece(self._answer)
            if links.hash_bytes(self._rest) != self._digests.pop():
                raise Unusable(_CHANGED.format(self._number + 1))
        data = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(data) :]
        return data


def _unpack_tar(stream: Any, folder: str) -> None:
    """Unpack the stream of a tar file, with the command of the system where it exists. Raises OSError."""
    import shutil
    import subprocess
    import tarfile

    if os.name == "posix" and shutil.which("tar"):
        command = ["tar", "-xof", "-", "-C", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            target: Any = process.stdin
            _enlarge_pipe(target)
            try:
                shutil.copyfileobj(stream, target, links.PIECE)
            except BrokenPipeError:  # the message of the command shows the reason
                pass
            except BaseException:
                process.kill()
                raise
            text = process.communicate()[1].decode(errors="replace")
        if process.returncode:
            raise OSError(text.strip()[-200:] or "tar ended with {}".format(process.returncode))
        return
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            tar.extractall(folder, **safely)
        while stream.read():
            pass
    except tarfile.TarError as error:
        raise OSError(str(error)) from None


def _enlarge_pipe(target: Any) -> None:
    """Let Linux buffer 1 MB of a pipe in place of 64 kB, so that both processes work at the same time."""
    try:
        import fcntl

        fcntl.fcntl(target, getattr(fcntl, "F_SETPIPE_SZ", 1031), 1 << 20)
    except (ImportError, OSError):
        pass


def _delete_old_folders(root: str) -> None:
    """Delete folders of packages that no run of the last days has used."""
    import shutil

    for name in os.listdir(root):
        path = os.path.join(root, name)
        try:
            if time.time() - os.stat(path).st_mtime > _DAYS * 86_400:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass


def _install_requirements(requirements: str, root: str) -> str:
    """Install requirements into a new folder. End the run if that fails."""
    import tempfile
    import venv

    folder = tempfile.mkdtemp(dir=root)
    environment = os.path.join(folder, "environment")
    venv.EnvBuilder(symlinks=os.name != "nt").create(environment)
    modules = _find_site_packages(environment)
    with open(os.path.join(modules, "_lk_base.pth"), "w", encoding="ascii") as file:
        file.write("".join("import site; site.addsitedir({!a})\n".format(path) for path in _list_package_folders()))
    listing = os.path.join(folder, "requirements.txt")
    with open(listing, "w", encoding="utf-8") as file:
        file.write(requirements)
    _run_installer(listing, environment, folder)
    os.unlink(listing)  # the address of an index may contain a password
    os.unlink(os.path.join(modules, "_lk_base.pth"))
    os.rename(modules, os.path.join(folder, MODULES))
    _collect_commands(environment, os.path.join(folder, COMMANDS))
    return folder


def _find_site_packages(environment: str) -> str:
    for folder, names, _ in os.walk(environment):
        if "site-packages" in names:
            return os.path.join(folder, "site-packages")
    raise OSError("no site-packages in {}".format(environment))


def _run_installer(listing: str, environment: str, folder: str) -> None:
    """Install the listed packages with pip, or with uv if pip is missing. End the run if that fails."""
    import shutil
    import subprocess
    from importlib.util import find_spec

    python = os.path.join(environment, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    if find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar", "off", "-r", listing]
    else:
        command = [shutil.which("uv") or "uv", "pip", "install", "-q", "--compile-bytecode"]
        command += ["--python", python, "-r", listing]
    try:  # in a folder without modules: the run's folder may contain one with the name of the standard library
        result = subprocess.run(command, check=False, cwd=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        code, text = result.returncode, result.stdout.decode(errors="replace")
    except OSError as error:
        code, text = 1, "This Python has neither pip nor uv ({})".format(error)
    if code:
        shutil.rmtree(folder, ignore_errors=True)
        lines = "\n".join(text.strip().splitlines()[-_LINES:])
        sys.exit("{}\nThe packages couldn't be installed. The code didn't start.".format(lines))


def _collect_commands(environment: str, target: str) -> None:
    """Move the installed commands into a folder, and let the Python of the run execute them."""
    import shutil

    source = os.path.join(environment, "Scripts" if os.name == "nt" else "bin")
    os.mkdir(target)
    for name in os.listdir(source):
        path = os.path.join(source, name)
        if os.path.islink(path) or name.lower().startswith(("python", "activate")):
            continue
        with open(path, "rb") as file:
            content = file.read()
        first, newline, rest = content.partition(b"\n")
        if first.startswith(b"#!") and os.fsencode(environment) in first:
            content = b"#!" + os.fsencode(sys.executable) + newline + rest
        with open(os.path.join(target, name), "wb") as file:
            file.write(content)
        shutil.copymode(path, os.path.join(target, name))
    shutil.rmtree(environment, ignore_errors=True)


def _activate_packages(folder: str) -> None:
    """Let this process and its children import the packages of a folder, before the packages of the run's Python."""
    import importlib
    import site

    modules, earlier = os.path.join(folder, MODULES), list(sys.path)
    site.addsitedir(modules)
    added = [path for path in sys.path if path not in earlier]
    places = [at for at, path in enumerate(earlier) if path in _list_package_folders()]
    at = places[0] if places else len(earlier)
    sys.path[:] = earlier[:at] + added + earlier[at:]
    for name, path in (("PYTHONPATH", modules), ("PATH", os.path.join(folder, COMMANDS))):
        os.environ[name] = os.pathsep.join(filter(None, (path, os.environ.get(name, ""))))
    importlib.invalidate_caches()


def _upload_in_background(folder: str, root: str, base: str, plan: dict[str, Any]) -> None:
    """Pack and upload the packages while the code runs; the end of the run waits a limited time for that."""
    from ..values import transfer  # noqa: F401 (the thread can't import the module's pool while the process ends)

    finished: list[list[list[Any]]] = []
    thread = threading.Thread(
        target=_pack_and_report, args=(folder, base, plan, finished), name="lk-packages", daemon=True
    )
    thread.start()
    end = time.monotonic() + plan["limit"]

    def finish_upload() -> None:
        thread.join(max(0.0, min(_LONGEST_WAIT, (end - time.monotonic()) / 2)))
        if finished:
            try:
                os.rename(folder, os.path.join(root, content_name(finished[0])))
            except OSError:  # another run has kept the same packages
                pass

    atexit.register(finish_upload)


def _pack_and_report(folder: str, base: str, plan: dict[str, Any], finished: list[list[list[Any]]]) -> None:
    """Pack and upload a folder, and report its parts in a signed message."""
    import shutil
    import tempfile

    draft = tempfile.mkdtemp(dir=os.path.dirname(folder))
    try:
        groups = _group_files(folder, len(plan["put"]))
        parts = [_upload_part(folder, names, draft, link) for names, link in zip(groups, plan["put"])]
        driver.frame("packages", {"base": base, "parts": parts, "names": list_modules(folder)})
        finished.append(parts)
    except Exception as error:
        driver.frame(
            "packages", {"problem": "the packages couldn't be stored ({})".format(links.describe_error(error))}
        )
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def list_modules(folder: str) -> list[str]:
    """Return the top-level modules of packages; none if a ``.pth`` file may change Python before the first import."""
    names = set()
    for entry in os.listdir(os.path.join(folder, MODULES)):
        name, _, suffix = entry.partition(".")
        if entry == _DISTUTILS:
            names.add("distutils")
        elif entry.endswith(".pth"):
            return []
        elif name.isidentifier() and not suffix.endswith("-info"):
            names.add(name)
    return sorted(names)


#: The file with which setuptools replaces ``distutils``.
_DISTUTILS = "distutils-precedence.pth"


def _group_files(folder: str, most: int) -> list[list[str]]:
    """Return the files of a folder in groups of similar size, as relative paths. Raises OSError if too large."""
    sizes = dict(_list_files(folder))
    total = sum(sizes.values())
    if total > MOST_BYTES:
        raise OSError("{:,} bytes are above the limit of {:,} bytes".format(total, MOST_BYTES))
    count = max(1, min(most, total // PART_BYTES))
    groups: list[tuple[int, int, list[str]]] = [(0, number, []) for number in range(count)]
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        size, number, names = min(groups)
        names.append(name)
        groups[number] = (size + sizes[name], number, names)
    return [sorted(names) for _, _, names in groups]


def _list_files(folder: str) -> Iterator[tuple[str, int]]:
    """Yield the relative path of each file and its bytes."""
    for top in (MODULES, COMMANDS):
        for path, _, names in os.walk(os.path.join(folder, top)):
            for name in names:
                full = os.path.join(path, name)
                yield os.path.relpath(full, folder).replace(os.sep, "/"), os.lstat(full).st_size


def _upload_part(folder: str, names: list[str], draft: str, link: str) -> list[Any]:
    """Pack files, upload them as a part, and return its size and the SHA-256 of each piece. Raises OSError."""
    packed = os.path.join(draft, "part.tar")
    _pack_files(folder, names, packed)
    size = os.path.getsize(packed)
    with open(packed, "rb") as file:
        digests = [links.hash_bytes(piece) for piece in iter(lambda: links.read_piece(file), b"")]
    links.upload_file(link, packed)
    os.unlink(packed)
    return [size, digests]


def _pack_files(folder: str, names: list[str], packed: str) -> None:
    """Pack files without compression: the bucket of the cloud is faster than decompression. Raises OSError."""
    import shutil
    import subprocess
    import tarfile

    if os.name == "posix" and shutil.which("tar") and not any("\n" in name for name in names):
        listing = "\n".join(names).encode(errors="surrogateescape") + b"\n"
        command = ["tar", "-cf", packed, "-C", folder, "-T", "-"]
        result = subprocess.run(command, check=False, input=listing, stderr=subprocess.PIPE)
        if result.returncode:
            raise OSError(result.stderr.decode(errors="replace").strip()[-200:])
        return
    with tarfile.open(packed, "w") as tar:
        for name in names:
            tar.add(os.path.join(folder, *name.split("/")), arcname=name, recursive=False)
