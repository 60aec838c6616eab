"""The user's public key, and the SSH address of a machine."""

from __future__ import annotations

import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.errors import InvalidResponse, UsageError

USER = "lyceum"
PORT = 22

#: Names of keys that ssh uses by default, the best kind first.
_USUAL = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
_LINE = re.compile(r"(ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/=]+( .*)?")
_ADDRESS = re.compile(
    r"\s*(?:ssh://)?(?:[A-Za-z][\w-]*@)?"
    r"(?:\[(?P<v6>[\da-fA-F:.]+)\](?::(?P<port6>\d{1,5}))?|(?P<bare>[\da-fA-F]*:[\da-fA-F.]*:[\da-fA-F:.]*)"
    r"|(?P<host>[A-Za-z0-9][\w.-]*)(?::(?P<port>\d{1,5})?)?)/?\s*"
)
_KEYGEN = "mkdir -p -m 700 ~/.ssh && ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519"
_MAKE = f"Nothing was rented. Create a key, then run this line again: !{_KEYGEN}"
_WRITE = "Nothing was rented. Write its public key, then run this line again: !ssh-keygen -y -f {0} > {0}.pub"


@dataclass(frozen=True)
class PublicKey:
    """A line of OpenSSH, and the file that contains the line."""

    path: Path
    line: str

    @property
    def private(self) -> Path:
        """Return the path of the private key, next to the public key."""
        return self.path.with_suffix("")


def find_key(path_text: str | None = None) -> PublicKey:
    """Return the key in this file, else the user's own from ``~/.ssh``. Raises UsageError."""
    if path_text:
        path = Path(path_text).expanduser()
        public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
        if not public.is_file():
            raise UsageError(f"No public key at '{public}'. {_MAKE}")
        return _read_public_key(public)
    key_files = list_public_keys()
    if not key_files:
        raise UsageError(f"No public SSH key in '{_find_ssh_folder()}'. {_choose_key_command()}")
    return _read_public_key(key_files[0])


def _choose_key_command() -> str:
    """Return the command that gives a public key; a command that creates a key would ask to overwrite a private key."""
    private = [name.removesuffix(".pub") for name in _USUAL if (_find_ssh_folder() / name).with_suffix("").is_file()]
    return _WRITE.format(f"~/.ssh/{private[0]}") if private else _MAKE


def list_public_keys() -> list[Path]:
    """Return the files of the user's public keys, in order of preference."""
    usual = [_find_ssh_folder() / name for name in _USUAL if (_find_ssh_folder() / name).is_file()]
    return usual or sorted(_find_ssh_folder().glob("*.pub"))


def _find_ssh_folder() -> Path:
    return Path("~/.ssh").expanduser()


def make_key() -> PublicKey:
    """Create a key without a passphrase in ``~/.ssh`` and return the public half. Raises UsageError."""
    program = find_program("ssh-keygen")
    if program is None:
        raise UsageError("'ssh-keygen' isn't installed here. Nothing was rented. Install OpenSSH, then try again.")
    _find_ssh_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    private = _find_ssh_folder() / "id_ed25519"
    command = [program, "-q", "-t", "ed25519", "-N", "", "-f", str(private)]
    process = subprocess.run(
        command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise UsageError(f"'ssh-keygen' failed: {(process.stderr or process.stdout).strip()}. {_choose_key_command()}")
    return _read_public_key(private.with_suffix(".pub"))


def _read_public_key(path: Path) -> PublicKey:
    line = path.read_text(encoding="utf-8", errors="replace").strip()
    if not _LINE.fullmatch(line):
        raise UsageError(f"'{path}' isn't a public key of OpenSSH (a line such as ssh-ed25519 AAAA…). {_MAKE}")
    return PublicKey(path, line)


@dataclass(frozen=True)
class SshEndpoint:
    """The address of a machine's SSH server: ``host`` or ``host:port`` as the API reports the address."""

    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> SshEndpoint:
        """Read an address, which may be an ssh URL; IPv6 has brackets if a port follows. Raises InvalidResponse."""
        match = _ADDRESS.fullmatch(address)
        if not match:
            raise InvalidResponse(f"The server reports an invalid address of the VM: {address!r}.")
        return cls(match["v6"] or match["bare"] or match["host"], int(match["port6"] or match["port"] or PORT))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def ssh_command(self, key: PublicKey | None) -> str:
        """Return the command that leads in."""
        port = "" if self.port == PORT else f"-p {self.port} "
        identity = f"-i {home_relative(key.private)} " if key and key.path.name not in _USUAL else ""
        return f"ssh {identity}{port}{USER}@{self.host}"

    def answers(self, seconds: float = 3) -> bool:
        """Return whether a server listens at the address."""
        try:
            with socket.create_connection((self.host, self.port), seconds):
                return True
        except OSError:
            return False


def home_relative(path: Path) -> str:
    """Return a path with ``~`` in place of the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
