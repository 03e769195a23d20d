"""Help, completion, lists, what was probably meant, a project's defaults, and reports written directly."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from robaudit.architectures import NETWORKS, no_such_architecture
from robaudit.cli import run
from robaudit.cli.app import app
from robaudit.cli.defaults import KEYS
from robaudit.cli.lists import DESCRIPTIONS
from robaudit.cli.streams import complain
from robaudit.datasets import DATASETS
from robaudit.plan import ATTACK_NAMES
from tests.cli.helpers import assert_clear, check
from tests.shipped import ADVERSARIAL

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands

#: Wrong arguments, how the message begins, and what it offers instead.
WRONG = [
    (["chek", "a.pt"], "No such command", "check"),
    (["check", "m.pt", "--dataset", "digits", "--atacks", "pgd10"], "No such option", "--attacks"),
    (["check", "m.safetensor", "--dataset", "digits"], "m.safetensor: no such file", "m.safetensors"),
    (["check", "m.safetensors", "--dataset", "cifar-10"], "cifar-10: no such data set", "cifar10"),
    (["check", "m.safetensors", "--dataset", "mine.npy"], "mine.npy: no such data set", "mine.npz"),
    (["check", "m.safetensors", "--dataset", "digits", "--split", "tset"], "split 'tset'", "test"),
    (["check", "m.safetensors", "--dataset", "digits", "--attacks", "pgd10,sqare"], "attack 'sqare'", "square"),
    (["check", "m.safetensors", "--dataset", "digits", "--norm", "Linff"], "norm 'Linff'", "Linf"),
    (["check", "m.safetensors", "--dataset", "digits", "--eps", "8"], "eps 8", "8/255"),
    (["check", "m.safetensors", "--dataset", "digits", "--precision", "fp31"], "precision 'fp31'", "fp32"),
    (["check", "m.safetensors", "--dataset", "digits", "--arch", "resnt18"], "--arch resnt18", "resnet18"),
    (["check", "m.safetensors", "--dataset", "digits", "--arch", "nte.py:f"], "--arch nte.py:f", "net.py"),
    (["check", "m.safetensors", "--dataset", "digits", "--normalise", "imagnet"], "--normalise", "imagenet"),
    (["check", "m.safetensors", "--dataset", "digits", "--device", "cdua"], "device 'cdua'", "cuda"),
    (["check", "m.safetensors", "m.safetensors", "--dataset", "digits", "--html", "a"], "a: one page", "--markdown"),
    (["train", "--dataset", "digits", "--out", "r", "--method", "trade"], "method 'trade'", "trades"),
    (["train", "--dataset", "digits", "--out", "r", "--lr", "-1"], "lr -1", "above 0"),
    (["landscape", "m.safetensors", "--dataset", "digit"], "digit: no such data set", "digits"),
    (["report", "m.evidenc"], "m.evidenc: no such evidence", "m.evidence"),
    (["report", "m.evidence", "--format", "markdwn"], "format 'markdwn'", "markdown"),
    (["verify", "m.evidence", "m.safetensors", "--engine", "refrence"], "engine 'refrence'", "reference"),
    *(
        (["check", "m.safetensors", "--dataset", "digits", "--engine", "reference", *words], start, offer)
        for words, start, offer in (
            (["--version", "plus"], "apgd-dlr: the reference engine", "leave out --version plus"),
            (["--version", "rand"], "apgd-dlr: the reference engine", "leave out --version rand"),
            (["--attacks", "paper"], "apgd-dlr: the reference", "--attacks pgd10,square,apgd-ce,apgd-t,fab-t instead"),
            (["--attacks", "apgd-dlr,pgd10"], "apgd-dlr: the reference", "leave apgd-dlr out of --attacks"),
            (["--surrogate", "net.py:f"], "--surrogate net.py:f: the reference", "leave out --surrogate"),
            (["--transfer", "m.safetensors"], "--transfer m.safetensors: the reference", "leave out --transfer"),
        )
    ),
    *(
        (["check", "m.safetensors", "--dataset", "digits", *words], start, offer)
        for words, start, offer in (
            (["--surrogate", "net.py"], "--surrogate net.py: names no factory", "FILE.py:FUNCTION"),
            (["--surrogate", "net"], "--surrogate net: names no factory", "FILE.py:FUNCTION"),
            (["--surrogate", "nte.py:f"], "--surrogate nte.py:f: no file nte.py", "net.py"),
            (["--surrogate", "nomodule.x:f"], "--surrogate nomodule.x:f: no module nomodule", "package.module"),
            (["--normalise", "cifar11"], "--normalise way 'cifar11' is not known", "cifar10"),
            (["--normalise", "1,2/3"], "--normalise 1,2/3: give 1 mean and 1 deviation", "one each"),
            (["--normalise", "1/0"], "--normalise 1/0: deviations", "above 0"),
            (["--normalise", "1/x"], "--normalise 1/x: not means", "m,m,m/s,s,s"),
            (["--normalise", "cifar10"], "--normalise cifar10: is for 3 channels, the data set has 1", "numbers"),
            (["--arch", "resnet21"], "--arch resnet21: no such architecture", "did you mean resnet"),
            (["--arch", "torchvison:resnet50"], "--arch torchvison:resnet50: no module", "did you mean torchvision"),
            (["--image-size", "x"], "image-size x", "224"),
            (["--image-size", "224:100"], "image-size 224:100", "224:256"),
            (["--transfer", "nte.py:f"], "nte.py:f: no file nte.py", "net.py"),
        )
    ),
    *(
        ([command, model, *words], f"{model}{start}", offer)
        for command, *words in (["check", "--dataset", "digits"], ["landscape", "--dataset", "digits"], ["inspect"])
        for model, start, offer in (
            ("nte.py:build", ": no file nte.py", "net.py"),
            ("hf:", " names no model", "hf:NAME"),
            ("timm:", " names no model", "timm:NAME"),
            ("torchvison:resnet50", ": no module torchvison", "torchvision"),
            ("a:b:c", ": no such file", "pass a checkpoint"),
        )
    ),
    *(
        (["check", "m.safetensors", "--dataset", "digits", *words], start, offer)
        for words, start, offer in (
            (["--attacks", "autoatack"], "attack 'autoatack' is not known", "did you mean autoattack"),
            (["--eps-curve", ""], "eps-curve: '' is not a number", "or auto"),
            (["--eps-curve", "autos"], "eps-curve: 'autos' is not a number", "did you mean auto"),
            (["--eps-curve", "1/255,"], "eps-curve: '' is not a number", "1/255,2/255"),
            (["--eps", ""], "--eps '' is not a number", "8/255"),
            (["--claim", "0.5", "--claim-attack", "sqare"], "claim-attack 'sqare' is not known", "did you mean square"),
            (["--eot", "0"], "eot 0", "from 1"),
            (["--norm", "L1"], "digits: has no usual radius in L1", "--eps 12"),
        )
    ),
    (["check", "m.safetensors", "--dataset", "mine.npz", "--norm", "L2"], "mine.npz: has no usual", "--eps 0.5"),
    (["inspect", "m.safetensors", "--arch", "resnet21"], "--arch resnet21: no such", "did you mean resnet"),
]  # fmt: skip


def test_usage_errors_say_what_was_meant_before_torch_is_imported(tmp_path):
    for name in ("m.safetensors", "mine.npz", "m.evidence", "net.py"):
        (tmp_path / name).write_bytes(b"")
    code = (
        "import json, sys, io, contextlib; from robaudit.cli import run\n"
        "found = []\n"
        "for arguments in json.load(sys.stdin):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as said:\n"
        "        code = run(arguments)\n"
        "    found.append([code, said.getvalue(), 'torch' in sys.modules])\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([arguments for arguments, *_ in WRONG]),
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for (arguments, start, offer), (code, said, torch) in zip(WRONG, json.loads(done.stdout), strict=True):
        assert code == 2, arguments
        assert said.startswith(start), (arguments, said)
        assert offer in said, (arguments, said)
        assert len(said.strip().splitlines()) <= 2, said
        assert not torch, arguments
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "m.evidence",
        "m.safetensors",
        "mine.npz",
        "net.py",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_groups_its_options(name, capsys):
    assert run([name, "-h"]) == 0
    said = capsys.readouterr().out
    panels = re.findall(r"^(\w[\w ]*):$", said, flags=re.M)
    assert panels[-1] == "Options"
    assert len(panels) == len(set(panels))
    if len(COMMANDS[name].params) > 3:
        assert len(panels) > 2, panels
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("robaudit che", {"check"}),
        ("robaudit check m --dataset cifar", {"cifar10", "cifar100"}),
        ("robaudit check m --attacks pgd10,sq", {"pgd10,square"}),
        ("robaudit report e --format ht", {"html"}),
        ("robaudit train --method pg", {"pgd-at"}),
        ("robaudit check m --norm L", {"Linf", "L2"}),
    ],
)
def test_a_shell_completes(line, offered, capsys, monkeypatch):
    monkeypatch.setenv("_ROBAUDIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    assert run([]) == 0
    assert offered <= set(capsys.readouterr().out.split())


def test_the_formats_that_a_shell_offers_are_those_there_are(capsys, monkeypatch):
    from robaudit.reports import COMPARISONS, REPORTS

    for command, known in (("report e", REPORTS), ("compare a b", ("terminal", *COMPARISONS))):
        monkeypatch.setenv("_ROBAUDIT_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"robaudit {command} --format ")
        monkeypatch.setenv("COMP_CWORD", str(len(command.split()) + 2))
        assert run([]) == 0
        assert set(capsys.readouterr().out.split()) == set(known)


def test_the_lists_are_the_codes_own(capsys):
    from robaudit.inputs import ARCHITECTURES

    for name, words in (("datasets", DATASETS), ("architectures", ARCHITECTURES), ("attacks", ATTACK_NAMES)):
        assert run([name]) == 0
        said = capsys.readouterr().out.split()
        assert set(words) <= set(said), name
        assert run([name, "--json"]) == 0
        json.loads(capsys.readouterr().out)
    assert set(DESCRIPTIONS) == set(ATTACK_NAMES)
    assert not [name for name in ARCHITECTURES if no_such_architecture(name)]
    assert len(ARCHITECTURES) == sum(map(len, NETWORKS.values()))


def test_the_variables_say_where_data_and_evidence_lie(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROBAUDIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ROBAUDIT_CACHE", str(tmp_path / "kept"))
    assert_clear(capsys, check(ADVERSARIAL, "--dataset", "cifar10"), "cifar10: ")
    assert_clear(
        capsys, check(ADVERSARIAL, "--dataset", "cifar10", "--data-dir", tmp_path / "x"), str(tmp_path / "x")
    )
    check(ADVERSARIAL, "--dataset", "digits", "--attacks", "pgd10", "--limit", 20)
    assert len(list((tmp_path / "kept" / "evidence").glob("*.evidence"))) == 1
    assert not (tmp_path / "cache").exists()


def test_check_writes_its_reports(tmp_path, capsys):
    named = {name: tmp_path / f"out.{name}" for name in ("json", "html", "markdown", "sarif")}
    flags = [word for name, place in named.items() for word in (f"--{name}", place)]
    quick = ["--dataset", "digits", "--attacks", "pgd10", "--limit", 20]
    assert check(ADVERSARIAL, *quick, *flags, "--claim", "0.99", "--claim-attack", "pgd") == 1
    assert "INCONCLUSIVE" in named["markdown"].read_text()
    assert "claim-refuted" in named["sarif"].read_text()
    assert named["html"].read_text().startswith("<!")
    (tmp_path / "bad.pt").write_text("no")
    capsys.readouterr()
    assert check(ADVERSARIAL, tmp_path / "bad.pt", *quick, "--markdown", "-", "--sarif", named["sarif"]) == 1
    said = capsys.readouterr().out
    assert said.count("## ") == 2
    assert "COULD NOT AUDIT" in said
    assert "could-not-audit" in named["sarif"].read_text()
    assert_clear(capsys, check(ADVERSARIAL, *quick, "--json", "-", "--html", "-"), "-: is both")
    assert_clear(capsys, check(ADVERSARIAL, *quick, "--html", tmp_path / "no" / "x"), str(tmp_path / "no"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "pyproject.toml").write_text(f"[tool.robaudit.check]\n{text}\n")

    return write


def test_a_projects_defaults_are_taken_and_said_and_flags_go_before_them(project, capsys):
    project("dataset = 'digits'\nattacks = 'pgd10'\nlimit = 20\neps = 0.05")
    assert check(ADVERSARIAL, "--eps", "0.1", "--json", "-") == 3
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert (data["data"]["name"], data["data"]["n"], data["threat"]["eps"]) == ("digits", 20, 0.1)
    assert said.err.splitlines()[0].startswith(
        "pyproject.toml: [tool.robaudit.check] sets dataset = digits, attacks = pgd10, limit = 20 "
    )
    assert check(ADVERSARIAL, "--no-config") == 2
    assert "--dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        *[
            (f"{name} = {value}", f"cannot set '{name}'")
            for name, value in {
                "trust-program": "true", "force": "true", "download": "true", "evidence": "'x'", "json": "'x'",
                "html": "'x'", "ray": "'ray://evil:1'", "arch": "'evil.py:f'", "key": "'a'", "device": "'cpu'",
                "square-bound": "0.99", "autoattack-bound": "0.99", "claim": "0.1", "engine": "'reference'",
            }.items()
        ],
        ("datset = 'digits'", "did you mean 'dataset'"),
        ("limit = 'many'", "limit is a str"),
        ("limit = true", "limit is a bool"),
        ("dataset = '/etc'", "leads out of the project"),
        ("dataset = '../x'", "leads out of the project"),
        ("data-dir = 'link'", "leads out of the project"),
        ("limit = ", "not TOML"),
        ("attacks = ['pgd10', 1]", "attacks must be a list of text"),
        ("attacks = []", "attacks must be a list of text"),
    ],
)  # fmt: skip
def test_a_strangers_pyproject_says_no_more_than_images_and_attacks(line, says, project, tmp_path, capsys):
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "evil.py").write_text("open('canary', 'w')\ndef f(): open('canary', 'w')\n")
    project(line)
    assert_clear(capsys, check(ADVERSARIAL), "pyproject.toml: ")
    check(ADVERSARIAL)
    assert says in capsys.readouterr().err
    assert not (tmp_path / "canary").exists()


def test_what_a_project_may_set_is_an_option_of_check():
    flags = {flag.removeprefix("--") for option in COMMANDS["check"].params for flag in option.opts}
    assert set(KEYS) <= flags


def test_every_command_and_option_is_in_the_docs():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    headings = {word for line in re.findall(r"^## (.*)$", text, flags=re.M) for word in line.split(", ")}
    rows = set(re.findall(r"^\| `(\w+)", text, flags=re.M))
    assert set(COMMANDS) <= headings
    assert set(COMMANDS) <= rows
    spec = importlib.util.spec_from_file_location("list_options", ROOT / "scripts" / "list_options.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "due: python scripts/list_options.py"


@pytest.mark.parametrize("words", [["attacks"], ["explain", "vanishing-gradients"], ["datasets", "--json"]])
def test_a_reader_that_has_gone_is_no_fault(words):
    """As `robaudit attacks | head -1`."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "robaudit", *words],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writes)
    assert "should not happen" not in done.stderr
    assert "Traceback" not in done.stderr


def test_no_argument_at_all_is_answered_by_the_whole_help(capsys):
    assert run(["--help"]) == 0
    wanted = capsys.readouterr().out
    assert run([]) == 2
    assert capsys.readouterr().out == wanted


def test_a_strangers_line_breaks_in_an_error_are_none(capsys):
    complain("a.pt: is near chance\npass \x1b another")
    assert capsys.readouterr().err == "a.pt: is near chance\npass � another\n"
    complain("a\nb: no such file\npass another")
    assert capsys.readouterr().err == "a�b: no such file\npass another\n"


def test_a_project_may_name_its_attacks_in_a_list(project, capsys):
    project("dataset = 'digits'\nattacks = ['pgd10', 'square']\nlimit = 20\nsquare-queries = 20")
    check(ADVERSARIAL, "--json", "-")
    assert json.loads(capsys.readouterr().out)["plan"]["attacks"] == ["pgd10", "square"]


@pytest.mark.parametrize("text", ["[tool.robaudit]\ncheck = 5", "[tool]\nrobaudit = 5", "tool = 5"])
def test_what_has_the_tables_name_is_a_table(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(f"{text}\n")
    assert_clear(capsys, check(ADVERSARIAL), "pyproject.toml: [tool.robaudit.check] is no table")


def test_a_factory_that_ends_the_program_is_told_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "ends.py").write_text("def build():\n    raise SystemExit(1)\n")
    model = f"{tmp_path / 'ends.py'}:build"
    assert_clear(capsys, check(model, "--dataset", "digits"), "SystemExit(1): the code that was called ended")
    out = tmp_path / "r.json"
    assert check(model, model, "--dataset", "digits", "--json", out, "--evidence", tmp_path / "e") == 2
    assert all("ended the program" in item["error"] for item in json.loads(out.read_text())["reports"])


def test_a_networks_own_error_is_told_as_its_own(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.last = torch.nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        assert len(x) == 1, 'one image, please'\n"
        "        return self.last(x.flatten(1))\n"
    )
    flags = [
        "--dataset",
        "digits",
        "--attacks",
        "pgd10",
        "--limit",
        "20",
        "--evidence",
        str(tmp_path / "e"),
        "--force",
    ]
    assert run(["check", f"{tmp_path / 'nets.py'}:Net", *flags]) == 2
    told = capsys.readouterr().err
    assert "should not happen" not in told
    assert "one image, please" in told
