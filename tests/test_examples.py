"""The examples, the action and the hook do what they say, on the embedded default."""

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from robaudit.cli.policy import read_policies

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def shim(folder):
    """A `robaudit` on the path that is this interpreter's."""
    folder.mkdir(exist_ok=True)
    script = folder / "robaudit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m robaudit "$@"\n')
    script.chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder / "cache")}


def started(command, folder, environment):
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("audit_from_python.py", "overestimated:"),
        ("custom_dataset.py", "exit code"),
        ("paper_figures.py", "picture:"),
    ],
)
def test_every_example_runs(name, says, tmp_path):
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(
        command, cwd=tmp_path, env=shim(tmp_path / "bin"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    if name == "paper_figures.py":
        assert (tmp_path / "figures" / "figure1.pdf").read_bytes().startswith(b"%PDF")
        assert "PGD-10" in (tmp_path / "figures" / "table1-unstable.md").read_text()


def schema(name):
    package = pytest.importorskip("check_jsonschema")
    text = (resources.files(package) / "builtin_schemas" / "vendor" / f"{name}.json").read_text(
        encoding="utf-8"
    )
    return json.loads(text)


def test_the_action_and_the_workflow_fit_their_schemas():
    for path, name in (
        (ROOT / "action.yml", "github-actions"),
        (EXAMPLES / "ci" / "github-workflow.yml", "github-workflows"),
    ):
        data = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # `on` is a word there
        jsonschema.validate(data, schema(name))
    jsonschema.validate(
        yaml.safe_load((EXAMPLES / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8")), schema("gitlab-ci")
    )


def test_the_hook_runs_a_command_that_exists(capsys):
    from robaudit.cli import run

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    words = hook["entry"].split()
    assert words[0] == "robaudit"
    assert run([words[1], "--help"]) == 0
    assert all(word in capsys.readouterr().out for word in words[2:])


def test_the_examples_policy_is_one():
    found = read_policies(EXAMPLES / "ci" / "robaudit.toml")[0]
    assert found.minimum == 0.3
    assert found.waivers[0].model == "models/legacy*"
