"""The size of pictures that models themselves ask for, known before any of their tensors is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robaudit.inputs.files.copies import exists
from robaudit.inputs.files.model_folders import read_beside
from robaudit.inputs.recovery.described import described
from robaudit.places import expanded
from robaudit.sandbox import Parts, in_child


def usual_size(models: Sequence[str]) -> str:
    """What `--image-size` brings pictures to that go into all of these models, as the JSON beside each says.

    Returns:
        Empty where one says nothing or two differ.

    Raises:
        RobauditError: such JSON is damaged.

    """
    found = {_one_size(expanded(model)) for model in models}
    return found.pop() if len(found) == 1 else ""


def _one_size(path: Path) -> str:
    if not exists(path) or not (copy := read_beside(path)).beside:
        return ""

    def look() -> Parts:
        description = described(copy)
        return {"size": description.size.text if description and description.known else ""}

    return str(in_child(str(path), look)["size"])
