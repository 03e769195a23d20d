"""What lies in the working directory is not run and sets nothing; what is read is not overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robaudit.cli import run
from robaudit.cli.grids import Job, Sweep
from robaudit.cli.trackers import TRACKERS, log_report
from robaudit.evidence import EvidenceFile
from robaudit.reports.board import board_csv
from robaudit.reports.drawing import drawing
from tests.hostile.specimen import make_evidence
from tests.shipped import ADVERSARIAL

#: Modules that every command imports, and some that few do.
MODULES = (
    "typer",
    "numpy",
    "torch",
    "rich",
    "matplotlib",
    "yaml",
    "tomllib",
    "json",
    "sqlite3",
    "platformdirs",
    "_heapq",
)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A folder in which a stranger's modules lie, each of which says that it was imported."""
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'canary')!r}, 'a').write({name!r})\nraise SystemExit(7)\n"
        )
    return tmp_path


def test_modules_beside_a_grid_or_a_checkpoint_are_not_imported(evil: Path) -> None:
    (evil / "grid.toml").write_text(
        'name = "x"\nseeds = 1\n[fixed]\ndataset = "digits"\n[grid]\nbeta = [1]\n'
    )
    sweep = Sweep.read(evil / "grid.toml")
    commands = sweep.commands(Job((("beta", 1),), 0, evil / "out"), None)
    assert all(command[:4] == [sys.executable, "-P", "-m", "robaudit"] for command in commands)
    assert "--no-config" in commands[1], "nor what a pyproject.toml there says"
    for start in ([sys.executable, "-m", "robaudit"], commands[0][:4]):
        done = subprocess.run(
            [*start, "explain", "shattered-gradients"], cwd=evil, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 2), done.stderr
        assert not (evil / "canary").exists(), start


def test_a_matplotlibrc_beside_a_run_is_not_read(tmp_path: Path) -> None:
    """It can name a program's preamble (`text.usetex` runs LaTeX), a size without end, or be a pipe to wait for."""
    os.mkfifo(tmp_path / "matplotlibrc")
    script = "from robaudit.reports.drawing import drawing\nwith drawing(): import matplotlib; print(matplotlib.rcParams['text.usetex'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "False\n", done.stderr
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "figure.dpi": 1000}):  # as whoever imported it first has it
        with drawing({"font.size": 9.0}):
            assert not mpl.rcParams["text.usetex"]
            assert mpl.rcParams["figure.dpi"] == 100
        assert mpl.rcParams["text.usetex"]


FACTORY = "import torch\ndef build():\n    return torch.nn.Flatten()\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("m.safetensors", "other.safetensors", "data.npz"):
        (tmp_path / name).write_bytes(b"precious")
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "list.txt").write_text("m.safetensors\nother.safetensors\n")
    (tmp_path / "robaudit.toml").write_text('dataset = "data.npz"\neps = 0.1\nmodels = ["m.safetensors"]\n')
    make_evidence(tmp_path / "a.evidence")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "check m.safetensors --dataset data.npz --eps 0.1 --json data.npz",
        "check m.safetensors other.safetensors --dataset digits --markdown other.safetensors",
        "check list.txt --dataset digits --sarif list.txt",
        "check list.txt --dataset digits --json ./m.safetensors",
        "check m.safetensors --dataset digits --transfer other.safetensors --html other.safetensors",
        "check m.safetensors --dataset digits --surrogate net.py:build --json net.py",
        "check m.safetensors --dataset digits --arch net.py:build --evidence net.py",
        "landscape m.safetensors --dataset data.npz --eps 0.1 --out data.png",
        "verify a.evidence m.safetensors --json a.evidence",
        "verify a.evidence m.safetensors --json m.safetensors",
        "gate --json m.safetensors",
        "gate --markdown data.npz",
    ],
)
def test_nothing_that_is_read_is_written_over(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in place.iterdir()}
    code, error = run(command.split()), capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.iterdir() if path in before} == before
    assert code == 2
    assert "is both the input and --" in error


def test_a_board_is_not_written_through_a_link(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "site").mkdir()
    (place / "elsewhere").mkdir()
    (place / "site" / "reports").symlink_to(place / "elsewhere")
    assert run(["board", "a.evidence", "--out", "site"]) == 2
    assert "is a link" in capsys.readouterr().err
    assert not list((place / "elsewhere").iterdir())


def test_kept_evidence_is_not_written_through_a_link(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a policy keeps is named by contents, so a stranger knows the name."""
    from robaudit.cli.gate_evidence import evidence_place
    from robaudit.cli.policy import read_policies

    (place / "robaudit.toml").write_text(
        f'dataset = "digits"\nmodels = ["{ADVERSARIAL}"]\nlimit = 8\n'.replace(
            str(ADVERSARIAL), "m.safetensors"
        )
    )
    rules = read_policies(place / "robaudit.toml")[0]
    kept = evidence_place(place / "m.safetensors", rules)
    kept.parent.mkdir()
    kept.symlink_to(place / "a.evidence")
    before = (place / "a.evidence").read_bytes()
    assert run(["gate", str(place / "m.safetensors")]) == 2
    assert "is a link" in capsys.readouterr().out
    assert (place / "a.evidence").read_bytes() == before


def test_a_cell_is_no_formula_wherever_a_spreadsheet_divides_it() -> None:
    row = {
        "number": 1,
        "verdict": "could-not-audit",
        "claim": None,
        "clean": None,
        "pgd10": None,
        "autoattack": None,
        "gap": None,
    }
    for text in ("=1+1", " =1", "a;=cmd|' /C calc'!A0", "a|-1", "\uff1d1", "a; +1", "@x", "-x"):
        cells = board_csv([row | {"model": text}]).splitlines()[1]
        assert not set("=+-@\uff1d") & {
            part.lstrip(' "')[:1] for part in cells.replace("|", ";").replace(",", ";").split(";")
        }, cells


def test_a_trackers_folder_stays_in_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setitem(
        TRACKERS,
        "tensorboard",
        lambda name, text, folder: (made.append(folder), (lambda *_: None, lambda _: None))[1],
    )
    report = {
        "data": {"name": "x"},
        "threat": {"norm": "Linf", "eps": 0.1},
        "verdict": {"outcome": "x"},
        "accuracy": {},
        "gap": {},
        "metrics": {},
    }
    for path in ("a/..", "..", ".", "\x1b[2J/\x1b", "/", "x" * 900):
        log_report("tensorboard", report | {"model": {"path": path}}, {}, tmp_path / "runs")
    assert {folder.resolve().parent for folder in made} == {tmp_path / "runs"}
    assert all(len(folder.name) <= 250 and folder.name.isprintable() for folder in made)


def test_an_export_has_a_folder_for_every_class(place: Path) -> None:
    """A network may have more classes than the data's header says, and a label one of them."""
    from tests.evidence.edits import editing

    with editing(place / "a.evidence") as db:
        db.execute("UPDATE header SET value = json_set(value, '$.classes', 60) WHERE key = 'model'")
        db.execute("UPDATE examples SET label = 50")
    with EvidenceFile.open(place / "a.evidence") as file:
        assert file.read().labels.max() == 50
    assert run(["export", "a.evidence", "--out", "folder"]) == 0
    assert len(list((place / "folder" / "0050").iterdir())) == 20
    with editing(place / "a.evidence") as db:
        db.execute(
            "UPDATE header SET value = json_set(value, '$.classes', 1 << 24) WHERE key IN ('model', 'data')"
        )
    assert run(["export", "a.evidence", "--out", "another"]) == 2
    assert not (place / "another").exists()
