"""Runs on a VM: rent a VM, start the code, read state and log, and delete the VM when the code has ended.

A run on a VM has the id ``vm-`` and its token. Its facts are in a file of this machine before anything is rented, so
that any later process can follow the run, and can find and delete its VM. ``remote/vm`` supervises the code on the VM.

One process at a time drives a run (``vms/driver.py``): the process that started the run, then a detached process.

A VM that failed or was reclaimed is replaced, if the run has retries: another VM, paid by the rest of the same maximum
cost, starts the code with the last checkpoint.

No answer of a VM is trusted: its state is checked, and only the results of this run are stored in the bucket.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._lifecycle import is_repeated, repeat_deletion
from lk_jupyter.config.files import open_locked, write_private
from lk_jupyter.connection.connection import describe_target
from lk_jupyter.errors import ApiError, ConnectionFailed, LkError, NotFound, OutcomeUnknown, UsageError
from lk_jupyter.journal.drivers import start_driver
from lk_jupyter.protocol.bucket import checkpoint_key, returned_key
from lk_jupyter.protocol.vm_run import PREFIX, SETUP_SECONDS, parse_run_key
from lk_jupyter.vms import ssh_config
from lk_jupyter.vms.ends import DeletedVm, VmDeletion, VmWatch
from lk_jupyter.vms.facts import (
    VmFacts,
    check_state,
    facts_folder,
    final_state,
    has_active_owner,
    is_failure,
    job_path,
    lock_path,
    read_facts,
    stop_path,
)
from lk_jupyter.vms.jump import jump_command
from lk_jupyter.vms.offers import VmOffer, VmShape
from lk_jupyter.vms.shell import CommandStream, ForwardKind, HostKeyChanged, PortForward, VmShell, key_pair
from lk_jupyter.vms.ssh import SshEndpoint
from lk_jupyter.vms.vms import NAME_PREFIX, create_once, request_for

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.api.vms import VM
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.vms.volumes import RunVolume

#: Looks at the record of a VM that reports a failure, and seconds between the looks: a VM that ends kills the processes
#: first, and the record may be late.
_FAILURE_LOOKS, _FAILURE_PAUSE = 3, 1.0

#: Seconds to wait for the end of a run whose VM isn't known yet, and between two looks; seconds between two starts of a
#: missing driver.
_UNKNOWN_SECONDS, _UNKNOWN_PAUSE, _DRIVER_SECONDS = 20.0, 0.5, 15.0

#: The reason of a run whose VM has no code.
LOST = "The notebook that rented the VM ended before the code was sent."


class VmRun:
    """A run on a VM. ``facts`` are stored after each change; all methods may be called from any thread."""

    def __init__(self, connection: Connection, facts: VmFacts) -> None:
        self.facts = facts
        self._connection = connection
        self._client = connection.client
        self._shell: VmShell | None = None
        self._start: threading.Thread | None = None
        self._lock = threading.RLock()
        self._folder = facts_folder()
        self._renew: Callable[[], Mapping[str, Any]] | None = None
        self._failure = ""
        self._is_ending = False
        self.watch = VmWatch(connection.client, facts.active_id, facts.usable_state)
        self.checkpoint: dict[str, Any] = {}
        self._owner_lock: int | None = None
        self._next_driver = 0.0

    @property
    def execution_id(self) -> str:
        """The id of the run."""
        return PREFIX + self.facts.token

    @classmethod
    def rent(  # noqa: PLR0913 (independent facts)
        cls,
        connection: Connection,
        offer: VmOffer,
        token: str,
        seconds: float,
        request: Mapping[str, Any],
        *,
        cap: Decimal | None = None,
        retries: int = 0,
        volume: RunVolume | None = None,
        has_key: bool = False,
        job: str = "",
        is_job_secret: bool = False,
    ) -> VmRun:
        """Record a run, start its driver, and rent a VM for this many seconds.

        ``cap`` is the maximum cost of the run, in credits, and ``retries`` the number of VMs that may replace the VM.
        ``volume`` is attached, or created. With ``has_key``, the VM gets an API key to delete itself. ``job`` is the
        code for other processes of this machine; with ``is_job_secret``, no file stores the code.

        Raises UsageError if the run can't be recorded or driven, ServerError without capacity, OutcomeUnknown.
        """
        volume_id = volume.volume_id or None if volume else None
        facts = VmFacts(
            token=token,
            base_url=connection.base_url,
            machine=offer.machine,
            created_at=connection.client.now(),
            ttl=seconds + SETUP_SECONDS,
            per_hour=offer.per_hour,
            request=dict(request),
            cap=cap,
            retries=retries,
            has_volume=volume is not None,
            volume_id=volume_id,
            has_key=has_key,
            offer=offer,
        )
        run = cls(connection, facts)
        run._record(job, is_job_secret=is_job_secret)
        run._rent_first_vm(volume.size_gb if volume and not volume_id else None)
        return run

    def _record(self, job: str, *, is_job_secret: bool) -> None:
        """Store the facts and the code, and start the driver. Raises UsageError; then nothing was rented."""
        try:
            self._store_facts()
            if job and not is_job_secret:
                write_private(job_path(self.facts.token), job)
            self.take_lock(create=True)
            start_driver(
                self.execution_id, {**describe_target(self._connection.target), "job": job if is_job_secret else ""}
            )
        except (OSError, UsageError) as error:
            self._remove_files("json")
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"Can't write to '{self._folder}': {error.strerror}. Nothing was rented.") from None

    def _rent_first_vm(self, volume_gb: int | None) -> None:
        """Rent the first VM. If the answer is lost, the driver looks for the VM."""
        offer, volume_ids = self._restore_offer(), [self.facts.volume_id] if self.facts.volume_id else []
        lease = int(self.facts.ttl) if offer.is_leased else None
        try:
            vm = rent_vm(self._connection, offer, self.facts.token, volume_ids, volume_gb=volume_gb, lease=lease)
        except (ApiError, ConnectionFailed, UsageError):
            self._remove_files("json")
            raise
        except OutcomeUnknown as error:
            self.release_lock()
            raise OutcomeUnknown(
                f"{error}\nIf the VM appears, it executes the code as run {self.execution_id}. Stop the run: %lk_abort "
                f"{self.execution_id}"
            ) from None
        except BaseException:
            self.release_lock()
            raise
        # A lease counts from the request.
        created_at = self.facts.created_at if offer.is_leased else self._client.now()
        self.store_vm(vm.vm_id, created_at=created_at)

    def store_vm(self, vm_id: str, **changes: float) -> None:
        """Store the first VM, with the id as the cloud wrote it."""
        self._store_if_possible(vm_id=vm_id, **changes)
        self.watch = VmWatch(self._client, vm_id)

    def store_end_without_vm(self, state: dict[str, Any]) -> None:
        """Store the end of a run for which the cloud lists no VM."""
        self._store_if_possible(state=state, is_deleted=True)

    def now(self) -> float:
        """Return the time by the clock of the cloud, in Unix seconds."""
        return self._client.now()

    @property
    def client(self) -> Client:
        """The client of the account that pays for the VM."""
        return self._client

    def _restore_offer(self) -> VmOffer:
        """Return the offer that the run was started with."""
        assert self.facts.offer  # noqa: S101 (each run has an offer)
        return self.facts.offer

    def keep_driver(self, thread: threading.Thread) -> None:
        """Keep the thread of this process that drives the run."""
        self._start = thread

    def state(self) -> dict[str, Any]:
        """Return the state of the code: ``status``, and ``is_final`` after the end. Raises ConnectionFailed."""
        self.read_changes()
        if self.facts.state.get("is_final"):
            return self.facts.state
        if not self.facts.is_started:
            return self._find_state_before_start()
        vm_id = self.facts.active_id
        try:
            state = json.loads(self._run_agent("state"))
        except HostKeyChanged:
            raise
        except (LkError, ValueError) as error:
            state = self._find_state_without_answer(error)
        else:
            state = check_state(state)
            self.checkpoint = state.get("checkpoint", self.checkpoint)
            if is_failure(state):
                state = self._await_saved_state() or state
        return self._replace_failed_vm(state, vm_id) if is_failure(state) else state

    def _await_saved_state(self) -> dict[str, Any] | None:
        """Return the saved state of a VM that ends while its guest still answers; None if the VM stays active."""
        for look in range(_FAILURE_LOOKS):
            if look:
                time.sleep(_FAILURE_PAUSE)
            with suppress(LkError):  # the failure is certain, only the reason isn't
                if state := self._read_saved_state():
                    return state
        return None

    def _replace_failed_vm(self, state: dict[str, Any], vm_id: str) -> dict[str, Any]:
        """Let the driver replace a VM that failed, if the run has retries; otherwise return the final state."""
        if self._has_other_owner() and len(self.facts.reasons) < self.facts.retries and not self.is_stopped:
            self.read_changes()
            return {"status": "pending"}
        with self._lock:
            if self.facts.state.get("is_final"):  # by another thread, meanwhile
                return self.facts.state
            if self.facts.active_id != vm_id:
                return {"status": "pending"}
            if not self._can_replace():
                return state
            if self.facts.is_started:
                self._failure = state.get("details") or "The VM failed"
                self._store_facts(is_started=False)
        return {"status": "pending"}

    def take_lock(self, *, create: bool = False) -> bool:
        """Lock the run until this process ends, so that no other process drives it; return whether it is locked.

        Raises OSError if the file can't be opened.
        """
        if self._owner_lock is None:
            self._owner_lock = open_locked(lock_path(self.facts.token), os.O_CREAT if create else 0)
            if self._owner_lock is not None and not create:
                self.facts = read_facts(self.facts.token)
        return self._owner_lock is not None

    def release_lock(self) -> None:
        """Let another process drive the run."""
        descriptor, self._owner_lock = self._owner_lock, None
        if descriptor is not None:
            os.close(descriptor)

    def _remove_files(self, *suffixes: str) -> None:
        """Remove the files that only a driver needs, the lock last, and the files with these suffixes."""
        for suffix in (*suffixes, "job", "stop", "lock"):
            with suppress(OSError):
                (self._folder / f"{self.facts.token}.{suffix}").unlink(missing_ok=True)
        self.release_lock()

    def _has_other_owner(self) -> bool:
        """Return whether another process of this machine drives the run."""
        return self._owner_lock is None and has_active_owner(self.facts.token)

    @property
    def is_stopped(self) -> bool:
        """Whether the user has stopped the run, in any process."""
        return self._is_ending or stop_path(self.facts.token).exists()

    def set_renewal(self, renew: Callable[[], Mapping[str, Any]] | None) -> None:
        """Set the function that returns the request with new links; None if this process doesn't know the code."""
        self._renew = renew

    @property
    def can_send(self) -> bool:
        """Whether this process knows the code of the run."""
        return self._renew is not None

    def read_changes(self) -> None:
        """Read the facts again, which another process may have changed; connect to another VM if that changed."""
        with self._lock, suppress(UsageError):
            before, self.facts = self.facts, self._merge_facts(read_facts(self.facts.token))
            if self.facts.active_id != before.active_id:
                self._disconnect()
                self.watch = VmWatch(self._client, self.facts.active_id, self.facts.usable_state)

    def _merge_facts(self, stored: VmFacts) -> VmFacts:
        """Return the facts of the driver, with the end that another process has stored; others use the stored facts."""
        if self._owner_lock is None:
            return stored
        changes: dict[str, Any] = {}
        if stored.state.get("is_final") and not self.facts.state.get("is_final"):
            changes["state"] = stored.state
        if stored.is_deleted and stored.active_id == self.facts.active_id and not self.facts.is_deleted:
            changes |= {"is_deleted": True, "billed": stored.billed}
        return self.facts.model_copy(update=changes) if changes else self.facts

    def _disconnect(self) -> None:
        """Close the connection, so that the next command connects to the current VM."""
        with self._lock:
            if self._shell:
                self._shell.close()
            self._shell = None

    def _can_replace(self) -> bool:
        """Return whether another VM may continue the code: only the process that started the run can send the code."""
        return not self.is_stopped and self.can_send and len(self.facts.reasons) < self.facts.retries

    def end(self, state: dict[str, Any]) -> None:
        """Store the results of code that has ended, delete the VM and the VM's API key; later calls do nothing."""
        with self._lock:
            if not self.facts.state.get("is_final"):
                if self.facts.is_started and not state.get("is_saved"):
                    self._store_results()
                self._store_if_possible(state=state)
            with suppress(LkError):  # repeated in the background, and shown as a notice
                self.delete()

    def delete(self) -> None:
        """Delete the VM until its end is proven, then the API key of the VM.

        Raises LkError after 20 s without a proof; the deletion is repeated in the background.
        """
        with self._lock:
            if self.facts.is_deleted:
                return
            if is_repeated(self._client, VmDeletion.kind, self.facts.active_id):
                raise ConnectionFailed(self.watch.notice or "The deletion of the VM is repeated in the background.")
            self._disconnect()
            deletion = VmDeletion(self._client, self.facts.active_id)
            try:
                deletion.run(proof=self.watch.proof)
                self._record_deletion(deletion.facts)
            except LkError as problem:
                self.watch.notice = f"{problem} The deletion is repeated in the background."
                repeat_deletion(self._client, deletion, lambda: self._record_deletion(deletion.facts))
                raise

    def _record_deletion(self, vm: DeletedVm) -> None:
        """Record the proven end of the VM; revoke its API key first, which a lost record would leave valid."""
        self._revoke_keys()
        with self._lock:
            self._forget_host()
            billed, cost = vm.billed, self.facts.earlier_cost
            total = cost if self.facts.is_counted else billed and cost + billed
            self.watch.notice = ""
            self._store_if_possible(billed=total, is_deleted=True)

    def _revoke_keys(self) -> None:
        for key_id in self.facts.key_ids:
            with suppress(NotFound):
                self._client.auth.revoke_api_key(key_id)

    def _forget_host(self) -> None:
        """Remove the host of the deleted VM from the files of ssh, if ``%lk_vm code`` has added the host."""
        with suppress(LkError, OSError):
            ssh_config.remove_host(ssh_config.host_name(NAME_PREFIX + self.facts.token[:12]))
            ssh_config.forget_host_key(self.facts.active_id)

    def abort(self, grace: float) -> None:
        """Interrupt the code with SIGINT, end it after ``grace`` seconds, and delete the VM."""
        self._is_ending = True
        self.read_changes()
        with suppress(OSError):
            if not self.facts.is_deleted:
                write_private(stop_path(self.facts.token), f"{grace:g}")
        if not self.facts.vm_id:
            self._await_unknown_vm()
            return
        if self.facts.state.get("is_final"):
            self.delete()
        elif self.facts.is_started:
            with suppress(LkError):
                self._run_agent(f"abort {grace:g}")
                self._wait_for_end(grace + 10)
            self._end_anyway(final_state("aborted", "Aborted."))
        else:
            self.end(final_state("aborted", "Aborted before the code was sent."))
        self.delete()

    def _await_unknown_vm(self) -> None:
        """Wait for a while until the driver has found the VM of a request without an answer, and deleted the VM."""
        end = time.monotonic() + _UNKNOWN_SECONDS
        self.state()  # starts a missing driver
        while not self.facts.is_deleted and time.monotonic() < end:
            time.sleep(_UNKNOWN_PAUSE)
            self.read_changes()

    def release(self) -> None:
        """Delete the VM of a run whose time is over, with the results if the VM still answers. Raises LkError."""
        self._is_ending = True
        if self.facts.is_started and not self.facts.state.get("is_final"):
            self._end_anyway(final_state("timeout", "The VM has reached its time limit"))
        else:
            self.end(self.facts.state or final_state("system_failure", LOST))
        self.delete()

    def _end_anyway(self, state: dict[str, Any]) -> None:
        """Delete the VM, with the results if the VM still answers: an unreachable VM costs credits too."""
        try:
            answer = self.state()
            self.end(answer if answer.get("is_final") else state)
        except (LkError, OSError, ValueError, TypeError):  # of the connection, of the disk, or an odd answer of the VM
            if self.facts.is_deleted:
                raise
            self._store_if_possible(state=self.facts.state or state)
            self.delete()

    def put(self, key: str, content: bytes) -> None:
        """Store an object in the VM's folder for the code."""
        self._run_agent(f"put {shlex.quote(key)}", content)

    def forward(self, target: int | str, kind: ForwardKind) -> PortForward:
        """Forward a place of this machine to a port or a Unix socket of the VM. Raises ConnectionFailed."""
        return self._open_shell().forward(target, kind)

    def read_file(self, path: str) -> bytes:
        """Return the content of a file of the VM. Raises ConnectionFailed, also without the file."""
        return self._open_shell().run(f"cat -- {shlex.quote(path)}")

    def open_log(self, offset: int) -> CommandStream | None:
        """Return the log from a byte offset until the code ends; None before the code starts and after the end."""
        if self.facts.state.get("is_final") or not self.facts.is_started:
            return None
        return self._open_shell().stream(f"{self._agent} read {offset}")

    def log(self) -> str:
        """Return the log so far, or the stored log of a run that has ended; empty without a log."""
        if self.facts.is_started and not self.facts.state.get("is_final"):
            return self._run_agent("log").decode("utf-8", "replace")
        with suppress(OSError):
            return self._log_path.read_bytes().decode("utf-8", "replace")
        return ""

    @property
    def lacks_output(self) -> bool:
        """Whether the code was started, and this machine has no log that was read after its end."""
        return self.facts.is_started and not self._log_path.exists()

    def log_times(self) -> list[tuple[float, int]]:
        """Return moments, in Unix seconds, and the size of the log of an active run at each moment."""
        rows = [line.split() for line in self._run_agent("times").decode("ascii", "replace").splitlines()]
        with suppress(ValueError):
            return [(float(seconds), int(size)) for seconds, size in rows]
        return []

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self.facts.token}.log"

    @property
    def _saved_prefix(self) -> str:
        """The start of the keys under which the current VM saves its state and log; each VM of a run has another."""
        attempt = len(self.facts.reasons) + 1
        return returned_key(self.facts.token, "vm-" if attempt == 1 else f"vm-{attempt}-")

    @property
    def _agent(self) -> str:
        return f"cd .lk/{self.facts.token[:12]} && python3 -m vm.agent"

    def _run_agent(self, words: str, data: bytes = b"") -> bytes:
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
                    lambda line: self._store_facts(pinned=line),
                    jump_command(self.facts.active_id, SshEndpoint.of(self.facts.address)),
                )
            return self._shell

    def _store_facts(self, **changes: Any) -> None:
        with self._lock:
            with suppress(UsageError):  # before the first facts
                self.facts = self._merge_facts(read_facts(self.facts.token))
            self.facts = self.facts.model_copy(update=changes)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._folder / f"{self.facts.token}.json", self.facts.model_dump_json())
            if self.facts.is_deleted:
                self._remove_files()

    def _store_if_possible(self, **changes: Any) -> None:
        """Change the facts, also if the disk is full: then the VM must be deleted nevertheless."""
        with suppress(OSError):
            self._store_facts(**changes)

    def remaining_seconds(self) -> float:
        """Return the time until the VM must be deleted, by the clock of the cloud: the local clock may jump."""
        return min(self.facts.ends_at - self._client.now(), self.facts.ttl)

    def _find_state_before_start(self) -> dict[str, Any]:
        """Return the state before the code was sent; start a driver if no process drives the run."""
        is_driven = self._owner_lock is not None or self._has_other_owner()
        if not is_driven and time.monotonic() > self._next_driver:
            self._next_driver = time.monotonic() + _DRIVER_SECONDS
            try:
                start_driver(self.execution_id, describe_target(self._connection.target))
            except UsageError:
                return final_state("system_failure", LOST)
        return {"status": "pending"}

    def _find_state_without_answer(self, error: Exception) -> dict[str, Any]:
        """Return the saved state of a VM that has ended. Raises ConnectionFailed if the VM is active."""
        self.read_changes()
        if self.facts.state.get("is_final"):
            return self.facts.state
        if state := self._read_saved_state():
            return state
        if isinstance(error, LkError):
            raise error
        raise ConnectionFailed(f"The VM sent an unreadable state: {error}")

    def _read_saved_state(self) -> dict[str, Any] | None:
        """Return the state that an ended VM saved in the bucket; None if the VM may be active. Raises the API's errors.

        A VM that doesn't answer, and that the cloud reports as stopped for 60 s, counts as ended.
        """
        vm = self.watch.read()
        if not self.watch.has_failed:
            return None
        reason = str((vm.model_extra or {}).get("status_details") or "") if vm and not self.watch.is_stopped else ""
        storage, prefix = self._connection.storage, self._saved_prefix
        try:
            state = check_state(json.loads(storage.get_bytes(prefix + "state")))
            write_private(self._log_path, bytes(storage.get_bytes(prefix + "log")).decode("utf-8", "replace"))
        except (LkError, ValueError):
            state = {}
        if not state.get("is_final"):  # the VM ended while the code was active, or with a full disk
            details = self.watch.describe_failure()
            state = final_state("aborted", reason) if reason else final_state("system_failure", details)
        state["is_saved"] = True
        return state

    def _wait_for_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.state().get("is_final"):
            time.sleep(0.1)

    def _store_results(self) -> None:
        """Copy the log to this machine, and the results of the run to the bucket."""
        log = b"".join(self._open_shell().stream(f"{self._agent} read 0"))
        write_private(self._log_path, log.decode("utf-8", "replace"))
        for key in json.loads(self._run_agent("list")):
            if is_result(key, self.facts.token):
                self._connection.storage.put(self._run_agent(f"get {shlex.quote(key)}"), key)


def is_result(key: object, token: str) -> bool:
    """Return whether an object of a VM is a result of the run with this token: no other key is stored."""
    prefix = returned_key(token, "")
    return isinstance(key, str) and (
        key == checkpoint_key(token)
        or (key.startswith(prefix) and re.fullmatch(r"[\w-]+", key[len(prefix) :]) is not None)
    )


def rent_vm(
    connection: Connection, offer: VmOffer, token: str, volume_ids: Sequence[str] = (), **changes: int | None
) -> VM:
    """Rent a VM with these volumes, and with ``changes`` of its shape."""
    shape: VmShape = replace(offer.shape, **changes)  # type: ignore[arg-type]
    order = request_for(shape, key_pair(facts_folder() / "ssh_key"), NAME_PREFIX + token[:12], volume_ids)
    return create_once(connection.client, order, offer)


@cache
def _get_run_registry() -> dict[tuple[str, str], VmRun]:
    return {}


def open_run(connection: Connection, execution_id: str) -> VmRun:
    """Return a run by its id, the same object for each caller. Raises UsageError for a run of another machine."""
    token = parse_run_key(execution_id)
    if token is None:
        raise UsageError(f"'{execution_id}' isn't a run on a VM. List runs: %lk_runs")
    runs, key = _get_run_registry(), (connection.base_url, token)
    if key not in runs:
        runs[key] = VmRun(connection, read_facts(token))
    return runs[key]


def keep_run(connection: Connection, run: VmRun) -> None:
    """Let ``open_run`` return this run."""
    _get_run_registry()[connection.base_url, run.facts.token] = run
