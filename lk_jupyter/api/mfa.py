"""The second factor: one-time codes of an authenticator app, and backup codes (``/mfa``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Items, Model, Text, Timestamp


class MfaStatus(Model):
    """Whether MFA is on, and since when."""

    enabled: bool | None = None
    enrolled_at: Timestamp | None = None


class MfaEnrollment(Model):
    """Data for an authenticator app and its owner; MFA is off until a code was verified.

    ``secret`` is the TOTP seed in base32 and ``qr_code_url`` the same for a camera: an image or an ``otpauth://``
    address. Older servers call the field ``qr_code``. The backup codes are shown once.
    """

    secret: str = Field(repr=False)
    qr_code_url: str | None = Field(None, repr=False)
    qr_code: str | None = Field(None, repr=False)
    backup_codes: Items[str] = Field([], repr=False)

    @model_validator(mode="before")
    @classmethod
    def _either_name(cls, value: Any) -> Any:
        """Read the QR code under an older name too."""
        if isinstance(value, dict) and not value.get("qr_code_url") and isinstance(value.get("qr_code"), str):
            return {**value, "qr_code_url": value["qr_code"]}
        return value


class MfaCode(Model):
    """The six digits of the authenticator app."""

    code: Annotated[str, Field(pattern=r"^[0-9]{6}$", repr=False)]


class MfaLoginCode(Model):
    """The six digits of the authenticator app, or a backup code of eight characters."""

    code: Annotated[str, Field(min_length=6, max_length=8, repr=False)]


class MfaResult(Model):
    """Whether the code was right; ``remaining_backup_codes`` is the number after the use of a backup code."""

    success: bool | None = None
    message: Text = ""
    remaining_backup_codes: int | None = None


class MfaBackupCodes(Model):
    """New backup codes, shown once."""

    success: bool | None = None
    message: Text = ""
    backup_codes: list[str] = Field(repr=False)


class Mfa(Group):
    """The caller's second factor. A wrong code raises BadRequest.

    Example:
        >>> import pyotp
        >>> from lk_jupyter.api.mfa import MfaCode, MfaLoginCode
        >>> setup = other.mfa.enroll()
        >>> app = pyotp.TOTP(setup.secret)
        >>> _ = other.mfa.verify_enrollment(MfaCode(code=next_code(app)))
        >>> other.mfa.status().enabled
        True
        >>> other.mfa.verify(MfaLoginCode(code=setup.backup_codes[0])).remaining_backup_codes
        9
        >>> len(other.mfa.regenerate_backup_codes(MfaCode(code=next_code(app))).backup_codes)
        10
        >>> _ = other.mfa.disable(MfaCode(code=next_code(app)))
    """

    is_audited = True

    @GET("/mfa/status", magic="%lk_mfa status")
    def status(self) -> MfaStatus:
        """Report whether MFA is on."""
        ...

    @POST("/mfa/enroll", effect="writes", magic="%lk_mfa enrol")
    def enroll(self) -> MfaEnrollment:
        """Start the enrollment: return a seed and backup codes. Nothing changes until ``verify_enrollment``."""
        ...

    @POST("/mfa/verify-enrollment", effect="writes", magic="%lk_mfa verify")
    def verify_enrollment(self, request: MfaCode) -> MfaResult:
        """Turn MFA on with a code of the app."""
        ...

    @POST("/mfa/verify", effect="reads", magic="%lk_login, %lk_mfa verify")
    def verify(self, request: MfaLoginCode) -> MfaResult:
        """Verify a code while signing in. The access token of the session stays the same."""
        ...

    @POST("/mfa/disable", effect="writes", magic="%lk_mfa disable")
    def disable(self, request: MfaCode) -> MfaResult:
        """Turn MFA off."""
        ...

    @POST("/mfa/regenerate-backup-codes", effect="writes", magic="%lk_mfa codes")
    def regenerate_backup_codes(self, request: MfaCode) -> MfaBackupCodes:
        """Replace all backup codes; the old codes stop working."""
        ...
