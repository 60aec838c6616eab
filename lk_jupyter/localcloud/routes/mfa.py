"""The second factor of the caller."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.mfa import Mfa, MfaCode, MfaLoginCode
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.accounts.totp import build_qr_image
from lk_jupyter.localcloud.context import Context


@implements(Mfa.status)
def status(ctx: Context) -> dict[str, Any]:
    """Return whether the second factor is on."""
    enrolled_at = ctx.cloud.accounts.factors.enrolled_at(ctx.person["id"])
    return {"enabled": enrolled_at is not None, "enrolled_at": enrolled_at}


@implements(Mfa.enroll)
def enroll(ctx: Context) -> dict[str, Any]:
    """Start an enrollment, in place of an unfinished enrollment."""
    seed, codes = ctx.cloud.accounts.factors.enroll(ctx.person["id"])
    return {"secret": seed, "qr_code_url": build_qr_image(seed, ctx.person["email"]), "backup_codes": codes}


@implements(Mfa.verify_enrollment)
def verify_enrollment(ctx: Context, request: MfaCode) -> dict[str, Any]:
    """End an enrollment. Open sessions stay open."""
    ctx.cloud.accounts.factors.switch_on(ctx.person["id"], request.code)
    return {"success": True, "message": "MFA enabled"}


@implements(Mfa.verify)
def verify(ctx: Context, request: MfaLoginCode) -> dict[str, Any]:
    """Check a code, and open the session of its request."""
    unused = ctx.cloud.accounts.factors.use_any_code(ctx.person["id"], request.code)
    if ctx.caller.session_id:
        ctx.cloud.sessions.mark_verified(ctx.caller.session_id)
    remaining = {} if unused is None else {"remaining_backup_codes": unused}
    return {"success": True, "message": "Verified", **remaining}


@implements(Mfa.disable)
def disable(ctx: Context, request: MfaCode) -> dict[str, Any]:
    """Switch the second factor off."""
    ctx.cloud.accounts.factors.use_code(ctx.person["id"], request.code)
    ctx.cloud.accounts.factors.remove(ctx.person["id"])
    return {"success": True, "message": "MFA disabled"}


@implements(Mfa.regenerate_backup_codes)
def regenerate_backup_codes(ctx: Context, request: MfaCode) -> dict[str, Any]:
    """Replace the backup codes."""
    codes = ctx.cloud.accounts.factors.renew_backup_codes(ctx.person["id"], request.code)
    return {"success": True, "message": "Backup codes regenerated", "backup_codes": codes}
