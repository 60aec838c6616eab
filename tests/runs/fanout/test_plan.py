"""Which runs a line asks for."""

from decimal import Decimal

import pytest

from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._output.fanout import format_highest_cost
from lk_jupyter.options.runs import RunOptions, is_several
from lk_jupyter.protocol.metadata import GROUP_KEY, MEMBER_KEY, REQUEST_KEY
from lk_jupyter.runs.fanout.fanout import FanOut
from lk_jupyter.runs.fanout.plan import prepare_plans
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.session import connect

CODE = "print(lr, bs)"


@pytest.fixture(scope="module")
def session(cloud):
    with connect(cloud.base_url, cloud.api_key) as session:
        yield session


@pytest.fixture
def lanes(session, home):
    def lanes(code=CODE, **options):
        return prepare_plans(session, Source(code), RunOptions(**options))

    return lanes


def test_every_machine_meets_every_combination_of_the_values(lanes):
    found = lanes(gpu="A100,H100", sweep=["lr=0.1,0.01", "bs=32,64"])
    assert [lane.title for lane in found] == [
        f"{machine} · lr={lr} · bs={bs}" for machine in ("A100", "H100") for lr in (0.1, 0.01) for bs in (32, 64)
    ]
    assert [lane.number for lane in found] == list(range(1, 9))


def test_a_choice_of_machines_keeps_its_meaning_inside_a_list(lanes):
    assert [lane.machine for lane in lanes(gpu="H100, A100|L40S")] == ["gpu.h100", "gpu.a100"]


def test_profiles_may_be_listed_too(lanes):
    assert [lane.machine for lane in lanes(machine="cpu,gpu.a100")] == ["cpu", "gpu.a100"]


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("lr=0.1,1e-3", [0.1, 1e-3]),
        ("lr=adam,sgd", ["adam", "sgd"]),
        ("lr=True,None", [True, None]),
        ("lr=(1,2),[3,4]", [(1, 2), [3, 4]]),
        ("lr='a,b',\"c\"", ["a,b", "c"]),
        ("lr={'a': 1, 'b': 2}, 3", [{"a": 1, "b": 2}, 3]),
        ("lr=a=b,c", ["a=b", "c"]),
        ("lr=it's", ["it's"]),
        ("lr=1", [1]),
    ],
)
def test_values_are_python_where_they_can_be_and_else_text(lanes, sweep, values):
    assert [lane.values["lr"] for lane in lanes(sweep=[sweep])] == values


def test_the_code_finds_its_values_set_and_keeps_its_line_numbers(session, home):
    source = Source("import sys\nprint(lr, size, sys.argv)", first_line=2)
    (lane,) = prepare_plans(session, source, RunOptions(sweep=["lr=0.1", "size=big"], arg=["7"]))
    first, *rest = lane.bundle.request.code.split("\n")
    assert rest == ["import sys", "print(lr, size, sys.argv)"]
    found = {}
    exec(first, found)
    assert (found["lr"], found["size"]) == (0.1, "big")
    assert lane.bundle.line_shift == 0


def test_a_run_can_be_found_by_its_values_and_its_group(lanes):
    found = lanes(sweep=["lr=0.1,0.01"], name="try", label=["mine"], metadata={"k": "v"})
    one, other = (lane.bundle.request for lane in found)
    assert one.run_name == "try lr=0.1"
    assert one.labels == ["mine", "lr=0.1"]
    assert one.metadata["k"] == "v"
    assert other.metadata["lr"] == "0.01"
    assert one.metadata[GROUP_KEY] == other.metadata[GROUP_KEY]
    assert [one.metadata[MEMBER_KEY], other.metadata[MEMBER_KEY]] == ["1", "2"]
    assert one.metadata[REQUEST_KEY] != other.metadata[REQUEST_KEY]


def test_the_worst_case_is_the_sum_of_all(session, lanes):
    plans = lanes(gpu="A100,H100", timeout=359)
    assert FanOut(session, plans, RunOptions()).worst_case == Decimal("0.438")
    assert FanOut(session, plans, RunOptions(max_cost=Decimal("0.4"))).worst_case == Decimal("0.4")


def test_a_machine_without_a_price_leaves_the_sum_of_the_others(session, lanes):
    fan = FanOut(session, lanes(machine="cpu,gpu.a100", timeout=359), RunOptions())
    assert fan.worst_case == Decimal("0.159")
    assert format_highest_cost(fan) == "0.1590 credits, plus the cost on cpu, whose price is unknown"
    assert format_highest_cost(FanOut(session, lanes(machine="cpu"), RunOptions())) == "cpu, whose price is unknown"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sweep": ["lr"]}, "lr=0.1,0.01"),
        ({"sweep": ["1r=2"]}, "takes a variable"),
        ({"sweep": ["class=2"]}, "takes a variable"),
        ({"sweep": ["lr=1,,2"]}, "a value is missing"),
        ({"sweep": ["lr="]}, "a value is missing"),
        ({"sweep": ["lr=1,1"]}, "is named twice"),
        ({"sweep": ["lr=1", "lr=2"]}, "one list"),
        ({"sweep": ["momentum=1,2"]}, "doesn't use 'momentum'"),
        ({"sweep": ["lr=1,2"], "inputs": ["bs,lr"]}, "both set 'lr'"),
        ({"gpu": "A100,"}, "missing next to a comma"),
        ({"gpu": "A100,gpu.a100"}, "--sweep seed=1,2,3"),
        ({"gpu": "A100,A1000"}, "Unknown machine 'A1000'"),
        ({"gpu": "A100,H100", "machine": "cpu"}, "one of them"),
        ({"sweep": [f"lr={','.join(map(str, range(20)))}", f"bs={','.join(map(str, range(20)))}"]}, "400 runs"),
        ({"gpu": "A100,H100", "timeout": 9999}, "--timeout"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(lanes, options, words):
    with pytest.raises(UsageError) as told:
        lanes(**options)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("line", ["lr = 0.1", "!true\nlr = 0.1", "lr: float = 0.1", "x = lr = 0.1"])
def test_a_cell_that_sets_the_variable_itself_is_refused(lanes, line):
    with pytest.raises(UsageError, match="sets 'lr' itself"):
        lanes(f"import sys\n{line}\nprint(lr)", sweep=["lr=0.1,0.2"])


@pytest.mark.parametrize(
    "line", ["lr = lr * 2", "print(lr); lr = 3", "def f():\n    lr = 1\nprint(lr)", "print(f'{lr}')"]
)
def test_a_cell_that_uses_the_value_first_is_not(lanes, line):
    assert len(lanes(line, sweep=["lr=0.1,0.2"])) == 2


def test_a_cell_that_does_not_parse_is_a_syntax_error(lanes):
    with pytest.raises(SyntaxError):
        lanes("print(lr", sweep=["lr=1,2"])


def test_one_machine_is_one_run():
    assert not is_several(RunOptions(gpu="A100|H100"))
    assert not is_several(RunOptions())
    assert is_several(RunOptions(gpu="A100,H100"))
    assert is_several(RunOptions(sweep=["lr=1"]))


@pytest.mark.parametrize("option", [{"metric": ["x"]}, {"stop_on_first": True}, {"require_all": True}, {"parallel": 2}])
def test_what_compares_runs_needs_several(session, home, option):
    with pytest.raises(UsageError, match="The option works for several runs: "):
        prepare(session, Source("1"), RunOptions(**option))


def test_one_run_on_two_machines_says_how_to_ask_for_two(session, home):
    with pytest.raises(UsageError, match="fan_out"):
        session.run("print(1)", gpu="A100,H100")
