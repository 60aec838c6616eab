"""Runs on a VM: rent a VM, start the code, read state and log, and delete the VM when the code has ended.

A run on a VM has the id ``vm-`` and the id of its VM. Its facts are in a file of this machine, so that any later kernel
can follow the run, and can list a VM that should be deleted. ``remote/agent.py`` supervises the code on the VM.

No answer of a VM is trusted: its state is checked, and only the results of this run are stored in the bucket.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api.auth import ApiKeyCreate
from lk_jupyter.api.vms import ENDED_STATES, VM
from lk_jupyter.config.files import write_private
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, LkError, NotFound, UsageError
from lk_jupyter.protocol.bucket import checkpoint_key, returned_key
from lk_jupyter.protocol.parts import SHIPPED, executed_code
from lk_jupyter.protocol.vm_run import LINK_HOST, PREFIX, SETUP_SECONDS, vm_id_in
from lk_jupyter.vms.offers import VmOffer
from lk_jupyter.vms.shell import CommandStream, HostKeyChanged, VmShell, key_pair
from lk_jupyter.vms.vms import create_once, normalize_id, poll_states, request_for

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Start of the display names of VMs that were rented for a run.
NAME_PREFIX = "lk-run-"

#: Seconds without a notebook after which a VM whose code has ended saves the results and deletes itself.
LINGER_SECONDS = 60.0

#: Seconds after the end of a VM for which its API key is valid.
KEY_SECONDS = 3600

#: Seconds for attempts to connect to a new VM, and between the attempts.
_CONNECT_SECONDS, _CONNECT_PAUSE = 300.0, 2.0

#: Attempts to delete a VM, and the most seconds between two attempts.
_DELETE_TRIES, _DELETE_PAUSE = 8, 5.0

_STATES = frozenset({"running", "completed", "failed", "timeout", "aborted", "system_failure"})


class VmFacts(BaseModel):
    """The facts of a run on a VM that this machine stores; moments are in Unix seconds.

    ``request`` has the name, labels and metadata of the run, ``pinned`` is the host key, ``key_id`` the id of the API
    key on the VM, ``is_started`` whether the code was sent, ``state`` the final state, ``is_deleted`` whether the cloud
    confirmed the end of the VM.
    """

    model_config = ConfigDict(extra="ignore")

    vm_id: str
    token: str
    base_url: str
    machine: str
    created_at: float
    ttl: float
    per_hour: Decimal
    request: dict[str, Any] = {}
    address: str | None = None
    pinned: str | None = None
    key_id: str | None = None
    is_started: bool = False
    state: dict[str, Any] = {}
    billed: Decimal | None = None
    is_deleted: bool = False

    @property
    def ends_at(self) -> float:
        """The moment at which the VM must be deleted."""
        return self.created_at + self.ttl

    @property
    def cost(self) -> Decimal:
        """The cost of the VM until now, at its price."""
        return self.billed or self.per_hour * Decimal(str(max(0.0, time.time() - self.created_at))) / 3600


def _folder() -> Path:
    return Path(setting("journal")).parent / "vms"


def read_facts(vm_id: str) -> VmFacts:
    """Return the facts of a run. Raises UsageError for a run of another machine."""
    with suppress(OSError, ValueError):
        return VmFacts.model_validate_json((_folder() / f"{vm_id}.json").read_text("utf-8"))
    raise UsageError(
        f"Run '{PREFIX}{vm_id}' was started on another machine, which has its SSH key. See your VMs: %lk_vm list"
    )


def list_overdue() -> list[VmFacts]:
    """Return the VMs of runs from this machine that may exist although their run has ended or their time is over."""
    overdue = []
    for path in sorted(_folder().glob("*.json")):
        with suppress(LkError):
            facts = read_facts(path.stem)
            if not facts.is_deleted and (facts.state.get("is_final") or facts.ends_at < time.time()):
                overdue.append(facts)
    return overdue


class VmRun:
    """A run on a VM. ``facts`` are stored after each change; all methods may be called from any thread."""

    def __init__(self, connection: Connection, facts: VmFacts) -> None:
        self.facts = facts
        self._connection = connection
        self._client = connection.client
        self._shell: VmShell | None = None
        self._start: threading.Thread | None = None
        self._lock = threading.RLock()
        self._folder = _folder()

    @property
    def execution_id(self) -> str:
        """The id of the run."""
        return PREFIX + self.facts.vm_id

    @classmethod
    def rent(
        cls, connection: Connection, offer: VmOffer, token: str, seconds: float, request: Mapping[str, Any]
    ) -> VmRun:
        """Rent a VM for a run of this many seconds. Raises ServerError without capacity, OutcomeUnknown."""
        order = request_for(offer.shape, key_pair(_folder() / "ssh_key"), NAME_PREFIX + token[:12])
        vm = create_once(connection.client, order, offer)
        facts = VmFacts(
            vm_id=normalize_id(vm.vm_id),
            token=token,
            base_url=connection.base_url,
            machine=f"vm.{offer.profile}",
            created_at=time.time(),
            ttl=seconds + SETUP_SECONDS,
            per_hour=offer.per_hour,
            request=dict(request),
        )
        run = cls(connection, facts)
        try:
            run._store()
        except OSError as error:  # without a record, nothing could delete the VM
            delete_vm(connection, facts.vm_id)
            raise UsageError(f"Can't write to '{run._folder}': {error.strerror}. The VM was deleted.") from None
        return run

    def start(self, request: Mapping[str, Any], *, has_key: bool) -> None:
        """Start the code in a thread, when the VM is ready. If that fails, delete the VM.

        ``request`` has the files, the script, the requirements and the time limit; with ``has_key``, the VM gets an API
        key to delete itself.
        """
        self._start = threading.Thread(
            target=self._start_code,
            args=(request,),
            kwargs={"has_key": has_key},
            name=f"lk-vm-{self.facts.vm_id[:8]}",
            daemon=True,
        )
        self._start.start()

    def state(self) -> dict[str, Any]:
        """Return the state of the code: ``status``, and ``is_final`` after its end. Raises ConnectionFailed."""
        if self.facts.state.get("is_final"):
            return self.facts.state
        if not self.facts.is_started:
            return self._state_before_start()
        try:
            state = json.loads(self._run("state"))
        except HostKeyChanged:
            raise
        except (LkError, ValueError) as error:
            return self._state_without_answer(error)
        return _checked_state(state)

    def end(self, state: dict[str, Any]) -> None:
        """Store the results of code that has ended, delete the VM and its API key; later calls do nothing."""
        with self._lock:
            if not self.facts.state.get("is_final"):
                if self.facts.is_started and not state.get("is_saved"):
                    self._store_results()
                self._store_if_possible(state=state)
            self.delete()

    def delete(self) -> None:
        """Delete the VM until the cloud confirms that, and the API key of the VM. Raises LkError."""
        with self._lock:
            if self.facts.is_deleted:
                return
            if self._shell:
                self._shell.close()
            billed = delete_vm(self._connection, self.facts.vm_id)
            self._revoke_key()
            self._store_if_possible(billed=billed, is_deleted=True)

    def _revoke_key(self) -> None:
        if self.facts.key_id:
            with suppress(NotFound):
                self._client.auth.revoke_api_key(self.facts.key_id)

    def abort(self, grace: float) -> None:
        """Interrupt the code with SIGINT, end it after ``grace`` seconds, and delete the VM."""
        if self.facts.state.get("is_final"):
            self.delete()
        elif self.facts.is_started:
            with suppress(LkError):
                self._run(f"abort {grace:g}")
                self._wait_for_end(grace + 10)
            self._end_anyway()
        else:
            self.end(_final_state("aborted", "Aborted before the code was sent."))

    def _end_anyway(self) -> None:
        """Delete the VM, with the results if the VM still answers: an unreachable VM costs credits too."""
        state = _final_state("aborted", "Aborted.")
        try:
            answer = self.state()
            self.end(answer if answer.get("is_final") else state)
        except (LkError, OSError, ValueError, TypeError):  # of the connection, of the disk, or an odd answer of the VM
            if self.facts.is_deleted:
                raise
            self._store_if_possible(state=self.facts.state or state)
            self.delete()

    def put(self, key: str, content: bytes) -> None:
        """Store an object on the VM, where the code looks for it."""
        self._run(f"put {shlex.quote(key)}", content)

    def open_log(self, offset: int) -> CommandStream | None:
        """Return the log from a byte offset until the code ends; None before its start and after its end."""
        if self.facts.state.get("is_final") or not self.facts.is_started:
            return None
        return self._open_shell().stream(f"{self._agent} read {offset}")

    def log(self) -> str:
        """Return the complete log; empty if no log was stored."""
        with suppress(OSError):
            return self._log_path.read_bytes().decode("utf-8", "replace")
        return ""

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self.facts.vm_id}.log"

    @property
    def _agent(self) -> str:
        return f"python3 .lk/{self.facts.token[:12]}/agent.py"

    def _run(self, words: str, data: bytes = b"") -> bytes:
        return self._open_shell().run(f"{self._agent} {words}", data)

    def _open_shell(self) -> VmShell:
        with self._lock:
            if self._shell is None:
                if self.facts.address is None:
                    raise ConnectionFailed("The VM has no address yet.")
                self._shell = VmShell(
                    self.facts.address,
                    self._folder / "ssh_key",
                    self.facts.pinned,
                    lambda line: self._store(pinned=line),
                )
            return self._shell

    def _store(self, **changes: Any) -> None:
        with self._lock:
            self.facts = self.facts.model_copy(update=changes)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._folder / f"{self.facts.vm_id}.json", self.facts.model_dump_json())

    def _store_if_possible(self, **changes: Any) -> None:
        """Change the facts, also if the disk is full: then the VM must be deleted nevertheless."""
        with suppress(OSError):
            self._store(**changes)

    def _start_code(self, request: Mapping[str, Any], *, has_key: bool) -> None:
        try:
            self._wait_until_usable()
            folder = shlex.quote(f".lk/{self.facts.token[:12]}")
            place = f"umask 077 && mkdir -p {folder} && cat > {folder}/agent.py"
            self._send_first(place, executed_code((SHIPPED / "agent.py").read_bytes()))
            api = self._create_key() if has_key else None
            if self.facts.state.get("is_final"):  # aborted meanwhile, perhaps before the key existed
                self._revoke_key()
                return
            age = time.time() - self.facts.created_at
            extra = {"vm_id": self.facts.vm_id, "api": api, "linger": LINGER_SECONDS, "ttl": self.facts.ttl - age}
            keys = {"link": LINK_HOST, "save": returned_key(self.facts.token, "vm-")}
            self._run("start", json.dumps({**request, **extra, **keys}).encode())
            self._store(is_started=True)
        except Exception as error:  # noqa: BLE001 (the run shows the reason)
            reason = str(error).partition("\n")[0] or type(error).__name__
            with suppress(LkError):
                self.end(_final_state("system_failure", f"The VM didn't start the code: {reason}"))

    def _wait_until_usable(self) -> None:
        for status in poll_states(self._client, self.facts.vm_id):
            if status.usable:
                self._store(address=status.ip_address)
                return
            if status.status in ENDED_STATES:
                raise ConnectionFailed(f"The VM is {status.status}.")
        raise ConnectionFailed("The VM got no address.")

    def _send_first(self, command: str, data: bytes) -> None:
        """Run the first command on a VM, whose SSH server may start after its address is known."""
        end = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                self._open_shell().run(command, data)
            except ConnectionFailed:
                if time.monotonic() > end or self.facts.is_deleted:
                    raise
                time.sleep(_CONNECT_PAUSE)
            else:
                return

    def _create_key(self) -> dict[str, str]:
        """Create the API key with which the VM deletes itself, valid for an hour longer than the VM."""
        until = self._client.utc_now + timedelta(seconds=self.facts.ends_at - time.time() + KEY_SECONDS)
        created = self._client.auth.create_api_key(
            ApiKeyCreate(key_name=NAME_PREFIX + self.facts.token[:12], expires_at=until)
        )
        self._store(key_id=created.id)
        org = self._connection.target.org or ""
        return {"url": self._connection.base_url + EXTERNAL, "key": created.api_key, "org": org}

    def _state_before_start(self) -> dict[str, Any]:
        if self._start and self._start.is_alive():
            return {"status": "pending"}
        if self.facts.state.get("is_final"):
            return self.facts.state
        if self.facts.is_started:
            return {"status": "running"}
        return _final_state("system_failure", "The notebook that rented the VM ended before the code was sent.")

    def _state_without_answer(self, error: Exception) -> dict[str, Any]:
        """Return the saved state of a VM that has ended. Raises ConnectionFailed if the VM is active."""
        try:
            status = self._client.vms.status(self.facts.vm_id).status
        except NotFound:
            status = "deleted"
        if status not in ENDED_STATES:
            if isinstance(error, LkError):
                raise error
            raise ConnectionFailed(f"The VM sent an unreadable state: {error}")
        storage, prefix = self._connection.storage, returned_key(self.facts.token, "vm-")
        try:
            state = _checked_state(json.loads(storage.get_bytes(prefix + "state")))
            write_private(self._log_path, bytes(storage.get_bytes(prefix + "log")).decode("utf-8", "replace"))
        except (LkError, ValueError):
            state = {}
        if not state.get("is_final"):  # the VM ended while the code was active, or with a full disk
            state = _final_state("system_failure", f"The VM ended ({status}) before its results were saved.")
        return state | {"is_saved": True}

    def _wait_for_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.state().get("is_final"):
            time.sleep(0.1)

    def _store_results(self) -> None:
        """Copy the log to this machine, and the results of the run to the bucket."""
        log = b"".join(self._open_shell().stream(f"{self._agent} read 0"))
        write_private(self._log_path, log.decode("utf-8", "replace"))
        for key in json.loads(self._run("list")):
            if is_result(key, self.facts.token):
                self._connection.storage.put(self._run(f"get {shlex.quote(key)}"), key)


def is_result(key: object, token: str) -> bool:
    """Return whether an object of a VM is a result of the run with this token: no other key is stored."""
    prefix = returned_key(token, "")
    return isinstance(key, str) and (
        key == checkpoint_key(token)
        or (key.startswith(prefix) and re.fullmatch(r"[\w-]+", key[len(prefix) :]) is not None)
    )


def _final_state(status: str, details: str) -> dict[str, Any]:
    return {"status": status, "is_final": True, "details": details, "ended": time.time()}


def _checked_state(state: Any) -> dict[str, Any]:
    """Return the known fields of a state, with their types. Raises ConnectionFailed for anything else."""
    if not isinstance(state, dict) or state.get("status") not in _STATES:
        raise ConnectionFailed("The VM sent an unreadable state.")
    types: dict[str, Any] = {
        "status": str,
        "is_final": bool,
        "return_code": int,
        "details": str,
        "started": (int, float),
        "ended": (int, float),
        "log_size": int,
        "install_log": str,
        "install_return_code": int,
    }
    return {name: state[name] for name, kind in types.items() if isinstance(state.get(name), kind)}


def delete_vm(connection: Connection, vm_id: str) -> Decimal | None:
    """Delete a VM, repeatedly, until the list shows that the VM has ended; return its bill. Raises LkError."""
    problem: LkError | None = None
    for attempt in range(_DELETE_TRIES):
        try:
            connection.client.vms.delete(vm_id)
        except NotFound:
            pass
        except (LkError, InvalidResponse) as error:
            problem = error
        with suppress(LkError):
            rows = [vm for vm in connection.client.vms.list() if normalize_id(vm.vm_id) == vm_id]
            if all(vm.status in ENDED_STATES for vm in rows or [_read_vm(connection, vm_id)]):
                return next((vm.croesus_billed or vm.billed for vm in rows), None)
        time.sleep(min(0.2 * 2**attempt, _DELETE_PAUSE))
    raise ConnectionFailed(
        f"VM {vm_id[:8]} may still be active and billed: the cloud didn't confirm its deletion"
        f"{f' ({problem})' if problem else ''}. Delete it: %lk_vm delete {vm_id[:8]}"
    )


def _read_vm(connection: Connection, vm_id: str) -> VM:
    """Return the state of a VM that the list lacks; a VM that the cloud doesn't know has ended."""
    try:
        return VM(vm_id=vm_id, status=connection.client.vms.status(vm_id).status)
    except NotFound:
        return VM(vm_id=vm_id, status="deleted")


@cache
def _runs() -> dict[tuple[str, str], VmRun]:
    return {}


def open_run(connection: Connection, execution_id: str) -> VmRun:
    """Return a run by its id, the same object for each caller. Raises UsageError for a run of another machine."""
    vm_id = vm_id_in(execution_id)
    if vm_id is None:
        raise UsageError(f"'{execution_id}' isn't a run on a VM. List runs: %lk_runs")
    runs, key = _runs(), (connection.base_url, vm_id)
    if key not in runs:
        runs[key] = VmRun(connection, read_facts(vm_id))
    return runs[key]


def keep_run(connection: Connection, run: VmRun) -> None:
    """Let ``open_run`` return this run."""
    _runs()[connection.base_url, run.facts.vm_id] = run


def moment(seconds: object) -> datetime | None:
    """Return a moment of a state."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(float(seconds), timezone.utc)  # type: ignore[arg-type]
    return None
