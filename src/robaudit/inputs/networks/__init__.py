"""Networks by name: `ARCHITECTURES` and `build_architecture`."""

from __future__ import annotations

from robaudit.inputs.networks.families import ARCHITECTURES, build_architecture

__all__ = ["ARCHITECTURES", "build_architecture"]
