"""The server extension: the requests that a page in JupyterLab may send, with the user's key kept on the server.

All routes start with ``base_url``. Every verb needs a user who is signed in to Jupyter, and the
XSRF header of Lab's own requests (a GET may bring a Referer of this server in its place). The JSON
has the types of ``models.py``, in TypeScript ``labextension/src/types.ts``.

An error comes as ``TroubleContent``: ``{state, detail}``, the detail one line for the user.

============= ====== =====================================================================
state         status
============= ====== =====================================================================
signed-out    424    no key for the server, or the keyring keeps it: show the sign-in
revoked       424    the server does not take the key any more: show the sign-in
unreachable   502    nothing answers, a gateway says so, or the local cloud does not run
not-an-api    502    HTML or a redirect in place of an answer
slow          504    no answer within 10 s of a GET, 60 s of another verb
refused       its    the API's own refusal in its words: 402, 403, 404, 409, 422, 429, 5xx
not-allowed   404    no such route or operation, or not for a browser; 405 for the verb;
                     401 and 403 when Jupyter itself refuses
bad-request   400    a field does not fit
broken        500    a fault of ours, in the server's log
============= ====== =====================================================================

====== ======================= =====================================================================
GET    lk/status               → StatusContent: ``{state: "signed-in" | a trouble's, detail, base_url,
                               is_local, server_source, key_source, organization_asked, user:
                               {user_id, email}, organization: {org_id, slug, name, is_personal,
                               is_key_scoped}, balance_path, ahead, said}``. Always 200. ``balance_path`` goes
                               behind ``lk/api/``: ``billing/credits`` (→ ``remaining_credits``) or
                               ``orgs/SLUG/balance`` (→ ``balance``, ``account_suspended``).
POST   lk/signin               SignInBody ``{api_key, base_url?}``: tried, then kept → StatusContent;
                               ``said`` has where it is kept and what overrides it. An invalid
                               key: refused, nothing kept.
POST   lk/signout              → StatusContent, ``said`` names what still signs in.
POST   lk/organization         OrganizationBody ``{slug}``, null for the default → StatusContent.
GET    lk/local                → LocalCloudContent ``{installed, running, base_url}``.
POST   lk/local                Starts the local cloud where it does not run and uses it (some seconds)
                               → StatusContent.
DELETE lk/local                Ends it; its data stays → StatusContent.
GET    lk/journal              ``?limit=100&before=ROW&notebook=PATH`` → JournalContent ``{runs, before}``:
                               runs started on this machine, newest first, with notebook and cell_id.
GET    lk/journal/ID/code      → JournalCode ``{code, git_commit, labels, note}``.
PUT    lk/journal/ID/note      RunNote ``{note}``, empty to delete it → JournalCode.
GET    lk/runs/ID/stream       Server-sent events, each one JSON object in ``data``: ``{output: text}``
                               with all that has come, now and then ``{curves}``, then ``{finished: {return_code,
                               error}}`` and the last curves, or ``{trouble: {state, detail}}``. From the first line
                               on, each time.
GET    lk/kernels/questions    A web socket: ``{questions: [{id, name, machine, notebook, price_per_hour, highest_cost,
                               idle_minutes}]}``, each time the kernels change that wait for permission to start a
                               machine. The page sends ``{id, start: true | false}``.
any    lk/ports/VM/NAME/PAGE   A page of a port of a VM, which a kernel forwards to this machine: ``NAME`` is a port or
                               ``dashboard``. A signed-in user is redirected to ``lk/ports/SECRET/PAGE``; the pages are
                               in a sandbox, and web sockets pass. 404 without a kernel that forwards the port.
GET    lk/vms/ID/ssh           A web socket of binary messages: the bytes of a connection to the SSH port of a VM of the
                               account. The address is from the record of the VM. Errors come before the upgrade.
GET    lk/storage/list         ``?folder=a/b/&limit=200&offset=0`` → StorageContent ``{folder, items:
                               [{key, name, is_folder, size, last_modified}], total, truncated}``.
GET    lk/storage/info         ``?key=a/b`` → StorageItem, a file or the folder of that name.
POST   lk/storage/folder       FolderBody ``{folder}`` → StorageDone; 409 where there is one.
POST   lk/storage/move         MoveBody ``{source, target, overwrite?, keep?}``, folders end with a slash,
                               ``keep`` copies → StorageDone ``{objects}``; 409 where the target is taken.
any    lk/api/PATH             An operation of the API as README lists them, less those in
                               ``allowed.REFUSED``: query, body and answer are the API's, the answer
                               without secret fields. Operations of OpenAI's form are under
                               ``openai/v1/``, operations of Iris under ``iris/``. Streams pass as they come.
                               Files: ``POST lk/api/storage/upload?key=K`` with a form whose part
                               ``file`` is the file, ``GET lk/api/storage/download/K`` (an attachment),
                               ``DELETE lk/api/storage/delete/K``, ``DELETE
                               lk/api/storage/delete-folder/K/``, K with its slashes as they are and the
                               rest encoded; bodies of any size, never held in memory.
====== ======================= =====================================================================
"""

from __future__ import annotations

from typing import Any


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the routes to a Jupyter server."""
    from jupyter_server.utils import url_path_join  # noqa: PLC0415 (loaded by then)

    from lk_jupyter.machines.start_approval import start_questions  # noqa: PLC0415
    from lk_jupyter.serverext.rent import start_release  # noqa: PLC0415
    from lk_jupyter.serverext.routes import ROUTES  # noqa: PLC0415
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider  # noqa: PLC0415 (the module itself stays light)

    start_questions.expect_pages()
    desk = UpstreamProvider()
    start_release(desk)
    base = server.web_app.settings["base_url"]
    rows = [(url_path_join(base, "lk", path), handler, {"desk": desk}) for path, handler in ROUTES]
    server.web_app.add_handlers(".*$", rows)
