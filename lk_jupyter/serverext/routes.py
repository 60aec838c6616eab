"""Path behind ``lk/`` → what answers there."""

from __future__ import annotations

from lk_jupyter.serverext import account, journal, machines, storage, stream
from lk_jupyter.serverext.base import Handler, Unknown
from lk_jupyter.serverext.proxy import Proxy

_ID = r"([\w-]{1,100})"

ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("status", account.Status),
    ("signin", account.SignIn),
    ("signout", account.SignOut),
    ("organization", account.Organization),
    ("local", account.LocalCloud),
    ("journal", journal.Journal),
    (f"journal/{_ID}/code", journal.Code),
    (f"runs/{_ID}/stream", stream.Stream),
    ("machines", machines.Machines),
    ("machines/default", machines.Default),
    ("storage/list", storage.Listing),
    ("storage/info", storage.Info),
    ("storage/folder", storage.Folder),
    ("storage/move", storage.Move),
    ("storage/preview", storage.Preview),
    ("api/(.*)", Proxy),
    (".*", Unknown),
)
