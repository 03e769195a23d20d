"""What a gate's policy may say, where it lies, and what its paths are beside."""

import pytest

from robaudit.cli import run
from robaudit.cli.policy import read_policies
from robaudit.errors import RobauditError
from tests.cli.helpers import assert_clear


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("datset = 'digits'", "did you mean 'dataset'"),
        ("dataset = 'digits'\nnonsense = 1", "unknown key 'nonsense'"),
        ("dataset = 'digits'\nlimit = 'many'", "limit is a str"),
        ("dataset = 'digits'\nlimit = true", "limit is a bool"),
        ("dataset = 'digits'\nmin-robust-accuracy = 41", "did you mean 0.41"),
        ("dataset = 'digits'\neps = '8'", "did you mean 8/255"),
        ("dataset = 'digits'\nconfidence = 99", "confidence 99"),
        ("dataset = 'digits'\nmax-gap = 8.0", "pgd_square bound 8"),
        ("dataset = 'digits'\n[budget]\nsteps = 3", "unknown key 'budget.steps'"),
        ("dataset = 'nosuch'", "no such data set"),
        ("limit = 3", "names no dataset"),
        ("dataset = ", "not TOML"),
        ("dataset = 'digits'\n[[exceptions]]\nmodel = 'a'", "without 'reason'"),
        (
            "dataset = 'digits'\n[[exceptions]]\nmodel='a'\nreason='b'\nexpires='soon'",
            "exceptions.expires is a str",
        ),
        ("dataset = 'digits'\nexceptions = ['a']", "must be a table"),
    ],
)
def test_bad_policies_are_refused(text, says, tmp_path):
    path = tmp_path / "robaudit.toml"
    path.write_text(text)
    with pytest.raises(RobauditError, match=r"robaudit\.toml") as error:
        read_policies(path)[0]
    assert says in str(error.value)


def test_a_policy_in_pyproject(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_clear(capsys, run(["gate"]), "no policy here")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert_clear(capsys, run(["gate"]), "pyproject.toml: has no [tool.robaudit]")
    (tmp_path / "pyproject.toml").write_text("[tool.robaudit]\ndataset = 'digits'\nmodels = ['*.pt']\n")
    assert_clear(capsys, run(["gate"]), "pyproject.toml: models '*.pt' fits no file")
    (tmp_path / "bad.pt").write_text("no")
    assert run(["gate", "--junit", "j.xml"]) == 2
    assert "could not audit" in capsys.readouterr().out
    assert 'errors="1"' in (tmp_path / "j.xml").read_text()


def test_paths_of_a_policy_lie_beside_it(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"")
    (tmp_path / "robaudit.toml").write_text("dataset = 'data.npz'\neps = '8/255'\ndata-dir = 'there'\n")
    found = read_policies(tmp_path / "robaudit.toml")[0]
    assert found.dataset == str(tmp_path / "data.npz")
    assert found.data_dir == tmp_path / "there"
    assert found.evidence == tmp_path / ".robaudit"
    assert found.plan.threat.eps == pytest.approx(8 / 255)
