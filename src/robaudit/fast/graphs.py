"""Graphs that a device records and replays: what a kind of device has to offer for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """Operations of one device, recorded and replayed on the same memory."""

    def recording(self) -> AbstractContextManager[None]:
        """What is done inside is recorded."""
        ...

    def replay(self) -> None:
        """Do it again, with what the same tensors hold now."""
        ...


class CUDAGraph:
    """A graph of CUDA's; those of one `pool` share memory, so that one pass at a time may be under way."""

    def __init__(self, pool: Any) -> None:
        self._graph, self._pool = torch.cuda.CUDAGraph(), pool

    @staticmethod
    def new_pool() -> Any:
        """For the graphs of one model."""
        return torch.cuda.graph_pool_handle()

    @staticmethod
    @contextmanager
    def warming_up() -> Iterator[None]:
        """On a stream of its own, as recording is."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream().wait_stream(stream)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """What is done inside is recorded."""
        with torch.cuda.graph(self._graph, pool=self._pool):
            yield

    def replay(self) -> None:
        """Do it again, with what the same tensors hold now."""
        self._graph.replay()


#: The kinds of device that can record.
GRAPHS: dict[str, Any] = {"cuda": CUDAGraph}
