"""Tensors of torch, as nodes and leaves; a leaf is a safetensors file with one tensor in it.

Travels with a run. A tensor comes back on the device that it was on, or on the CPU where there is none.
"""

from __future__ import annotations

import json
import struct

import torch

NAME = "tensor"
ALIGNED = 8

#: Name in safetensors → name in torch, which may be too old to have it.
_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_TYPES = {name: getattr(torch, kind) for name, kind in _NAMES.items() if hasattr(torch, kind)}
_CODES = {kind: name for name, kind in _TYPES.items()}


def encode(encoder, node, value):
    """Make the node of a value of torch; False when it has no form."""
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
            node["leaf"] = _leaf(encoder, value)
    else:
        return False
    encoder.modules.add("torch")
    return True


def decode(decoder, node):
    """Return the value of a node that ``encode`` made."""
    kind = node["t"].partition(".")[2]
    if kind == "dtype":
        return getattr(torch, node["v"])
    if kind == "device":
        return torch.device(node["v"])
    if kind == "Size":
        return torch.Size(node["v"])
    plain = (
        torch.view_as_complex(decoder.value(node["complex"])) if "complex" in node else read(decoder.leaf(node["leaf"]))
    )
    placed = plain.to(_present(node["device"]))
    return torch.nn.Parameter(placed, node["grad"]) if kind == "Parameter" else placed.requires_grad_(node["grad"])


def write(tensor, sink):
    """Write a tensor as a safetensors file."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    size = plain.numel() * plain.element_size()
    head = {NAME: {"dtype": _CODES[plain.dtype], "shape": list(plain.shape), "data_offsets": [0, size]}}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % ALIGNED)
    sink(struct.pack("<Q", len(text)) + text)
    if size:
        sink(memoryview(plain.reshape(-1).view(torch.uint8).numpy()))


def read(content):
    """Return the tensor in the bytes of a safetensors file; it uses them, not a copy."""
    view = memoryview(content)
    (length,) = struct.unpack("<Q", view[:8])
    head = json.loads(bytes(view[8 : 8 + length]))[NAME]
    dtype, shape = _TYPES[head["dtype"]], head["shape"]
    if not head["data_offsets"][1]:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=torch.uint8, offset=8 + length).view(dtype).reshape(shape)


def _leaf(encoder, tensor):
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise encoder.refusal("is a tensor without plain values: send tensor.to_dense(), or the parts that it has")
    if tensor.dtype not in _CODES:
        raise encoder.refusal("is a tensor of {}, which safetensors does not have: convert it".format(tensor.dtype))
    return encoder.leaf(lambda sink: write(tensor, sink))


def _present(device):
    """Return a device, or the CPU where it is not."""
    kind = device.partition(":")[0]
    if kind == "mps":
        return device if torch.backends.mps.is_available() else "cpu"
    return device if kind == "cuda" and torch.cuda.is_available() else "cpu"
