"""Write the hosts of VMs for ssh and VS Code, in a file next to ``~/.ssh/config``, which includes the file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lk_jupyter.config.files import write_private_bytes
from lk_jupyter.protocol.vm_run import make_vm_key
from lk_jupyter.vms.facts import host_keys_path
from lk_jupyter.vms.ids import short_id
from lk_jupyter.vms.jump import proxy_line
from lk_jupyter.vms.shell import HostKeyChanged
from lk_jupyter.vms.ssh import USER, PublicKey, SshEndpoint, home_relative

#: The file with our hosts, and the block of ``~/.ssh/config`` that includes the file.
_NAME = "lk_jupyter_config"
_BLOCK = f"# >>> lk_jupyter >>>\nInclude {_NAME}\n# <<< lk_jupyter <<<\n"

#: An id that can be part of a name for ssh.
_PLAIN_ID = r"\w{1,64}"

_HOST = re.compile(r"^Host (\S+)\n(?:[ \t].*\n)*", re.MULTILINE)


def host_name(name: str) -> str:
    """Return a name that ssh accepts as a host, such as ``lk-train``; no pattern, and no option."""
    return "lk-" + re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")


def pin_host_key(vm_id: str, line: str) -> None:
    """Store the host key of a VM at the first use. Raises HostKeyChanged if another key is stored."""
    text = _read_text(host_keys_path())
    key, start = " ".join(line.split()[:2]), f"{_build_key_alias(vm_id)} "
    stored = next((row for row in text.splitlines() if row.startswith(start)), None)
    if stored is None:
        _write_text(host_keys_path(), f"{text}{start}{key}\n")
    elif stored != start + key:
        raise HostKeyChanged(
            "The VM answered with another host key than before. Nothing was sent. Another machine may have answered. "
            f"Delete the VM: %lk_vm delete {short_id(vm_id)}"
        )


def forget_host_key(vm_id: str) -> None:
    """Remove the host key of a deleted VM."""
    if host_keys_path().exists():
        start = f"{_build_key_alias(vm_id)} "
        rows = _read_text(host_keys_path()).splitlines()
        _write_text(host_keys_path(), "".join(f"{row}\n" for row in rows if not row.startswith(start)))


def ssh_command(endpoint: SshEndpoint, vm_id: str, key: PublicKey | None) -> str:
    """Return the command that logs in to a VM, and refuses another host key than the stored key."""
    pins = shlex.quote(f"UserKnownHostsFile={host_keys_path()}")
    jump = proxy_line(vm_id, endpoint)
    through = f" -o {shlex.quote(f'ProxyCommand={jump}')}" if jump else ""
    return f"{endpoint.ssh_command(key)} -o HostKeyAlias={_build_key_alias(vm_id)} -o {pins}{through}"


def host_block(host: str, endpoint: SshEndpoint, vm_id: str, key: PublicKey | None) -> str:
    """Return the block of a host, whose key is pinned at the first connection.

    The key belongs to the id of the VM: the cloud can give the address of a deleted VM to another VM.
    """
    jump = proxy_line(vm_id, endpoint)
    facts = {
        "HostName": endpoint.host,
        "Port": endpoint.port,
        "User": USER,
        **({"IdentityFile": f'"{home_relative(key.private)}"', "IdentitiesOnly": "yes"} if key else {}),
        "HostKeyAlias": _build_key_alias(vm_id),
        "UserKnownHostsFile": f'"{home_relative(host_keys_path())}"',
        "StrictHostKeyChecking": "accept-new",
        "ServerAliveInterval": 30,
        **({"ProxyCommand": jump} if jump else {}),
    }
    return "".join([f"Host {host}\n", *(f"    {word} {value}\n" for word, value in facts.items())])


def add_host(host: str, block: str) -> Path:
    """Add or replace a host, and let ``~/.ssh/config`` include our file; return the path of our file."""
    hosts_path, config = _find_ssh_folder() / _NAME, _find_ssh_folder() / "config"
    _write_text(hosts_path, _remove_host(_read_text(hosts_path), host) + block)
    text = _read_text(config)
    if _BLOCK not in text:
        _write_text(config, _BLOCK + ("\n" if text else "") + text)
    return hosts_path


def remove_host(host: str) -> None:
    """Remove a host; without any host, remove our file and block."""
    hosts_path, config = _find_ssh_folder() / _NAME, _find_ssh_folder() / "config"
    text = _read_text(hosts_path)
    rest = _remove_host(text, host)
    if rest == text:
        return
    if _HOST.search(rest):
        _write_text(hosts_path, rest)
        return
    hosts_path.unlink()
    before = _read_text(config)
    after = before.replace(_BLOCK + "\n", "", 1) if _BLOCK + "\n" in before else before.replace(_BLOCK, "", 1)
    if after:
        _write_text(config, after)
    elif before:
        config.unlink()


def _remove_host(text: str, host: str) -> str:
    return _HOST.sub(lambda match: "" if match[1] == host else match[0], text)


def _build_key_alias(vm_id: str) -> str:
    """Return the name of a VM in the file with the host keys; no pattern, and no option."""
    plain = vm_id.replace("-", "").lower()
    return f"lk-{plain if re.fullmatch(_PLAIN_ID, plain, re.ASCII) else make_vm_key(vm_id)}"


def _find_ssh_folder() -> Path:
    return Path("~/.ssh").expanduser()


def _read_text(path: Path) -> str:
    """Return the content of a file; ``_write_text`` restores each byte, in any encoding and with any line ends."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _write_text(path: Path, text: str) -> None:
    """Replace the content of a file; a link, as programs for settings make them, stays a link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_bytes(path.resolve(), text.encode("utf-8", "surrogateescape"))
