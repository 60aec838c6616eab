"""Signing in by a form; the key is tried, kept where ``%lk_login`` keeps it, and stands nowhere else."""

from __future__ import annotations

from html import escape

from traitlets import Unicode

from lk_jupyter import config, signing
from lk_jupyter.errors import NotSignedIn
from lk_jupyter.runs import session
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._view import View, action


class Login(View):
    """A form that signs in, and tells who is signed in.

    The key goes from the field to the kernel once, is tried against the server and kept in the
    keyring (or a file that only you can read); it is in no trait, no output and no notebook.
    """

    component = "login"

    server = Unicode(help="where one signs in").tag(sync=True)
    account = Unicode(help="who is signed in; empty when nobody is").tag(sync=True)

    def load(self) -> None:
        """Find out who is signed in, without starting anything."""
        self.server, self.account = config.setting("base_url"), ""
        try:
            me = session.current(start=False).whoami()
        except NotSignedIn:
            return
        self.server, self.account = me.server, me.account

    @action
    def sign_in(self, key: str) -> None:
        """Try a key and keep it."""
        signing.sign_in(key, typed_in="the form")
        self.refresh()

    @action
    def use_local_cloud(self) -> None:
        """Start the local cloud, and use it from now on."""
        signing.use_local()
        self.refresh()

    @action
    def sign_out(self) -> None:
        """Forget the key that was kept, and say what signs in all the same."""
        done = signing.logout()
        self.load()
        self.say("\n".join(done))

    def picture(self) -> Picture:
        """Tell who was signed in."""
        text = f"Signed in as {self.account} at {self.server}" if self.account else f"Not signed in at {self.server}"
        return Picture(text, f"<p>{escape(text)}</p>")
