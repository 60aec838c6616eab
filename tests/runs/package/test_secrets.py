"""The code of a run reads the stored secrets that its line names, and no others."""

import pytest

from lk_jupyter.api.environment_variables import EnvironmentVariableInput
from lk_jupyter.errors import UsageError

#: Shows which of the secrets the code, and a process that it starts, find.
CODE = """import os, subprocess, sys
look = "import os; print([name for name in ('LK_FIRST', 'LK_SECOND') if name in os.environ])"
exec(look)
print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout)
"""


@pytest.fixture
def secrets(session):
    values = {"LK_FIRST": "0123456789abcdef-one", "LK_SECOND": "0123456789abcdef-two"}
    for name, value in values.items():
        session.client.environment_variables.upsert(EnvironmentVariableInput(name=name, value=value))
    yield values
    session.client.environment_variables.delete_all()


def test_a_run_reads_the_named_secrets_only_and_no_record_has_their_values(session, secrets):
    assert session.run(CODE).result().stdout.count("['LK_FIRST', 'LK_SECOND']") == 2
    run = session.run(CODE, secret=["LK_SECOND"])
    assert run.result().stdout.split("\n")[:2] == ["['LK_SECOND']"] * 2
    stored = run.record.model_dump_json() + run.record.stdout + str(run.bundle.request) + run.import_files
    assert not [value for value in secrets.values() if value in stored]


def test_an_unknown_secret_is_refused_before_anything_is_sent(session, secrets):
    with pytest.raises(UsageError, match=r"no stored secret is called 'LK_FIRTS'\. Nothing was sent\. .*'LK_FIRST'"):
        session.run("1", secret=["LK_FIRTS"])
    with pytest.raises(UsageError, match=r"Store it: %lk_secrets set OTHER"):
        session.run("1", secret=["OTHER"])
