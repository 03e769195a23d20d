"""What a model is, as one digest: what is computed, never a name or a path."""

from __future__ import annotations

import hashlib
import inspect
import re

import torch
from torch import nn

#: Python values that steer a module without being printed by it.
_PLAIN = (bool, int, float, str, tuple)


def program_digest(sha256: str, normalisation: str) -> str:
    """A network that its file describes itself: the file's bytes and what is done to images first."""
    return _digest("program", sha256, normalisation)


def network_digest(network: nn.Module, structure: str, normalisation: str) -> str:
    """A network of tensors.

    Args:
        network: its parameters and buffers count, by name, type, shape and bytes.
        structure: what is computed with them: an architecture's text, or `class_structure` and the source.
        normalisation: what is done to images first, as text.

    Returns:
        64 hexadecimal digits.

    """
    found = hashlib.sha256(_digest("network", structure, normalisation).encode())
    for name, tensor in _tensors(network):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def module_digest(module: nn.Module, normalisation: str = "none") -> str:
    """A module in memory: its tensors, and its classes with their source."""
    return network_digest(module, f"{class_structure(module)}\n{_class_sources(module)}", normalisation)


def class_structure(network: nn.Module) -> str:
    """The classes of a network's modules as they print themselves, and their plain attributes, as text."""
    lines = [re.sub(r"0x[0-9a-f]+", "", repr(network))]
    for name, module in network.named_modules():
        own = sorted(
            (key, value)
            for key, value in vars(module).items()
            if isinstance(value, _PLAIN) and not key.startswith("_") and key != "training"
        )
        lines.append(f"{name} {type(module).__qualname__} {own!r}")
    return "\n".join(lines)


def _class_sources(network: nn.Module) -> str:
    """The source of the classes of a network's modules, PyTorch's own aside; the bytecode where no source is kept."""
    if isinstance(network, torch.jit.ScriptModule):
        return "\n".join(str(getattr(module, "code", "")) for module in network.modules())
    kinds = {type(module) for module in network.modules()}
    others = [kind for kind in kinds if not kind.__module__.startswith("torch.")]
    return "\n".join(sorted(_source(kind) for kind in others))


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        codes = [getattr(item, "__code__", None) for item in vars(kind).values()]
        return repr([(code.co_code, code.co_names) for code in codes if code is not None])


def _tensors(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters, buffers, and tensors that are plain attributes."""
    found = [*network.named_parameters(), *network.named_buffers()]
    if isinstance(network, torch.jit.ScriptModule):
        return found
    for name, module in network.named_modules():
        loose = [(key, value) for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
        found += [(f"{name}.{key}", value) for key, value in sorted(loose, key=lambda item: item[0])]
    return found


def _digest(*parts: str) -> str:
    found = hashlib.sha256()
    for part in parts:  # lengths, so that no two lists of parts give the same bytes
        data = part.encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()
