"""Policies, lists, sweep grids and runs to be resumed from a stranger: they name no code, choose no place, take no time."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from robaudit.cli.grids import Sweep
from robaudit.errors import RobauditError
from robaudit.training.resuming import check_state
from tests.hostile import payloads
from tests.hostile.assembling import archive, call, name, text
from tests.hostile.harness import Case, Hostile, part

#: A module beside the file that touches the canary when it is imported.
EVIL = f"{payloads.CODE}\nfrom torch import nn\ndef build():\n    return nn.Flatten()\n"
#: Ways to name it, and other code.
CODE = (
    "evil.py:build", "./evil.py:build", "evil:build", "a.b.evil:build", "os:abort", "posix:abort", "evil.py:build\u200b",
)  # fmt: skip

POLICIES = {
    **{f"code {spec!r}": f'arch = "{spec}"' for spec in CODE},
    "code of one of several sets": '[[datasets]]\ndataset = "digits"\nmodels = []\narch = "evil.py:build"',
    "evidence above": 'evidence = "../kept"', "evidence elsewhere": 'evidence = "/tmp/kept"', "evidence by a link": 'evidence = "link/kept"',
    "evidence of a zero": 'evidence = "a\\u0000b"', "evidence at home": 'evidence = "a/../../b"',
    "models above": 'models = ["../../../**/*"]', "models everywhere": 'models = ["/**/*"]', "models of a zero": 'models = ["\\u0000"]',
    "models of brackets": f'models = ["{"[" * 9000}"]', "models of stars": f'models = ["{"**/" * 400}*.none"]',
    "models that are numbers": "models = [1, 2]", "a huge seed": f"seed = {'9' * 4000}", "a number without end": f"seed = {'9' * 6000}",
    "a limit of nothing": "limit = 0", "half a limit": "limit = 0.5", "true as a limit": "limit = true",
    "a radius of nothing": 'eps = "8/0"', "a radius that is none": 'eps = "nan"', "an endless radius": f'eps = "{"9" * 5000}/1"',
    "a confidence that is none": "confidence = nan", "a confidence of all": "confidence = 1.0", "a minimum that is none": "min-robust-accuracy = nan",
    "an endless gap": "max-gap = inf", "a negative number of pairs": "recompute = -1", "a budget of texts": '[budget]\nsquare-queries = "all"',
    "an unknown attack's budget": "[budget]\nevil = 1", "an exception that never ends": '[[exceptions]]\nmodel = "*"\nreason = "x"\nexpires = 23:59:59',
    "an exception without a reason": '[[exceptions]]\nmodel = "*"\nexpires = 2099-01-01', "exceptions that are texts": 'exceptions = ["x"]',
    "deep": "a = " + "[" * 5000 + "]" * 5000, "deep tables": "[" + ".".join("a" * 5000) + "]", "a key twice": 'split = "a"\nsplit = "b"',
    "a key in quotes": '"split\\u001b[31m\\n::error::" = 1', "a trusted program": "trust-program = true", "a device": 'device = "cuda"',
    **{f"{key} in hexadecimal": f"{key} = 0x{'f' * 8000}" for key in ("limit", "recompute", "confidence", "within", "max-gap", "eps")},
    "a budget in hexadecimal": f"[budget]\npgd-steps = 0x{'f' * 8000}", "models at any depth of any depth": 'models = ["**/*/**/*/**/*/**/x"]',
    "models beside it at any depth": 'models = ["../**/*.pt"]',
    "a data set of a zero": 'dataset = "\\u0000"', "a split with a path": 'split = "../../x"',
}  # fmt: skip
LISTS = {
    **{f"code {spec!r}": spec for spec in CODE},
    "code after a list's comment": "# fine\n\n   evil.py:build   ", "code after a strange line's end": "a.pt\u2028evil.py:build",
    "another list": "list.txt", "itself": "case.txt", "a folder": "..", "a device": "/dev/zero", "a process": "/proc/self/mem",
    "a zero": "a\0b.pt", "a long name": "x" * 70_000, "a flag": "--json=canary/touched", "a command": "$(touch canary/touched).pt",
    "a place on the Hub": "hf:owner/name@../../../etc/passwd", "no place on the Hub": "hf:", "another catalogue": "evil:a:b:c",
    "a network that is fetched": "timm:hf-hub:owner/name", "a network in a folder": "timm:local-dir:/tmp/x", "one from another module": "torchvision:os.system",
    "a path to one": "robustbench:../../evil:cifar10:Linf", "control": "\x1b]0;x\x07::error::x", "only comments": "# x\n#y\n", "not UTF-8": "\udcff\udcfe",
    "a million checkpoints": "a.pt\n" * 1_000_000, "a catalogue's name": "torchvision:resnet18",
    "somebody's home": "~nobody-here/x.pt", "an address": "https://example.org/model.pt", "a share": "//host/share/m.pt",
}  # fmt: skip
GRIDS = {
    "a place for the runs": ("fixed", 'out = "../../x"'), "a checkpoint to start from": ("fixed", 'from = "evil.py:build"'),
    "code": ("fixed", 'arch = "evil.py:build"'), "code in the grid": ("grid", 'arch = ["resnet18", "evil:build"]'),
    "a place for data": ("fixed", 'data-dir = "/"'), "a download": ("fixed", "download = true"), "a report": ("check", 'json = "canary/touched"'),
    "evidence": ("check", 'evidence = "canary/touched"'), "a trusted program": ("check", "trust-program = true"), "code to check": ("check", 'arch = "evil.py:build"'),
    "a cluster": ("check", 'ray = "ray://example.org:1"'), "a flag in a flag": ("fixed", '"lr=1 --out" = "x"'), "two flags": ("fixed", '"lr=1\\n--out" = "x"'),
    "a value in hexadecimal": ("fixed", f"epochs = 0x{'f' * 8000}"), "one of several": ("grid", f"lr = [1, 0x{'f' * 8000}]"), "a value that is none": ("check", "eps = nan"),
    "an empty key": ("fixed", '"" = "x"'), "a list as a value": ("fixed", "lr = [1, 2]"), "a table as a value": ("check", "limit = {a = 1}"),
    "a date": ("fixed", "lr = 2020-01-01"), "a zero": ("grid", 'schedule = ["a\\u0000b"]'), "a long value": ("grid", f'schedule = ["{"x" * 3000}"]'),
    "a control character as a key": ("grid", '"\\u001b[31m" = [1]'), "no values": ("grid", "lr = []"), "texts as values": ("grid", 'lr = "123"'),
    **{f"runs without end {digits}": ("grid", "\n".join(f"{key} = [{','.join(['1'] * digits)}]" for key in ("lr", "clip", "momentum", "beta", "steps", "awp")))
       for digits in (10, 400)},
}  # fmt: skip


def policies() -> list[Case]:
    return [Case(what, _policy(text_).encode(), "toml") for what, text_ in POLICIES.items()]


def _policy(line: str) -> str:
    return line if line.startswith(("dataset", "[[datasets")) else f'dataset = "digits"\n{line}\n'


def lists() -> list[Case]:
    return [Case(what, line.encode(errors="surrogateescape"), "txt") for what, line in LISTS.items()]


def grids() -> list[Case]:
    found = []
    for what, (table, line) in GRIDS.items():
        parts = {"fixed": 'dataset = "digits"', "grid": "eps = [0.1]", "check": ""}
        parts[table] += f"\n{line}"
        tables = "".join(f"[{key}]\n{value}\n" for key, value in parts.items())
        found.append(Case(what, f'name = "x"\nseeds = 1\n{tables}'.encode(), "toml"))
    return found


KINDS = {
    "policies": (policies, ("gate", "--policy", "{}")),
    "lists": (lists, ("check", "{}", "--dataset", "digits", "--limit", "8", "--attacks", "pgd10")),
    "grids": (grids, ("sweep", "{}", "--out", "out", "--dry-run")),
}


@pytest.fixture
def beside(hostile: Hostile) -> Hostile:
    """A folder with code, and a link out of it."""
    hostile.write("evil.py", EVIL.encode())
    (hostile.folder / "a" / "b").mkdir(parents=True)
    (hostile.folder / "a" / "b" / "evil.py").write_text(EVIL)
    (hostile.folder / "link").symlink_to(hostile.folder.parent)
    return hostile


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_refused(beside: Hostile, kind: str) -> None:
    make, command = KINDS[kind]
    assert beside.try_all(part(make(), 4), *command)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_every_one_is_refused(beside: Hostile, kind: str) -> None:
    make, command = KINDS[kind]
    assert beside.try_all(make(), *command) >= 20


def test_runs_lie_in_the_sweeps_folder_whatever_the_values(tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    values = ["8/255", "../../x", "..", "/etc/x", "a\\\\..\\\\b", "-rf"]
    lines = ", ".join(f'"{value}"' for value in values)
    grid.write_text(f'name = "x"\nseeds = 2\n[fixed]\ndataset = "digits"\n[grid]\neps = [{lines}]\n')
    jobs = list(Sweep.read(grid).jobs(tmp_path / "out"))
    assert len({job.folder for job in jobs}) == 2 * len(values)
    assert {job.folder.resolve().parent for job in jobs} == {tmp_path / "out"}
    with pytest.raises(RobauditError, match="not for a grid"):
        grid.write_text(grid.read_text() + '[check]\njson = "x"\n')
        Sweep.read(grid)


def test_every_option_of_train_and_check_is_decided() -> None:
    """What a grid may set is listed; a new option is nothing for it until somebody says so."""
    import inspect

    from robaudit.cli.check import check
    from robaudit.cli.grids import CHECKING, TRAINING
    from robaudit.cli.train import train

    for command, allowed in ((train, TRAINING), (check, CHECKING)):
        options = {key.replace("_", "-") for key in inspect.signature(command).parameters}
        assert allowed <= options
        assert not allowed & {
            "out",
            "data-dir",
            "start",
            "json-path",
            "evidence",
            "trust-program",
            "ray",
            "key",
        }


def test_a_users_own_code_is_for_the_command_line_of_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robaudit.cli.gate_judging import Gate
    from robaudit.cli.policy import Policy

    seen: list[Policy] = []

    def judge(self: Gate, model: Path) -> None:
        seen.append(self.rules)
        raise RobauditError(f"{model}: seen")

    monkeypatch.setattr(Gate, "judge", judge)
    from robaudit.cli import run

    policy = tmp_path / "robaudit.toml"
    policy.write_text('dataset = "digits"\nmodels = ["m.pt"]\n')
    (tmp_path / "m.pt").write_bytes(b"x")
    assert run(["gate", "--policy", str(policy), "--arch", "net.py:build"]) == 2
    assert [rules.arch for rules in seen] == ["net.py:build"]


RUNS = {
    "a pickle that calls": archive(b"\x80\x02" + call(name("os", "system"), text(payloads.COMMAND)) + b"."),
    "no checkpoint": b"nothing", "too deep a tree": archive(b"\x80\x02)" + b"\x85" * 90_000 + b"."), "cut short": b"PK\3\4",
}  # fmt: skip


def test_a_run_that_somebody_else_began_is_data_too(hostile: Hostile) -> None:
    flags = ("--dataset", "digits", "--out", "run", "--epochs", "1", "--limit", "60", "--validation", "20")
    place = hostile.folder / "run" / "resume.pt"
    place.parent.mkdir()
    for data in RUNS.values():
        place.write_bytes(data)
        hostile.refused(hostile.run("train", *flags))
    place.unlink()
    os.mkfifo(place)
    hostile.refused(hostile.run("train", *flags, seconds=20))


def _parts(state: dict[str, Any], *where: str) -> Iterator[tuple[str, ...]]:
    for key, inner in state.items():
        yield (*where, key)
        if isinstance(inner, dict):
            yield from _parts(inner, *where, key)


def test_a_runs_state_has_the_form_of_the_runs_own() -> None:
    """Whatever a part of it is exchanged for: nothing of another form is resumed."""
    own = {
        "epoch": 0, "step": 0, "rows": [], "seconds": 0.0, "healthy": None, "judge": {"gaps": [], "masked": False},
        "network": {"fc.weight": torch.zeros(2, 3)}, "optimiser": {}, "treatment": "",
    }  # fmt: skip
    row = dict.fromkeys(
        ("epoch", "clean", "pgd10", "robust", "robust_low", "robust_high", "robust_examples", "fosc", "fosc_normalised", "sgcs"), 1
    ) | {"train_clean": 0.5, "train_adv": 0.5, "lr": 0.1, "best": None, "treatment": "noise"}  # fmt: skip
    good = own | {
        "epoch": 1,
        "rows": [row],
        "judge": {"gaps": [[0.1, 0.2]], "masked": True},
        "optimiser": {"fc.weight": torch.zeros(2, 3)},
    }
    good["healthy"] = {name: good[name] for name in ("network", "optimiser")}
    check_state(good, own, 2)
    strange = (
        "DEL",
        "\x1b[2J",
        1 << 80,
        {"x": 1},
        ["x"],
        [{1: 2}],
        torch.zeros(3, 2),
        torch.zeros(2, 3).double(),
        object(),
    )
    tried = 0
    for where in _parts(good):
        for value in strange:
            state = copy.deepcopy(good)
            inner = reduce(lambda found, name: found[name], where[:-1], state)
            if (where[-1] == "treatment" and isinstance(value, str)) or (
                where == ("rows",) and value == [{1: 2}]
            ):
                continue
            inner.pop(where[-1]) if value == "DEL" else inner.update({where[-1]: value})
            if where[0] in {"optimiser", "healthy"} or (where[-1] == "healthy" and value == "DEL"):
                continue  # of the forms that a run not begun has, None among them
            tried += 1
            with pytest.raises((ValueError, KeyError, TypeError)):
                check_state(state, own, 2)
    assert tried > 50
    for change in ({"epoch": -1, "rows": []}, {"epoch": 3}, {"epoch": True}, {"step": -1}, {"rows": []}, {"rows": [row | {"epoch": 2}]},
                   {"rows": [row | {"clean": "1"}]}, {"rows": [row | {"best": "x"}]}, {"healthy": {"network": {}}}):  # fmt: skip
        with pytest.raises((ValueError, KeyError, TypeError)):
            check_state(good | change, own, 2)
