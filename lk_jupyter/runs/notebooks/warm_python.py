"""Sessions: a warm Python on one machine that keeps its variables between cells.

It is the kernel of a hosted Jupyter server. The machine ends it when it was idle for too long, so the bill ends also
where nobody is left here.
"""

from __future__ import annotations

import ast
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.hosted_channel import Asked, Channel, Message, lost_label
from lk_jupyter.code.source import Source
from lk_jupyter.config.files import platform_path, read_json, write_json
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import (
    CellFailed,
    ConnectionFailed,
    InvalidResponse,
    LkError,
    NoSuchObject,
    NotFound,
    UsageError,
    only_colors,
)
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.calls import CALLS, check_call
from lk_jupyter.options.runs import MachineOptions, RunOptions, ServerOptions, check
from lk_jupyter.protocol.bucket import checkpoint_key
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.protocol.parts import cloudpickle_files, module_files
from lk_jupyter.remote.sign import is_signed, sign_message
from lk_jupyter.runs.clock import now
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.runs.notebooks.servers import (
    ended_on_failure,
    prepare_server,
    server_of,
    stop_server,
    token_of,
    wait_for_server,
)
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.upload import upload_variables
from lk_jupyter.runs.variables.download import download_message, read_outputs
from lk_jupyter.runs.variables.payload import CARRY_NEEDS, NEEDS
from lk_jupyter.runs.variables.state import blob_reader, origin_loader, read_state, set_outputs, set_state
from lk_jupyter.text.secrets import redact

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.options._keywords import CellKeywords

#: Minutes without work after which a machine is released.
IDLE_MINUTES = 20.0

_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,39}", re.ASCII)

#: Seconds between two looks of a server whether a kernel is idle: a tenth of the limit, within these.
_SOONEST, _LATEST = 1, 60

#: Seconds after the limit at which a server ends a kernel that doesn't end by itself: saving variables takes its time.
_SAVING = 300

#: Sessions that this process is connected to, by the id of their run.
_open: dict[str, WarmPython] = {}


def prepare_session(session: Connection, options: RunOptions) -> Bundle:
    """Put together the machine of a session. Raises UsageError for what would not run."""
    name = str(options.session)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--session takes letters, digits, - and _, at most 40, got '{name}'. Nothing was sent. Example: train"
        )
    given = options.model_dump(include={"gpu", "machine", "timeout", "max_cost", "image"}, exclude_none=True)
    server = ServerOptions(name=f"session {name}", **given)
    return prepare_server(session, server, marks={SESSION_KEY: name}, flags=_flags(idle_of(options)))


def idle_of(options: RunOptions) -> float:
    """Return the minutes without work after which a session ends."""
    return IDLE_MINUTES if options.idle is None else options.idle


def _flags(minutes: float) -> list[str]:
    """Return what makes a server end its idle kernel, and then itself, where the kernel's own watch fails."""
    seconds = max(1, round(60 * minutes))
    pace = min(max(_SOONEST, seconds // 10), _LATEST)
    kernels = {"cull_idle_timeout": seconds + _SAVING, "cull_interval": pace, "cull_connected": True}
    return [
        *(f"--MappingKernelManager.{name}={value}" for name, value in kernels.items()),
        "--ServerApp.shutdown_no_activity_timeout=1",
    ]


#: Kinds of Jupyter's messages that show something besides text.
_DISPLAYS = {"display_data", "execute_result"}

#: Key in the metadata of such a message for its signature, as in ``script.session``.
_SIGNATURE = "lk_signature"


@dataclass(frozen=True)
class CellResult:
    r"""What a cell of a session showed and sent back.

    ``text`` is what it printed, ``displays`` are MIME bundles, ``outputs`` are variables by name, ``notices`` are lines
    about them.

    Example:
        >>> from lk_jupyter.runs.notebooks.warm_python import CellResult
        >>> CellResult("42\n", [], {"x": 42}, []).outputs["x"]
        42
    """

    text: str
    displays: list[dict[str, Any]]
    outputs: dict[str, Any]
    notices: list[str]


class WarmPython:
    r"""A session: a warm Python on one machine that keeps its variables, as ``Session.warm_python`` returns it.

    ``name`` is its name, ``run`` the run of its machine, ``idle`` the minutes without work after which it ends.

    Example:
        >>> warm = session.warm_python("docs")
        >>> warm.run_code("x = 6 * 7").text
        ''
        >>> warm.run_code("print(x)", outputs=["x"])
        CellResult(text='42\n', displays=[], outputs={'x': 42}, notices=['Set here: x'])
        >>> warm.interrupt()
        >>> warm.close()
        >>> warm = session.warm_python("docs")
        >>> warm.stop()
    """

    def __init__(self, name: str, kernel: HostedKernel, idle: float) -> None:
        self.name = name
        self.idle = idle
        self.run = kernel.run
        self._kernel = kernel
        self._key = signing_key(f"session {token_of(kernel.run)}")
        self._heard = time.monotonic()
        self._prepared = -1  # how often its Python had died when it was prepared last
        self._files: dict[str, str] = {}
        self.kept: dict[str, str | None] = {}
        self.channel = Channel(kernel.server, kernel.kernel_id, self._over)
        _open[self.run.execution_id] = self

    def __repr__(self) -> str:
        return f"<WarmPython {self.name!r}, run {self.run.short_id}>"

    def execute(self, code: str, *, silent: bool = False, wants: dict[str, str] | None = None) -> Asked:
        """Begin to run code. Raises ConnectionFailed when the session has ended.

        ``wants`` are expressions that are evaluated after it, by name. ``silent`` leaves no trace in its history.
        """
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": wants or {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        return self.channel.ask("execute_request", content)

    def run_code(
        self,
        code: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        **options: Unpack[CellKeywords],
    ) -> CellResult:
        """Run code, wait for its end, and return what it showed and sent back.

        An interrupt interrupts the code; the session stays.

        Args:
            code: Python, or the syntax of IPython.
            inputs: Variables that the code finds set. With ``sync=True``, unchanged variables are sent only once.
            outputs: Names of variables to bring back. Default: none.
            options: ``sync``, ``pickle``, ``files`` and ``allow_secrets``, as in ``%%lk_run``.

        Returns:
            A CellResult.

        Raises:
            CellFailed: The code failed. The session stays.
            UsageError: An option or a value doesn't fit. Nothing was sent.
            ConnectionFailed: The session has ended.
        """
        given = {
            "inputs": [] if options.get("sync") or options.get("carry") else list(inputs or ()),
            "outputs": list(outputs),
        }
        if machine := sorted(MachineOptions.model_fields.keys() & options.keys()):
            raise UsageError(
                f"run_code doesn't support '{machine[0]}'. Nothing was sent. It works when the session starts: "
                f"session.warm_python('{self.name}', {machine[0]}=...)"
            )
        checked = check_call("run_code", {**options, **given})
        chosen = checked.model_copy(update={"session": self.name})
        values: dict[str, Any] = dict(inputs or {})
        source = Source(code, "cell.py", namespace=values, is_cell=True)
        bundle = prepare_cell(self.run.session, source, chosen, self.kept)
        (bundle,) = require_consent([bundle])
        shown: list[Message] = []
        with AtInterrupt(lambda _: self.interrupt()), true_interrupts():
            asked = self.begin(bundle)
            shown.extend(filter(None, asked.messages()))
            notices = self.take_back(bundle, values)
        if asked.reply.get("status") != "ok":
            errors = [message["content"] for message in shown if message["header"]["msg_type"] == "error"]
            raise self.failure([asked.reply, *errors][-1])
        text = "".join(str(m["content"]["text"]) for m in shown if m["header"]["msg_type"] == "stream")
        rich = [message for message in shown if message["header"]["msg_type"] in _DISPLAYS]
        verified = [self.verified(message) for message in rich]
        displays = [content["data"] for content in verified if content]
        unsigned = sum(content is not message["content"] for content, message in zip(verified, rich, strict=True))
        notices = [*notices, *unsigned_notices(unsigned), *lost_notices(asked)]
        back = {name: value for name, value in values.items() if name not in (inputs or {}) or name in outputs}
        return CellResult(text, displays, back, list(map(str, notices)))

    def begin(self, bundle: Bundle, tell: Callable[[str], None] = lambda _: None, begun: float = 0.0) -> Asked:
        """Send what a cell needs, then the cell; ``tell`` is called with how far that is.

        Raises UsageError with what the session refuses, StorageError, ConnectionFailed, ReadOnlyMode.
        """
        refuse_if_read_only("spends")
        phases, begun = bundle.phases, begun or time.monotonic()
        self.prepare()
        phases["start"], begun = time.monotonic() - begun, time.monotonic()
        settings, session = bundle.payload.settings, self.run.session
        links = upload_variables(session, settings, bundle, tell) if bundle.payload.parts else None
        phases["upload"], begun = time.monotonic() - begun, time.monotonic()
        self.bring(bundle, links)
        phases["environment"] = time.monotonic() - begun
        source = bundle.source
        above = "" if source.code.lstrip().startswith("%%") else "#\n" * (source.first_line - 1)
        return self.execute(above + source.code)

    def verified(self, message: Message) -> Message | None:
        """Return the content of a message that shows something besides text, if this session has signed it.

        Of any other message, only its plain text is returned; None if it has none.
        """
        kind, content = message["header"]["msg_type"], message["content"]
        metadata, request = message.get("metadata"), str(message["parent_header"].get("msg_id", ""))
        claimed = str(metadata.get(_SIGNATURE)) if isinstance(metadata, dict) else ""
        if not isinstance(content, dict):
            return None
        if hmac.compare_digest(sign_message(self._key, request, kind, content), _bytes_of(claimed)):
            return content
        data = content.get("data")
        text = data.get("text/plain") if isinstance(data, dict) and kind in _DISPLAYS else None
        return {"data": {"text/plain": only_colors(text)}, "metadata": {}} if isinstance(text, str) else None

    def failure(self, error: Mapping[str, Any]) -> CellFailed:
        """Return the error of a cell, given the content of Jupyter's message."""
        shown = redact("\n".join(map(str, error.get("traceback", []))))
        message = redact(f"session {self.name}: {error.get('ename', 'Error')}: {error.get('evalue', '')}")
        return CellFailed(message, execution_id=self.run.execution_id, traceback=shown)

    def prepare(self) -> None:
        """Send once what travels variables and watches the time. Raises ConnectionFailed."""
        if self._prepared == self.channel.died:
            return
        died = self.channel.died
        self.kept, self._files = {}, {}
        texts = {**cloudpickle_files(), **module_files([*NEEDS, *CARRY_NEEDS, *_MODULES])}
        left = self.run.bundle.timeout - (now() - (self.run.submitted_at or now())) if self.run.bundle else None
        save = _place_to_save(self.run, self.name) if left else None
        settings = {"idle": 60 * self.idle, "left": left or _LONG, "save": save, "key": self._key.hex()}
        code = f"exec({_PREPARE!r}, {{'texts': {texts!r}, 'settings': {settings!r}}})"
        _check(self.execute(code, silent=True).answer())
        self._prepared = died

    def restore(self) -> str:
        """Set in it the variables that an earlier machine of this session has saved; return words about that."""
        saved = read_json(_saved_file()).get(self.name)
        if not saved or not self.run.session.speaks_to(saved["base_url"]):
            return ""
        try:
            self.run.session.storage.info(saved["object"])
        except NoSuchObject:
            return f"The earlier variables of session {self.name} are lost: its machine ended before it had saved them."
        except LkError as error:
            return self._not_restored(str(error))
        self.prepare()
        link = self.run.session.storage.presign(saved["object"], life=timedelta(hours=1)).url
        said = self._call("restore", json.dumps({"get": link, "key": saved["key"]}))
        if "restored" in said:
            names = ", ".join(said["restored"]) or "no variables"
            return f"Session {self.name} continues on a new machine. Restored: {names}."
        return self._not_restored(f"{said.get('lost')}.")

    def _not_restored(self, why: str) -> str:
        return f"The earlier variables of session {self.name} couldn't be restored: {why}"

    def bring(self, bundle: Bundle, links: dict[str, Any] | None) -> None:
        """Send files that changed, and set the variables of a cell. Raises UsageError with what the session refuses."""
        texts = {name: text for name, text in bundle.files.items() if self._files.get(name) != text}
        outside = ".."  # a session works in the folder of its server
        binary = {name: of for name, of in bundle.rest.get("files", {}).items() if not name.startswith(outside)}
        rest = {**bundle.rest, "files": {name: of for name, of in binary.items() if self._files.get(name) != of}}
        if texts or any(rest.values()):
            _check(
                self.execute(
                    f"__import__('_lk.script.session').script.session.files('.', {texts!r}, {rest!r})", silent=True
                ).answer()
            )
            self._files |= {**texts, **binary}
        if links is not None:
            given = json.dumps({"settings": bundle.payload.settings, "links": links})
            refused = self._call("before", given).get("refused")
            if refused:
                self.kept = {}
                raise UsageError(str(refused))

    def take_back(self, bundle: Bundle, namespace: MutableMapping[str, Any]) -> list[Notice]:
        """Set the variables here that a cell has changed, and name them. Raises StorageError, ConnectionFailed."""
        if not bundle.payload.parts:
            return []
        payload, storage = bundle.payload, self.run.session.storage
        said = self._call("after", json.dumps(payload.settings))
        text = said.get("message")
        if text is None and "returned" in said:
            text = download_message(storage, bundle.token, said["returned"])
        if text is None:
            return [Notice(f"What the cell changed didn't arrive: {said.get('refused', 'no answer')}", WARNING)]
        if not payload.carries:
            pickle = bool(payload.settings["pickle"])
            found = read_outputs(text, storage, bundle.token, payload.outputs, pickle=pickle, is_trusted=True)
            return set_outputs(found, payload.origin, namespace)
        assert payload.origin is not None  # noqa: S101 (whatever carries has one)
        copies = origin_loader(payload.settings, blob_reader(storage, payload.settings))
        state = read_state(text, storage, bundle.token, payload.origin, copies)
        remarks = set_state(state, namespace)
        self._remember(namespace, [*payload.origin.values, *state.names, *state.missing])
        return remarks

    def _remember(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Keep what variables hold now: as long as that stays, the session's value counts."""
        from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (imports cloudpickle)

        for name in names:
            self.kept.pop(name, None)
            if name in namespace:
                self.kept[name] = digest_value(namespace[name])

    def _call(self, function: str, text: str) -> dict[str, Any]:
        """Call a function of ``script.session`` and return the answer. Raises InvalidResponse if it isn't signed."""
        code = (
            f"__import__('_lk.script.session').script.session.{function}({text!r}, __import__('IPython').get_ipython())"
        )
        question = secrets.token_hex(16)
        wants = {"said": f"__import__('_lk.script.session').script.session.answer({question!r})"}
        reply = self.execute(code, silent=True, wants=wants).answer()
        _check(reply)
        signed_text = str(ast.literal_eval(reply["user_expressions"]["said"]["data"]["text/plain"]))
        claimed, _, text = signed_text.partition(" ")
        if not is_signed(self._key, _bytes_of(claimed), question.encode(), text.encode()):
            raise InvalidResponse(
                f"The answer of session {self.name} isn't signed by it. No variable was set. The cell may have run."
            )
        answer: dict[str, Any] = load_json(text)
        return answer

    def interrupt(self) -> None:
        """Interrupt the active code; the session stays."""
        self._kernel.interrupt()

    def stop(self) -> None:
        """Stop the machine and its bill; the variables of the session are lost."""
        self.close()
        forget_saved(self.name)
        self._kernel.stop()

    def close(self) -> None:
        """Close the connection; the session stays active and costs credits."""
        _open.pop(self.run.execution_id, None)
        self.channel.close()
        self._kernel.server.close()

    def _over(self) -> str:
        """Return why there is no connection any more; an empty string while there may be one again."""
        reason = self._reason()
        if reason:
            self.close()
        return reason

    def _reason(self) -> str:
        try:
            state = self.run.status
            self._heard = time.monotonic()
            if is_final(state):
                return f"Session {self.name} has ended: {ENDED.get(state, state)}. The next cell starts a new machine."
            if not self._kernel.is_known():
                stop_server(self.run)  # else it would be billed beside the next one
                return f"Session {self.name} was idle for too long. The next cell starts a new machine."
        except BROKEN as error:
            try:
                check_patience(
                    error, self._heard, f"The session may still be active. Stop it: %lk_sessions stop {self.name}"
                )
            except LkError as given_up:
                return str(given_up)
        return ""


#: State of the run of a session that has ended → why.
ENDED = {
    "timeout": "its time limit was reached",
    "completed": "it was idle for too long",
    "cancelled": "it was stopped",
    "aborted": "it was aborted",
}


#: Seconds that stand for no limit.
_LONG = 10**9


def _saved_file() -> Path:
    return platform_path("data", "sessions.json")


def _place_to_save(run: Run, name: str) -> dict[str, str] | None:
    """Return where a session saves its variables and the key that signs them; None without a bucket.

    The key is kept in a file that only this user can read.
    """
    secret, place = secrets.token_hex(32), checkpoint_key(secrets.token_hex(16))
    life = timedelta(seconds=run.bundle.timeout if run.bundle else 0) + timedelta(hours=1)
    try:
        link = run.session.storage.presign(place, "PUT", life=life).url
        mine = {"run": run.execution_id, "base_url": run.session.base_url, "object": place, "key": secret}
        write_json(_saved_file(), {**read_json(_saved_file()), name: mine})
    except (LkError, OSError):
        return None
    return {"put": link, "key": secret}


def forget_saved(name: str) -> None:
    """Forget the variables that a session has saved or will save."""
    known = read_json(_saved_file())
    if known.pop(name, None):
        write_json(_saved_file(), known)


#: Modules for a session, besides those for variables.
_MODULES = ("script.run", "script.variables", "sign", "script.session")

_PREPARE = """
import os, sys, tempfile
if "_lk.script.session" not in sys.modules:
    folder = tempfile.mkdtemp(prefix="lk_session_")
    for name, text in texts.items():
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    sys.path.insert(0, folder)
    import _lk.script.session, IPython
    _lk.script.session.begin(settings, IPython.get_ipython())
"""


def unsigned_notices(count: int) -> list[Notice]:
    """Return the notice about outputs that a session hasn't signed, if there are any."""
    outputs = "1 output isn't" if count == 1 else f"{count:,} outputs aren't"
    return [Notice(f"{outputs} signed by the session: only the text was shown.", WARNING)] if count else []


def lost_notices(asked: Asked) -> list[Notice]:
    """Return the notice about messages of a cell that were lost with a connection, if there are any."""
    return [Notice(lost_label(asked.lost_messages), WARNING)] if asked.lost_messages else []


def _bytes_of(text: str) -> bytes:
    """Return what hexadecimal text says; nothing for any other text."""
    with suppress(ValueError):
        return bytes.fromhex(text)
    return b""


def _check(reply: Message) -> None:
    """Raise InvalidResponse where our own code failed in a session."""
    if reply.get("status") != "ok":
        why = f"{reply.get('ename', reply.get('status'))}: {reply.get('evalue', '')}"
        raise InvalidResponse(
            f"The session couldn't exchange variables with this notebook ({why}). The cell may have run."
        )


def start_session(name: str, run: Run, server: HostedServer, idle: float) -> WarmPython:
    """Return the session of a run whose server answers; its Python is started."""
    return WarmPython(name, HostedKernel(run, server, server.start_kernel()), idle)


def runs_of(session: Connection, name: str | None = None) -> Iterator[tuple[str, Run]]:
    """Yield the sessions that were started on this machine and may still be active: name and run, newest first."""
    for entry in journal().entries(going_on=True):
        found = entry.metadata.get(SESSION_KEY)
        if found and name in {None, found} and entry.execution_id and session.speaks_to(entry.base_url):
            run = Run(session, entry.execution_id)
            if _is_active(session, run):
                yield found, run


def _is_active(session: Connection, run: Run) -> bool:
    """Return whether the machine of a session is active.

    A 404 means that its record was deleted, or belongs to another local cloud, or that the cloud doesn't know it for a
    while. A second machine would be billed next to an active one, so the list of active runs decides.
    """
    try:
        return not is_final(run.status)
    except NotFound:
        return any(listed.execution_id == run.execution_id for listed in session.client.workloads.list())


def find_session(session: Connection, name: str) -> WarmPython | None:
    """Return the active session of this name that was started on this machine; None where there is none.

    Raises ConnectionFailed where it is active and does not answer.
    """
    for _, run in runs_of(session, name):
        known = _open.get(run.execution_id)
        if known and not known.channel.gone:
            return known
        server = server_of(run)
        try:
            kernels = server.kernels()
        except LkError:
            server.close()
            raise
        if kernels:
            return WarmPython(name, HostedKernel(run, server, str(kernels[0]["id"])), _idle_in(run))
        server.close()
    return None


def open_session(session: Connection, name: str, options: dict[str, Any]) -> WarmPython:
    """Return the session of this name; it is started if there is none, and waited for. Raises UsageError, RunError."""
    allowed = CALLS["session.warm_python"].only
    if unknown := sorted(options.keys() - allowed):
        raise UsageError(
            f"session.warm_python doesn't support '{unknown[0]}'. Nothing was sent. "
            f"Options: {', '.join(sorted(allowed))}."
        )
    chosen: RunOptions = check(RunOptions, {**options, "session": name})
    bundle = prepare_session(session, chosen)
    found = find_session(session, name)
    if found:
        return found
    run = Run.submit(session, bundle)
    with ended_on_failure(run):
        warm = start_session(name, run, wait_for_server(run), idle_of(chosen))
        warm.restore()
    return warm


def _idle_in(run: Run) -> float:
    """Return the minutes without work that a session was started with."""
    words = " ".join(run.record.docker_run_cmd or ())
    found = re.search(r"cull_idle_timeout=(\d+)", words)
    return (int(found[1]) - _SAVING) / 60 if found else IDLE_MINUTES


def open_run(session: Connection, name: str) -> Run:
    """Return the run of an active session. Raises UsageError when there is none."""
    found = dict(reversed(list(runs_of(session))))
    if name not in found:
        active = f"Active sessions: {', '.join(found)}." if found else "No session is active."
        raise UsageError(f"Unknown session '{name}'. Nothing was stopped. {active}")
    return found[name]


def idle_seconds(run: Run) -> float | None:
    """Return how long a session has been without work, in seconds: 0 while it works, None where it doesn't answer."""
    try:
        server = server_of(run)
    except UsageError:  # it can only be stopped
        return None
    try:
        kernels = server.kernels()
    except ConnectionFailed:
        return None
    finally:
        server.close()
    if not kernels:
        return None
    if kernels[0]["execution_state"] == "busy":
        return 0.0
    last = datetime.fromisoformat(str(kernels[0]["last_activity"]).replace("Z", "+00:00"))
    return max(0.0, run.session.client.now() - last.timestamp())


def stop_session(session: Connection, name: str, stop: Callable[[Run], object]) -> Run:
    """Stop the session of this name, and with that its bill; return its run. Raises UsageError when there is none."""
    run = open_run(session, name)
    if known := _open.get(run.execution_id):
        known.close()
    stop(run)
    forget_saved(name)
    return run
