"""Sign in with a form; the key is checked and stored like ``%lk_login`` does, and appears nowhere else."""

from __future__ import annotations

from html import escape

from traitlets import Unicode

from lk_jupyter import session
from lk_jupyter.config import settings
from lk_jupyter.connection import signin
from lk_jupyter.errors import NotSignedIn
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets._view import View, user_action


class Login(View):
    """A form for signing in, which shows the present account.

    The form sends the key to the kernel once. The kernel checks the key against the server and stores it in the keyring
    (or in a file that only you can read). The key is in no trait, no output and no notebook.

    Example:
        >>> from lk_jupyter.widgets import Login
        >>> login = Login()
        >>> login.load()
        >>> login.server
        'http://127.0.0.1:...'
        >>> login.sign_in(api_key)
        >>> login.sign_out()
        >>> login.use_local_cloud()  # doctest: +SKIP
    """

    component = "login"

    server = Unicode(help="where one signs in").tag(sync=True)
    account = Unicode(help="name of the account that is signed in; empty if signed out").tag(sync=True)

    def load(self) -> None:
        """Read who is signed in, without starting anything."""
        self.server, self.account = settings.setting("base_url"), ""
        try:
            me = session.current(start=False).whoami()
        except NotSignedIn:
            return
        self.server, self.account = me.server, me.account

    @user_action
    def sign_in(self, key: str) -> None:
        """Check a key, and store the key if the server accepts it.

        Args:
            key: API key.

        Raises:
            Unauthorized: The server doesn't accept the key. Nothing was stored.
        """
        signin.sign_in(key, typed_in="the form")
        self.refresh()

    @user_action
    def use_local_cloud(self) -> None:
        """Start the local cloud, and make it the server in use."""
        signin.use_local()
        self.refresh()

    @user_action
    def sign_out(self) -> None:
        """Delete the stored key, and show whether something else still signs you in."""
        done = signin.logout()
        self.load()
        self.say("\n".join(done))

    def picture(self) -> StaticView:
        """Show who was signed in."""
        text = f"Signed in as {self.account} at {self.server}" if self.account else f"Not signed in at {self.server}"
        return StaticView(text, f"<p>{escape(text)}</p>")
