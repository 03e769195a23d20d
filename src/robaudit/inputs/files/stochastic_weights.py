"""Weights that a file holds as a mean and what gives a standard deviation: noise is added in every call."""

from __future__ import annotations

import re

import torch.nn.functional as F

from robaudit.inputs.files.several import State

_NAME = "(weight|kernel|bias)"
#: The mean's name, and beside it the logarithm of the deviation, what softplus makes one of, or the last draw.
_MEAN = re.compile(rf"(.*\.|)(?:mu_{_NAME}|{_NAME}_mu)")
_SPREAD = re.compile(rf"(.*\.|)(?:(sigma|rho|eps)_{_NAME}|{_NAME}_(rho|eps))")
_SHARE = re.compile(r"(.*\.|)alpha_w")


def with_deviations(state: State) -> State:
    """Means as plain `weight` and `bias`, and beside them `weight_std` and `bias_std`; other tensors as they are.

    Parametric noise injection has `alpha_w`, a share of the weights' own deviation (He et al. 2019,
    https://arxiv.org/abs/1811.09310, Eq. 3), Bayesian layers a deviation a number (Liu et al. 2019,
    https://arxiv.org/abs/1810.01279; Blundell et al. 2015, https://arxiv.org/abs/1505.05424).
    """
    means = {(m[1], m[2] or m[3]) for key in state if (m := _MEAN.fullmatch(key))}
    result: State = {}
    for key, tensor in state.items():
        if match := _MEAN.fullmatch(key):
            result[match[1] + _role(match[2] or match[3])] = tensor
        elif (match := _SPREAD.fullmatch(key)) and (match[1], match[3] or match[4]) in means:
            kind = match[2] or match[5]
            if kind != "eps":
                std = tensor.float().exp() if kind == "sigma" else F.softplus(tensor.float())
                result[f"{match[1]}{_role(match[3] or match[4])}_std"] = std
        elif (match := _SHARE.fullmatch(key)) and (weight := state.get(f"{match[1]}weight")) is not None:
            result[f"{match[1]}weight_std"] = tensor.float().abs() * weight.float().std()
        else:
            result[key] = tensor
    return result


def _role(name: str) -> str:
    return name.replace("kernel", "weight")
