"""Tensors of torch come back equal; these tests run where torch is installed."""

from __future__ import annotations

import collections
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote.roundtrip import EXAMPLES, there_and_back

from lk_jupyter.remote.values.codec import CannotTravel, Encoder

torch = pytest.importorskip("torch")
tensors = importlib.import_module("lk_jupyter.remote.values.tensors")

SHAPES = st.lists(st.integers(0, 3), max_size=3)
DTYPES = st.sampled_from([*tensors._CODES, torch.complex128])


def made(dtype, shape, seed):
    numbers = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed))
    return (numbers.to(torch.complex128) * (1 + 2j)).to(dtype) if dtype.is_complex else numbers.to(dtype)


@EXAMPLES
@given(st.builds(made, DTYPES, SHAPES, st.integers(0, 2**31)))
def test_a_tensor_comes_back_as_it_went(tensor):
    back = there_and_back(tensor)
    assert (back.dtype, back.shape, back.device) == (tensor.dtype, tensor.shape, tensor.device)
    assert back.reshape(-1).tolist() == tensor.reshape(-1).tolist()


@EXAMPLES
@given(st.builds(made, DTYPES, st.lists(st.integers(1, 3), min_size=2, max_size=2), st.integers(0, 2**31)))
def test_a_view_comes_back_with_what_it_shows(tensor):
    for view in (tensor.T, tensor.T[:, :1], tensor[:, 0], tensor.expand(2, *tensor.shape)):
        back = there_and_back(view)
        assert back.tolist() == view.tolist()
        assert back.is_contiguous() == view.is_contiguous()
        assert back.is_contiguous() or back.stride() == view.stride()


def test_a_small_view_of_a_large_tensor_goes_without_it():
    encoder = Encoder()
    encoder.value("x", torch.zeros(1000, 1000)[:, 0])
    written = []
    encoder.leaves[0](lambda piece: written.append(len(piece)))
    assert sum(written) < 5000


def test_parameters_and_gradients_are_kept():
    weight = torch.nn.Parameter(torch.ones(2))
    back = there_and_back(weight)
    assert isinstance(back, torch.nn.Parameter)
    assert back.requires_grad
    assert there_and_back(torch.ones(1, requires_grad=True)).requires_grad


def test_a_state_dict_fits_the_model_that_it_is_of():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    back = there_and_back(model.state_dict())
    assert type(back) is collections.OrderedDict
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(back)
    assert torch.equal(other[0].weight, model[0].weight)


def test_a_leaf_is_a_file_that_safetensors_reads():
    safetensors = pytest.importorskip("safetensors.torch")
    encoder = Encoder()
    encoder.value("x", torch.arange(6).reshape(2, 3))
    content = bytearray()
    encoder.leaves[0](content.extend)
    assert safetensors.load(bytes(content))["tensor"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_words_of_torch_travel():
    values = [torch.float16, torch.device("cpu"), torch.Size([1, 2])]
    assert there_and_back(values) == values


def test_what_has_no_plain_values_is_refused():
    for value, said in (
        (torch.ones(2).to_sparse(), "x is a tensor without plain values"),
        (torch.nn.Linear(1, 1), r"x is a torch module: send its state_dict\(\)"),
    ):
        with pytest.raises(CannotTravel, match=said):
            Encoder().value("x", value)
