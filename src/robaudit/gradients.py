"""Derivatives with respect to a network's input."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.errors import RobauditError


def input_gradient(value: Tensor, x: Tensor) -> Tensor:
    """The derivative of a number by `x`: zero where nothing can be derived, behind thresholds or integers, say.

    Raises:
        RobauditError: the network overwrites what its derivative is made of.

    """
    if not value.requires_grad:
        return torch.zeros_like(x)
    try:
        (gradient,) = torch.autograd.grad(value, x, materialize_grads=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise RobauditError(
            "model: overwrites in place what its gradient is made of, so that it has none; write its operations "
            "without inplace=True, += or a trailing underscore"
        ) from error
    return gradient
