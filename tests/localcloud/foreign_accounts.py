"""Accounts, organizations, money and runs of Python, as somebody of another organization tries them."""

from __future__ import annotations

from uuid import uuid4

from localcloud.foreign import MARK, own, refused, untried

from lk_jupyter.api._events import Output
from lk_jupyter.api.auth import Auth
from lk_jupyter.api.billing import Billing
from lk_jupyter.api.execution import Execution, Stream, StreamingExecutionRequest
from lk_jupyter.api.health import Health
from lk_jupyter.api.invites import Invites
from lk_jupyter.api.logs import Logs
from lk_jupyter.api.machine_types import MachineTypes
from lk_jupyter.api.mfa import Mfa
from lk_jupyter.api.orgs import Orgs
from lk_jupyter.api.pricing import Pricing
from lk_jupyter.api.user import User
from lk_jupyter.api.voucher import Voucher
from lk_jupyter.api.workloads import Workloads


def run(mira):
    return {"execution_id": mira.run}


def active(mira):
    return {"execution_id": mira.active}


def slug(mira):
    return {"slug": mira.slug}


def key(mira):
    return {"slug": mira.slug, "key_id": mira.org_key}


ROWS = {
    Auth.login: untried("takes a password"),
    Auth.refresh: untried("takes a refresh token, which is a secret"),
    Auth.list_api_keys: own(),
    Auth.create_api_key: own(lambda _: {"request": {"key_name": "jon"}}),
    Auth.revoke_api_key: refused(lambda mira: {"api_key_id": mira.key}),
    Auth.toggle_api_key: refused(lambda mira: {"api_key_id": mira.key}),
    Auth.validate_api_key: own(lambda mira: {"request": {"api_key": f"lk_{mira.key}"}}),
    Billing.activities: own(is_steady=False),
    Billing.checkout: own(lambda _: {"request": {"credits_amount": 1}}),
    Billing.credits: own(),
    Billing.credits_details: own(),
    Billing.history: own(),
    Billing.invoices: own(),
    Execution.abort_streaming: refused(active),
    Execution.complete_streaming: refused(active),
    Execution.delete: refused(run),
    Execution.get: refused(run),
    Execution.metrics: refused(run),
    Execution.start_streaming: own(lambda _: {"request": {"code": "print(1)"}}),
    Execution.status: refused(run),
    Execution.timing: refused(run),
    Invites.accept: refused(lambda mira: {"invite_id": mira.invite}),
    Invites.get: untried("takes the token of an invitation, which is a secret"),
    Invites.mine: own(),
    Logs.execution: refused(run),
    Logs.user: own(),
    MachineTypes.list: own(),
    Mfa.disable: untried("concerns the caller alone"),
    Mfa.enroll: own(),
    Mfa.regenerate_backup_codes: untried("concerns the caller alone"),
    Mfa.status: own(),
    Mfa.verify: untried("concerns the caller alone"),
    Mfa.verify_enrollment: untried("concerns the caller alone"),
    Orgs.add_member: refused(lambda mira: {**slug(mira), "request": {"email": "jon@example.com", "role": "owner"}}),
    Orgs.aggregate_transactions: refused(
        lambda mira: {**slug(mira), "category": "executions", "group_by": "execution_id"}, is_steady=False
    ),
    Orgs.balance: refused(slug),
    Orgs.create: own(lambda _: {"request": {"name": "Jon's"}}),
    Orgs.create_api_key: refused(lambda mira: {**slug(mira), "request": {"name": "jon"}}),
    Orgs.delete: refused(slug),
    Orgs.delete_api_key: refused(key),
    Orgs.get: refused(slug),
    Orgs.list: own(),
    Orgs.list_api_keys: refused(slug),
    Orgs.list_invites: refused(slug),
    Orgs.list_members: refused(slug),
    Orgs.regenerate_api_key: refused(key),
    Orgs.remove_member: refused(lambda mira: {**slug(mira), "user_id": mira.user}),
    Orgs.revoke_api_key: refused(key),
    Orgs.revoke_invite: refused(lambda mira: {**slug(mira), "invite_id": mira.invite}),
    Orgs.set_role: refused(lambda mira: {**slug(mira), "user_id": mira.user, "request": {"role": "member"}}),
    Orgs.transactions: refused(slug, is_steady=False),
    Orgs.update: refused(lambda mira: {**slug(mira), "request": {"name": "Jon's"}}),
    Health.ping: own(),
    Health.version: own(),
    Pricing.get: own(),
    Stream.output: untried("the id of a run is the secret that opens its stream"),
    User.available_hardware: own(),
    User.delete: untried("concerns the caller alone"),
    User.org: own(),
    User.quotas: own(),
    User.status: own(is_steady=False),
    Voucher.validate: own(lambda _: {"request": {"code": "none", "email": "jon@example.com"}}),
    Workloads.abort: refused(active),
    Workloads.list: own(),
    Workloads.stop: refused(active),
}


def made(mira):
    slug = mira.user.org().slug
    active = mira.execution.start_streaming(start("import time\nprint('up', flush=True)\ntime.sleep(600)"))
    assert isinstance(next(iter(mira.follow(active.execution_id))), Output)
    ended = mira.execution.start_streaming(start(f"print({MARK!r})"))
    list(mira.follow(ended.execution_id))
    mira.orgs.add_member(slug, {"email": f"{uuid4().hex}@example.com", "role": "member"})
    mira.orgs.update(slug, {"name": MARK})
    return {
        "slug": slug,
        "user": mira.user.status().user_id,
        "run": ended.execution_id,
        "active": active.execution_id,
        "key": mira.auth.create_api_key({"key_name": MARK}).id,
        "org_key": mira.orgs.create_api_key(slug, {"name": MARK}).id,
        "invite": mira.orgs.list_invites(slug)[0].id,
    }


def start(code):
    return StreamingExecutionRequest(code=code, run_name=MARK, timeout=600)
