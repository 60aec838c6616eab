"""Odd answers of the cloud: nothing is active in silence, nothing is paid twice, and no sentence is false.

``python tests/odd_answers.py`` runs more scenarios, and prints a table.
"""

from __future__ import annotations

import pytest
from odd_answers import format_table, try_all
from odd_catalogue import KINDS, all_scenarios, rows, scenarios

#: Parts of the names of the scenarios that ``make test`` runs.
DAILY = (
    "vm · create · list fails · executed, answered null, once",
    "vm · cell · key creation fails · executed, answered 500, once",
    "vm · cell · end · hidden while active",
    "vm · cell · id · dashed",
    "vm · call · fields · other names",
    "vm · delete · end · accepted and ignored 3 times",
    "vm · delete · id · number",
    "volume · create with volume · status fails · 403, once",
    "volume · delete volume · end · ignored, and hidden for a while",
    "volume · delete volume · state · 'degraded' for active from answer 3 on",
    "deployment · deploy · id · dashed",
    "deployment · deploy · fields · only id and state",
    "deployment · undeploy · end · always ignored",
    "deployment · undeploy · delete fails · executed, answered null, once",
    "batch · batch · content · a row more",
    "container · docker · output · empty stream",
    "container · stop container · stop fails · 503, once",
    "session · stop session · end · always ignored",
    "session · session · id · with slashes",
    "session · session · state · 'failed' for active from answer 1 on",
    "session · session · status fails · executed, answered {}, once",
    "run · abort run · end · always ignored",
    "run · run · logs fails · executed, answered 403, once",
)

#: Scenarios in the night.
NIGHTLY = 300


def run_scenarios(chosen, workers):
    results = try_all(chosen, workers, lambda _: None)
    failed = [result for result in results if result.faults]
    texts = [f"{result.scenario}: {result.faults}\n{result.shown[-1500:]}" for result in failed]
    return results, "\n\n".join(texts)


@pytest.mark.timeout(180)
def test_a_sample_of_odd_answers_hides_no_cost_and_shows_no_false_sentence():
    every = all_scenarios()
    results, failures = run_scenarios([every[name] for name in DAILY], 2)
    assert len(results) == len(DAILY)
    assert not failures, failures


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_odd_answers_of_each_kind_hide_no_cost_and_show_no_false_sentence(capsys):
    results, failures = run_scenarios(scenarios(count=NIGHTLY), 4)
    with capsys.disabled():
        print(f"\n{format_table(results)}")
    assert not failures, failures


def test_the_catalogue_has_odd_answers_for_each_step_of_each_kind():
    every = rows()
    for kind in KINDS.values():
        steps = {row.dimension for row in every if row.kind == kind.name}
        assert {f"{step} fails" for step in kind.steps} | {"state", "id", "list", "time", "fields", "end"} <= steps
    assert len({(row.kind, row.dimension, row.label) for row in every}) == len(every) > 1000
