"""Run cells in sessions: a warm Python on a machine that keeps variables between cells.

A session is the kernel of a hosted Jupyter server. The machine stops an idle session, so that the bill ends even
without a notebook.
"""

from __future__ import annotations

import ast
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.api.hosted_channel import Asked, Channel, Message
from lk_jupyter.code.source import Source
from lk_jupyter.config.files import read_json
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import (
    CellFailed,
    InvalidResponse,
    LkError,
    NoSuchObject,
    UsageError,
)
from lk_jupyter.options.calls import check_call
from lk_jupyter.options.runs import MachineOptions
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.remote.sign import is_signed, session_margin, sign_message
from lk_jupyter.runs.clock import Bill, now
from lk_jupyter.runs.interrupts import AtInterrupt, true_interrupts
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel, lost_notices, unsigned_notices
from lk_jupyter.runs.notebooks.machine_packages import (
    changed_notice,
    foreign_modules,
    missing_notice,
    requirements_text,
)
from lk_jupyter.runs.notebooks.saved_variables import (
    OWNER,
    forget_saved,
    place_to_save,
    remember_requirements,
    restored_words,
    saved_file,
)
from lk_jupyter.runs.notebooks.servers import lease_end_label, read_token, stop_server
from lk_jupyter.runs.notebooks.session_code import SESSION_MODULE, begin_code
from lk_jupyter.runs.notebooks.session_machine import LIMIT_MARGIN
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.submit.start import key_seconds
from lk_jupyter.runs.submit.upload import upload_variables
from lk_jupyter.runs.variables.download import download_message, read_outputs
from lk_jupyter.runs.variables.remote_value import LAST, RemoteValue, bind_handles, bind_last
from lk_jupyter.runs.variables.state import (
    blob_reader,
    origin_loader,
    read_state,
    set_outputs,
    set_state,
)
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import only_colors
from lk_jupyter.text.units import moment_label, whole_seconds_label

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.options._keywords import CellKeywords

#: Run id → session, for the connected sessions of this process.
connected_warm_pythons: dict[str, WarmPython] = {}

#: Run id → digests of the variables of a session whose connection this process has closed.
_last_digests: dict[str, dict[str, str | None]] = {}

#: Seconds that a session has to save its variables when it moves, and seconds between two looks at its state.
_RELEASE_SECONDS, _RELEASE_PACE = 120, 0.3


#: The name of the expression with the signed answer.
_ANSWER = "said"

#: Seconds for which the record of a session's machine counts as current: it changes only when the session ends.
_RECORD_SECONDS = 30.0

#: Kinds of Jupyter's messages with rich output.
_DISPLAYS = {"display_data", "execute_result"}

#: Key of the signature in the metadata of these messages, as in ``script.session``.
_SIGNATURE = "lk_signature"


@dataclass(frozen=True)
class CellResult:
    r"""The result of a cell in a session.

    ``text`` is the printed text, ``displays`` are MIME bundles, ``outputs`` is name → variable, ``notices`` are lines
    about the variables.

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
    r"""A session: a warm Python on a machine that keeps variables, the result of ``Session.warm_python``.

    ``name`` is the name, ``run`` the run of the machine, ``idle`` the minutes without work after which the session
    ends. ``saves`` is whether the machine saves the variables in the bucket before the end. ``end_state`` is the
    state of a machine that ended while it was connected, else empty.

    Example:
        >>> warm = session.warm_python("docs")
        >>> warm.run_code("x = 6 * 7").text
        ''
        >>> warm.run_code("print(x)", outputs=["x"])
        CellResult(text='42\n', displays=[], outputs={'x': 42}, notices=['Set here: x'])
        >>> warm.bill().cost is None
        False
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
        self._key = signing_key(f"session {read_token(kernel.run)}")
        self._last_answer = time.monotonic()
        self.saves = True
        self.end_state = ""
        self._prepared = -1  # the count of the Python's deaths at the last preparation
        self._margin = 0.0  # seconds before its end at which the Python saves its variables
        self._files: dict[str, str] = {}
        self._record: tuple[float, ExecutionRecord] | None = None
        self._question = ""
        self._installed: list[str] = []  # texts of requirements
        self._checked_modules: set[str] = set()
        self._notices: list[Notice] = []  # for the receipt of the current cell
        self._restored: list[Notice] = []  # for the receipt of the first cell of a new Python
        self.digests: dict[str, str | None] = {}
        self.channel = Channel(
            kernel.server,
            kernel.kernel_id,
            self._close_if_ended,
            lambda: kernel.describe_loss(f"session {name}", f"%lk_sessions stop {name}"),
        )
        connected_warm_pythons[self.run.execution_id] = self

    def __repr__(self) -> str:
        return f"<WarmPython {self.name!r}, run {self.run.short_id}>"

    def execute(self, code: str, *, silent: bool = False, wants: dict[str, str] | None = None) -> Asked:
        """Start code without waiting. Raises ConnectionFailed if the session has ended.

        ``wants`` is name → expression to evaluate after the code. ``silent`` code isn't in the history.
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
        """Run code, wait for the end, and return output and variables.

        An interrupt interrupts the code; the session stays.

        Args:
            code: Python, or the syntax of IPython.
            inputs: Variables that the code finds set. With ``sync=True``, unchanged variables are sent only once.
            outputs: Names of variables to return. Default: none.
            options: ``sync``, ``pickle``, ``files`` and ``allow_secrets``, as in ``%%lk_run``.

        Returns:
            A CellResult.

        Raises:
            CellFailed: The code failed. The session stays.
            UsageError: An option or a value doesn't fit. Nothing was sent.
            ConnectionFailed: The session has ended.
        """
        variables = {
            "inputs": [] if options.get("sync") or options.get("carry") else list(inputs or ()),
            "outputs": list(outputs),
        }
        if machine := sorted(MachineOptions.model_fields.keys() & options.keys()):
            raise UsageError(
                f"run_code doesn't support '{machine[0]}'. Nothing was sent. Set it when the session starts: "
                f"session.warm_python('{self.name}', {machine[0]}=...)"
            )
        checked = check_call("run_code", {**options, **variables})
        chosen = checked.model_copy(update={"session": self.name})
        values: dict[str, Any] = dict(inputs or {})
        source = Source(code, "cell.py", namespace=values, is_cell=True)
        bundle = prepare_cell(self.run.session, source, chosen, self.digests)
        (bundle,) = require_consent([bundle])
        messages: list[Message] = []
        with AtInterrupt(lambda _: self.interrupt()), true_interrupts():
            cell = self.begin(bundle)
            messages.extend(filter(None, cell.messages()))
            notices = self.take_back(bundle, values, cell)
        if cell.reply.get("status") != "ok":
            errors = [message["content"] for message in messages if message["header"]["msg_type"] == "error"]
            raise self.failure([cell.reply, *errors][-1])
        text = "".join(str(m["content"]["text"]) for m in messages if m["header"]["msg_type"] == "stream")
        display_messages = [message for message in messages if message["header"]["msg_type"] in _DISPLAYS]
        verified = [self.verified(message) for message in display_messages]
        displays = [content["data"] for content in verified if content]
        unsigned = sum(
            content is not message["content"] for content, message in zip(verified, display_messages, strict=True)
        )
        notices = [*notices, *unsigned_notices(unsigned), *lost_notices(cell)]
        back = {name: value for name, value in values.items() if name not in (inputs or {}) or name in outputs}
        return CellResult(text, displays, back, list(map(str, notices)))

    def begin(self, bundle: Bundle, report: Callable[[str], None] = lambda _: None, phase_start: float = 0.0) -> Asked:
        """Send files and variables of a cell, then the cell; ``report`` is called with the progress.

        Raises UsageError for packages that can't be installed and for values that the session refuses, StorageError,
        ConnectionFailed, ReadOnlyMode.
        """
        refuse_if_read_only("spends")
        phases, phase_start = bundle.phases, phase_start or time.monotonic()
        self.prepare()
        if self.ending_key and self.remaining_seconds < self._margin:
            raise UsageError(
                f"The key ends at {self.ending_key}, and session {self.name} saves its variables before. The cell "
                f"wasn't run. Restore the saved variables: %lk_sessions restore {self.name}"
            )
        self._notices, self._restored = self._restored, []
        self.install(requirements_text(bundle), report)
        self._check_modules(bundle)
        phases["start"], phase_start = time.monotonic() - phase_start, time.monotonic()
        settings, session = bundle.payload.settings, self.run.session
        links = upload_variables(session, settings, bundle, self._keep_awake(report)) if bundle.payload.parts else None
        phases["upload"], phase_start = time.monotonic() - phase_start, time.monotonic()
        self.bring(bundle, links)
        phases["environment"] = time.monotonic() - phase_start
        source = bundle.source
        above = "" if source.code.lstrip().startswith("%%") else "#\n" * (source.first_line - 1)
        self._question = secrets.token_hex(16)
        finish = f"{SESSION_MODULE}.finish({self._question!r}, __import__('IPython').get_ipython())"
        return self.execute(above + source.code, wants={_ANSWER: finish} if bundle.payload.parts else None)

    def install(self, requirements: str, report: Callable[[str], None] = lambda _: None) -> None:
        """Install the packages of a requirements text, once for each machine. Raises UsageError if pip fails."""
        if not requirements or requirements in self._installed:
            return
        report("installing packages")
        answer = self.call("install", requirements)
        if problem := answer.get("problem"):
            raise UsageError(
                f"pip couldn't install the packages of -r in session {self.name}. The cell wasn't run.\n"
                f"{redact(str(problem))}"
            )
        self._installed.append(requirements)
        self._checked_modules.clear()
        self._notices += changed_notice(answer, self.name)
        remember_requirements(self.name, self._installed)

    def _check_modules(self, bundle: Bundle) -> None:
        """Look for modules that the cell imports first; a notice lists modules that the image lacks."""
        names = foreign_modules(bundle) - self._checked_modules
        if names:
            answer = self.call("environment", json.dumps(sorted(names)))
            self._checked_modules |= names - set(answer["missing"])
            self._notices += missing_notice(answer, self._image)

    @property
    def _image(self) -> str:
        """Return the image of the machine."""
        request = self.run.bundle.request if self.run.bundle else self.run.record
        return str(getattr(request, "docker_image_ref", None) or "")

    def _keep_awake(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Return ``report``, which also keeps the session from ending as idle during a long upload."""
        pause, last = 60 * self.idle / 4, time.monotonic()

        def report_progress(step: str) -> None:
            nonlocal last
            if time.monotonic() - last > pause:
                self.execute("pass", silent=True).answer()
                last = time.monotonic()
            report(step)

        return report_progress

    def verified(self, message: Message) -> Message | None:
        """Return the content of a message with rich output, if this session has signed the message.

        Return only the plain text of any other message; None without plain text.
        """
        kind, content = message["header"]["msg_type"], message["content"]
        metadata, request = message.get("metadata"), str(message["parent_header"].get("msg_id", ""))
        claimed = str(metadata.get(_SIGNATURE)) if isinstance(metadata, dict) else ""
        if not isinstance(content, dict):
            return None
        if hmac.compare_digest(sign_message(self._key, request, kind, content), _parse_hex(claimed)):
            return content
        data = content.get("data")
        text = data.get("text/plain") if isinstance(data, dict) and kind in _DISPLAYS else None
        return {"data": {"text/plain": only_colors(text)}, "metadata": {}} if isinstance(text, str) else None

    def failure(self, error: Mapping[str, Any]) -> CellFailed:
        """Return the error of a cell from the content of Jupyter's message."""
        traceback = redact("\n".join(map(str, error.get("traceback", []))))
        message = redact(f"session {self.name}: {error.get('ename', 'Error')}: {error.get('evalue', '')}")
        return CellFailed(message, execution_id=self.run.execution_id, traceback=traceback)

    def prepare(self) -> None:
        """Send the code for variables and time limits, once for each Python. Raises ConnectionFailed."""
        if self._prepared == self.channel.died:
            return
        died, is_restarted = self.channel.died, self._prepared >= 0
        self.digests, self._files = {}, {}
        remaining = self.remaining_seconds
        earlier = read_json(saved_file()).get(self.name, {}) if is_restarted and self.saves else {}
        has_end = self.limit < _LONG or self.run.session.client.lease_end is not None
        save = place_to_save(self.run, self.name, remaining) if self.saves and has_end else None
        settings = {"idle": 60 * self.idle, "left": remaining, "save": save, "key": self._key.hex()}
        _check_reply(self.execute(begin_code(settings), silent=True).answer())
        self._prepared, self._margin = died, session_margin(remaining)
        if earlier.get("run") == self.run.execution_id:
            self._restored = [Notice(text) for text in [self._restore_from(earlier)] if text]
        if save is None and self.saves and (end := lease_end_label(self.run.session.client)):
            words = f"The key ends at {end}. Session {self.name} can't save its variables before, without a bucket."
            self._restored.append(Notice(f"{words} Return them in time: --out NAMES", WARNING))

    def restore(self, *, is_owner: bool = False) -> str:
        """Restore the variables that an earlier machine of this session saved; return a message.

        With ``is_owner``, only variables of this process are restored.
        """
        saved = read_json(saved_file()).get(self.name)
        is_foreign = is_owner and saved and saved.get("owner") != OWNER
        if not saved or is_foreign or not self.run.session.speaks_to(saved["base_url"]):
            return ""
        self.prepare()
        return self._restore_from(saved)

    def _restore_from(self, saved: Mapping[str, Any]) -> str:
        """Restore saved variables from their place in the bucket; return a message."""
        is_restart = saved["run"] == self.run.execution_id
        ended = "its Python ended" if is_restart else "its machine ended"
        try:
            self.run.session.storage.info(saved["object"])
        except NoSuchObject:
            return f"The earlier variables of session {self.name} are lost: {ended} before they were saved."
        except LkError as error:
            return self._restore_problem(str(error))
        try:
            for requirements in saved.get("requirements", ()):
                self.install(requirements)
        except UsageError as error:
            return self._restore_problem(str(error))
        link = self.run.session.storage.presign(saved["object"], life=timedelta(hours=1)).url
        answer = self.call("restore", json.dumps({"get": link, "key": saved["key"]}))
        if "restored" in answer:
            moment = answer.get("moment")  # a value of an earlier moment may be older than the value here
            digests = _last_digests.get(saved["run"], {}) if moment is None else {}
            self.digests = {name: digest for name, digest in digests.items() if name in answer["restored"]}
            start = "with a new Python" if is_restart else "on a new machine"
            return f"Session {self.name} continues {start}. {restored_words(answer)}"
        return self._restore_problem(f"{answer.get('lost')}.")

    def _restore_problem(self, why: str) -> str:
        return f"The earlier variables of session {self.name} couldn't be restored: {why}"

    def bring(self, bundle: Bundle, links: dict[str, Any] | None) -> None:
        """Send changed files, and set the variables of a cell. Raises UsageError if the session refuses values."""
        texts = {name: text for name, text in bundle.files.items() if self._files.get(name) != text}
        outside = ".."  # a session works in the folder of its server
        binary = {
            name: content for name, content in bundle.rest.get("files", {}).items() if not name.startswith(outside)
        }
        rest = {
            **bundle.rest,
            "files": {name: content for name, content in binary.items() if self._files.get(name) != content},
        }
        if texts or any(rest.values()):
            _check_reply(self.execute(f"{SESSION_MODULE}.files('.', {texts!r}, {rest!r})", silent=True).answer())
            self._files |= {**texts, **binary}
        if links is not None:
            request = json.dumps({"settings": bundle.payload.settings, "links": links})
            refused = self.call("before", request).get("refused")
            if refused:
                self.digests = {}
                raise UsageError(str(refused))

    def take_back(self, bundle: Bundle, namespace: MutableMapping[str, Any], cell: Asked) -> list[Notice]:
        """Set the variables that a cell changed, and return notices. Raises StorageError, ConnectionFailed.

        The reply of the cell contains the changes, unless the cell failed or was interrupted.
        """
        return [*self._notices, *(self._set_changes(bundle, namespace, cell) if bundle.payload.parts else ())]

    def _set_changes(self, bundle: Bundle, namespace: MutableMapping[str, Any], cell: Asked) -> list[Notice]:
        payload, storage = bundle.payload, self.run.session.storage
        expressions = cell.reply.get("user_expressions") or {}
        is_answered = expressions.get(_ANSWER, {}).get("status") == "ok"
        answer = self._read_signed_answer(cell.reply, self._question) if is_answered else self.call("after", "")
        message = answer.get("message")
        if message is None and "returned" in answer:
            message = download_message(storage, bundle.token, answer["returned"])
        if message is None:
            return [
                Notice(
                    "The notebook didn't receive the variables that the cell changed: "
                    f"{answer.get('refused', 'no answer')}",
                    WARNING,
                )
            ]
        if not payload.carries:
            pickle = bool(payload.settings["pickle"])
            outputs = read_outputs(message, storage, bundle.token, payload.outputs, pickle=pickle, is_trusted=True)
            return set_outputs(outputs, payload.origin, namespace)
        assert payload.origin is not None  # noqa: S101 (each payload that carries has an origin)
        load_origin = origin_loader(payload.settings, blob_reader(storage, payload.settings))
        state = read_state(message, storage, bundle.token, payload.origin, load_origin)
        notices = set_state(state, namespace, in_session=True)
        if state.last:
            bind_last(RemoteValue(LAST, self.name, state.last), namespace)
        names = [*payload.settings["deleted"], *payload.origin.values, *state.names, *state.missing]
        self._store_digests(namespace, names)
        if "handles" not in payload.settings:
            return notices
        for name in (*state.handles, *state.refused):
            self.digests.pop(name, None)
        return [*notices, *bind_handles(state.handles, state.refused, namespace, self.name)]

    def connected_names(self, names: Iterable[str], candidates: Iterable[str]) -> list[str]:
        """Return ``names`` that have values on the machine, and ``candidates`` that share an object with these."""
        self.prepare()  # the Python may have died since the last cell
        answer = self.call("connected", json.dumps([sorted(names), sorted(candidates)]))
        return [str(name) for name in answer["connected"]]

    @property
    def limit(self) -> float:
        """Return the time limit of the machine in seconds."""
        return self.run.time_limit or _LONG

    @property
    def remaining_seconds(self) -> float:
        """Return the seconds until the time limit of the machine, or until the key of a broker ends."""
        return min(self.machine_seconds, key_seconds(self.run.session.client))

    @property
    def machine_seconds(self) -> float:
        """Return the seconds until the time limit of the machine."""
        return self.limit - (now() - (self.run.submitted_at or now()))

    @property
    def ending_key(self) -> str:
        """Return when the key of a broker ends, in local time, if this ends the session soon; empty otherwise."""
        rest = key_seconds(self.run.session.client)
        return lease_end_label(self.run.session.client) if rest < min(LIMIT_MARGIN, self.machine_seconds) else ""

    @property
    def release_label(self) -> str:
        """Return when the machine is released without another cell, for the receipt."""
        seconds = min(60 * self.idle, self.remaining_seconds - LIMIT_MARGIN)
        moment = datetime.now().astimezone() + timedelta(seconds=seconds)
        return f"released at {moment_label(moment, '%H:%M')}"

    @property
    def idle_label(self) -> str:
        """Return when the machine is released after the active cell, for the header of the cell."""
        pause = f"{self.idle:g} min" if self.idle >= 1 else whole_seconds_label(60 * self.idle)
        return f"released {pause} after this cell"

    def release(self) -> None:
        """Save the variables, end the machine and wait for its end; the next machine restores the variables."""
        self.prepare()
        self.call("release", "")
        self.close()
        end = time.monotonic() + _RELEASE_SECONDS
        while not is_final(self.run.status):
            if time.monotonic() > end:
                stop_server(self.run)
                return
            time.sleep(_RELEASE_PACE)

    def _store_digests(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Store digests of variables: values with the same digest aren't sent again."""
        from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

        for name in names:
            self.digests.pop(name, None)
            if name in namespace and type(namespace[name]) is not RemoteValue:
                self.digests[name] = digest_value(namespace[name])

    def call(
        self,
        function: str,
        text: str,
        write: Callable[[str], object] = str,
        add_message: Callable[[Message], object] | None = None,
    ) -> dict[str, Any]:
        """Call a function of ``script.session`` and return the answer.

        ``write`` is called with printed text, ``add_message`` with the content of each signed message.

        Raises InvalidResponse if the answer isn't signed, ConnectionFailed if the session has ended.
        """
        code = f"{SESSION_MODULE}.{function}({text!r}, __import__('IPython').get_ipython())"
        question = secrets.token_hex(16)
        wants = {_ANSWER: f"{SESSION_MODULE}.answer({question!r})"}
        request = self.execute(code, silent=True, wants=wants)
        for message in filter(None, request.messages()):
            if message["header"]["msg_type"] == "stream":
                write(str(message["content"]["text"]))
            elif add_message and (content := self.verified(message)):
                add_message(content)
        _check_reply(request.reply)
        return self._read_signed_answer(request.reply, question)

    def _read_signed_answer(self, reply: Message, question: str) -> dict[str, Any]:
        """Return the answer in a reply. Raises InvalidResponse if the answer isn't signed for the question."""
        signed_text = str(ast.literal_eval(reply["user_expressions"][_ANSWER]["data"]["text/plain"]))
        claimed, _, text = signed_text.partition(" ")
        if not is_signed(self._key, _parse_hex(claimed), question.encode(), text.encode()):
            raise InvalidResponse(
                f"The answer of session {self.name} has no valid signature. No variable was set. The cell may have run."
            )
        answer: dict[str, Any] = load_json(text)
        return answer

    def bill(self) -> Bill:
        """Return the cost so far; the record of the machine's run is read at most once in 30 s."""
        if self._record is None or time.monotonic() - self._record[0] > _RECORD_SECONDS:
            self._record = time.monotonic(), self.run.record
        return self.run.bill(self._record[1])

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
        connected_warm_pythons.pop(self.run.execution_id, None)
        _last_digests[self.run.execution_id] = self.digests
        self.channel.close()
        self._kernel.server.close()

    def _close_if_ended(self) -> str:
        """Return the reason of a permanently closed connection; empty if the connection may return."""
        reason = self._find_end_reason()
        if reason:
            self.close()
        return reason

    def _find_end_reason(self) -> str:
        try:
            state = self.run.status
            self._last_answer = time.monotonic()
            if is_final(state):
                self.end_state = state
                if end := self.ending_key:
                    return (
                        f"Session {self.name} has ended, because the key ends at {end}. Restore its saved variables: "
                        f"%lk_sessions restore {self.name}"
                    )
                return f"Session {self.name} has ended: {ENDED.get(state, state)}. The next cell starts a new machine."
            if not self._kernel.exists():
                stop_server(self.run)  # otherwise billed in addition to the next machine
                self.end_state = "completed"
                return f"Session {self.name} was idle for too long. The next cell starts a new machine."
        except BROKEN as error:
            try:
                check_patience(
                    error, self._last_answer, f"The session may still be active. Stop it: %lk_sessions stop {self.name}"
                )
            except LkError as failure:
                return str(failure)
        return ""


#: Final state of a session's run → reason.
ENDED = {
    "timeout": "its time limit was reached",
    "completed": "it was idle for too long, or its time limit was near",
    "cancelled": "it was stopped",
    "aborted": "it was aborted",
    "failed": "its Jupyter server failed",
}


#: Seconds that mean no limit.
_LONG = 10**9


def _parse_hex(text: str) -> bytes:
    """Return the bytes of hexadecimal text; empty for other text."""
    with suppress(ValueError):
        return bytes.fromhex(text)
    return b""


def _check_reply(reply: Message) -> None:
    """Raise InvalidResponse if code of lk_jupyter failed in a session."""
    if reply.get("status") != "ok":
        why = f"{reply.get('ename', reply.get('status'))}: {reply.get('evalue', '')}"
        problem = f"The session couldn't exchange variables with this notebook ({why}). The cell may have run."
        raise InvalidResponse(problem)
