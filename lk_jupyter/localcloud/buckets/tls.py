"""Mutual TLS for services that only a program and its children may reach: a self-signed key."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lk_jupyter.config.files import write_private

_NAME = "local-cloud"
_DAYS = 3650


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write a new key, and a self-signed certificate of 127.0.0.1; return certificate and key.

    A peer that trusts only this certificate treats it as the authority, so both peers must have this key.
    """
    from cryptography import x509  # noqa: PLC0415 (most starts of a cloud never need it)
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    written = folder / "tls.crt", folder / "tls.key"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, pem in zip(written, (certificate.public_bytes(Encoding.PEM), private), strict=True):
        write_private(path, pem.decode())
    return written
