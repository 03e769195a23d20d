"""The forms of the model that an audit uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Models:
    """The forms of the model under audit, each from inputs in [0, 1] to answers (n, K).

    Attributes:
        strict: that judges.
        search: that attacks search with; another one for a randomised model only.
        bare: `search` without its last softmax, if it has one: all attacks but PGD-10, the usual test, search with it.
        helped: by the name of an attack that has its own, what that searches with.

    """

    strict: nn.Module
    search: nn.Module
    bare: nn.Module | None = None
    helped: Mapping[str, nn.Module] = field(default_factory=dict)
