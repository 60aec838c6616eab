"""Tensors of torch, as nodes and leaves; a leaf is a safetensors file with one tensor.

A tensor is restored on the same device, or on the CPU if the device is absent.
"""

from __future__ import annotations

import json
import struct

import torch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .codec import Decoder, Encoder, Sink

NAME = "tensor"
ALIGNED = 8

#: Elements that a tensor with many gaps may span to be sent with the gaps.
SMALL = 8192

#: Name in safetensors → name in torch; an old torch lacks some.
_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_TYPES = {name: getattr(torch, kind) for name, kind in _NAMES.items() if hasattr(torch, kind)}
_CODES = {kind: name for name, kind in _TYPES.items()}


def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    """Fill the node of a value of torch; return False without a native form."""
    if isinstance(value, (torch.dtype, torch.device)):
        node.update(t="torch." + type(value).__name__, v=str(value).replace("torch.", ""))
    elif type(value) is torch.Size:
        node.update(t="torch.Size", v=list(value))
    elif type(value) in (torch.Tensor, torch.nn.Parameter):
        node.update(
            t="torch." + type(value).__name__, grad=value.requires_grad and value.is_leaf, device=str(value.device)
        )
        if value.dtype is torch.complex128:
            node["complex"] = encoder.node(torch.view_as_real(value.detach()))
        else:
            node["leaf"] = _encode_leaf(encoder, value)
            if keeps_strides(value):
                node.update(shape=list(value.shape), strides=list(value.stride()))
    else:
        return False
    encoder.modules.add("torch")
    return True


def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
    """Return the value of a node that ``encode`` made."""
    kind = node["t"].partition(".")[2]
    if kind == "dtype":
        dtype = getattr(torch, node["v"], None)
        if not isinstance(dtype, torch.dtype):
            raise ValueError("torch has no dtype of this name")
        return dtype
    if kind == "device":
        return torch.device(node["v"])
    if kind == "Size":
        return torch.Size(node["v"])
    plain = (
        torch.view_as_complex(decoder.value(node["complex"])) if "complex" in node else read(decoder.leaf(node["leaf"]))
    )
    placed = plain.to(_choose_device(node["device"]))
    if "strides" in node:
        shape, strides = node["shape"], node["strides"]
        require_fit(placed, 0, shape, strides)
        placed = placed.as_strided(shape, strides)
    return _restore_kind(kind, placed, node["grad"])


def _restore_kind(kind: str, placed: torch.Tensor, grad: bool) -> torch.Tensor:
    return torch.nn.Parameter(placed, grad) if kind == "Parameter" else placed.requires_grad_(grad)


def keeps_strides(tensor: torch.Tensor) -> bool:
    """Return whether the strides of a tensor are sent: for tensors that are not contiguous, with few gaps."""
    is_plain = tensor.layout is torch.strided and not (tensor.is_conj() or tensor.is_neg() or tensor.is_contiguous())
    return is_plain and span(tensor) <= max(2 * tensor.numel(), SMALL)


def span(tensor: torch.Tensor) -> int:
    """Return the number of elements from the first to the last in memory."""
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride())) if tensor.numel() else 0


def memory_span(tensor: Any) -> tuple[Any, int, int] | None:
    """Return an identifier of a tensor's memory, and the first and the end element in the memory.

    Return None for tensors without memory, or with positions that aren't sent.
    """
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout is not torch.strided:
        return None
    if tensor.is_meta or not tensor.numel() or tensor.is_conj() or tensor.is_neg():
        return None
    place, first = tensor.data_ptr() - tensor.storage_offset() * tensor.element_size(), tensor.storage_offset()
    return (place, str(tensor.device), tensor.dtype), first, first + span(tensor)


def require_fit(tensor: torch.Tensor, first: int, shape: list[int], strides: list[int]) -> None:
    """Raise ValueError for a shape and strides that lead outside of the elements of a contiguous tensor."""
    sizes = [first, *shape, *strides]
    if len(shape) != len(strides) or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("a shape or stride isn't a valid number")
    last = sum((size - 1) * step for size, step in zip(shape, strides))
    if 0 not in shape and first + last >= tensor.numel():
        raise ValueError("the shape is larger than the tensor")


def owns_memory(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is sent with all of its memory, so that further tensors can be made of parts."""
    return tensor.is_contiguous() or (keeps_strides(tensor) and span(tensor) <= tensor.numel())


def tensor_part(
    owner: torch.Tensor, first: int, shape: list[int], strides: list[int], kind: Sequence[Any]
) -> torch.Tensor:
    """Return a tensor in the memory of ``owner``; ``first`` counts from the owner's first element."""
    return _restore_kind(kind[0], owner.detach().as_strided(shape, strides, owner.storage_offset() + first), kind[1])


def write(tensor: torch.Tensor, sink: Sink) -> None:
    """Write a tensor as a safetensors file."""
    plain = (
        _build_memory_tensor(tensor.detach()) if keeps_strides(tensor) else tensor.detach().resolve_conj().resolve_neg()
    )
    plain = plain.cpu().contiguous()
    size = plain.numel() * plain.element_size()
    head = {NAME: {"dtype": _CODES[plain.dtype], "shape": list(plain.shape), "data_offsets": [0, size]}}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % ALIGNED)
    sink(struct.pack("<Q", len(text)) + text)
    if size:
        sink(memoryview(plain.reshape(-1).view(torch.uint8).numpy()))


def _build_memory_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Return the memory of a tensor from the first to the last element, with zeros in the gaps."""
    try:
        memory = tensor.new_zeros(span(tensor))
        memory.as_strided(tensor.shape, tensor.stride()).copy_(tensor)
    except RuntimeError:  # several elements share one place, as in an expanded tensor
        return tensor.as_strided((span(tensor),), (1,))
    return memory


def read(content: Any) -> torch.Tensor:
    """Return the tensor in the bytes of a safetensors file, without a copy."""
    view = memoryview(content)
    (length,) = struct.unpack("<Q", view[:8])
    head = json.loads(bytes(view[8 : 8 + length]))[NAME]
    dtype, shape = _TYPES[head["dtype"]], head["shape"]
    if not head["data_offsets"][1]:
        if 0 not in shape:
            raise ValueError("a tensor without bytes has elements")
        return torch.empty(shape, dtype=dtype)
    plain = torch.frombuffer(content, dtype=torch.uint8, offset=8 + length)
    if dtype is torch.bool and plain.max() > 1:  # different bytes make torch read and write out of bounds
        raise ValueError("the byte of a bool must be 0 or 1")
    return plain.view(dtype).reshape(shape)


def _encode_leaf(encoder: Encoder, tensor: torch.Tensor) -> int:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise encoder.refusal("is a tensor without plain values: send tensor.to_dense() or the parts of the tensor")
    if tensor.dtype not in _CODES:
        raise encoder.refusal("is a tensor of {}, which safetensors does not have: convert it".format(tensor.dtype))
    return encoder.leaf(lambda sink: write(tensor, sink))


def _choose_device(device: str) -> str:
    """Return a device, or the CPU if the device is absent."""
    kind = device.partition(":")[0]
    if kind == "mps":
        return device if torch.backends.mps.is_available() else "cpu"
    return device if kind == "cuda" and torch.cuda.is_available() else "cpu"
