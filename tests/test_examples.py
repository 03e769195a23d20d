"""The examples, the action and the hook do what they say, on the embedded default."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from robaudit.cli.policy import read_policy

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


def test_the_actions_own_scripts_gate_by_exit_code(audited, tmp_path):
    """The composite steps as the runner would run them, on a project with one masked model."""
    (tmp_path / "models").mkdir()
    shutil.copy(audited / "masked.safetensors", tmp_path / "models")
    shutil.copy(EXAMPLES / "ci" / "robaudit.toml", tmp_path)
    steps = {
        step.get("name"): step for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    }
    assert "${{" not in steps["Gate"]["run"] + steps["Outcome"]["run"], (
        "inputs are variables, never text of the script"
    )
    environment = shim(tmp_path / "bin") | {
        "MODELS": "",
        "POLICY": "",
        "VERIFY": "false",
        "OUT": str(tmp_path),
    }
    environment |= {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    done = subprocess.run(
        [*bash, steps["Gate"]["run"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"code<<(\w{20,})\n1\n\1\n", (tmp_path / "GITHUB_OUTPUT").read_text())
    assert "OVERESTIMATED" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert json.loads((tmp_path / "robaudit.sarif").read_text())["version"] == "2.1.0"
    last = subprocess.run([*bash, steps["Outcome"]["run"]], env=environment | {"CODE": "1"}, check=False)
    assert last.returncode == 1


def test_the_hook_runs_a_command_that_exists(capsys):
    from robaudit.cli import run

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    words = hook["entry"].split()
    assert words[0] == "robaudit"
    assert run([words[1], "--help"]) == 0
    assert all(word in capsys.readouterr().out for word in words[2:])


def test_the_examples_policy_is_one():
    found = read_policy(EXAMPLES / "ci" / "robaudit.toml")
    assert found.minimum == 0.3
    assert found.waivers[0].model == "models/legacy*"
