"""List the magics, with the module and the kind of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lk_jupyter._threads import import_safely

if TYPE_CHECKING:
    from lk_jupyter.magics._engine.parser import Magic, Subcommands


class Row(NamedTuple):
    """A magic: its name, the module in this package that defines the function of that name, and its kind (line, cell).

    ``fills`` is whether IPython replaces ``{name}`` and ``$name`` on the line by variables.
    """

    name: str
    module: str
    kind: str = "line"
    fills: bool = True


MAGICS = (
    Row("lk_help", "help"),
    Row("lk_login", "account"),
    Row("lk_logout", "account"),
    Row("lk_whoami", "account"),
    Row("lk_balance", "account"),
    Row("lk_config", "account"),
    Row("lk_check", "check"),
    Row("lk_run", "run", "cell"),
    Row("lk_runs", "runs"),
    Row("lk_status", "runs"),
    Row("lk_logs", "runs"),
    Row("lk_plan", "plan"),
    Row("lk_pin", "pin"),
    Row("lk_attach", "run"),
    Row("lk_wait", "wait"),
    Row("lk_abort", "runs"),
    Row("lk_history", "history"),
    Row("lk_note", "history", fills=False),
    Row("lk_diff", "history"),
    Row("lk_rerun", "history"),
    Row("lk_export", "history"),
    Row("lk_docker", "containers", "cell"),
    Row("lk_compose", "containers", "cell"),
    Row("lk_open", "containers"),
    Row("lk_run_notebook", "run_notebook"),
    Row("lk_notebook", "notebook"),
    Row("lk_kernel", "kernel"),
    Row("lk_sessions", "sessions"),
    Row("lk_machines", "runs"),
    Row("lk_ls", "storage"),
    Row("lk_put", "storage"),
    Row("lk_get", "storage"),
    Row("lk_sync", "storage"),
    Row("lk_stage", "storage"),
    Row("lk_rm", "storage"),
    Row("lk_load", "loading"),
    Row("lk_bucket", "bucket"),
    Row("lk_files", "files"),
    Row("lk_select", "select", "cell"),
    Row("lk_delete", "runs"),
    Row("lk_vm", "vms"),
    Row("lk_volumes", "vms"),
    Row("lk_secrets", "secrets"),
    Row("lk_models", "chat"),
    Row("lk_chat", "chat", "cell"),
    Row("lk_keys", "keys"),
    Row("lk_lease", "lease"),
    Row("lk_org", "orgs"),
    Row("lk_mfa", "mfa"),
    Row("lk_billing", "billing"),
    Row("lk_pricing", "billing"),
    Row("lk_batch", "batches", fills=False),
    Row("lk_embed", "embeddings"),
    Row("lk_deploy", "deployments"),
    Row("lk_deployments", "deployments"),
    Row("lk_undeploy", "deployments"),
)

ROWS = {row.name: row for row in MAGICS}


def magic_named(name: str) -> Magic | Subcommands:
    """Import and return the magic with this name."""
    magic: Magic | Subcommands = getattr(import_safely(f"lk_jupyter.magics.{ROWS[name].module}"), name)
    return magic
