"""Shared fixtures: the embedded default's data and models, and the real ones where they are at hand."""

import os
import shutil
from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items):
    """Skip what needs real data where there is none."""
    missing = [name for name in ("ROBAUDIT_DATA", "ROBAUDIT_MODELS") if not os.environ.get(name)]
    if missing:
        for item in items:
            if item.get_closest_marker("data"):  # not its folder's name
                item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} not set"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tests run side by side; two threads each would fight for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Nothing is read from or written to the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("ROBAUDIT_CACHE", "ROBAUDIT_NO_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return Path(os.environ["ROBAUDIT_DATA"])


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return Path(os.environ["ROBAUDIT_MODELS"])


#: Budgets that decide the shipped models in seconds.
QUICK = ["--apgd-steps", "10", "--fab-steps", "5", "--square-queries", "200", "--targets", "2"]


@pytest.fixture(scope="session")
def audited(tmp_path_factory) -> Path:
    """A folder with the two shipped models as `honest` and `masked` (.safetensors) and the evidence of each."""
    from robaudit.cli import run
    from tests.shipped import ADVERSARIAL, DISTILLED

    folder = tmp_path_factory.mktemp("audited")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name, path in (("honest", ADVERSARIAL), ("masked", DISTILLED)):
            shutil.copy(path, folder / f"{name}.safetensors")
            arguments = [
                f"{name}.safetensors",
                "--dataset",
                "digits",
                "--limit",
                "120",
                "--json",
                f"{name}.json",
            ]
            run(["check", *arguments, *QUICK, "--evidence", f"{name}.evidence"])
    finally:
        os.chdir(before)
    return folder
