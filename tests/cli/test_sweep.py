"""A sweep: its runs, what a finished one keeps, and the table against counts known beforehand."""

import json
from pathlib import Path

import pytest

from robaudit.cli import run
from robaudit.cli.grids import Sweep
from robaudit.cli.sweep_pages import write_pages
from robaudit.cli.sweeping import gap, run_job, table

ROOT = Path(__file__).resolve().parents[2]
GRID = """
name = "test"
seeds = 2
[fixed]
dataset = "digits"
epochs = 1
limit = 100
batch-size = 50
validation = 20
confirm = 0
steps = 1
heal = true
[grid]
beta = [1, 6]
[check]
limit = 20
square-queries = 20
force = true
[paper]
"beta=1" = "7/10"
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_every_cell_comes_before_the_second_seed_and_has_its_own_folder(grid, tmp_path):
    jobs = list(Sweep.read(grid).jobs(tmp_path))
    assert [(dict(job.cell)["beta"], job.seed) for job in jobs] == [(1, 0), (6, 0), (1, 1), (6, 1)]
    assert jobs[1].folder == tmp_path / "beta=6,seed=0"
    training, checking = Sweep.read(grid).commands(jobs[1], None)
    assert {"--beta=6", "--heal", "--seed=0", "--epochs=1"} <= set(training)
    assert {"--force", "--attacks=pgd10,square", "--limit=20"} <= set(checking)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "sweeps").glob("*.toml")), ids=lambda path: path.stem
)
def test_the_shipped_grids_are_sweeps_whose_paper_cells_exist(path):
    sweep = Sweep.read(path)
    cells = {" ".join(f"{key}={value}" for key, value in job.cell) for job in sweep.jobs(Path("x"))}
    assert set(sweep.paper) <= cells
    if path.stem.startswith("table"):
        assert set(sweep.paper) == cells


def test_the_table_counts_gaps_at_the_bound(grid, tmp_path):
    sweep = Sweep.read(grid)
    jobs = list(sweep.jobs(tmp_path))
    for job, value in zip(jobs, (0.08, 0.01, 0.2), strict=False):
        job.folder.mkdir()
        job.result.write_text(json.dumps({"gap": {"pgd10-square": {"value": value}}}))
    found = table(sweep, jobs)
    columns = [list(column.cells) for column in found.columns]
    assert columns[0] == ["1", "6"]
    assert columns[1] == ["2/2", "0/1"]
    assert columns[2][0] == "16 … 100 %"  # Clopper-Pearson: 0.025 ** (1 / 2)
    assert columns[3] == ["+14.0", "+1.0"]
    assert columns[4] == ["7/10", ""]
    assert gap(jobs[3].result) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1", "is not a sweep"),
        ("x = [", "not TOML"),
        (GRID.replace('dataset = "digits"', ""), "needs a dataset"),
    ],
)
def test_what_is_no_sweep_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(text)
    assert run(["sweep", str(tmp_path / "grid.toml"), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_dry_run_prints_the_commands(grid, tmp_path, capsys):
    assert run(["sweep", str(grid), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count(" train ") == 4
    assert not (tmp_path / "out").exists()


def test_a_failed_command_is_told_and_a_finished_job_not_repeated(tmp_path):
    assert "no such" in run_job([["sh", "-c", "echo no such file >&2; exit 2"]], str(tmp_path / "x"))
    (tmp_path / "x").write_text("{}")
    assert run_job([["false"]], str(tmp_path / "x")) == ""


@pytest.mark.heavy
def test_a_sweep_runs_from_beginning_to_end(grid, tmp_path, capsys):
    assert run(["sweep", str(grid), "--out", str(tmp_path / "out"), "--jobs", "2"]) == 0
    assert "7/10" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*/audit.json"))) == 4


@pytest.mark.heavy
def test_a_sweep_runs_on_a_ray_cluster(grid, tmp_path, capsys):
    assert run(["sweep", str(grid), "--out", str(tmp_path / "out"), "--ray", "local"]) == 0
    assert len(list((tmp_path / "out").glob("*/audit.json"))) == 4


def test_a_cluster_that_is_not_there_is_said_so(grid, tmp_path, capsys):
    assert run(["sweep", str(grid), "--out", str(tmp_path / "out"), "--ray", "127.0.0.1:9"]) == 2
    assert "no cluster there" in capsys.readouterr().err


def test_the_page_links_every_run_and_counts_as_the_table_does(grid, tmp_path):
    """Two runs of one cell are there, one unstable; of the other cell none."""
    sweep = Sweep.read(grid)
    log = dict.fromkeys(
        ("clean", "pgd10", "fosc", "fosc_normalised", "sgcs", "train_clean", "train_adv", "lr"), 0.5
    )
    for job, value in zip(
        [job for job in sweep.jobs(tmp_path) if dict(job.cell)["beta"] == 1], (0.2, 0.01), strict=True
    ):
        job.folder.mkdir()
        job.result.write_text(json.dumps({"gap": {"pgd10-square": {"value": value}}}))
        (job.folder / "log.jsonl").write_text(json.dumps(log | {"epoch": 1}))
    write_pages(sweep, tmp_path, None)
    page = (tmp_path / "index.html").read_text()
    assert "1/2" in page
    assert "0/0" in page
    assert "7/10" in page
    assert 'href="beta%3D1%2Cseed%3D0/report.html"' in page
    assert "+20.0" in page
    assert (tmp_path / "beta=1,seed=0" / "report.html").is_file()
    assert "seed 1" in page
