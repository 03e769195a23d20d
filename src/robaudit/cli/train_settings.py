"""From the flags of `robaudit train` to the settings of a run, without torch: a bad value is told at once."""

from __future__ import annotations

from typing import Any

from robaudit.errors import RobauditError
from robaudit.training import Inner, TrainSettings, preset

#: Examples held out of the training split, and at most one in this many of it.
_VALIDATION_EXAMPLES, _VALIDATION_ONE_IN = 1000, 5
#: More examples than any setting asks for.
_PLENTY = 1 << 40


def check_settings(dataset: str, given: dict[str, Any]) -> None:
    """Nothing, if the flags make a run of enough examples.

    Raises:
        RobauditError: a bad value.

    """
    settings_for(dataset, given, _PLENTY)


def settings_for(dataset: str, given: dict[str, Any], examples: int) -> TrainSettings:
    """The data set's usual settings with those that were given in their place.

    Args:
        dataset: its name or path.
        given: fields of `TrainSettings`; `eps`, `step_size` and `steps` of `Inner`.
        examples: in the training split.

    Raises:
        RobauditError: a bad value.

    """
    usual = preset(dataset)
    given = dict(given)
    eps = given.pop("eps", usual.eps)
    step = given.pop("step_size", usual.step_size * eps / usual.eps)
    fields: dict[str, Any] = {
        "epochs": usual.epochs,
        "batch_size": usual.batch_size,
        "lr": usual.lr,
        "arch": usual.arch,
        "augment": usual.augment,
        "validation": min(_VALIDATION_EXAMPLES, max(1, examples // _VALIDATION_ONE_IN)),
    }
    try:
        return TrainSettings(
            dataset=dataset, inner=Inner(eps, step, given.pop("steps", 10)), **fields | given
        )
    except ValueError as error:
        raise RobauditError(str(error)) from error
