"""PyTorch's operators by the names that TorchScript and `.pt2` files have for them."""

from __future__ import annotations

from robaudit.inputs.programs.aten.operators import OPERATORS
from robaudit.inputs.programs.aten.shapes import DTYPES, is_tensor

__all__ = ["DTYPES", "OPERATORS", "is_tensor"]
