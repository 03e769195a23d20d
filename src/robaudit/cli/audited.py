"""The model that evidence is about, loaded again as the evidence says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.cli.common import image_classes, image_shape
from robaudit.errors import RobauditError
from robaudit.places import expanded

if TYPE_CHECKING:
    from robaudit.evidence import Header
    from robaudit.inputs import Classifier


def load_audited(
    model: str,
    header: Header,
    evidence: Path,
    given: Mapping[str, str | None],
    *,
    trust_program: bool = False,
) -> Classifier:
    """The checkpoint `model`, read as `evidence` says where the user does not.

    Args:
        model: as the user names it.
        header: of the evidence.
        evidence: its file.
        given: what the user says of `arch`, `normalise` and `key`.
        trust_program: as `load_classifier`.

    Raises:
        RobauditError: it cannot be loaded, is another one, or the evidence names code that the user did not.

    """
    from robaudit.audit import another_model, expect_model
    from robaudit.inputs import file_sha256, is_factory, load_classifier

    arch, normalise, key = (given.get(name) for name in ("arch", "normalise", "key"))
    recorded, is_file = header.model["architecture"], expanded(model).is_file()
    if arch is None and is_file and is_factory(recorded):
        raise RobauditError(
            f"{evidence}: was made with code of its own ({recorded}), which is never run on a file's word; "
            "read that code and pass --arch"
        )
    try:
        classifier = load_classifier(
            model,
            arch=arch or (recorded if is_file else None),
            normalise=normalise or header.model["normalisation"],
            key=key or header.model.get("key") or None,
            shape=image_shape(header),
            classes=image_classes(header),
            trust_program=trust_program,
        )
    except RobauditError:
        # Another file, to which the audited one's structure was put.
        if is_file and header.model["sha256"] not in ("", file_sha256(expanded(model))):
            raise another_model(header, model) from None
        raise
    expect_model(header, classifier)
    return classifier
