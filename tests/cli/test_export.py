"""`robaudit export`: adversarial examples out of evidence, and into `check` as a data set."""

import json
import shutil

import numpy as np
import pytest
import torch

from robaudit import AutoAttack
from robaudit.cli import run
from robaudit.engine import tuning
from robaudit.evidence import EvidenceFile
from robaudit.inputs import load_images
from tests.cli.helpers import assert_clear
from tests.evidence.edits import editing
from tests.models import cnn

EPS = 12 / 255


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, images of whole bytes, and the evidence of a short attack."""
    folder, model = tmp_path_factory.mktemp("export"), cnn(classes=4)
    x = torch.randint(256, (30, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    y = model(x).argmax(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PATIENCE", 0.02)
        attack = AutoAttack(
            model, eps=EPS, verbose=False, version="custom", attacks_to_run=["apgd-ce", "square"]
        )
        attack.square.n_queries = 40
        x_adv = attack.run_standard_evaluation(x, y, state_path=folder / "a.evidence")
    return folder / "a.evidence", model, x_adv, y


def test_an_npz_holds_the_witnesses_exactly(made, tmp_path, capsys):
    evidence, model, x_adv, y = made
    assert run(["export", str(evidence), "--out", str(tmp_path / "adv.npz")]) == 0
    assert "adversarial examples (APGD-CE" in capsys.readouterr().out
    held = np.load(tmp_path / "adv.npz")
    broken = (model(x_adv).argmax(1) != y).nonzero().flatten()
    assert 0 < len(broken) < len(y)
    assert held["ids"].tolist() == broken.tolist()
    assert torch.equal(torch.from_numpy(held["images"]), x_adv[broken])
    assert held["predictions"].tolist() == model(x_adv)[broken].argmax(1).tolist()
    assert set(held["attacks"]) <= {"apgd-ce", "square"}
    images = load_images(str(tmp_path / "adv.npz"))
    order = images.ids.argsort()
    assert torch.equal(images.float()[order], x_adv[broken])
    assert torch.equal(images.labels[order], y[broken])


def test_a_folder_holds_pictures_by_class(made, tmp_path):
    evidence, _, x_adv, y = made
    assert run(["export", str(evidence), "--out", str(tmp_path / "adv")]) == 0
    facts = json.loads((tmp_path / "adv" / "adversarial.json").read_text())
    images = load_images(str(tmp_path / "adv"))
    assert len(images) == len(facts)
    assert images.classes == 4
    assert sorted(images.labels.tolist()) == sorted(item["label"] for item in facts)
    found = {tuple(image.flatten().tolist()) for image in images.pixels}
    ids = [item["id"] for item in facts]
    assert found == {tuple(image.flatten().tolist()) for image in (x_adv[ids] * 255).round().byte()}
    assert y[ids].tolist() == [item["label"] for item in facts]


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--out", "missing/adv.npz"], "missing: no such folder"),
        (["--out", "missing/adv"], "missing/adv: cannot be written"),
        (["--out", "."], ".: is there already"),
        (["--out", "adv.npz", "--attack", "fab-t"], "attack 'fab-t' was not run; use apgd-ce, square"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(made, tmp_path, capsys, monkeypatch, arguments, start):
    monkeypatch.chdir(tmp_path)
    assert_clear(capsys, run(["export", str(made[0]), *arguments]), start)
    assert list(tmp_path.iterdir()) == []


def test_evidence_without_a_break_is_refused(made, tmp_path, capsys):
    with EvidenceFile.create(tmp_path / "empty", EvidenceFile.open(made[0]).header()):
        pass
    code = run(["export", str(tmp_path / "empty"), "--out", str(tmp_path / "adv.npz")])
    assert_clear(capsys, code, f"{tmp_path / 'empty'}: holds no adversarial example")


@pytest.mark.parametrize("name", ["q.txt", "q.safetensors", "-"])
def test_a_name_that_is_no_folders_and_no_npzs_is_refused(name, made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_clear(capsys, run(["export", str(made[0]), "--out", name]), f"{name}: names neither")
    assert list(tmp_path.iterdir()) == []


def test_the_ending_may_be_in_capitals_and_an_unfinished_audit_is_told(made, tmp_path, capsys):
    copy = tmp_path / "b.evidence"
    shutil.copy(made[0], copy)
    with editing(copy) as db:
        db.execute("UPDATE header SET value = 'false' WHERE key = 'finished'")
    assert run(["export", str(copy), "--out", str(tmp_path / "ADV.NPZ")]) == 0
    assert capsys.readouterr().err == f"{copy}: the audit is unfinished; what it has so far is exported\n"
    assert len(np.load(tmp_path / "ADV.NPZ")["ids"])
