"""No text in a file names code, whatever reads it."""

import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from robaudit.errors import RobauditError
from robaudit.inputs import inspect_checkpoint, load_classifier

PAYLOAD = """
from pathlib import Path
Path("ran").touch()
def build():
    Path("ran").touch()
"""


@pytest.mark.parametrize(
    "architecture", ["payload.py:build", "payload:build", "./payload.py:build", "os.path:join"]
)
def test_no_text_in_a_file_names_code(tmp_path, monkeypatch, architecture):
    """A safetensors header made `inspect` and `check` import and call what it named."""
    (tmp_path / "payload.py").write_text(PAYLOAD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    entry = {"architecture": architecture, "normalisation": "none", "classes": 10, "input_shape": [1, 8, 8]}
    save_file(
        {"fc.weight": torch.zeros(10, 64)}, "evil.safetensors", metadata={"robaudit": json.dumps(entry)}
    )
    with pytest.raises(RobauditError, match="name code as its architecture"):
        load_classifier("evil.safetensors")
    assert any(
        "name code as its architecture" in note for note in inspect_checkpoint("evil.safetensors").notes
    )
    assert not (tmp_path / "ran").exists()


def test_inspect_names_others_networks_and_imports_nothing(tmp_path, monkeypatch):
    """It imported timm, for half a minute, because a file's metadata said so."""
    monkeypatch.setitem(sys.modules, "timm", None)
    entry = {
        "architecture": "timm:resnet18",
        "normalisation": "none",
        "classes": 10,
        "input_shape": [3, 32, 32],
    }
    path = str(tmp_path / "a.safetensors")
    save_file({"fc.weight": torch.zeros(10, 64)}, path, metadata={"robaudit": json.dumps(entry)})
    found = inspect_checkpoint(path)
    assert (found.architectures, found.classes) == (("timm:resnet18",), 10)
    assert found.input_shape == (3, 32, 32)
