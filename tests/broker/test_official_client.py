"""The cloud's own client works through a broker as without it: the same commands, with the same exit codes.

By night: each of its commands takes it a second to start.
"""

from __future__ import annotations

import re

import httpx
import pytest
from broker.running import ChildAccount, wait_settled
from cloud_process import run_forked
from localcloud.test_lyceum_cli import Lyceum

pytestmark = pytest.mark.nightly

#: Commands, in their order; RUN, VM and SLEEPING are ids of earlier answers.
COMMANDS = """
auth status
org current
gpu machines
python run hello.py -m gpu.a100
python run fail.py -m gpu.a100
python config init project
python config show project
python config refresh project
jobs history
jobs history --json
jobs list
jobs status RUN
jobs status RUN --json
jobs logs RUN
jobs metrics RUN
jobs abort SLEEPING
docker registry-examples
compose registry-examples
notebook list
infer models
infer models --json
infer deployments
infer chat -m local/echo -p hello
infer embeddings hello -m local/hash-embedding
storage upload data.txt
storage ls
storage ls --json
storage download data.txt --output copy.txt
storage upload folder -r --force
storage rm data.txt --force
storage rmdir folder --force
storage block ls
vm availability
vm start --hardware-profile a100 --key KEY --async
vm list
vm list --json
vm status VM
vm rename VM box
vm terminate VM --force
"""

#: Commands about the organization, which belong to its members: a child key gets a refusal with its reason.
REFUSED = """
auth keys list
org keys list local
org members list local
org transactions list local
env list
env set NAME value
env rm NAME --force
"""


class Recorded:
    """The client with a key, and its exit code for each command."""

    def __init__(self, cloud, folder):
        folder.mkdir()
        for name in ("folder", "project"):
            (folder / name).mkdir()
        files = {"hello.py": "print('hello')", "fail.py": "raise ValueError('broken')", "data.txt": "some data"}
        files |= {"sleep.py": "import time; time.sleep(600)", "folder/a.txt": "a"}
        files |= {"key.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0iBzQTqYBQdEEhsAQXPVQ7LkzqXq1mIwzYw0mYQb8J a@b"}
        for name, text in files.items():
            (folder / name).write_text(text)
        self.lyceum = Lyceum(cloud, folder)
        self.names = {"KEY": str(folder / "key.pub")}
        self.codes, self.texts = {}, {}

    def run(self, command):
        words = [self.names.get(word, word) for word in command.split()]
        done = run_forked("lyceum", *words, env=self.lyceum.env, cwd=self.lyceum.folder)
        self.texts[command] = done.stdout + done.stderr
        self.codes[command] = done.returncode
        if command.startswith("python run hello"):
            self.names["RUN"] = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", self.texts[command])[0]
        if command.startswith("vm start"):
            match = re.search(r"VM ID:\s+([\w-]+)", self.texts[command])
            assert match, self.texts[command]
            self.names["VM"] = match[1]

    def run_all(self, http):
        for command in COMMANDS.strip().splitlines():
            if "SLEEPING" in command:
                body = {"code": "import time; time.sleep(600)", "execution_type": "gpu.a100", "timeout": 60}
                answer = http.post("/api/v2/external/execution/streaming/start", json=body)
                self.names["SLEEPING"] = answer.json()["execution_id"]
            self.run(command)


def test_the_clouds_own_client_ends_each_command_as_without_a_broker(broker, upstream, tmp_path):
    pytest.importorskip("lyceum")
    child = broker.grant(scopes=["runs", "files", "models", "vms"])
    with httpx.Client(base_url=upstream.base_url, headers={"Authorization": f"Bearer {upstream.api_key}"}) as http:
        direct = Recorded(upstream, tmp_path / "direct")
        direct.run_all(http)
    through = Recorded(ChildAccount(broker.base_url, child.key), tmp_path / "through")
    through.run_all(child)
    differences = {
        command: (direct.codes[command], through.codes[command], through.texts[command][-500:])
        for command in direct.codes
        if direct.codes[command] != through.codes[command]
    }
    unexpected = {command: direct.texts[command] for command, code in direct.codes.items() if code}
    print(len(direct.codes), "commands,", list(direct.codes.values()).count(0), "succeed,", len(differences), "differ")
    assert not differences
    assert unexpected.keys() == {"python run fail.py -m gpu.a100"}, unexpected
    assert (tmp_path / "through" / "copy.txt").read_text() == "some data"
    wait_settled(child)
    for command in REFUSED.strip().splitlines():
        through.run(command)
        assert "can't call" in through.texts[command], through.texts[command]
