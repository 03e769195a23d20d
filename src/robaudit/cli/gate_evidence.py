"""The evidence that a policy keeps of a checkpoint: where it lies, whose it is, and whether it is true."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robaudit.cli.audited import load_audited
from robaudit.cli.verify import made_again
from robaudit.errors import RobauditError
from robaudit.files import file_digest
from robaudit.places import expanded

if TYPE_CHECKING:
    from robaudit.cli.policy import Policy
    from robaudit.evidence import Header
    from robaudit.inputs import Images
    from robaudit.plan import AuditPlan


def evidence_place(model: Path, rules: Policy) -> Path:
    """The evidence file that this content of checkpoint, data and policy has; nothing else is taken for it."""
    parts = [
        content(str(model), rules.arch),
        _digest(Path(rules.dataset)),
        rules.dataset if not Path(rules.dataset).exists() else "",
        rules.split,
        *([rules.image_size] if rules.image_size else []),
        "" if _is_code(rules.arch) else rules.arch,
        rules.normalise,
        _outcomes_of(rules.plan),
    ]
    text = json.dumps(parts, sort_keys=True)
    stem = model.stem.rpartition(":")[2] or model.name
    return rules.evidence / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.evidence"


def content(model: str, arch: str | None) -> str:
    """A digest of what a checkpoint is, before it is known how it is read: its bytes and the user's own code.

    What has no file (a factory, a catalogue's name) is loaded, for only its tensors tell.
    """
    from robaudit.inputs import load_classifier, source_digest

    found = _digest(expanded(model))
    if not found:
        return load_classifier(model, arch=arch).info.digest
    return found + (source_digest(arch) if arch and _is_code(arch) else "")


def expect_policy(path: Path, header: Header, rules: Policy) -> None:
    """Nothing, if evidence is what this policy asks for.

    Raises:
        RobauditError: it was made by another plan, with another architecture, normalisation or split.

    """
    asked, made = _outcomes_of(rules.plan), _outcomes_of(header.plan)
    pairs = [
        *((name, asked[name], made[name]) for name in asked),
        ("arch", rules.arch, header.model["architecture"]),
        ("normalise", rules.normalise, header.model["normalisation"]),
        ("split", rules.split, header.data["split"]),
    ]
    for name, wanted, found in pairs:
        if wanted != found and not (wanted is None and name in ("arch", "normalise")):
            if name == "normalise" and _same_normalisation(wanted, header):
                continue
            raise RobauditError(
                f"{path}: evidence of another policy ({name}: {found} there, {wanted} here); "
                "run `robaudit gate` where it was made"
            )


def precise_enough(header: Header, rules: Policy) -> bool:
    """Whether AutoAttack's number was wanted as precisely as the policy asks, or more so."""
    from robaudit.evidence import within_wanted

    return within_wanted(header, rules.plan.within) == header.plan.within


def expect_content(path: Path, header: Header, model: Path, rules: Policy, images: Images | None) -> None:
    """Nothing, if evidence is of this checkpoint and data; what is not a single file is loaded to tell.

    Raises:
        RobauditError: it is of another checkpoint or other data.

    """
    place = expanded(model)
    found = _digest(place)
    # What lies beside tensors counts too, where they are a Hugging Face folder's.
    if not found or ((place if place.is_dir() else place.parent) / "config.json").is_file():
        load_audited(str(model), header, path, _given(rules))
    elif header.model["sha256"] != found:
        raise RobauditError(f"{path}: evidence of another checkpoint ({header.model['path']}); move it away")
    if images is not None and images.sha256 != header.data["sha256"]:
        raise RobauditError(f"{path}: evidence of other data ({header.data['name']}); move it away")


def recheck(
    path: Path, model: Path, rules: Policy, device: str, images: Images | None, *, trust_program: bool = False
) -> str:
    """Check evidence that was made elsewhere, and say in a sentence what was checked.

    Raises:
        RobauditError: there is none, it is another policy's, or something in it is not true.

    """
    from robaudit.audit import Recompute, verify
    from robaudit.evidence import EvidenceFile

    if not path.is_file():
        raise RobauditError(
            f"{model}: no evidence of this content in {path.parent}; run `robaudit gate` first"
        )
    with EvidenceFile.open(path) as file:
        header = file.header()
    expect_policy(path, header, rules)
    if not header.finished:
        raise RobauditError(f"{path}: the audit is unfinished; run `robaudit gate` where it was made")
    classifier = load_audited(str(model), header, path, _given(rules), trust_program=trust_program)
    again = Recompute(rules.recompute, secrets.randbits(32))
    found = verify(path, classifier, device, images, again)
    if found.failures:
        wrong = f"{found.bad} of {found.witnesses} witnesses fail" if found.bad else "holds what is not true"
        raise RobauditError(f"{path}: {wrong}: {found.failures[0]}")
    done = f"Checked: {found.witnesses} witnesses"
    done += ", all clean predictions" if found.with_data else f", {found.predictions} clean predictions"
    repeated = made_again(found)
    if not repeated:
        return f"{done}; none of {found.survivors} survivors attacked again."
    for part, what in repeated:
        how = "attacked" if "survivors" in what else "made"
        seed = f", seed {part.seed}" if part is repeated[0][0] else ""  # the same for all
        done += f"; {len(part.pairs)} of {part.among} {what} {how} again{seed}"
    close = sum(len(part.of("close")) for part, _ in repeated)
    return done + (f"; rounding decides {close} of them." if close else ".")


def _given(rules: Policy) -> dict[str, str | None]:
    return {"arch": rules.arch, "normalise": rules.normalise}


def _outcomes_of(plan: AuditPlan) -> dict[str, Any]:
    """The plan without what changes no outcome: what attacks search in, and how many of them are wanted."""
    return plan.to_dict() | {"precision": "auto", "within": None}


def _same_normalisation(text: str, header: Header) -> bool:
    from robaudit.inputs import parse_normalisation

    return parse_normalisation(text, int(header.data["shape"][0])).text == header.model["normalisation"]


def _is_code(arch: str | None) -> bool:
    from robaudit.inputs import is_factory

    return arch is not None and is_factory(arch)


def _digest(path: Path) -> str:
    """Of a file's bytes, or of a folder's names and sizes; empty where there is nothing."""
    if path.is_file():
        return file_digest(path)
    if path.is_dir():
        listing = sorted(
            (str(item.relative_to(path)), item.stat().st_size) for item in path.rglob("*") if item.is_file()
        )
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    return ""
