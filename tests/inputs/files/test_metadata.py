"""No text in a file names code, whatever reads it."""

import json

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
