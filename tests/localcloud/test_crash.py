"""Kill -9 under load: nothing that was acknowledged is lost, nothing is billed twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest
from localcloud.conftest import until
from patience import PATIENCE

ROUNDS = 2
STEPS = 6
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host"


class Worker:
    """A client that goes on with one kind of work until the server is gone; the quick ones wait for the slow ones."""

    def __init__(self, cloud, all_at_work):
        headers = {"Authorization": f"Bearer {cloud.api_key}"}
        self.base_url = cloud.base_url
        self.http = httpx.Client(base_url=f"{cloud.base_url}/api/v2/external", headers=headers, timeout=PATIENCE)
        self.acknowledged = []
        self.all_at_work = all_at_work
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        try:
            while True:
                self.acknowledged.append(self.step())
                if len(self.acknowledged) == STEPS:
                    self.all_at_work.wait(PATIENCE)
        except httpx.TransportError:
            return
        finally:
            self.all_at_work.abort()

    def is_busy(self):
        """Whether it has done enough; a failure ends the wait."""
        assert self.thread.is_alive(), f"{type(self).__name__} failed"
        return len(self.acknowledged) > STEPS

    def join(self):
        self.thread.join()
        self.http.close()
        return self.acknowledged

    def post(self, path, body=None, **options):
        answer = self.http.post(path, json=body, **options)
        assert answer.is_success or answer.is_redirect, answer.text
        return answer


class Runs(Worker):
    """Starts runs and aborts some."""

    def step(self):
        body = {"code": "import time\ntime.sleep(0.2)", "execution_type": "gpu.a100"}
        run = self.post("/execution/streaming/start", body).json()["execution_id"]
        if len(self.acknowledged) % 3 == 0:
            self.post(f"/workloads/abort/{run}")
        return run

    @staticmethod
    def check(api, acknowledged):
        records = {run: api.ended(run) for run in acknowledged}
        bills = debits(api, "executions", "execution_id")
        assert max(Counter(bill["metadata"]["execution_id"] for bill in bills).values()) == 1
        billed = {bill["metadata"]["execution_id"]: Decimal(bill["amount"]) for bill in bills}
        costs = {run: Decimal(repr(record["billed"])) for run, record in records.items() if record["billed"]}
        assert {run: billed[run] for run in costs} == costs
        assert not {run for run, record in records.items() if not record["billed"]} & set(billed)


class Purchases(Worker):
    """Buys credits."""

    def step(self):
        session = self.post("/billing/checkout", {"credits_amount": 1}).json()
        self.post(f"{session['checkout_url']}/pay")
        return session["checkout_url"]

    @staticmethod
    def check(api, acknowledged):
        receipts = Counter(invoice["receipt_url"].rpartition("/")[2] for invoice in every_invoice(api))
        paid = {url.rpartition("/")[2] for url in acknowledged}
        assert paid <= set(receipts)
        assert len(set(receipts) - paid) <= ROUNDS
        assert set(receipts.values()) == {1}


class Keys(Worker):
    """Makes keys, and revokes some."""

    def step(self):
        name = f"{self.base_url} {len(self.acknowledged)}"
        key = self.post("/auth/api-keys/", {"key_name": name}).json()
        revoked = len(self.acknowledged) % 2 == 0
        if revoked:
            assert self.http.delete(f"/auth/api-keys/{key['id']}").is_success
        return key["api_key"], revoked

    @staticmethod
    def check(api, acknowledged):
        for secret, revoked in acknowledged:
            url = f"{api.cloud.base_url}/api/v2/external/user/status"
            answer = httpx.get(url, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code in ({401, 429} if revoked else {200})  # many that are not good make it wait


class Chats(Worker):
    """Asks a model."""

    def step(self):
        messages = [{"role": "user", "content": "hello"}]
        return self.post("/serverless/chat/completions", {"model": "local/echo", "messages": messages}).json()["usage"]

    @staticmethod
    def check(api, acknowledged):
        tokens = acknowledged[0]["prompt_tokens"]
        assert len(acknowledged) <= prompts_billed(api)[tokens] <= len(acknowledged) + ROUNDS


class Batches(Worker):
    """Hands in batches of three lines, whose prompts are longer than that of a chat."""

    def step(self):
        messages = [{"role": "user", "content": "one two three four five six seven"}]
        row = {"method": "POST", "url": "/v1/chat/completions", "body": {"model": "local/echo", "messages": messages}}
        text = "\n".join(json.dumps({**row, "custom_id": name}) for name in "abc")
        file = self.http.post("/files", files={"file": ("in.jsonl", text, "application/jsonl")}).json()["id"]
        return self.post("/batches", {"input_file_id": file}).json()["id"]

    @staticmethod
    def check(api, acknowledged):
        batches = until(lambda: all_ended(api.get("/batches", limit=1000).json()["data"]), 60)
        assert set(acknowledged) <= {batch["id"] for batch in batches}
        for batch in batches:
            rows = api.get(f"/files/{batch['output_file_id']}/content").text.splitlines()
            assert sorted(json.loads(row)["custom_id"] for row in rows) == ["a", "b", "c"]
        billed = prompts_billed(api)
        assert billed[max(billed)] == 3 * len(batches)


class Machines(Worker):
    """Creates VMs and ends some."""

    def step(self):
        vm = self.post("/vms/create", {"user_public_key": SSH_KEY, "hardware_profile": "a100"}).json()["vm_id"]
        ended = len(self.acknowledged) % 2 == 0
        if ended:
            assert self.http.delete(f"/vms/{vm}").is_success
        return vm, ended

    @staticmethod
    def check(api, acknowledged):
        for vm, ended in acknowledged:
            assert (api.get(f"/vms/{vm}/status").json()["status"] == "terminated") == ended
        for vm in api.get("/vms/list").json()["vms"]:
            api.delete(f"/vms/{vm['vm_id']}")
        bills = [bill["metadata"]["vm_id"] for bill in debits(api, "vms", "vm_id")]
        assert len(bills) == len(set(bills))


class Uploads(Worker):
    """Uploads files."""

    def step(self):
        content = f"{self.http.base_url.port} {len(self.acknowledged)}"
        answer = self.http.post("/storage/upload", files={"file": ("a.txt", content)}, params={"key": content})
        assert answer.is_success, answer.text
        return content

    @staticmethod
    def check(api, acknowledged):
        for content in acknowledged:
            assert api.get(f"/storage/download/{quote(content)}").text == content


def all_ended(batches):
    return {batch["status"] for batch in batches} == {"completed"} and batches


def prompts_billed(api):
    """Count the bills for prompts by their tokens."""
    return Counter(bill["metadata"]["tokens"] for bill in debits(api, "serverless_inference_prompt_tokens", "model"))


def transactions(api, **query):
    slug = api.get("/user/org").json()["slug"]
    return api.get(f"/orgs/{slug}/transactions", limit=100_000, **query).json()["transactions"]


def debits(api, source, group_by):
    """Return the charges of a category, after a look whether their sums tell the same."""
    rows, slug = transactions(api, source=source), api.get("/user/org").json()["slug"]
    sums = api.get(f"/orgs/{slug}/transactions/aggregate", category=source, group_by=group_by).json()["aggregates"]
    assert sum(Decimal(row["total_amount"]) for row in sums) == sum(Decimal(row["amount"]) for row in rows)
    return rows


def every_invoice(api):
    return api.get("/billing/invoices", limit=100_000).json()["invoices"]


def balance(api):
    slug = api.get("/user/org").json()["slug"]
    return Decimal(api.get(f"/orgs/{slug}/balance").json()["balance"])


@pytest.mark.nightly  # test_storage.py
@pytest.mark.timeout(900)
def test_a_crash_under_load_loses_nothing_and_bills_nothing_twice(make_api):
    api = make_api()
    done = {kind: [] for kind in (Runs, Purchases, Keys, Chats, Batches, Machines, Uploads)}
    for _ in range(ROUNDS):
        all_at_work = threading.Barrier(len(done))
        workers = [kind(api.cloud, all_at_work) for kind in done]
        for worker in workers:
            until(worker.is_busy)
        api.cloud.kill()
        for worker in workers:
            done[type(worker)] += worker.join()
        api.cloud.start()
        api.connect()
    for kind, acknowledged in done.items():
        assert len(acknowledged) > ROUNDS * STEPS
        kind.check(api, acknowledged)
    amounts = [Decimal(row["amount"]) * (1 if row["kind"] == "credit" else -1) for row in transactions(api)]
    assert balance(api) == sum(amounts)
