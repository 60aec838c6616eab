import pytest

from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.widgets import form_for


def test_what_is_typed_becomes_the_options_and_the_line():
    form = form_for(RunOptions)
    form.entries = {"gpu": "A100", "timeout": "60", "requirements": "torch 'numpy<3'", "metadata": "a=1 b=2"}
    assert form.value == RunOptions(
        gpu="A100", timeout=60, requirements=["torch", "numpy<3"], metadata={"a": "1", "b": "2"}
    )
    assert str(form) == form.line
    assert "--gpu A100 --timeout 60" in form.line


def test_a_form_begins_with_the_options_it_is_given():
    options = RunOptions(gpu="H100", label=["a b", "c"], in_all=True)
    assert form_for(options).value == options


def test_what_is_left_empty_is_not_said():
    form = form_for(RunOptions)
    form.entries = {"gpu": "", "in_all": False, "attach": ""}
    assert form.value == RunOptions()
    assert form.line == ""


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [("timeout", "soon", "a duration"), ("requirements", "'torch", "quotation mark"), ("metadata", "ab", "key=value")],
)
def test_what_does_not_fit_is_told_at_its_field_and_is_no_value(name, typed, said):
    form = form_for(RunOptions)
    form.entries = {name: typed}
    assert said in form.problems[name]
    with pytest.raises(UsageError, match=said):
        str(form)


def test_each_option_of_a_run_can_be_filled_in():
    form = form_for(RunOptions)
    assert [field["name"] for field in form.fields] == list(RunOptions.model_fields)
    assert next(field for field in form.fields if field["name"] == "attach")["choices"] == ["", "auto"]
