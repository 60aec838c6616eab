"""The second factor: time-based codes of an authenticator app, and backup codes that work once."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import Any

from fastapi import HTTPException

from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.secret import digest
from lk_jupyter.localcloud.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS factors (
    user TEXT PRIMARY KEY, secret TEXT NOT NULL, enrolled_at TEXT, last_step INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS backup_codes (user TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (user, hash));
"""

_ISSUER = "lk_jupyter local cloud"
_BACKUP_CODES = 10
_BACKUP_LENGTH = 8
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that look alike
_STEP_SECONDS = 30

#: A clock may be this many steps off.
_STEPS_OFF = 1

Factor = dict[str, Any]


class Factors:
    """The second factors of users, active or being set up."""

    def __init__(self, store: Store, attempts: Attempts) -> None:
        self._store = store
        self._attempts = attempts
        store.add_tables(_TABLES)

    def enrolled_at(self, user_id: str) -> str | None:
        """Return the time when the second factor was switched on, or None while the factor is off."""
        factor = self._find_factor(user_id)
        return factor["enrolled_at"] if factor else None

    def enroll(self, user_id: str) -> tuple[str, list[str]]:
        """Start over: return a new seed and backup codes. 400 when the second factor is on."""
        import pyotp  # noqa: PLC0415 (few ever need it)

        if self.enrolled_at(user_id):
            raise HTTPException(400, "MFA is on already: disable it before you enroll again")
        seed = pyotp.random_base32()
        with self._store.write() as db:
            db.execute("INSERT OR REPLACE INTO factors (user, secret) VALUES (?, ?)", (user_id, seed))
            return seed, self._replace_backup_codes(user_id)

    def switch_on(self, user_id: str, code: str) -> None:
        """Complete an enrolment; 400 without an enrolment, or for a wrong code."""
        factor = self._find_factor(user_id)
        if factor is None or factor["enrolled_at"]:
            raise HTTPException(400, "No active enrolment. Start one: POST /mfa/enroll")
        with self._store.write() as db:
            self._use_code(factor, code)
            db.execute("UPDATE factors SET enrolled_at = ? WHERE user = ?", (now(), user_id))

    def use_code(self, user_id: str, code: str) -> None:
        """Use up a code of the app; 400 when the second factor is off, or for a wrong code."""
        self._use_code(self._require_active_factor(user_id), code)

    def use_any_code(self, user_id: str, code: str) -> int | None:
        """Use up a code of the app or a backup code; for the latter, return how many are left."""
        factor = self._require_active_factor(user_id)
        if len(code) != _BACKUP_LENGTH:
            self._use_code(factor, code)
            return None
        with self._attempts.limit_attempts("code", user_id), self._store.write() as db:
            row = (user_id, digest(user_id + code.upper()))
            if not db.execute("DELETE FROM backup_codes WHERE user = ? AND hash = ?", row).rowcount:
                raise _wrong_code_error()
            unused = db.execute("SELECT COUNT(*) AS codes FROM backup_codes WHERE user = ?", (user_id,))
            return int(unused.fetchone()["codes"])

    def renew_backup_codes(self, user_id: str, code: str) -> list[str]:
        """Use up a code of the app and return new backup codes; the old codes are void."""
        with self._store.write():
            self.use_code(user_id, code)
            return self._replace_backup_codes(user_id)

    def remove(self, user_id: str) -> None:
        """Switch the second factor off."""
        with self._store.write() as db:
            db.execute("DELETE FROM factors WHERE user = ?", (user_id,))
            db.execute("DELETE FROM backup_codes WHERE user = ?", (user_id,))

    def _find_factor(self, user_id: str) -> Factor | None:
        rows = self._store.read("SELECT * FROM factors WHERE user = ?", user_id)
        return dict(rows[0]) if rows else None

    def _require_active_factor(self, user_id: str) -> Factor:
        factor = self._find_factor(user_id)
        if factor is None or not factor["enrolled_at"]:
            raise HTTPException(400, "MFA is off for this account")
        return factor

    def _use_code(self, factor: Factor, code: str) -> None:
        """Use up a code; a code works once, and no code works after a later code."""
        import pyotp  # noqa: PLC0415

        app, present = pyotp.TOTP(factor["secret"], interval=_STEP_SECONDS), int(time.time()) // _STEP_SECONDS
        with self._attempts.limit_attempts("code", factor["user"]):
            for step in range(present - _STEPS_OFF, present + _STEPS_OFF + 1):
                if hmac.compare_digest(app.generate_otp(step).encode(), code.encode()) and self._mark_step_used(
                    factor, step
                ):
                    return
            raise _wrong_code_error()

    def _mark_step_used(self, factor: Factor, step: int) -> bool:
        """Record that the code of a step was used; return False if this or a later code was used before."""
        row = (step, factor["user"], factor["secret"], step)
        query = "UPDATE factors SET last_step = ? WHERE user = ? AND secret = ? AND last_step < ?"
        with self._store.write() as db:
            return db.execute(query, row).rowcount == 1

    def _replace_backup_codes(self, user_id: str) -> list[str]:
        codes = ["".join(secrets.choice(_LETTERS) for _ in range(_BACKUP_LENGTH)) for _ in range(_BACKUP_CODES)]
        with self._store.write() as db:
            db.execute("DELETE FROM backup_codes WHERE user = ?", (user_id,))
            db.executemany("INSERT INTO backup_codes VALUES (?, ?)", [(user_id, digest(user_id + c)) for c in codes])
        return codes


def build_qr_image(seed: str, email: str) -> str:
    """Return a QR code for the camera of an authenticator app, as the data URL of an image."""
    import pyotp  # noqa: PLC0415
    import segno  # noqa: PLC0415

    address = pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=_ISSUER)
    return str(segno.make(address, micro=False).png_data_uri(scale=5))


def _wrong_code_error() -> HTTPException:
    return HTTPException(400, "Invalid verification code")
