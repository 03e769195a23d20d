"""Evidence is taken up again for the same model only, by every command."""

import json
import shutil

import pytest
import torch

from robaudit.cli import run
from tests.evidence.edits import editing
from tests.shipped import ADVERSARIAL, DISTILLED

QUICK = [
    "--apgd-steps=3",
    "--fab-steps=2",
    "--square-queries=30",
    "--targets=2",
    "--limit=40",
    "--dataset=digits",
]


def states(path):
    from safetensors.torch import load_file

    return load_file(path)


@pytest.fixture
def two(tmp_path):
    """One file with the weights of the honest model, and with some that are a little off."""
    other = {key: value + 0.01 for key, value in states(ADVERSARIAL).items()}
    torch.save({"model": states(ADVERSARIAL), "ema": other}, tmp_path / "two.pt")
    return tmp_path / "two.pt"


def test_another_key_of_a_file_is_another_audit(two, tmp_path, capsys):
    kept = str(tmp_path / "kept.evidence")
    assert run(["check", str(two), *QUICK, "--key", "model", "--evidence", kept]) in (0, 1, 3)
    capsys.readouterr()
    assert run(["check", str(two), *QUICK, "--key", "ema", "--evidence", kept]) == 2
    assert "another model" in capsys.readouterr().err
    assert run(["verify", kept, str(two)]) in (0, 1, 3), "the key is kept in the evidence"
    capsys.readouterr()
    assert run(["verify", kept, str(two), "--key", "ema"]) == 2
    assert "is not the model of this evidence" in capsys.readouterr().err
    assert run(["report", kept, "--format", "html"]) == 0
    assert "--key model" in capsys.readouterr().out


def test_evidence_in_the_cache_is_each_keys_own(two, tmp_path, capsys):
    found = []
    for key in ("model", "ema"):
        run(["check", str(two), *QUICK, "--key", key, "--json", str(tmp_path / key)])
        found.append(json.loads((tmp_path / key).read_text())["model"]["digest"])
    assert found[0] != found[1]


def gate(folder, *models):
    (folder / "robaudit.toml").write_text(
        "dataset = 'digits'\nlimit = 40\nevidence = 'kept'\n[budget]\n"
        "apgd-steps = 3\nfab-steps = 2\nsquare-queries = 30\ntargets = 2\n"
    )
    return run(["gate", "--policy", str(folder / "robaudit.toml"), *models])


def test_an_edited_factory_is_not_unchanged(tmp_path, capsys):
    code = (
        "import torch\nfrom torch import nn\nfrom safetensors.torch import load_file\n"
        "from robaudit.inputs import load_classifier\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        f"        self.inner = load_classifier({str(ADVERSARIAL)!r}, shape=(1, 8, 8))\n\n"
        "    def forward(self, x):\n        return self.inner(x) * 1.0\n\n\ndef build():\n    return Net()\n"
    )
    (tmp_path / "net.py").write_text(code)
    name = f"{tmp_path / 'net.py'}:build"
    gate(tmp_path, name)
    assert "(audited)" in capsys.readouterr().out
    gate(tmp_path, name)
    assert "(unchanged)" in capsys.readouterr().out
    (tmp_path / "net.py").write_text(code.replace("* 1.0", "* 2.0"))
    gate(tmp_path, name)
    assert "(audited)" in capsys.readouterr().out


def test_evidence_of_another_checkpoint_is_not_taken_for_this_ones(tmp_path, capsys):
    for name, path in (("honest", ADVERSARIAL), ("masked", DISTILLED)):
        shutil.copy(path, tmp_path / f"{name}.safetensors")
        gate(tmp_path, str(tmp_path / f"{name}.safetensors"))
    honest, masked = (next((tmp_path / "kept").glob(f"{name}-*")) for name in ("honest", "masked"))
    shutil.copy(honest, masked)
    capsys.readouterr()
    assert gate(tmp_path, str(tmp_path / "masked.safetensors")) == 2
    assert "evidence of another checkpoint" in capsys.readouterr().out


def test_old_evidence_without_a_digest_is_read_and_verified(audited, tmp_path):
    old = tmp_path / "old.evidence"
    shutil.copy(audited / "honest.evidence", old)
    with editing(old) as db:
        db.execute("UPDATE header SET value = json_remove(value, '$.digest', '$.key') WHERE key = 'model'")
        db.execute("DELETE FROM header WHERE key = 'claim'")
    assert run(["report", str(old)]) == 0
    assert run(["verify", str(old), str(audited / "honest.safetensors")]) in (0, 3)
    assert run(["verify", str(old), str(audited / "masked.safetensors")]) == 2
