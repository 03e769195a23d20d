"""The stages by name."""

from __future__ import annotations

from collections.abc import Callable

from gpu_stages.calls import Call
from gpu_stages.collapse import collapse
from gpu_stages.right import right
from gpu_stages.speed import speed
from gpu_stages.table3 import table3

STAGES: dict[str, Callable[[Call], None]] = {
    "right": right,
    "speed": speed,
    "collapse": collapse,
    "table3": table3,
}
