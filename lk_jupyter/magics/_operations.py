"""Which operations of the API each magic calls, as ``client.GROUP.NAME``; the README's table is made from it.

A magic of verbs has a row for each. tests/test_operations.py finds each call in the code that the magic reaches.
"""

from __future__ import annotations

CALLS: dict[str, str] = {
    "%lk_whoami": "user.status user.org",
    "%lk_balance": "billing.credits orgs.balance",
    "%%lk_run": "execution.start_streaming stream.output execution.get execution.status",
    "%%lk_docker": "execution.start_image",
    "%%lk_compose": "execution.start_compose",
    "%lk_runs": "billing.history workloads.list",
    "%lk_status": "execution.get",
    "%lk_logs": "logs.execution",
    "%lk_abort": "workloads.abort",
    "%lk_machines": "machine_types.list user.available_hardware",
    "%lk_ls": "storage.credentials",
    "%lk_models": "serverless.models pricing.get",
    "%%lk_chat": "serverless.stream_chat_completions iris.stream_chat_completions inference.list inference.get",
    "%lk_secrets list": "environment_variables.list",
    "%lk_secrets set": "environment_variables.upsert",
    "%lk_secrets delete": "environment_variables.delete environment_variables.delete_all",
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
}


def magics_of(operation: str) -> list[str]:
    """Return the magics that call an operation, such as ``vms.create``."""
    return [magic for magic, operations in CALLS.items() if operation in operations.split()]
