"""Path behind ``lk/`` → what answers there."""

from __future__ import annotations

from lk_jupyter.api.states import RUN_ID
from lk_jupyter.serverext import account, burn_rate, journal, machines, storage, stream
from lk_jupyter.serverext.base import Handler, Unknown
from lk_jupyter.serverext.proxy import Proxy

_ID = f"({RUN_ID})"

ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("status", account.Status),
    ("signin", account.SignInHandler),
    ("signout", account.SignOut),
    ("organization", account.Organization),
    ("local", account.LocalCloud),
    ("journal", journal.JournalHandler),
    (f"journal/{_ID}/code", journal.Code),
    (f"runs/{_ID}/stream", stream.StreamHandler),
    ("burn-rate", burn_rate.BurnRate),
    ("machines", machines.MachinesHandler),
    ("machines/default", machines.Default),
    ("storage/list", storage.ListingHandler),
    ("storage/info", storage.Info),
    ("storage/preview", storage.PreviewHandler),
    ("storage/folder", storage.Folder),
    ("storage/move", storage.Move),
    ("api/(.*)", Proxy),
    (".*", Unknown),
)
