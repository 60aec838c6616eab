"""``%lk_mfa``: the second factor of your account."""

from __future__ import annotations

import re

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.mfa import MfaCode, MfaLoginCode
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import ask_hidden
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._once import show_once
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.options import NoOptions
from lk_jupyter.runs.mfa import backup_codes, enrolment
from lk_jupyter.runs.session import current

_CODE = re.compile(r"[0-9]{6}")
_BACKUP = re.compile(r"[0-9A-Za-z]{8}")

lk_mfa = Verbs(
    "lk_mfa",
    "Protect your account by a second factor: codes of an authenticator app, and backup codes.\n\n"
    "QR code, seed and backup codes are shown once, behind a button. They go from the kernel to the page alone: no "
    "output, no widget state and so no saved notebook has them. Codes are typed where nobody sees them.",
)


@lk_mfa.verb("status", NoOptions)
def _status(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell whether the second factor is on."""
    told = current().client.mfa.status()
    since = f", since {told.enrolled_at.astimezone():%d %b %Y}" if told.enrolled_at else ""
    display(Note(f"The second factor is on{since}." if told.enabled else "The second factor is off: %lk_mfa enrol."))


@lk_mfa.verb("enrol", NoOptions)
def _enrol(_: NoOptions, shell: InteractiveShell) -> None:
    """Begin: shows a QR code for your authenticator app and backup codes, once. %lk_mfa verify ends it."""
    client = current().client
    me = client.user.status()
    show_once(shell, enrolment(client.mfa.enroll(), me.email or me.user_id or "your account"))


@lk_mfa.verb("verify", NoOptions)
def _verify(_: NoOptions, _shell: InteractiveShell) -> None:
    """Switch the second factor on with a code of the app; when it is on, verify the sign-in that is in use."""
    mfa = current().client.mfa
    if not mfa.status().enabled:
        mfa.verify_enrollment(MfaCode(code=_asked_code()))
        display(Note("The second factor is on: signing in by password takes a code from now on."))
        return
    left = mfa.verify(MfaLoginCode(code=_asked_code(or_backup=True))).remaining_backup_codes
    display(
        Note("Verified." if left is None else f"Verified. {left} backup codes are left: %lk_mfa codes makes new ones.")
    )


@lk_mfa.verb("disable", NoOptions)
def _disable(_: NoOptions, _shell: InteractiveShell) -> None:
    """Switch the second factor off; asks for a code of the app."""
    current().client.mfa.disable(MfaCode(code=_asked_code()))
    display(Note("The second factor is off: your password alone signs in."))


@lk_mfa.verb("codes", NoOptions)
def _codes(_: NoOptions, shell: InteractiveShell) -> None:
    """Make new backup codes, shown once; the old ones work no more. Asks for a code of the app."""
    show_once(shell, backup_codes(current().client.mfa.regenerate_backup_codes(MfaCode(code=_asked_code()))))


def _asked_code(*, or_backup: bool = False) -> str:
    what = "Code of your authenticator app, or a backup code" if or_backup else "Code of your authenticator app"
    code = ask_hidden(f"{what}: ", "run this where you can type").replace(" ", "")
    if not _CODE.fullmatch(code) and not (or_backup and _BACKUP.fullmatch(code)):
        raise UsageError("A code of the app has six digits, a backup code eight characters. Nothing was sent.")
    return code
