"""Path behind ``lk/`` → handler."""

from __future__ import annotations

from lk_jupyter.serverext import account, active, journal, kernels, machines, rent, storage, stream
from lk_jupyter.serverext.base import Handler, Unknown
from lk_jupyter.serverext.ports import VmPort, VmTunnel
from lk_jupyter.serverext.proxy import Proxy

_ID = "([A-Za-z0-9_-]{1,100})"  # as in api/states.py, which a server that starts needn't load

ROUTES: tuple[tuple[str, type[Handler | kernels.StartQuestionsSocket | VmPort | VmTunnel]], ...] = (
    ("status", account.Status),
    ("signin", account.SignInHandler),
    ("signout", account.SignOut),
    ("organization", account.Organization),
    ("local", account.LocalCloud),
    ("journal", journal.JournalHandler),
    (f"journal/{_ID}/code", journal.Code),
    (f"journal/{_ID}/note", journal.RunNoteHandler),
    (f"runs/{_ID}/stream", stream.StreamHandler),
    (f"runs/{_ID}/page", stream.PageHandler),
    ("burn-rate", account.BurnRate),
    ("active", active.Active),
    ("kernels/questions", kernels.StartQuestionsSocket),
    ("machines", machines.MachinesHandler),
    ("machines/default", machines.Default),
    ("rent/vms", rent.VmRental),
    ("rent/deployments", rent.DeploymentRental),
    ("rent/keys", rent.KeyCreation),
    ("storage/list", storage.ListingHandler),
    ("storage/info", storage.Info),
    ("storage/preview", storage.PreviewHandler),
    ("storage/folder", storage.Folder),
    ("storage/move", storage.Move),
    ("ports/(.*)", VmPort),
    (f"vms/{_ID}/ssh", VmTunnel),
    ("api/(.*)", Proxy),
    (".*", Unknown),
)
