"""Send the code of a run to its VM: wait until the VM answers, then send the agent, the guard and the code.

The guard is sent before code and data. From then on, the VM deletes itself at its end.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.api.auth import ApiKeyCreate
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError
from lk_jupyter.protocol.parts import SHIPPED, strip_code
from lk_jupyter.protocol.vm_run import LINK_HOST
from lk_jupyter.text.units import duration_label
from lk_jupyter.vms import vms
from lk_jupyter.vms.vms import NAME_PREFIX, poll_states

if TYPE_CHECKING:
    from lk_jupyter.api.vms import AttachedVolume
    from lk_jupyter.vms.hosted import VmRun

#: Seconds without a notebook after which a VM whose code has ended saves the results and deletes itself.
LINGER_SECONDS = 60.0

#: Seconds after the end of a VM in which it may save results, before its guard deletes it; and for which the VM's API
#: key is valid.
SAVE_SECONDS, KEY_SECONDS = 120.0, 300

#: Seconds for attempts to connect to a new VM, and between the attempts.
_CONNECT_SECONDS, _CONNECT_PAUSE = 300.0, 2.0

#: The folder of a volume in an answer of the API.
_PATH = re.compile(r"/[\w./-]{1,200}", re.ASCII)


def send_code(run: VmRun, request: Mapping[str, Any]) -> None:
    """Wait for the VM, send agent, guard and code, and start the code. Raises LkError."""
    _wait_until_usable(run)
    folder = shlex.quote(f".lk/{run.facts.token[:12]}")
    _send_first(run, f"umask 077 && mkdir -p {folder} && tar -x -f - -C {folder}", pack_agent())
    api = create_key(run) if run.facts.has_key else None
    run.read_changes()
    if run.facts.state.get("is_final"):  # aborted meanwhile, perhaps before the key existed
        if run.facts.is_deleted:
            run._revoke_keys()
        return
    if api:
        _send_guard(run, api)
    seconds = run.remaining_seconds()
    if run._restore_offer().is_leased:  # the results are read before the broker deletes the VM
        seconds -= LINGER_SECONDS
    extra = {"vm_id": run.facts.active_id, "api": api, "linger": LINGER_SECONDS, "ttl": seconds}
    keys = {"link": LINK_HOST, "save": run._saved_prefix, "volume": run.facts.volume_path}
    run._run_agent("start", json.dumps({**request, **extra, **keys}).encode())
    run._store_facts(is_started=True)


def _send_guard(run: VmRun, api: Mapping[str, str]) -> None:
    """Let the VM delete itself at its end, before it gets code or data: this computer may be off by then."""
    limits = {"ttl": run.remaining_seconds(), "save_seconds": SAVE_SECONDS}
    run._run_agent("guard", json.dumps({"vm_id": run.facts.active_id, "api": api, **limits}).encode())
    run._store_facts(is_guarded=True)


def create_key(run: VmRun) -> dict[str, str]:
    """Create the API key with which the VM deletes itself, valid for some minutes longer than the VM."""
    until = run._client.utc_now + timedelta(seconds=run.remaining_seconds() + KEY_SECONDS)
    created = run._client.auth.create_api_key(
        ApiKeyCreate(key_name=NAME_PREFIX + run.facts.token[:12], expires_at=until)
    )
    run._store_facts(key_ids=[*run.facts.key_ids, created.id])
    org = run._connection.target.org or ""
    return {"url": run._connection.base_url + EXTERNAL, "key": created.api_key, "org": org}


def _wait_until_usable(run: VmRun) -> None:
    """Wait until the VM has an address, and store the address. Raises ConnectionFailed, UsageError."""
    for status in poll_states(run._client, run.facts.active_id):
        run.watch.add(status)
        run.read_changes()
        if run.is_stopped or run.facts.state.get("is_final"):
            raise UsageError("The run was aborted before its code was sent.")
        if status.usable:
            run._store_facts(address=status.ip_address, **_find_volume(run, status.volumes or []))
            return
        run.watch.check_start()
    raise ConnectionFailed(f"The VM got no address within {duration_label(vms.PATIENCE)}{run.watch.cause}.")


def _find_volume(run: VmRun, volumes: Sequence[AttachedVolume]) -> dict[str, str]:
    """Return the id and the folder of the requested volume. Raises ConnectionFailed for a VM without a volume."""
    if not run.facts.has_volume:
        return {}
    for volume in volumes:
        path = volume.mount_path or ""
        if volume.volume_id and run.facts.volume_id in {None, volume.volume_id} and _PATH.fullmatch(path):
            return {"volume_id": volume.volume_id, "volume_path": path}
    raise ConnectionFailed("The cloud doesn't report the folder of the volume on the VM. See your volumes: %lk_volumes")


def _send_first(run: VmRun, command: str, data: bytes) -> None:
    """Run the first command on a VM, whose SSH server may start later than the address is known."""
    end = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            run._open_shell().run(command, data)
        except ConnectionFailed:
            if time.monotonic() > end or run.facts.is_deleted:
                raise
            with suppress(LkError):
                run.watch.read()
            run.watch.check_start()
            time.sleep(_CONNECT_PAUSE)
        else:
            offer, gpu = run.facts.offer, run.watch.gpu
            other = f"vm.{gpu}" if offer and gpu and offer.profile.lower() not in gpu else ""
            run._store_facts(usable_state=run.watch.accept_state(), other_machine=other)
            return


@cache
def pack_agent() -> bytes:
    """Return the package that supervises the code on a VM, as a tar file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted((SHIPPED / "vm").glob("*.py")):
            code = strip_code(path.read_bytes())
            member = tarfile.TarInfo(f"vm/{path.name}")
            member.size, member.mode = len(code), 0o600
            archive.addfile(member, io.BytesIO(code))
    return content.getvalue()
