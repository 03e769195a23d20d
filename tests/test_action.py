"""The GitHub action: every step of it as a runner takes it, with its expressions, shells and environment files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
POLICY = """
models = ["models/*.safetensors"]
dataset = "digits"
limit = 120
[budget]
apgd-steps = 10
fab-steps = 5
square-queries = 200
targets = 2
"""
PUSH = {"event_name": "push", "repository": "us/ours"}


class Runner:
    """Runs the steps; what another action would do is kept in `used`, and pip only says what it was asked."""

    def __init__(self, folder, inputs, event=PUSH):
        self.folder, self.used, self.log, self.outcome = folder, {}, "", "success"
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.temp = folder / "temp"
        self.temp.mkdir()
        defaults = {name: item["default"] for name, item in ACTION["inputs"].items()}
        assert set(inputs) <= set(defaults)
        self.context = {
            "inputs": defaults | inputs,
            "github": {"action_path": str(ROOT), "run_id": "1", "run_attempt": "1", **event},
            "runner": {"temp": str(self.temp), "os": "Linux", "arch": "X64"},
            "steps": {},
        }
        tools = folder / "tools"
        tools.mkdir()
        for name, line in (
            ("robaudit", f'exec "{sys.executable}" -m robaudit "$@"'),
            ("python", f'echo "$*" >>"{folder}/pip"; case "$*" in *"cache dir"*) echo /pip/cache;; esac'),
        ):
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)
        self.base = {
            "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"), "GITHUB_ACTIONS": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def value(self, path):
        """What a name in an expression stands for; unknown ones are empty, as on GitHub."""
        found = self.context
        for part in path.split("."):
            found = (found or {}).get(part) if isinstance(found, dict) else None
        return found

    def evaluate(self, expression):
        """An expression of names, texts, `==`, `!=`, `&&` and `||`."""
        words = re.findall(r"'[^']*'|==|!=|&&|\|\||[\w.-]+|\S", expression)
        code = "".join(
            {"==": "==", "!=": "!=", "&&": " and ", "||": " or "}.get(word)
            or (word if word.startswith("'") else f"v({word!r})")
            for word in words
        )
        return eval(code, {"v": self.value, "__builtins__": {}})

    def fill(self, text):
        return re.sub(r"\$\{\{(.*?)\}\}", lambda m: str(self.evaluate(m[1].strip()) or ""), str(text))

    def run(self, steps=None):
        for number, step in enumerate(ACTION["runs"]["steps"]):
            name = step.get("name", step.get("uses"))
            if self.outcome == "success" and (steps is None or name in steps) and self.wanted(step):
                self.step(f"step-{number}", name, step)
        return self

    def wanted(self, step):
        return "if" not in step or bool(self.evaluate(re.sub(r"^\$\{\{(.*)\}\}$", r"\1", step["if"])))

    def step(self, place, name, step):
        if "uses" in step:
            assert re.search(r"@[0-9a-f]{40}$", step["uses"]), f"{step['uses']}: not pinned by digest"
            self.used[name] = {key: self.fill(value) for key, value in step["with"].items()}
            return
        assert "${{" not in step["run"], "inputs are variables, never text of the script"
        output = self.folder / place
        output.touch()
        done = subprocess.run(
            [*BASH, "-c", step["run"]],
            cwd=self.work / self.fill(step.get("working-directory", ".")),
            env=self.base
            | {"GITHUB_OUTPUT": str(output)}
            | {key: self.fill(value) for key, value in step.get("env", {}).items()},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.log += done.stdout
        self.outcome = "success" if done.returncode == 0 else f"{name}: {done.returncode}"
        if "id" in step:
            self.context["steps"][step["id"]] = {"outputs": outputs(output.read_text())}

    @property
    def commands(self):
        """The workflow commands that the runner obeys."""
        found, token = [], None
        for line in self.log.splitlines():
            if token is not None:
                token = None if line == f"::{token}::" else token
            elif line.startswith("::stop-commands::"):
                token = line.removeprefix("::stop-commands::")
            elif line.startswith("::"):
                found.append(line)
        assert token is None, "commands stay stopped"
        return found


def outputs(text):
    """An environment file: NAME=VALUE, or NAME<<END, lines, END."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, many, end = line.partition("<<")
        if many and "=" not in name:
            found[name] = "\n".join(iter(lambda end=end: next(lines), end))
        else:
            name, _, found[name.partition("=")[0]] = line.partition("=")
    return found


def test_a_failing_checkpoint_from_install_to_outcome(audited, tmp_path):
    runner = Runner(
        tmp_path,
        {"working-directory": "sub dir", "models": "models/the masked.safetensors\r\n\n", "policy": "p.toml"},
    )
    models = runner.work / "sub dir" / "models"
    models.mkdir(parents=True)
    shutil.copy(audited / "masked.safetensors", models / "the masked.safetensors")
    shutil.copy(audited / "honest.safetensors", models / "other.safetensors")
    (runner.work / "sub dir" / "p.toml").write_text(POLICY)
    runner.run()
    assert runner.outcome == "Outcome: 1", runner.log
    assert runner.value("steps.gate.outputs") == {"code": "1", "sarif": "true"}
    assert runner.used["Code scanning"]["sarif_file"] == str(runner.temp / "robaudit.sarif")
    assert "overestimated" in (runner.temp / "robaudit.sarif").read_text()
    assert any("title=robaudit%3A overestimated::" in line for line in runner.commands)
    assert (
        "file=sub dir/models/the masked.safetensors," in runner.commands[0] or "file=" in runner.commands[0]
    )
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("| | checkpoint |")
    assert summary.count("\n## ") == 1, "the one that was named"
    assert runner.used["Evidence of earlier runs"]["path"] == "sub dir/.robaudit"
    assert list((runner.work / "sub dir" / ".robaudit").glob("*.evidence"))
    pip = (tmp_path / "pip").read_text()
    assert "-m uv pip install --quiet --system --torch-backend cpu torch torchvision" in pip
    assert pip.splitlines()[-1].endswith(f"-c {ROOT}/constraints.txt {ROOT}")
    assert runner.used["Packages of earlier runs"]["path"] == "/pip/cache"


def test_what_could_not_be_audited_reaches_code_scanning_too_but_not_from_a_fork(tmp_path):
    hostile = "models/x%0A::error::y,title=z:.safetensors"
    head = {"repo": {"full_name": "them/theirs"}}
    event = {
        "event_name": "pull_request",
        "repository": "us/ours",
        "event": {"pull_request": {"head": head}},
    }
    runner = Runner(tmp_path, {}, event)
    (runner.work / "models").mkdir()
    (runner.work / hostile).write_text("no checkpoint")
    (runner.work / "robaudit.toml").write_text(POLICY)
    runner.run()
    assert runner.outcome == "Outcome: 2", runner.log
    (command,) = runner.commands
    place, _, text = command.removeprefix("::error ").partition("::")
    assert len(place.split(",")) == 2, "no property of the name's own"
    assert "%250A" in place
    assert "%0A" not in text.replace("%250A", "")
    results = json.loads((runner.temp / "robaudit.sarif").read_text())["runs"][0]["results"]
    assert [item["ruleId"] for item in results] == ["could-not-audit"]
    (upload,) = (step for step in ACTION["runs"]["steps"] if step.get("name") == "Code scanning")
    assert "Code scanning" not in runner.used
    runner.context["steps"]["whose"]["outputs"]["fork"] = "false"
    assert runner.wanted(upload)


def test_without_a_policy_nothing_is_uploaded_and_the_job_fails(tmp_path):
    runner = Runner(tmp_path, {}).run()
    assert runner.outcome == "Outcome: 2"
    assert "no policy here" in runner.log
    assert "Code scanning" not in runner.used


INSTALL = ("Whose files these are", "What to install", "Packages of earlier runs", "Install robaudit")


@pytest.mark.parametrize(
    ("inputs", "asked"),
    [
        ({"version": "0.1.0", "torch": "cuda"}, ["robaudit==0.1.0"]),
        (
            {"version": "0.1.0", "extras": "onnx,timm"},
            ["uv", "--torch-backend cpu torch torchvision", "robaudit[onnx,timm]==0.1.0"],
        ),
        (
            {"torch": "cu128", "extras": "hub"},
            ["uv", "--torch-backend cu128 torch torchvision", f"{ROOT}[hub]"],
        ),
    ],
)
def test_the_release_and_build_that_are_wanted_are_installed(inputs, asked, tmp_path):
    runner = Runner(tmp_path, inputs).run(INSTALL)
    assert runner.outcome == "success", runner.log
    lines = [line for line in (tmp_path / "pip").read_text().splitlines() if " install " in line]
    assert [line.endswith(words) for line, words in zip(lines, asked, strict=True)] == [True] * len(asked)
    assert all(line.startswith(("-I -m pip ", "-I -m uv pip ")) for line in lines), (
        "not one of the repository's own"
    )
    other = tmp_path / "other"
    other.mkdir()
    again = Runner(other, {"extras": "ray"}).run(INSTALL)
    keys = [item.used["Packages of earlier runs"]["key"] for item in (runner, again)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    "inputs",
    [
        {"version": "1.0 --find-links elsewhere"},
        {"version": "@ http://evil.example/x.whl"},
        {"version": "1.0\nwhat=evil"},
        {"torch": "../../evil"},
        {"extras": "onnx]@http://evil.example"},
    ],
)
def test_what_is_no_version_build_or_extra_is_refused(inputs, tmp_path):
    runner = Runner(tmp_path, inputs).run(INSTALL)
    assert runner.outcome == "What to install: 2"
    assert len(runner.commands) == 1
    assert not (tmp_path / "pip").exists()


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run"])
@pytest.mark.parametrize("repository", ["them/theirs", None])
def test_a_forks_files_never_meet_the_repositorys_secrets(event, repository, tmp_path):
    head = {"repo": {"full_name": repository} if repository else None}
    about = {"pull_request": {"head": head}, "workflow_run": {"head_repository": head["repo"]}}
    one = {"event_name": event, "repository": "us/ours", "event": about}
    runner = Runner(tmp_path, {}, one).run()
    assert runner.outcome == "Whose files these are: 2"
    assert not (tmp_path / "pip").exists()
