"""Copies folders of the bucket to the disk before the code starts: in parallel, with checksums. A part of a run.

The links are secrets: no message contains a link. If the address of the bucket is unreachable, or the links have ended,
files are copied from the folder where the cloud mounts the bucket.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Bytes of a part, and concurrent requests.
PART, AT_ONCE = 8 * 1024 * 1024, 16

#: Part sizes of uploads that are tried for checksums. With the usual sizes, another checksum means damage.
PART_SIZES = tuple(size * 1024 * 1024 for size in (8, 5, 50, 64, 32, 16))
USUAL_SIZES = PART_SIZES[:2]

#: Attempts for each part, and seconds without a byte after which an attempt fails.
TRIES, PATIENCE = 6, 60

#: Seconds until the first line about the progress, and between two lines.
FIRST, PACE = 3.0, 10.0

#: The first part of a folder on the volume of the VM.
VOLUME = "volume"

#: The file with the link to the list of files, and the kind of the message about the end.
LINKS, STAGED = "_lk_stage.json", "staged"


class NotStaged(Exception):
    """Report why files weren't staged."""


class StagedFile:
    """A file, the object with its content, and the state of the download.

    ``is_cached`` is whether the file is on the volume of the VM: an earlier run may have staged another version there.
    """

    __slots__ = ("digests", "etag", "is_cached", "link", "lock", "modified", "name", "part", "path", "size")

    def __init__(self, row: list[Any], origin: str, query: str) -> None:
        folder, self.name, address, self.size, self.etag, self.modified, signature = row
        first, _, rest = folder.partition("/")
        self.is_cached = first == VOLUME
        if self.is_cached:
            folder = os.path.join(os.environ["LK_VOLUME"], rest)
        self.path = os.path.join(folder, *self.name.split("/"))
        self.link = "{}{}?{}{}".format(origin, address, query, signature)
        self.part = upload_part_size(self.size, self.etag)
        self.digests: dict[int, bytes] = {}
        self.lock = threading.Lock()

    @property
    def draft(self) -> str:
        """The path of the incomplete file."""
        name = hashlib.sha256(os.path.basename(self.path).encode()).hexdigest()[:16]
        return os.path.join(os.path.dirname(self.path), ".lk-{}.part".format(name))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last byte of each part."""
        return [(start, min(start + self.part, self.size)) for start in range(0, self.size, self.part)] or [(0, 0)]


def upload_part_size(size: int, etag: str) -> int:
    """Return the part size with which an object was uploaded, so that parts can be hashed; PART if unknown."""
    match = re.match(r"[0-9a-f]{32}-(\d+)$", etag)
    count = int(match.group(1)) if match else 0
    return next((part for part in PART_SIZES if count and -(-size // part) == count), PART)


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Copy the folders, and print the progress."""
    started = time.monotonic()
    try:
        listed = _read_list()
        for line in listed["skipped"]:
            print("Not staged: " + line, flush=True)
        files = [StagedFile(row, listed["origin"], listed["query"]) for row in listed["files"]]
        absent = [file for file in files if not _is_present(file)]
        staging = Staging(absent, settings["mounts"])
        staging.run()
        if present := len(files) - len(absent):
            print("{:,} of {:,} files were already staged.".format(present, len(files)), flush=True)
    except NotStaged as error:
        raise RuntimeError(str(error)) from None
    driver.frame(STAGED, {"seconds": time.monotonic() - started, "files": len(files), "bytes": staging.size})


def _read_list() -> dict[str, Any]:
    """Return the list of files with their links, and delete the file with the link to the list."""
    path = os.path.join(driver.FOLDER, LINKS)
    if not os.path.exists(path):  # sent by something that keeps no links
        raise NotStaged("This request has no links to the bucket. Nothing was staged. Run the cell again.")
    with open(path, encoding="utf-8") as file:
        link = json.load(file)
    os.unlink(path)
    connections = Connections()
    content = bytearray(link["size"])
    connections.read(link["get"], "", 0, memoryview(content), "the list of files")
    if hashlib.sha256(content).hexdigest() != link["sha256"]:
        raise NotStaged("The list of files was changed in the bucket. Nothing was staged. Run the cell again.")
    listed: dict[str, Any] = json.loads(zlib.decompress(content))
    return listed


def _is_present(file: StagedFile) -> bool:
    """Return whether a file is staged already. Raises NotStaged for a file with other content, except in a cache."""
    try:
        state = os.stat(file.path)
    except OSError:
        return False
    if state.st_size == file.size and abs(state.st_mtime - file.modified) < 0.001:
        return True
    if file.is_cached:
        return False
    raise NotStaged("'{}' exists with other content. Nothing was staged. Choose another folder.".format(file.path))


class Staging:
    """The download of files to the disk, with progress."""

    def __init__(self, files: list[StagedFile], bucket_folders: list[str]) -> None:
        self.size = sum(file.size for file in files)
        self._files = files
        self._bucket_folders = ["/" + folder for folder in bucket_folders]
        self._lock = threading.Lock()
        self._done = self._checked = 0
        self._error: BaseException | None = None
        self._started = time.monotonic()

    def run(self) -> None:
        """Download all files. Raises NotStaged."""
        if not self._files:
            return
        self._check_room()
        try:
            self._download_parts()
        finally:
            for file in self._files:
                if os.path.exists(file.draft):
                    os.unlink(file.draft)
        if self._error:
            raise self._error
        print(self._format_summary(), flush=True)

    def _check_room(self) -> None:
        """Create the folders, and compare the size of the files with the free bytes of each disk. Raises NotStaged."""
        needed: dict[int, list[Any]] = {}
        for file in self._files:
            folder = os.path.dirname(file.path)
            try:
                os.makedirs(folder, exist_ok=True)
                disk = needed.setdefault(os.stat(folder).st_dev, [folder, 0])
            except OSError as error:
                raise NotStaged("Can't create '{}' ({}). Nothing was staged.".format(folder, error.strerror)) from None
            disk[1] += file.size
        for folder, size in needed.values():
            free = shutil.disk_usage(folder).free
            if size > free:
                raise NotStaged(
                    "The disk of '{}' has {} free, but the files need {}. Nothing was staged. Use a machine with a "
                    "larger disk, or stage a part.".format(folder, size_text(free), size_text(size))
                )

    def _download_parts(self) -> None:
        waiting = iter(self._list_parts())
        threads = min(AT_ONCE, sum(len(file.ranges) for file in self._files))
        with ThreadPoolExecutor(threads) as pool:
            work = [pool.submit(self._fetch_parts, waiting) for _ in range(threads)]
            try:
                pause = FIRST
                while wait(work, timeout=pause).not_done:
                    print(self._format_progress(), flush=True)
                    pause = PACE
            except BaseException as error:  # an interrupt: each thread ends after its part
                self._error = self._error or error

    def _list_parts(self) -> Iterator[tuple[StagedFile, int, int, int]]:
        for file in self._files:
            with open(file.draft, "wb") as draft:
                draft.truncate(file.size)
            for number, (start, end) in enumerate(file.ranges):
                yield file, number, start, end

    def _take_part(self, waiting: Iterator[Any]) -> Any:
        with self._lock:
            return None if self._error else next(waiting, None)

    def _fetch_parts(self, waiting: Iterator[Any]) -> None:
        """Fetch parts until none remain, or until a part of any thread fails."""
        connections, buffer = Connections(), bytearray(PART)
        try:
            for file, number, start, end in iter(lambda: self._take_part(waiting), None):
                if len(buffer) < end - start:
                    buffer = bytearray(end - start)
                part = memoryview(buffer)[: end - start]
                self._read_part(connections, file, start, part)
                with open(file.draft, "r+b", buffering=0) as draft:
                    draft.seek(start)
                    draft.write(part)
                self._complete_part(file, number, part)
        except Exception as error:
            with self._lock:
                self._error = self._error or _explain_error(error)
        finally:
            connections.close()

    def _read_part(self, connections: Connections, file: StagedFile, start: int, part: memoryview) -> None:
        if not part:
            return
        try:
            connections.read(file.link, file.etag, start, part, "'{}'".format(file.name))
        except Unreachable:
            if not self._copy_from_mount(file, start, part):
                raise

    def _copy_from_mount(self, file: StagedFile, start: int, part: memoryview) -> bool:
        """Copy a part from the mounted bucket, if the cloud mounts the bucket; return whether it did."""
        folder = next(filter(os.path.ismount, self._bucket_folders), os.environ.get("LK_STORAGE"))
        key = unquote(urlsplit(file.link).path)
        if not folder:
            return False
        names = key.split("/")
        for at in range(1, len(names)):  # the path of a link has the bucket before the key
            path = os.path.join(folder, *names[at:])
            if os.path.isfile(path) and os.path.getsize(path) == file.size:
                with open(path, "rb") as content:
                    content.seek(start)
                    return content.readinto(part) == len(part)
        return False

    def _complete_part(self, file: StagedFile, number: int, part: memoryview) -> None:
        digest = _create_md5(part).digest()
        with file.lock:
            file.digests[number] = digest
            is_complete = len(file.digests) == len(file.ranges)
        with self._lock:
            self._done += len(part)
        if is_complete:
            matches = _matches_etag(file)
            if matches is False:
                raise NotStaged("'{}' was damaged in transit. Run the cell again.".format(file.name))
            with self._lock:
                self._checked += bool(matches)
            os.utime(file.draft, (file.modified, file.modified))
            os.replace(file.draft, file.path)

    def _format_progress(self) -> str:
        seconds = time.monotonic() - self._started
        speed = self._done / seconds
        rest = ", {:.0f} s left".format((self.size - self._done) / speed) if speed else ""
        return "Staging: {:.0%}, {} of {}, {}/s{}".format(
            self._done / (self.size or 1), size_text(self._done), size_text(self.size), size_text(speed), rest
        )

    def _format_summary(self) -> str:
        seconds = time.monotonic() - self._started
        count = "1 file" if len(self._files) == 1 else "{:,} files".format(len(self._files))
        return "Staged {}, {}, in {:.1f} s ({}/s). {:,} of {:,} checksums match.".format(
            count, size_text(self.size), seconds, size_text(self._done / seconds), self._checked, len(self._files)
        )


class Unreachable(NotStaged):
    """Report that the bucket can't be read by links."""


class Connections:
    """Reads ranges of objects over connections that stay open; for one thread."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def read(self, link: str, etag: str, start: int, part: memoryview, what: str) -> None:
        """Fill ``part`` with the bytes of an object from ``start`` on. Raises NotStaged."""
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(8.0, 0.25 * 2**attempt))
            try:
                status = self._read_once(link, etag, start, part)
            except (OSError, HTTPException, ValueError) as error:
                self.close()
                reason = "the connection failed: {}".format(type(error).__name__)
                continue
            if status == 206:
                return
            if status in (404, 412):
                change = "was deleted" if status == 404 else "changed"
                raise NotStaged("{} {} in the bucket during the staging. Run the cell again.".format(what, change))
            if status < 500 and status != 429:
                raise Unreachable("The links to the bucket have expired (HTTP {}). Run the cell again.".format(status))
            reason = "HTTP {}".format(status)
        raise Unreachable("Can't read {} from the bucket ({}). Run the cell again.".format(what, reason))

    def _read_once(self, link: str, etag: str, start: int, part: memoryview) -> int:
        connection = self._reuse_connection(link)
        url = urlsplit(link)
        headers = {"Range": "bytes={}-{}".format(start, start + len(part) - 1)}
        if etag:
            headers["If-Match"] = '"{}"'.format(etag)
        connection.request("GET", url.path + "?" + url.query, headers=headers)
        response = connection.getresponse()
        if response.status != 206:
            self.close()
            return int(response.status)
        position = 0
        while position < len(part):
            count = response.readinto(part[position:])
            if not count:
                raise OSError("the connection ended early")
            position += count
        response.read()  # so that the connection can be used again
        return 206

    def _reuse_connection(self, link: str) -> Any:
        url = urlsplit(link)
        if url.netloc not in self._open:
            self._open[url.netloc] = _create_connection(url)
        return self._open[url.netloc]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()


def _create_connection(url: Any) -> Any:
    """Return a connection to the host of a link, through the proxy of the environment if it is for this host."""
    kind: Any = HTTPSConnection if url.scheme == "https" else HTTPConnection
    is_near = url.hostname in ("127.0.0.1", "localhost", "::1")
    proxy = None if is_near or proxy_bypass(url.hostname) else getproxies().get(url.scheme)
    if not proxy:
        return kind(url.hostname, url.port, timeout=PATIENCE)
    way = urlsplit(proxy if "://" in proxy else "http://" + proxy)
    connection = kind(way.hostname, way.port, timeout=PATIENCE)
    connection.set_tunnel(url.hostname, url.port or (443 if url.scheme == "https" else 80))
    return connection


def _matches_etag(file: StagedFile) -> bool | None:
    """Return whether the content has the checksum of the object; None if the ETag is no known checksum."""
    digests = [file.digests[number] for number in sorted(file.digests)]
    if re.match(r"[0-9a-f]{32}$", file.etag):
        return bool((digests[0].hex() if len(digests) == 1 else _hash_file(file.draft)) == file.etag)
    combined = "{}-{}".format(_create_md5(b"".join(digests)).hexdigest(), len(digests))
    has_count = file.etag.endswith("-{}".format(len(digests)))
    return True if combined == file.etag else False if has_count and file.part in USUAL_SIZES else None


def _create_md5(content: Any = b"") -> Any:
    """Return an MD5 hash, also on systems that forbid MD5 for security, as far as this Python can."""
    try:
        return hashlib.md5(content, usedforsecurity=False)
    except TypeError:  # Python 3.8
        return hashlib.md5(content)


def _hash_file(path: str) -> str:
    content = _create_md5()
    with open(path, "rb", buffering=0) as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            content.update(piece)
    return str(content.hexdigest())


def _explain_error(error: BaseException) -> BaseException:
    if isinstance(error, OSError):
        return NotStaged("Can't write the files ({}). Use a machine with a larger disk.".format(error.strerror))
    return error


def size_text(size: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000
    else:
        unit = "TB"
    return "{:.0f} {}".format(size, unit) if size >= 100 or unit == "B" else "{:.1f} {}".format(size, unit)
