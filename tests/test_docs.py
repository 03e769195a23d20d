"""The docs say what the code does, and every command in them runs."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robaudit.cli import run
from robaudit.verdict import ADVICE

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*DOCS.glob("**/*.md"), ROOT / "README.md", ROOT / "examples" / "README.md"]
SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```", flags=re.M | re.S)
#: What makes a documented command quick: the embedded data, and budgets of a few steps.
SHORT = {
    "check": "--apgd-steps 3 --fab-steps 2 --square-queries 30 --targets 2",
    "landscape": "--images 2 --grid 7",
}


def test_every_finding_has_its_entry_and_every_entry_its_finding():
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S))
    assert set(entries) == set(ADVICE)
    for code, body in entries.items():
        assert body.startswith(f"*{ADVICE[code][0]}.*"), code
        for part in ("**Raised when**", "**What it means:**", "**What to do:**"):
            assert part in re.sub(r"\s+", " ", body), (code, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def commands(page):
    """Every command of a page's shell blocks, without its comments."""
    found = []
    for block in SHELL.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                found.append(words)
    return found


def quick(words):
    """The same command on the embedded data set, with short budgets."""
    if words[:2] == ["robaudit", "check"]:
        words = [*words, *SHORT["check"].split()]
        if "--limit" in words:
            words[words.index("--limit") + 1] = "30"
        else:
            words += ["--limit", "30"]
        if "--eot" in words:
            words[words.index("--eot") + 1] = "2"
    if words[:2] == ["robaudit", "landscape"]:
        words = [*words, *SHORT["landscape"].split()]
    return ["digits" if word in {"cifar10", "cifar100"} else word for word in words if word != "--download"]


@pytest.fixture(scope="module")
def place(audited, tmp_path_factory):
    """A folder with everything that the documented commands name."""
    import numpy as np
    import torch
    from safetensors.torch import load_file
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(audited, folder, dirs_exist_ok=True)
    for name, source in (("model", "masked"), ("healed", "honest")):
        torch.save(load_file(folder / f"{source}.safetensors"), folder / f"{name}.pt")
    (folder / "runs").mkdir()
    (folder / "models").mkdir()
    (folder / "evidence").mkdir()
    for name in ("one", "two"):
        shutil.copy(folder / "honest.safetensors", folder / "runs" / f"{name}.safetensors")
    shutil.copy(folder / "honest.safetensors", folder / "models")
    (folder / "runs" / "a").mkdir()
    shutil.copy(folder / "honest.safetensors", folder / "runs" / "a" / "best.safetensors")
    shutil.copy(ROOT / "examples" / "ci" / "robaudit.toml", folder)
    for name in ("*.evidence", "*.json"):
        for left in folder.glob(name):
            left.unlink()
    digits = load_digits()
    x, y = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(network.state_dict(), folder / "weights.pth")
    text = "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    (folder / "mynet.py").write_text(text)
    np.savez(
        folder / "data.npz",
        images=(digits.images * 15.9).astype(np.uint8)[-200:],
        labels=digits.target[-200:],
    )
    return folder


def elsewhere(words):
    """Training and the demo take minutes: tests/training and the heavy tests run them."""
    return words[1] in ("demo", "train", "sweep") or (words[1] == "report" and words[2].startswith("runs/"))


ALL = [(page.name, tuple(words)) for page in PAGES for words in commands(page)]


def test_the_documented_commands_run(place, monkeypatch, capsys):
    """In the order of the pages, once each; every one ends in a verdict or well, none in exit code 2."""
    monkeypatch.chdir(place)
    order = sorted(ALL, key=lambda item: item[0] != "tutorial.md")  # it makes the files that the others name
    failed = []
    for words in dict.fromkeys(
        words for _, words in order if words[0] == "robaudit" and not elsewhere(words)
    ):
        code = run(quick(list(words))[1:])
        said = capsys.readouterr()
        if code not in (0, 1, 3):
            failed.append((shlex.join(words), code, said.err))
    assert not failed


PYTHON = re.compile(r"^```python\n(.*?)^```", flags=re.M | re.S)


@pytest.mark.parametrize("page", [DOCS / "api.md", ROOT / "README.md"], ids=lambda page: page.name)
def test_the_documented_python_runs(page, place, monkeypatch):
    """Block after block in one namespace, with the embedded data and short budgets."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    import robaudit

    monkeypatch.chdir(place)
    found = robaudit.inputs.load_images("digits", limit=30)
    test_set = TensorDataset(found.float(), found.labels)
    short = {"apgd_steps": 3, "fab_steps": 2, "square_queries": 30, "targets": 2}
    original = robaudit.check
    monkeypatch.setattr(
        robaudit,
        "check",
        lambda *a, **k: original(*a, **short | {"limit": 30} | k | {"limit": 30}),
        raising=False,
    )
    names = {
        "model": robaudit.load("model.pt", dataset="digits"),
        "images": found.float(),
        "labels": found.labels,
        "test_set": test_set,
        "test_loader": DataLoader(test_set, batch_size=8, shuffle=True),
    }
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        exec(compile(block.replace("cifar10", "digits"), str(page), "exec"), names)
    result = names["result"]
    assert isinstance(result, robaudit.Result)
    assert not (names["model"](result.adversarial.x_adv).argmax(1) == result.adversarial.y).any()
    assert torch.isfinite(result.adversarial.x_adv).all()
    assert (place / "report.html").is_file()


@pytest.mark.heavy
def test_the_documented_demo_runs():
    assert ("robaudit", "demo") in [words[:2] for _, words in ALL] or run(["demo"]) == 0


def test_the_documented_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.M))
    for page, words in ALL:
        if words[0] == "make":
            assert words[1] in targets, page
        assert words[0] in ("make", "robaudit", "pip", "python", "gh", "ssh-keygen"), (page, words)


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("sphinx")
    site = tmp_path / "site"
    options = ["-q", "-W", "--keep-going", "-n", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(site)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in site.glob("**/*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//", text), page
    assert "<math" in (site / "statistics.html").read_text(encoding="utf-8")
    assert (site / "robaudit-1.schema.json").is_file()
