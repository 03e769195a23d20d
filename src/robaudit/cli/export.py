"""`robaudit export`: the adversarial examples of an evidence file, as a data set."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.common import check_apart, check_writable, console
from robaudit.cli.streams import complain
from robaudit.errors import RobauditError
from robaudit.escaping import json_text, plain
from robaudit.files import write_bytes
from robaudit.plan import title

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robaudit.evidence import Header, WitnessRow

    Images = NDArray[np.float32]

#: Classes of a folder, of each of which `classes.json` says the place.
_MOST_CLASSES = 1 << 16
#: What the name of a file ends with, in any case of letters; a folder's has no such end.
_NPZ = ".npz"


def export(
    evidence: Path = typer.Argument(..., help="Evidence file."),
    out: Path = typer.Option(..., help="An .npz file, or a folder to be made, with one folder a class."),
    attack: str | None = typer.Option(
        None, help="Only this attack's; by default one of every broken example, PGD-10's last."
    ),
) -> int:
    """Write the adversarial examples that evidence holds, as a data set for `robaudit check`.

    An .npz holds `images` (N, C, H, W) in [0, 1], `labels`, `predictions` (-1 where the evidence does not say), `ids`
    and `attacks`. A folder holds 8-bit PNGs by class and `adversarial.json` with the same facts of each.

    Example: robaudit export model.evidence --out adv.npz
    """
    from robaudit.evidence import EvidenceFile, adversarial_images, one_each

    whole = out.suffix.lower() == _NPZ
    if str(out) == "-" or (out.suffix and not whole):
        raise RobauditError(f"{out}: names neither an .npz file nor a folder; give one, as adv.npz or adv")
    if whole:
        check_writable(str(out))
    elif out.exists():
        raise RobauditError(
            f"{out}: is there already; give the name of a folder to be made, or of an .npz file"
        )
    check_apart(inputs=[evidence], out=out)
    with EvidenceFile.open(evidence) as file:
        header, rows = file.header(), file.witnesses()
    if attack is not None:
        if attack not in header.plan.attacks:
            raise RobauditError(f"attack '{attack}' was not run; use {', '.join(header.plan.attacks)}")
        rows = [row for row in rows if row.attack == attack]
    chosen = one_each(rows)
    if not chosen:
        raise RobauditError(f"{evidence}: holds no adversarial example{f' of {attack}' if attack else ''}")
    if not header.finished:
        complain(f"{evidence}: the audit is unfinished; what it has so far is exported")
    images = adversarial_images(chosen, header)
    note = ""
    if whole:
        _write_npz(out, images, chosen)
    else:
        rounded = _write_folder(out, images, chosen, header)
        note = f"; {rounded} are rounded to 8 bits, which may undo them: an .npz is exact" if rounded else ""
    counts = ", ".join(f"{title(name)} {count}" for name, count in Counter(r.attack for r in chosen).items())
    console().print(
        plain(f"{out}: {len(chosen)} adversarial examples ({counts}){note}"), markup=False, soft_wrap=True
    )
    return 0


def _answer(row: WitnessRow) -> int:
    return -1 if row.prediction is None else row.prediction


def _write_npz(out: Path, images: Images, rows: list[WitnessRow]) -> None:
    import numpy as np

    held = io.BytesIO()
    np.savez_compressed(
        held,
        images=images,
        labels=np.array([row.label for row in rows]),
        predictions=np.array([_answer(row) for row in rows]),
        ids=np.array([row.id for row in rows]),
        attacks=np.array([row.attack for row in rows]),
    )
    try:
        write_bytes(out, held.getvalue())
    except OSError as error:
        raise RobauditError(f"{out}: cannot be written ({error.strerror}); choose another place") from error


def _write_folder(out: Path, images: Images, rows: list[WitnessRow], header: Header) -> int:
    """The folder, whole or not at all; how many pictures 8 bits do not hold exactly."""
    import numpy as np
    from PIL import Image

    if images.shape[1] not in (1, 3):
        raise RobauditError(f"{out}: pictures have 1 or 3 channels, not {images.shape[1]}; give an .npz file")
    count = max(int(header.data["classes"]), *(row.label + 1 for row in rows), 2)
    if count > _MOST_CLASSES:
        raise RobauditError(f"{out}: {count:,} classes are too many for folders; give an .npz file")
    names = [f"{label:04d}" for label in range(count)]
    pixels = np.rint(images * 255).astype(np.uint8)
    exact = pixels.astype(np.float32) / np.float32(255) == images
    facts = []
    try:
        made = Path(tempfile.mkdtemp(prefix=".robaudit-", dir=out.absolute().parent))
        try:
            (made / "classes.json").write_text(json.dumps(names), encoding="utf-8")
            for picture, row in zip(pixels, rows, strict=True):
                name = f"{names[row.label]}/{row.id:08d}.png"
                (made / names[row.label]).mkdir(exist_ok=True)
                Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)).save(
                    made / name
                )
                facts.append(
                    {
                        "file": name,
                        "id": row.id,
                        "label": row.label,
                        "prediction": _answer(row),
                        "attack": row.attack,
                    }
                )
            (made / "adversarial.json").write_text(json_text(facts), encoding="utf-8")
            made.chmod(0o777 & ~_umask())
            made.rename(out)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise RobauditError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    return int((~exact.reshape(len(exact), -1).all(1)).sum())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
