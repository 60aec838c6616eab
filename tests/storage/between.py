"""A network between a client and the storage: it counts bytes, stands still, goes away and comes back."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from lk_jupyter.api._client import Client
from lk_jupyter.storage import _download, _folders, _parts, _s3_http, storage
from lk_jupyter.storage.storage import Storage

#: Bytes of a part where a test cares how many parts there are, the least that S3 takes; and how many travel at once.
SMALL_PART, FEW = 5 * _parts.MIB, 2


def cut_small(change=setattr):
    """Let this process move small parts, and few at once."""
    for module in (_parts, _download, _folders, storage):
        change(module, "PART", SMALL_PART)
    change(_download, "AT_ONCE", FEW)
    change(_s3_http, "LOCAL_PARALLEL", FEW)


class Network:
    """Forwards connections to an endpoint and counts the bytes of both directions. A context manager."""

    def __init__(self, endpoint):
        self._target = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}{urlsplit(endpoint).path}"
        self._open = set()
        self._mute = set()
        self._lock = threading.Lock()
        self._is_away = False
        self.up = self.down = 0
        self.cut_after = None  # bytes up: then the network goes away
        self.cut_down_after = None  # bytes down: the same
        self.back_after = None  # seconds after which it comes back by itself when it was cut
        self._still_after = None  # bytes of both directions: then it stands still
        self._is_still, self._moves = threading.Event(), threading.Event()
        self._before, self._lost = set(), set()
        self.lose_answers_to = None  # the begin of a request that is done, and whose answer gets lost
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_away()
        self._listener.close()

    def go_away(self):
        """Close all connections; new ones are closed at once."""
        with self._lock:
            self._is_away = True
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def come_back(self):
        self._is_away = False

    def stand_still_after(self, count):
        """Count anew, and pass on nothing after so many bytes; return the event of it."""
        self.up = self.down = 0
        self._is_still.clear()
        self._moves.clear()
        self._still_after = count
        with self._lock:
            self._before = set(self._open)
        return self._is_still

    def move_on(self):
        """Pass on what comes; what was held back is lost, with the connections that were made for it."""
        with self._lock:
            self._lost |= self._open - self._before
        self._still_after = None
        self._moves.set()

    def through(self, issue):
        """Return a function that gives credentials whose endpoint is here."""
        return lambda: issue().model_copy(update={"endpoint": self.endpoint})

    def _cut(self):
        self.go_away()
        if self.back_after is not None:
            threading.Timer(self.back_after, self.come_back).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._is_away:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                with self._lock:
                    self._open |= {near, far}
                for source, target, way in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self._pass_on, args=(source, target, way), daemon=True).start()

    def _pass_on(self, source, target, way):
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                setattr(self, way, getattr(self, way) + len(piece))
                limit = self._still_after  # another thread may set it to None meanwhile
                if limit is not None and self.up + self.down >= limit:
                    self._is_still.set()
                    self._moves.wait()
                if source in self._lost:
                    break
                if way == "up" and self.cut_after is not None and self.up > self.cut_after:
                    self.cut_after = None
                    self._cut()
                if way == "down" and self.cut_down_after is not None and self.down > self.cut_down_after:
                    self.cut_down_after = None
                    self._cut()
                if way == "up" and self.lose_answers_to and piece.startswith(self.lose_answers_to):
                    self.lose_answers_to = None
                    self._mute.add(target)
                if way == "down" and source in self._mute:
                    break
                target.sendall(piece)
        with self._lock:
            self._open -= {source, target}
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # the other thread waits on it
            each.close()


def transfer(env, endpoint, way, path, key):
    """Be the process of a user with this environment that moves something to the bucket at this endpoint or back."""
    os.environ.update(env)
    cut_small()
    client = Client(env["LK_BASE_URL"], env["LK_API_KEY"])
    bucket = Storage(lambda: client.storage.credentials().model_copy(update={"endpoint": endpoint}))
    ways = {
        "put": lambda: bucket.put(path, key),
        "get": lambda: bucket.get(key, path),
        "sync up": lambda: bucket.sync(path, f"lk://{key}"),
        "sync down": lambda: bucket.sync(f"lk://{key}", path),
        "stage": lambda: bucket.stage(key, path),
    }
    ways[way]()
