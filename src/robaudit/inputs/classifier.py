"""The model under audit: a network and its normalisation behind one signature, and where it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import RobauditError
from robaudit.files import replacing
from robaudit.inputs.normalisation import Normalisation, Normalise, parse_normalisation

#: The metadata entry by which `load_classifier` knows its own files.
METADATA = "robaudit"


@dataclass(frozen=True)
class ModelInfo:
    """What a model is and how that was found.

    Attributes:
        path: as the user gave it.
        sha256: of the file; empty where there is none.
        architecture: text that `load_classifier(arch=...)` takes to get the same network.
        normalisation: text that `load_classifier(normalise=...)` takes to get the same normalisation.
        parameters: number of learned numbers.
        classes: outputs; 0 where a program does not tell.
        input_shape: (C, H, W) where it is known.
        format: such as `safetensors`, `pytorch zip`, `torchscript`, `onnx`.
        notes: sentences for the report: how things were found, what to doubt.
        key: which of several models in the file was asked for; empty where none was.
        digest: of what is audited (`inputs.identity`); empty where nobody asked for it.

    """

    path: str
    sha256: str
    architecture: str
    normalisation: str
    parameters: int
    classes: int
    input_shape: tuple[int, int, int] | None
    format: str
    notes: tuple[str, ...] = ()
    key: str = ""
    digest: str = ""


class Classifier(nn.Module):
    """(N, C, H, W) float32 in [0, 1] to logits (N, K), in evaluation mode, without parameter gradients."""

    #: The part whose answer is passed on as it is.
    answers_with = "network"

    def __init__(self, network: nn.Module, normalisation: Normalisation, info: ModelInfo) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalise(normalisation)
        self.info = info
        if not isinstance(network, torch.jit.ScriptModule):
            self.network.float()
        self.eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images in [0, 1]."""
        logits: torch.Tensor = self.network(self.normalise(x))
        return logits

    @property
    def mean(self) -> torch.Tensor:
        """(1, C, 1, 1), or (1, 1, 1, 1) zero where nothing is subtracted."""
        return self.normalise.mean

    @property
    def std(self) -> torch.Tensor:
        """(1, C, 1, 1), or (1, 1, 1, 1) one where nothing is divided."""
        return self.normalise.std


def save_classifier(
    network: nn.Module,
    path: Path | str,
    *,
    architecture: str,
    classes: int,
    input_shape: tuple[int, int, int],
    normalisation: str = "none",
    extra: dict[str, str] | None = None,
) -> None:
    """Write a network as a `.safetensors` file that `load_classifier` loads with no flag.

    The file is written beside its place and moved there when complete.

    Args:
        network: built by `build_architecture(architecture, ...)`, or its `Classifier`.
        path: where to.
        architecture: text that `build_architecture` takes.
        classes: outputs.
        input_shape: (C, H, W) of the images.
        normalisation: text that `--normalise` takes.
        extra: more metadata, such as the epoch.

    Raises:
        RobauditError: the place cannot be written.

    """
    path = Path(path)
    network = network.network if isinstance(network, Classifier) else network
    parse_normalisation(normalisation, input_shape[0])
    entry = {
        "architecture": architecture,
        "classes": classes,
        "input_shape": list(input_shape),
        "normalisation": normalisation,
    }
    tensors = {
        key: tensor.detach().cpu().contiguous().clone() for key, tensor in network.state_dict().items()
    }
    metadata = {**(extra or {}), METADATA: json.dumps(entry), "format": "pt"}
    try:
        with replacing(path) as partial:
            save_file(tensors, str(partial), metadata=metadata)
            _sort_metadata(partial)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix("Error while serializing: ")
        raise RobauditError(
            f"{path}: cannot be written ({reason}); choose another place, or free space"
        ) from error


def _sort_metadata(path: Path) -> None:
    """The same weights and metadata are the same bytes: the library writes metadata in an order of chance."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))
