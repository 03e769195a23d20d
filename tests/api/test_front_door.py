"""`import robaudit`: small, lazy, and with the names that it says."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import robaudit
from robaudit.api import Settings
from robaudit.api.settings import _READERS

ROOT = Path(__file__).parent.parent.parent


def test_the_package_alone_imports_no_torch():
    script = (
        "import sys, robaudit\n"
        "assert not {'torch', 'numpy', 'robaudit.api'} & sys.modules.keys()\n"
        "assert {'check', 'load', 'Result'} <= set(dir(robaudit)) and callable(robaudit.check)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_misspelled_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="chekc"):
        robaudit.chekc  # noqa: B018


def test_the_signatures_are_those_of_the_contract():
    check, load = inspect.signature(robaudit.check), inspect.signature(robaudit.load)
    assert [str(p).split(":")[0] for p in check.parameters.values()] == [
        "model", "data", "labels", "norm", "eps", "**plan",
    ]  # fmt: skip
    assert check.parameters["norm"].default == "Linf"
    assert list(load.parameters) == [
        "source",
        "dataset",
        "arch",
        "normalise",
        "key",
        "device",
        "trust_program",
    ]
    assert all(p.kind == p.KEYWORD_ONLY for p in list(load.parameters.values())[1:])


def test_every_setting_is_typed_read_and_documented():
    names = set(Settings.__annotations__)
    assert names == set(_READERS)
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "api.md").read_text(encoding="utf-8")))
    assert names <= documented
    flags = subprocess.run(
        [sys.executable, "-m", "robaudit", "check", "--help"], capture_output=True, text=True, check=True
    ).stdout
    only_in_python = {"progress"}
    for name in names - only_in_python:
        assert f"--{name.replace('_', '-')}" in flags, name
    # And the other way round: what an audit can be told on the command line it can be told here.
    written = {"json", "html", "markdown", "sarif", "log", "board", "ray", "help"}  # fmt: skip
    named = {"dataset", "norm", "eps", "no_download"}
    flagged = {flag.replace("-", "_") for flag in re.findall(r"^ +--([a-z][\w-]*)", flags, re.MULTILINE)}
    assert flagged - written - named <= names


def test_a_type_checker_knows_the_names(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "import robaudit, torch\n"
        "result = robaudit.check(torch.nn.Identity(), torch.zeros(1, 1, 2, 2), [0], eps=0.1, seed=3)\n"
        "reveal_type(result)\n"
        "reveal_type(robaudit.load('a.pt', dataset='digits'))\n"
        "robaudit.check('a.pt', 'digits', sed=3)\n"
        "robaudit.chekc\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'note: Revealed type is "robaudit.api.result.Result"' in done.stdout
    assert "torch.nn.modules.module.Module" in done.stdout
    assert 'Unexpected keyword argument "sed"' in done.stdout
    assert 'has no attribute "chekc"' in done.stdout
