"""Topics of ``%lk_help``, and words that users know from other tools."""

from __future__ import annotations

#: Topic → names of the magics, without ``lk_``, in the order of the page.
TOPICS = {
    "Start": ("help", "login", "whoami", "logout", "config", "check"),
    "Run code": ("run", "pin", "run_notebook", "select", "docker", "compose", "sessions"),
    "Follow and stop runs": ("runs", "status", "logs", "attach", "wait", "abort", "open", "delete"),
    "History of runs": ("history", "note", "diff", "rerun", "export"),
    "Machines and cost": ("machines", "plan", "pricing", "balance", "billing"),
    "Files": ("ls", "put", "get", "sync", "stage", "rm", "load", "bucket"),
    "Models": ("models", "chat", "embed", "batch", "files", "deploy", "deployments", "undeploy"),
    "Rented machines and notebooks": ("vm", "volumes", "notebook", "kernel"),
    "Account and team": ("org", "keys", "lease", "secrets", "mfa"),
}

#: Word → the words of our texts. A search for the word finds texts with any of these words too.
SYNONYMS = {
    "authenticate": ("sign in",),
    "background": ("detach",),
    "cancel": ("abort",),
    "cap": ("budget", "max-cost"),
    "cheap": ("price", "cost"),
    "connect": ("sign in", "attach"),
    "credentials": ("key", "secret"),
    "dataframe": ("variable",),
    "end": ("abort",),
    "env": ("secret", "environment"),
    "expensive": ("cost", "price"),
    "hyperparameter": ("sweep",),
    "install": ("packages",),
    "instance": ("vm", "machine"),
    "job": ("run",),
    "kill": ("abort",),
    "limit": ("budget", "max-cost", "timeout"),
    "login": ("sign in",),
    "money": ("cost", "credit"),
    "password": ("secret", "sign in"),
    "oom": ("memory",),
    "pay": ("credits", "checkout"),
    "pip": ("packages",),
    "plot": ("figures", "curves"),
    "predict": ("batch", "deploy"),
    "price": ("cost",),
    "privacy": ("secret", "fresh"),
    "reconnect": ("attach",),
    "requirements": ("packages",),
    "resume": ("checkpoint", "attach"),
    "quit": ("abort",),
    "tensorboard": ("metric", "curves"),
    "mlflow": ("metric", "curves"),
    "wandb": ("metric", "curves"),
    "s3": ("bucket",),
    "server": ("vm", "notebook"),
    "serve": ("deploy",),
    "spend": ("cost", "credit"),
    "ssh": ("vm",),
    "stop": ("abort",),
    "storage": ("bucket", "file"),
    "terminate": ("abort", "delete"),
    "token": ("key",),
    "upload": ("put",),
    "vscode": ("vs code",),
    "download": ("get",),
}


def magic_topic(name: str) -> str:
    """Return the topic of a magic; the last topic if no topic lists the magic."""
    return next((topic for topic, names in TOPICS.items() if name.removeprefix("lk_") in names), list(TOPICS)[-1])
