"""Write the hosts of VMs for ssh and VS Code, in a file next to ``~/.ssh/config``, which includes the file."""

from __future__ import annotations

import re
from pathlib import Path

from lk_jupyter.config.files import write_private_bytes
from lk_jupyter.vms.facts import facts_folder
from lk_jupyter.vms.ssh import PORT, USER, SshEndpoint, home_relative

#: The file with our hosts, and the block of ``~/.ssh/config`` that includes the file.
_NAME = "lk_jupyter_config"
_BLOCK = f"# >>> lk_jupyter >>>\nInclude {_NAME}\n# <<< lk_jupyter <<<\n"

_HOST = re.compile(r"^Host (\S+)\n(?:[ \t].*\n)*", re.MULTILINE)


def host_name(name: str) -> str:
    """Return a name that ssh accepts as a host, such as ``lk-train``; no pattern, and no option."""
    return "lk-" + re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")


def host_keys_path() -> Path:
    """Return the file with the host keys of VMs, which ssh adds at the first connection."""
    return facts_folder() / "known_hosts"


def pin_host_key(endpoint: SshEndpoint, line: str) -> None:
    """Store the host key of a VM, as an earlier connection has seen it."""
    key = " ".join(line.split()[:2])
    _write(host_keys_path(), f"{_other_host_keys(endpoint)}{_host_key_name(endpoint)} {key}\n")


def forget_host_key(endpoint: SshEndpoint) -> None:
    """Remove the host key of a deleted VM: another VM may get the address."""
    if host_keys_path().exists():
        _write(host_keys_path(), _other_host_keys(endpoint))


def _other_host_keys(endpoint: SshEndpoint) -> str:
    """Return the lines of the other hosts in the file with the host keys."""
    start = f"{_host_key_name(endpoint)} "
    lines = _read(host_keys_path()).splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith(start))


def host_block(host: str, endpoint: SshEndpoint, key_file: Path | None) -> str:
    """Return the block of a host, whose key is pinned at the first connection."""
    facts = {
        "HostName": endpoint.host,
        "Port": endpoint.port,
        "User": USER,
        **({"IdentityFile": f'"{home_relative(key_file)}"', "IdentitiesOnly": "yes"} if key_file else {}),
        "UserKnownHostsFile": f'"{home_relative(host_keys_path())}"',
        "StrictHostKeyChecking": "accept-new",
        "ServerAliveInterval": 30,
    }
    return "".join([f"Host {host}\n", *(f"    {word} {value}\n" for word, value in facts.items())])


def add_host(host: str, block: str) -> Path:
    """Add or replace a host, and let ``~/.ssh/config`` include our file; return the path of our file."""
    hosts_path, config = _ssh_folder() / _NAME, _ssh_folder() / "config"
    _write(hosts_path, _without(_read(hosts_path), host) + block)
    text = _read(config)
    if _BLOCK not in text:
        _write(config, _BLOCK + ("\n" if text else "") + text)
    return hosts_path


def remove_host(host: str) -> None:
    """Remove a host; without any host, remove our file and its block."""
    hosts_path, config = _ssh_folder() / _NAME, _ssh_folder() / "config"
    text = _read(hosts_path)
    rest = _without(text, host)
    if rest == text:
        return
    if _HOST.search(rest):
        _write(hosts_path, rest)
        return
    hosts_path.unlink()
    before = _read(config)
    after = before.replace(_BLOCK + "\n", "", 1) if _BLOCK + "\n" in before else before.replace(_BLOCK, "", 1)
    if after:
        _write(config, after)
    elif before:
        config.unlink()


def _without(text: str, host: str) -> str:
    return _HOST.sub(lambda match: "" if match[1] == host else match[0], text)


def _host_key_name(endpoint: SshEndpoint) -> str:
    return endpoint.host if endpoint.port == PORT else f"[{endpoint.host}]:{endpoint.port}"


def _ssh_folder() -> Path:
    return Path("~/.ssh").expanduser()


def _read(path: Path) -> str:
    """Return the content of a file; ``_write`` restores each byte, in any encoding and with any line ends."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Replace the content of a file; a link, as programs for settings make them, stays a link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_bytes(path.resolve(), text.encode("utf-8", "surrogateescape"))
