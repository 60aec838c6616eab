"""The second factor: the secrets that an enrollment shows once."""

from __future__ import annotations

import io
from urllib.parse import quote, urlencode

from lk_jupyter.account.one_time_secret import OneTimeSecret
from lk_jupyter.api.mfa import MfaBackupCodes, MfaEnrollment

_ISSUER = "Lyceum Cloud"


def enrollment_secret(enrollment: MfaEnrollment, account: str) -> OneTimeSecret:
    """Return the data for an authenticator app and its owner: a QR code, the encoded seed, backup codes."""
    qr_code = enrollment.qr_code_url or ""
    address = qr_code if qr_code.startswith("otpauth://") else _authenticator_url(enrollment.secret, account)
    image, drawing = _qr_code(address)
    return OneTimeSecret(
        f"Second factor of {account}",
        [("Seed", enrollment.secret), *_number_codes(enrollment.backup_codes)],
        "Scan the QR code with your authenticator app, or type the seed into the app. Store the backup codes in "
        "your password manager. You can sign in once with each code. Then turn on MFA: %lk_mfa verify",
        qr_code if qr_code.startswith("data:image/") else image,
        drawing,
    )


def backup_codes_secret(codes: MfaBackupCodes) -> OneTimeSecret:
    """Return new backup codes."""
    advice = (
        "Store the new codes in your password manager. You can sign in once with each code. The old codes no longer "
        "work."
    )
    return OneTimeSecret("New backup codes", _number_codes(codes.backup_codes), advice)


def _number_codes(codes: list[str]) -> list[tuple[str, str]]:
    return [(f"Backup code {number}", code) for number, code in enumerate(codes, 1)]


def _authenticator_url(seed: str, account: str) -> str:
    """Return the address for authenticator apps: https://github.com/google/google-authenticator/wiki/Key-Uri-Format."""
    label = quote(f"{_ISSUER}:{account}", safe=":@")
    return f"otpauth://totp/{label}?{urlencode({'secret': seed, 'issuer': _ISSUER}, quote_via=quote)}"


def _qr_code(address: str) -> tuple[str, str]:
    """Return a QR code as the data URL of an image, and as text for a terminal."""
    import segno  # noqa: PLC0415 (few ever need it)

    code, text = segno.make(address, micro=False), io.StringIO()
    code.terminal(out=text, compact=True)
    return str(code.png_data_uri(scale=5)), text.getvalue()
