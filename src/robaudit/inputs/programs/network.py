"""A program as a network: its graph for images of one shape, and batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from robaudit.inputs.programs.batches import record_any_batch
from robaudit.inputs.programs.layers import graph_module
from robaudit.inputs.programs.outputs import Answer, NoLogitsError
from robaudit.inputs.programs.recording import record

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Program:
    """What a file says, before the shape of the images is known.

    Attributes:
        run: from images (N, C, H, W), as tensors or as a `recording.Value`, to the answer: logits (N, classes), or
            several tensors, one of which they are.
        tensors: learned numbers.
        image_shape: (C, H, W) where the file says it.
        batch: images that it was written for at once; 0 where it does not say, or takes any number.
        otherwise: what follows from this one's failure: another way to a network, or advice.

    """

    run: Callable[[Any], Any]
    tensors: list[Tensor]
    image_shape: Shape | None = None
    batch: int = 0
    otherwise: Callable[[Exception], nn.Module] | None = None


class ProgramNetwork(nn.Module):
    """Images, already normalised, (N, C, H, W), to (N, classes).

    Attributes:
        body: the operations, of PyTorch's own layers and functions. (Traced networks have a `graph` of their own.)
        fixed_batch: how many images the graph takes at once; 0: any number.

    """

    #: The part whose answers are passed on as they are.
    answers_with = "body"

    def __init__(self, body: fx.GraphModule, fixed_batch: int) -> None:
        super().__init__()
        self.body, self.fixed_batch = body, fixed_batch

    def forward(self, x: Tensor) -> Tensor:
        """Logits; a fixed batch size is met by slices, the last one filled up."""
        size = self.fixed_batch
        if not size or len(x) == size:
            return self.body(x)
        rows = torch.cat([x, x[:1].expand(-len(x) % size, -1, -1, -1)])
        return torch.cat([self.body(part) for part in rows.split(size)])[: len(x)]


class UnshapedNetwork(nn.Module):
    """A program that does not say what images it takes: its graph is made for the first ones that come."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.tensors = nn.ParameterList(nn.Parameter(t, requires_grad=False) for t in program.tensors)
        self._networks: dict[Shape, nn.Module] = {}

    def forward(self, x: Tensor) -> Tensor:
        """As `ProgramNetwork`."""
        _, channels, height, width = x.shape
        shape = (channels, height, width)
        if shape not in self._networks:
            self._networks = {shape: build_network(self.program, shape)}
        return self._networks[shape].to(x.device)(x)


def build_network(program: Program, shape: Shape, answer: Answer | None = None) -> nn.Module:
    """The program's network for images of one shape; `answer` says which of its outputs are the logits.

    Raises:
        RobauditError: it asks for what is never needed, or for too much.
        Exception: whatever its operations raise when the shape does not fit.

    """
    try:
        return _recorded(program, shape, answer or Answer())
    except Exception as error:
        if program.otherwise is None or isinstance(error, NoLogitsError):
            raise
        return program.otherwise(error)


def _recorded(program: Program, shape: Shape, answer: Answer) -> ProgramNetwork:
    """The program's graph for images of one shape.

    Its graph takes batches of any size where that gives the same answers as one image at a time, and as the batch
    that the file was written for; otherwise only that batch.
    """
    size, own = program.batch or 1, sum(tensor.nbytes for tensor in program.tensors)

    def run(x: Any) -> Any:
        return answer.logits(program.run(x), len(x))

    fixed: ProgramNetwork | None = None
    reason: Exception | None = None
    try:
        fixed = ProgramNetwork(graph_module(record(run, shape, size, size, own)), size)
    except Exception as error:  # a file may say a size that its operations do not take
        reason = error
    try:
        free = ProgramNetwork(graph_module(record_any_batch(run, shape, size, own)), 0)
        if _agree(free, fixed or free, shape):
            return free
    except Exception as error:  # operations for one size of batch fail in many ways at another
        reason = reason or error
    if fixed is None:
        assert reason is not None
        raise reason
    return fixed


def example_image(shape: Shape) -> Tensor:
    """An image (1, C, H, W) in [0, 1] that is no two pixels' the same."""
    channels, height, width = shape
    return torch.linspace(0, 1, channels * height * width).reshape(1, *shape)


def _agree(free: ProgramNetwork, fixed: ProgramNetwork, shape: Shape) -> bool:
    """Whether a graph for any number of images answers as the one for a fixed number, and row by row."""
    image = example_image(shape)
    images = torch.cat([image, image.flip(-1) * 0.5])
    with torch.no_grad():
        together = free(images)
        alone = torch.cat([free(row) for row in images.split(1)])
        expected = fixed(images)
    return all(
        together.shape == other.shape
        and torch.allclose(together, other, atol=1e-3, rtol=1e-3, equal_nan=True)
        for other in (alone, expected)
    )
