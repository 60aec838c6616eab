"""Which operations of the API each magic calls, as ``client.GROUP.NAME``; the README's table is made from it.

A magic of verbs has a row for each. tests/test_operations.py finds each call in the code that the magic reaches.
"""

from __future__ import annotations

CALLS: dict[str, str] = {
    "%lk_login": "auth.login auth.refresh mfa.verify",
    "%lk_whoami": "user.status user.org",
    "%lk_balance": "billing.credits orgs.balance",
    "%%lk_run": "execution.start_streaming stream.output execution.get execution.status",
    "%%lk_docker": "execution.start_image",
    "%%lk_compose": "execution.start_compose",
    "%lk_notebook start": "execution.start_image",
    "%lk_notebook list": "workloads.list",
    "%lk_notebook stop": "workloads.stop",
    "%lk_runs": "billing.history workloads.list",
    "%lk_status": "execution.get",
    "%lk_logs": "logs.execution",
    "%lk_abort": "workloads.abort",
    "%lk_machines": "machine_types.list user.available_hardware",
    "%lk_ls": "storage.credentials",
    "%lk_models": "serverless.models pricing.get",
    "%%lk_chat": "serverless.stream_chat_completions iris.stream_chat_completions inference.list inference.get",
    "%lk_vm list": "vms.list",
    "%lk_vm offers": "vms.availability",
    "%lk_vm create": "vms.create vms.availability vms.list vms.status",
    "%lk_vm status": "vms.status",
    "%lk_vm ssh": "vms.status",
    "%lk_vm rename": "vms.rename",
    "%lk_vm delete": "vms.delete",
    "%lk_volumes list": "block.list",
    "%lk_volumes delete": "block.delete",
    "%lk_batch": "files.upload files.content batches.create batches.get batches.list batches.cancel",
    "%lk_secrets list": "environment_variables.list",
    "%lk_secrets set": "environment_variables.upsert",
    "%lk_secrets delete": "environment_variables.delete environment_variables.delete_all",
    "%lk_keys list": "auth.list_api_keys orgs.list_api_keys",
    "%lk_keys create": "auth.create_api_key orgs.create_api_key",
    "%lk_keys toggle": "auth.toggle_api_key",
    "%lk_keys revoke": "auth.revoke_api_key orgs.revoke_api_key",
    "%lk_keys regenerate": "orgs.regenerate_api_key",
    "%lk_keys delete": "orgs.delete_api_key auth.revoke_api_key",
    "%lk_keys check": "auth.validate_api_key",
    "%lk_org list": "orgs.list user.org",
    "%lk_org use": "orgs.list user.org",
    "%lk_org show": "orgs.get orgs.balance",
    "%lk_org create": "orgs.create",
    "%lk_org rename": "orgs.update",
    "%lk_org billing": "orgs.update orgs.get",
    "%lk_org delete": "orgs.delete",
    "%lk_org members": "orgs.list_members",
    "%lk_org invite": "orgs.add_member",
    "%lk_org invites": "invites.mine orgs.list_invites invites.get",
    "%lk_org accept": "invites.mine invites.accept",
    "%lk_org withdraw": "orgs.revoke_invite",
    "%lk_org role": "orgs.set_role",
    "%lk_org remove": "orgs.remove_member",
    "%lk_org leave": "orgs.remove_member",
    "%lk_org transactions": "orgs.transactions",
    "%lk_org spending": "orgs.aggregate_transactions",
    "%lk_mfa status": "mfa.status",
    "%lk_mfa enrol": "mfa.enroll",
    "%lk_mfa verify": "mfa.verify_enrollment mfa.verify",
    "%lk_mfa disable": "mfa.disable",
    "%lk_mfa codes": "mfa.regenerate_backup_codes",
    "%lk_billing history": "billing.history",
    "%lk_billing activities": "billing.activities",
    "%lk_billing invoices": "billing.invoices",
    "%lk_billing account": "billing.credits_details",
    "%lk_billing voucher": "voucher.validate",
    "%lk_billing checkout": "billing.checkout",
    "%lk_pricing": "pricing.get",
}

#: Why an operation has no magic.
NO_MAGIC: dict[str, str] = {
    "serverless.chat_completions": "None: `%%lk_chat` has the answer as it comes. `lk_jupyter.openai()`",
    "iris.chat_completions": "None: `%%lk_chat` has the answer as it comes. `lk_jupyter.openai(deployment=…)`",
    "openai.chat_completions": "`lk_jupyter.openai()`",
    "openai.stream_chat_completions": "`lk_jupyter.openai()`",
    "openai.embeddings": "`lk_jupyter.openai()`",
    "openai.models": "`lk_jupyter.openai()`",
    "iris.models": "`lk_jupyter.openai(deployment=…)`",
    "iris.anthropic_models": "`lk_jupyter.anthropic()`",
    "execution.complete_streaming": "None: an older call, for which a run that ends has no need.",
    "user.delete": "None: it ends the account for good; too much for a cell that Run All repeats.",
}


def magics_of(operation: str) -> list[str]:
    """Return the magics that call an operation, such as ``vms.create``."""
    return [magic for magic, operations in CALLS.items() if operation in operations.split()]
