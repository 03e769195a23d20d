"""What the flags name, as far as their text alone tells whether it can be: asked before torch is imported."""

from __future__ import annotations

import importlib.util

from robaudit.errors import RobauditError

#: The package of the unmodified reference.
_REFERENCE = "pyautoattack"


def check_engine(engine: str, **helpers: str | None) -> None:
    """Nothing, if the engine is here and has the attacks that other models are for.

    Args:
        engine: what `--engine` says.
        helpers: by flag, the other model; None where there is none.

    Raises:
        RobauditError: it is not, or has not.

    """
    if engine != "reference":
        return
    for flag, model in helpers.items():
        if model is not None:
            raise RobauditError(
                f"--{flag} {model}: the reference engine has no such attack; leave out --{flag} or --engine"
            )
    if importlib.util.find_spec(_REFERENCE) is None:
        raise RobauditError(
            f"--engine reference: needs the {_REFERENCE} package; pip install {_REFERENCE}"
        )
