"""Foreign files are read in a child process first: what harms it harms nothing else."""

from __future__ import annotations

from robaudit.sandbox.child import Limits, Parts, in_child
from robaudit.sandbox.memory import available_memory, parse_bytes

__all__ = ["Limits", "Parts", "available_memory", "in_child", "parse_bytes"]
