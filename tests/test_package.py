"""The package as others install it: what its pages say, and wheel and source in an environment of their own."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_readme_leads_somewhere_from_anywhere():
    """The package index shows it without the repository."""
    base = f"{PROJECT['urls']['Homepage']}/blob/main/"
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert link.startswith("https://"), link
        assert not link.startswith(base) or (ROOT / link.removeprefix(base)).exists(), link
    for link in PROJECT["urls"].values():
        assert not link.startswith(base) or (ROOT / link.removeprefix(base)).exists(), link


def test_every_extra_that_an_error_names_is_one():
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r"robaudit\[(\w+)\]", path.read_text(encoding="utf-8")))
    assert named
    assert named <= set(PROJECT["optional-dependencies"])


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_clean_environment_runs_the_demo_and_a_check(kind, tmp_path):
    uv = [str(Path(sys.executable).parent / "uv")]

    def done(*command, code=0):
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.returncode == code, (command, found.stdout, found.stderr)
        return found.stdout

    done(*uv, "build", f"--{kind}", "--out-dir", str(tmp_path / "dist"), str(ROOT))
    (built,) = (tmp_path / "dist").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    if kind == "wheel":
        names = zipfile.ZipFile(built).namelist()
        assert "robaudit/assets/digits_adversarial.safetensors" in names
        assert "robaudit/py.typed" in names
        assert not [name for name in names if name.startswith("tests/")]
    done(*uv, "venv", "--python", sys.executable, str(tmp_path / "env"))
    place = tmp_path / "env" / "bin"
    done(
        *uv,
        "pip",
        "install",
        "--python",
        str(place / "python"),
        "-c",
        str(ROOT / "constraints.txt"),
        str(built),
    )
    robaudit = str(place / "robaudit")
    assert "As expected" in done(robaudit, "demo")
    assets = "import importlib.resources as r; print(r.files('robaudit') / 'assets' / 'digits_distilled.safetensors')"
    model = done(str(place / "python"), "-c", assets).strip()
    assert "OVERESTIMATED" in done(robaudit, "check", model, "--dataset", "digits", "--limit", "100", code=1)
    found = subprocess.run(
        [robaudit, "check", "timm:resnet18", "--dataset", "digits"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.startswith("timm:resnet18: needs the timm package; pip install 'robaudit[timm]'")
