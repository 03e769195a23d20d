"""A state dict read as a sequence of layers: which tensors belong together and what they are.

Everything after this works on shapes and order, since every author names layers differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch

from robaudit.inputs.files.state_dicts import State
from robaudit.inputs.files.stochastic_weights import with_deviations

#: What the layer that gives the classes is called.
HEAD = re.compile(r"(^|\.)(fc|heads?|classifier|linear|logits|last_linear|output|predictions?)(\.\w+)?$")

Kind = Literal["conv", "linear", "norm", "scale", "other"]

#: Last parts of names, by the role of the tensor.
ROLES = {
    "weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var",
    "num_batches_tracked": "", "kernel": "weight", "w": "weight", "b": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var", "weight_std": "weight_std", "bias_std": "bias_std",
}  # fmt: skip
#: Extra buffers that change nothing in evaluation.
IGNORED = re.compile(
    r"(num_batches_tracked|_u|_v|original1|total_ops|total_params|activation_post_process.*)$"
)
#: What `torch.nn.utils.parametrizations` calls the parts of a weight, and what they were called before.
PARAMETRIZED = re.compile(r"parametrizations\.weight\.(original[01]?|0\._[uv])$")
PARTS = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}


@dataclass(frozen=True, eq=False)
class Layer:
    """Tensors that one module holds.

    Attributes:
        name: the common part of the tensors' names.
        kind: by the weight's shape; `norm` has running statistics, `scale` is another one-dimensional
            weight (group norm, layer norm, PReLU), `other` is anything else.
        tensors: by role: weight, bias, running_mean, running_var; weight_std and bias_std where noise of such standard
            deviations is added in every call.

    """

    name: str
    kind: Kind
    tensors: State = field(repr=False)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the weight, or of the running mean where a normalisation has no weight."""
        tensor = self.tensors["weight"] if "weight" in self.tensors else next(iter(self.tensors.values()))
        return tuple(tensor.shape)

    @property
    def signature(self) -> tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]:
        """What must agree for the tensors to fit another module."""
        return self.kind, tuple(sorted((role, tuple(tensor.shape)) for role, tensor in self.tensors.items()))

    @property
    def normalises(self) -> bool:
        """Whether it is a normalisation: by running statistics, or a scale and a shift (group, layer, instance)."""
        return self.kind == "norm" or (self.kind == "scale" and self.bias and self.shape[0] > 1)

    @property
    def bias(self) -> bool:
        """Whether there is one."""
        return "bias" in self.tensors


def read_layers(state: State) -> list[Layer]:
    """The layers of a state dict, in its order."""
    groups: dict[str, State] = {}
    for key, tensor in _merged(with_deviations(state)).items():
        prefix, _, last = key.rpartition(".")
        role = ROLES.get(last.lower(), "")
        if role:
            groups.setdefault(prefix, {})[role] = tensor
        elif match := re.fullmatch(r"(.*?)[_.]?(weights?|biases|bias|w|b)_?(\d*)", key, re.IGNORECASE):
            role = "weight" if match[2].lower().startswith("w") else "bias"
            groups.setdefault(match[1] + match[3], {})[role] = tensor
        else:
            groups.setdefault(key, {})["value" if _is_constant(last, tensor) else "weight"] = tensor
    layers = [Layer(*_lone_bias(name, tensors, state)) for name, tensors in groups.items()]
    return _paired([layer for layer in layers if layer.kind != "other" or layer.tensors], state)


def _is_constant(name: str, tensor: torch.Tensor) -> bool:
    """Whether a tensor with a name of its own is a number, or one a channel, in the shape of images."""
    return not name.isdigit() and tensor.ndim == 4 and tensor.numel() == tensor.shape[1]


def _lone_bias(name: str, tensors: State, state: State) -> tuple[str, Kind, State]:
    """A layer's name, kind and tensors; a bias without a weight under its own name, as Fixup's `bias1`."""
    if list(tensors) == ["bias"]:
        name = next((key for key, tensor in state.items() if tensor is tensors["bias"]), name)
        tensors = {"weight": tensors["bias"]}
    return name, _kind(tensors), tensors


def _kind(tensors: State) -> Kind:
    if "running_mean" in tensors:
        return "norm"
    weight = tensors.get("weight")
    if weight is None:
        return "other"
    return {4: "conv", 2: "linear", 1: "scale"}.get(weight.ndim, "other")  # type: ignore[return-value]


def _paired(layers: list[Layer], state: State) -> list[Layer]:
    """Joins a nameless matrix and the vector after it: `[W, b, W, b]` lists are weights and biases."""
    joined: list[Layer] = []
    for layer in layers:
        last = joined[-1] if joined else None
        lone = layer.kind == "scale" and not layer.bias
        if (
            last
            and lone
            and last.kind in ("conv", "linear")
            and not last.bias
            and layer.shape[0] == last.shape[0]
        ):
            named = layer.name.rsplit(".", 1)[-1].lower()
            if (named.isdigit() and layer.name in state) or re.search(r"b(ias)?_?\d*$", named):
                both = last.tensors | {"bias": layer.tensors["weight"]}
                joined[-1] = Layer(last.name, last.kind, both)
                continue
        joined.append(layer)
    return joined


def _merged(state: State) -> State:
    """Weight and spectral normalisation folded into plain weights; scalars and idle buffers left out."""
    state = {PARAMETRIZED.sub(lambda match: f"weight_{PARTS[match[1]]}", key): t for key, t in state.items()}
    result: State = {}
    for key, tensor in state.items():
        base, _, part = key.rpartition("_")
        direction, u, mask = (state.get(f"{base}_{other}") for other in ("v", "u", "mask"))
        if not base.endswith("weight"):
            part = ""
        if part == "g" and direction is not None:
            result[base] = _weight_norm(tensor, direction)
        elif part == "orig" and u is not None:
            result[base] = _spectral_norm(tensor, u, direction)
        elif part == "orig" and mask is not None:
            result[base] = tensor * mask
        elif part not in ("v", "mask") and not IGNORED.search(key) and tensor.ndim and tensor.numel():
            result[key] = tensor
    return result


def _weight_norm(scale: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868, Eq. 2: one norm for each number of `scale`."""
    if scale.numel() == 1:
        return direction * (scale.reshape(()) / direction.norm())
    if scale.ndim < direction.ndim:  # one an output
        scale = scale.reshape(-1, *[1] * (direction.ndim - 1))
    joined = [axis for axis in range(direction.ndim) if scale.shape[axis] == 1]
    return direction * (scale / torch.linalg.vector_norm(direction, dim=joined, keepdim=True))


def _spectral_norm(weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor | None) -> torch.Tensor:
    """Miyato et al. 2018, https://arxiv.org/abs/1802.05957, Eq. 8, with the stored singular vectors."""
    u = u.float()
    matrix = weight.flatten(1).float()
    v = torch.nn.functional.normalize(matrix.T @ u, dim=0) if v is None else v.float()
    return weight / torch.dot(u, matrix @ v)


def module_layers(network: torch.nn.Module) -> list[Layer]:
    """The layers of a network, in the order in which its modules are defined."""
    return read_layers(network.state_dict())


def alphabetical(layers: list[Layer]) -> bool:
    """Whether the layers stand sorted by name, as no author of several layers defines them."""
    names = [layer.name for layer in layers]
    return len(names) > 2 and names == sorted(names)


def last_layer(layers: list[Layer]) -> Layer | None:
    """The linear or convolutional layer that gives the classes: the last, or by name where names are sorted."""
    mains = [layer for layer in layers if layer.kind in ("conv", "linear")]
    named = [layer for layer in mains if HEAD.search(layer.name)] if alphabetical(layers) else []
    depth = min((layer.name.count(".") for layer in named), default=0)
    return next(reversed([layer for layer in named if layer.name.count(".") == depth] or mains), None)


def chain_classes(layers: list[Layer]) -> int:
    """Outputs of the layer that gives the classes, or 0 where there is none."""
    last = last_layer(layers)
    return last.shape[0] if last else 0


def input_channels(layers: list[Layer]) -> int | None:
    """Channels of the images, by the first convolution; None for a net of linear layers."""
    return next((layer.shape[1] for layer in layers if layer.kind == "conv"), None)
