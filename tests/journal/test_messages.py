"""Messages about runs over HTTP and mail, to servers of this machine."""

import asyncio
import json
import socketserver
import subprocess
import sys
import threading
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lk_jupyter.config import settings
from lk_jupyter.errors import UsageError
from lk_jupyter.journal import messages

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by apprise


class Inbox:
    """Servers for HTTP and SMTP that keep the messages they get."""

    def __init__(self):
        self.posts, self.mails, self.status = [], [], 200
        inbox = self

        class Web(BaseHTTPRequestHandler):
            def do_POST(self):
                inbox.posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Mail(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"220 ready\r\n")
                for line in self.rfile:
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go\r\n")
                        inbox.mails.append("".join(part.decode() for part in iter(self.rfile.readline, b".\r\n")))
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")

        self.web, self.mail = (
            ThreadingHTTPServer(("127.0.0.1", 0), Web),
            socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail),
        )
        for server in (self.web, self.mail):
            threading.Thread(target=server.serve_forever, daemon=True).start()

    @property
    def addresses(self):
        mail = f"mailto://127.0.0.1:{self.mail.server_address[1]}?from=lk@example.com&to=me@example.com&mode=insecure"
        return f"json://user:s3cr3t@127.0.0.1:{self.web.server_address[1]}/runs {mail}"

    def stop(self):
        for server in (self.web, self.mail):
            server.shutdown()
            server.server_close()


@pytest.fixture
def inbox(home, monkeypatch):
    pytest.importorskip("apprise")
    running = Inbox()
    monkeypatch.setenv("LK_NOTIFY", running.addresses)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield running
    running.stop()


@pytest.mark.nightly
def test_a_message_is_sent_once_over_http_and_mail_also_by_two_processes(inbox, home):
    program = "from lk_jupyter.journal import messages; print(messages.send_once('e-1', 'train: completed', '3 h'))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert messages.send_once("e-1", "train: completed", "3 h · 4.87 credits\nLog: %lk_attach 3f0c") == ""
        assert other.communicate()[0] == "\n"
    [(path, post)], [mail] = inbox.posts, inbox.mails
    assert (path, json.loads(post)["title"]) == ("/runs", "train: completed")
    assert message_from_string(mail)["To"] == "me@example.com"
    assert "s3cr3t" not in post + mail


def test_a_message_that_a_service_refuses_is_reported_without_the_address(inbox, caplog, capfd):
    inbox.status = 403
    problem = messages.send_once("e-2", "train: failed", "text")
    assert problem == "The message to address number 1 in the setting notify wasn't sent. Check LK_NOTIFY."
    assert len(inbox.mails) == 1
    assert "s3cr3t" not in problem + caplog.text + "".join(capfd.readouterr())


def test_the_address_is_shown_by_no_error_and_no_magic(home, monkeypatch):
    monkeypatch.setenv("LK_NOTIFY", "s3cr3t.example.com")
    with pytest.raises(UsageError, match=r"^notify \(from LK_NOTIFY\) takes addresses such as [^?]*spaces\.$"):
        settings.setting("notify")
    with pytest.raises(
        UsageError, match=r"so you can't set it with %lk_config\. Nothing was stored\. Set LK_NOTIFY"
    ) as refusal:
        settings.save("notify", "ntfy://s3cr3t")
    assert "s3cr3t" not in str(refusal.value)


def test_without_apprise_its_installation_is_named(home, monkeypatch):
    monkeypatch.setenv("LK_NOTIFY", "ntfy://topic")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match=r'^The setting notify needs apprise: .*pip install "apprise>=[0-9.]+"$'):
        messages.check_library()


@pytest.mark.nightly
def test_the_jupyter_server_sends_the_message_of_a_run_without_a_kernel_once(inbox, cloud, session, monkeypatch):
    pytest.importorskip("jupyter_server")
    from lk_jupyter.serverext import messages as server_messages  # noqa: PLC0415 (Jupyter may be missing)
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider  # noqa: PLC0415

    monkeypatch.setattr(server_messages, "_KERNEL_SECONDS", 0.0)
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    run = session.run("# train\nraise SystemExit(3)")
    ids = [run.execution_id, session.run("print(1)").execution_id]
    for execution_id in ids:
        while session.client.execution.get(execution_id).end_time is None:
            pass

    async def look():
        desk = UpstreamProvider()
        await server_messages.send_messages(desk)
        await desk.look_again()

    for _ in range(2):
        asyncio.run(look())
    [(_, post)] = inbox.posts  # none of the short run that succeeded
    message = json.loads(post)
    assert (len(inbox.mails), message["title"].endswith(f"({run.short_id}) has ended")) == (1, True)
    assert message["message"].splitlines()[0].startswith("failed · ")
    assert message["message"].splitlines()[1] == f"Log and results: %lk_attach {run.short_id}"
