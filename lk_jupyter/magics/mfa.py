"""``%lk_mfa``: the second factor of your account."""

from __future__ import annotations

import re

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.mfa import backup_codes_secret, enrollment_secret
from lk_jupyter.api.mfa import MfaCode, MfaLoginCode
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import ask_hidden
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics._output.secret import show_once
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.session import current

_CODE = re.compile(r"[0-9]{6}")
_BACKUP = re.compile(r"[0-9A-Za-z]{8}")

lk_mfa = Subcommands(
    "lk_mfa",
    "Protect your account with a second factor: codes of an authenticator app, and backup codes.\n\nQR code, "
    "seed and backup codes are shown once, behind a button. Only the page in the browser receives them; outputs "
    "and saved notebooks don't contain them. The codes that you type are hidden.",
)


@lk_mfa.verb("status", NoOptions)
def _status(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show whether the second factor is on."""
    enrollment = current().client.mfa.status()
    since = f", since {enrollment.enrolled_at.astimezone():%d %b %Y}" if enrollment.enrolled_at else ""
    display(
        Note(
            f"The second factor is on{since}."
            if enrollment.enabled
            else "The second factor is off. Turn it on: %lk_mfa enrol"
        )
    )


@lk_mfa.verb("enrol", NoOptions)
def _enrol(_: NoOptions, shell: InteractiveShell) -> None:
    """Show once a QR code for your authenticator app, and your backup codes. Then run %lk_mfa verify."""
    client = current().client
    me = client.user.status()
    show_once(shell, enrollment_secret(client.mfa.enroll(), me.email or me.user_id or "your account"))


@lk_mfa.verb("verify", NoOptions)
def _verify(_: NoOptions, _shell: InteractiveShell) -> None:
    """Turn on the second factor with a code of your authenticator app. If MFA is on, verify the current sign-in."""
    mfa = current().client.mfa
    if not mfa.status().enabled:
        mfa.verify_enrollment(MfaCode(code=_prompt_code()))
        display(Note("The second factor is on: to sign in by password, you now need a code too."))
        return
    remaining = mfa.verify(MfaLoginCode(code=_prompt_code(or_backup=True))).remaining_backup_codes
    display(
        Note(
            "Verified." if remaining is None else f"Verified. {remaining} backup codes remain. New ones: %lk_mfa codes"
        )
    )


@lk_mfa.verb("disable", NoOptions)
def _disable(_: NoOptions, _shell: InteractiveShell) -> None:
    """Turn off the second factor. Prompts for a code of your authenticator app."""
    current().client.mfa.disable(MfaCode(code=_prompt_code()))
    display(Note("The second factor is off: your password alone signs you in."))


@lk_mfa.verb("codes", NoOptions)
def _codes(_: NoOptions, shell: InteractiveShell) -> None:
    """Create new backup codes and show them once. Old codes stop working. Prompts for a code of the app."""
    show_once(shell, backup_codes_secret(current().client.mfa.regenerate_backup_codes(MfaCode(code=_prompt_code()))))


def _prompt_code(*, or_backup: bool = False) -> str:
    what = "Code of your authenticator app, or a backup code" if or_backup else "Code of your authenticator app"
    code = ask_hidden(f"{what}: ", "this needs your input, so run it in an open notebook or in a terminal").replace(
        " ", ""
    )
    if not _CODE.fullmatch(code) and not (or_backup and _BACKUP.fullmatch(code)):
        raise UsageError("A code of the app has six digits, and a backup code has eight characters. Nothing was sent.")
    return code
