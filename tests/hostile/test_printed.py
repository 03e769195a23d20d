"""Whatever a text says, where it is printed it is text: in every report, every error, every log."""

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from robaudit.cli import run
from robaudit.cli.streams import Guarded, guarded
from robaudit.errors import RobauditError
from robaudit.escaping import json_text, plain
from robaudit.reports import (
    COMPARISONS,
    REPORTS,
    REPORTS_OF_SEVERAL,
    Failure,
    github_annotations,
    notebook,
    open_case,
)
from robaudit.verdict import compare
from tests.evidence.edits import editing
from tests.hostile.printing import TEXT, printed
from tests.hostile.specimen import header, make_evidence

#: Texts of the evidence that nobody checks, for anybody may name a model or a data set as they like.
FREE = {
    "model": ("path", "sha256", "architecture", "normalisation", "notes"),
    "data": ("name", "split", "sha256", "class_names"),
    "versions": ("robaudit", "torch", "python"),
    "findings": ("message", "advice"),
    "device": (),
    "precision": (),
}
#: Lines that runners act on, wherever they come from.
COMMANDS = (
    "::error::x", "  ::warning file=a::x", "\t::set-env name=A::b", "##[error]x", "a ##[section]x", "::add-mask::x",
    "##vso[task.setvariable variable=a]b", "##teamcity[buildStop]", "x\n::error::y", "x\r::error::y",
    "\u00a0::error::x", "\u2003::error::x", "::stop-commands::x",
)  # fmt: skip


#: More of them, other runners', and what terminals and Markdown act on.
OTHERS = (
    "\x85::error::x", "\x0b::error::x", "\x0c##[error]x", "\u2029::error::x", "\u2028##[warning]x", "::error file=a,line=1::x", "::group::a",
    "::save-state name=a::b", "::set-output name=a::b", "::add-path::/x", "::add-matcher::x.json", "::echo::on", "%0A::error::x",
    "x,file=evil,title=y::z", "a::b::c", "::STOP-COMMANDS::x", "##[add-matcher]x", "##VSO[task.complete]x", "###[error]x", "##_a1[x]y",
    "##teamcity[publishArtifacts '/etc/passwd']", "section_start:0:a[collapsed=true]\r\x1b[0Kb", "\x9d0;x\x07", "\x1b]8;;http://x\x07y", "\x1bP+q0\x1b\\",
    "\x1b[?2026h", "\x1b[6n", "\u061c\u2066x\u2069", "\U000e0041\U000e0042", "\ufff9a\ufffab\ufffb", "\u0300" * 99, "a\bb\bc", "a\rb",
    "<!--", "]]>", "<?php", "&#60;img src=x&#62;", "<svg/onload=alert(1)>", "<a href=javascript:alert(1)>", "{{constructor.constructor('x')()}}",
    "![x](http://z.example/y.png)", "[x]: http://z.example", "<http://z.example>", "www.z.example", "a@z.example", "| - | - |", "---", "```", "> x", "1. x",
    "- [x] y", "$$\\href{http://z.example}{x}$$", ":smile:", "GH-1", "octo/repo#1", "\\<b>", "&lt;b&gt;",
)  # fmt: skip


def everywhere(text):
    """The specimen's header with the text in every free field."""
    changes = {}
    found = header()
    for key, names in FREE.items():
        value = getattr(found, key)
        if key == "findings":
            changes[key] = tuple(item | dict.fromkeys(names, text) for item in value)
        elif not names:
            changes[key] = text
        else:
            changes[key] = value | {
                name: [text] * len(value[name]) if isinstance(value[name], list) else text for name in names
            }
    return changes


@pytest.fixture(scope="module")
def specimen(tmp_path_factory):
    path = tmp_path_factory.mktemp("printed") / "a.evidence"
    make_evidence(path)
    return path.read_bytes()


def with_text(specimen, path, text):
    path.write_bytes(specimen)
    with editing(path) as db:
        for key, value in everywhere(text).items():
            db.execute("UPDATE header SET value = ? WHERE key = ?", (json.dumps(value), key))
    return open_case(path, pictures=True)


def each_report(case, text):
    """(format, text) of everything that is made of a case."""
    failure = Failure(text, text)
    yield from ((form, make(case)) for form, make in REPORTS.items())
    yield from ((form, make([case, failure])) for form, make in REPORTS_OF_SEVERAL.items())
    yield "notebook", notebook(case.evidence, case.verdict)
    found = compare(case.evidence, case.evidence, 0.02)
    yield from ((form, make(found)) for form, make in COMPARISONS.items())


def scraps(count):
    """Texts made of pieces of the one that tries everything."""
    draws = random.Random(0)
    pieces = [TEXT[start : start + 9] for start in range(0, len(TEXT), 3)] + [
        *COMMANDS,
        "\u0301" * 40,
        "\u2800",
        "\ufe0f",
    ]
    return ["".join(draws.choices(pieces, k=draws.randint(1, 12))) for _ in range(count)]


def shows_as_text(specimen, path, texts):
    for text in texts:
        case = with_text(specimen, path, text)
        assert case.pictures
        for form, report in each_report(case, text):
            assert not printed(form, report), (form, text, printed(form, report))


def test_every_text_is_text_in_every_report(specimen, tmp_path):
    shows_as_text(specimen, tmp_path / "a.evidence", [TEXT, *scraps(8)])


@pytest.mark.heavy
def test_every_scrap_is_text_in_every_report(specimen, tmp_path):
    shows_as_text(specimen, tmp_path / "a.evidence", [*OTHERS, *scraps(400)])


def test_sarif_points_at_a_place_whatever_the_path(specimen, tmp_path):
    for text in ("a b#c?d%e", "javascript:alert(1)", "//host/share", TEXT, "C:\\x"):
        log = json.loads(REPORTS["sarif"](with_text(specimen, tmp_path / "a.evidence", text)))
        for result in log["runs"][0]["results"]:
            uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            assert uri.isascii()
            assert not set(uri) & set('"<>\\^`{|} #?')
            assert not uri.startswith(("//", "javascript:"))


def test_titles_of_pictures_are_no_formulas(tmp_path):
    import numpy as np

    from robaudit.evidence import Surface
    from robaudit.reports import draw_landscapes, landscape_numbers

    n, a = 1, 5
    about = {
        "model": {"path": "$x_{2$ \\frac{" + TEXT, "sha256": ""}, "data": {"name": "$\\bad{" + TEXT},
        "threat": {"norm": "Linf", "eps": 0.1}, "seed": 0,
    }  # fmt: skip
    surface = Surface(
        np.linspace(-1, 1, a), *np.random.default_rng(0).normal(size=(2, n, a, a)), np.ones((n, a, a), bool),
        *np.zeros((3, n), int), *np.zeros((3, n)), np.ones(n, bool), about,
    )  # fmt: skip
    draw_landscapes([surface], tmp_path / "a.svg")
    tags = {
        item.tag.rpartition("}")[2]
        for item in ET.parse(tmp_path / "a.svg").iter()
        if isinstance(item.tag, str)
    }
    assert not tags & {"script", "img", "foreignObject"}
    from rich.console import Console

    screen = Console(record=True, file=io.StringIO(), width=110)
    screen.print(landscape_numbers([surface]))
    assert not printed("terminal", screen.export_text())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "utf-8", "utf-16"])
def test_no_encoding_of_standard_output_stops_a_report(specimen, tmp_path, monkeypatch, encoding):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    for form in REPORTS:
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        assert run(["report", str(path), "--format", form]) == 0
        sys.stdout.flush()
        text = out.getvalue()
        assert len(text) > 300
        if form != "terminal":
            assert printed(form, text.decode("utf-8")) == ""
    if encoding == "ascii":
        assert b"+-" in out.getvalue() or form != "terminal"


def test_the_terminal_is_drawn_with_what_the_encoding_has(specimen, tmp_path):
    path = tmp_path / "a.evidence"
    path.write_bytes(specimen)
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "robaudit", "report", str(path)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("latin-1")
    assert "PGD-10 - Square" in text
    assert "?" not in text


def as_a_runner_reads(text):
    """Lines that GitHub, Azure or TeamCity would act on."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [
        line
        for line in lines
        if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line or "##teamcity[" in line
    ]


def test_no_line_is_a_command_however_it_is_written():
    draws = random.Random(0)
    for command in (*COMMANDS, *OTHERS):
        for _ in range(20):
            out = io.StringIO()
            stream, text = Guarded(out), f"\n{command}\n"
            while text:
                cut = draws.randint(1, 5)
                stream.write(text[:cut])
                text = text[cut:]
            assert as_a_runner_reads(out.getvalue()) == []
    out = io.StringIO()
    Guarded(out).write("std::vector a::b # [x] ## [y] http://x\nabc ::x")
    assert out.getvalue() == "std::vector a::b # [x] ## [y] http://x\nabc ::x", "nothing else is touched"


def test_an_annotation_is_about_one_file_whatever_it_says(specimen, tmp_path):
    """As GitHub's runner reads a line: a command, its properties, its text; `%0A` and the like are not ours to make."""
    for text in (TEXT, *COMMANDS, *OTHERS, "../../x", "/etc/x"):
        case = with_text(specimen, tmp_path / "a.evidence", text)
        for line in github_annotations([case, Failure(text, text)]).split("\n")[:-1]:
            found = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
            assert found, line
            properties = dict(item.split("=", 1) for item in found[2].split(","))
            assert properties.keys() == {"file", "title"}
            assert properties["title"].startswith("robaudit%3A ")
            assert "%0A" not in found[3]
            assert "%0D" not in found[3]
            assert as_a_runner_reads(line.removeprefix("::")) == []


def names():
    """Names for files, as far as a file system takes them."""
    return [
        text.replace("/", "_").replace("\x00", "")[:80]
        for text in (*COMMANDS, TEXT, "\x1b[2J", "a\nb\nc\nd", "[red]x", "-rf")
    ]


@pytest.mark.parametrize("name", names())
def test_an_error_about_a_file_is_one_or_two_printable_lines(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = name.encode(errors="replace").decode()
    Path(tmp_path / name).write_bytes(b"nothing")
    for command in (
        ["report"],
        ["inspect"],
        ["compare", name],
        ["verify", name],
        ["gate", "--policy"],
        ["sweep", "--out", "o"],
    ):
        assert run([*command, "--", name]) == 2 or command == ["gate", "--policy"]
        error = capsys.readouterr().err
        lines = error.splitlines()
        assert 1 <= len(lines) <= 3, error
        assert all(c.isprintable() or c == "\n" for c in error)
        assert as_a_runner_reads(error) == []
        assert "should not happen" not in error
        assert "delete" not in error


def test_keys_of_a_policy_are_printed_as_text(tmp_path, capsys):
    policy = tmp_path / "robaudit.toml"
    for key in ("::error::x", "\\u001b[31m", "##[error]x", "a\\nb"):
        for text in (f'dataset = "digits"\n"{key}" = 1\n', f'dataset = "{key}"\n',
                     f'dataset = "digits"\nmodels = ["{key}"]\n',
                     f'dataset = "digits"\nnorm = "{key}"\n'):  # fmt: skip
            policy.write_text(text)
            assert run(["gate", "--policy", str(policy)]) == 2
            error = capsys.readouterr().err
            assert all(c.isprintable() or c == "\n" for c in error)
            assert as_a_runner_reads(error) == []
            assert len(error.splitlines()) <= 2


def test_warnings_and_tracebacks_are_printed_as_text(capsys, monkeypatch):
    with guarded():  # as `warnings` prints one, which pytest keeps for itself
        sys.stderr.write(
            warnings.formatwarning("a\n::error::b\x1b[31m\n##[error]c", UserWarning, "a\n::error::b", 1)
        )
    error = capsys.readouterr().err
    assert "UserWarning" in error
    assert "\x1b" not in error
    assert as_a_runner_reads(error) == []

    def fail(*_, **__):
        raise RuntimeError("a\n::error::b\x1b[31m")

    monkeypatch.setattr("robaudit.evidence.EvidenceFile.open", fail)
    assert run(["report", "none", "--debug"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "\x1b" not in error
    assert as_a_runner_reads(error) == []


def test_plain_leaves_the_worlds_letters_alone():
    for text in ("naïve Å ü", "नमस्ते", "日本語", "ไทย", "ỗ", "Ω → ± −", "א", "models/a-b_c.pt"):
        assert plain(text) == text
    assert plain("a" * 10_000, 100).count("a") == 100
    assert json.loads(json_text({"a": COMMANDS})) == {"a": list(COMMANDS)}


def gate_step():
    action = yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text())
    return next(step for step in action["runs"]["steps"] if step.get("id") == "gate")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_nothing_that_the_action_prints_is_a_command(tmp_path):
    """The step as a runner runs it, with a `robaudit` that prints every command and ends without a line break."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = [
        "#!/bin/bash",
        *(f"printf '%b\\n' {json.dumps(line)}" for line in ("::error::a", "##[error]b", "code=0")),
    ]
    script += [
        "echo ::error::c >&2",
        "while [[ $1 != --markdown ]]; do shift; done",
        'echo "code=0" > "$2"',
        "printf '::error::d'",
        "exit 3",
    ]
    (folder / "robaudit").write_text("\n".join(script))
    (folder / "robaudit").chmod(0o755)
    (tmp_path / "secrets.py").write_text("open('canary', 'w')\n")
    step, outputs, summary = gate_step(), tmp_path / "outputs", tmp_path / "summary"
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}", "OUT": str(tmp_path), "MODELS": "",
        "POLICY": "$(touch canary)", "VERIFY": "", "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary),
    }  # fmt: skip
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    lines, stopped, acted = done.stdout.split("\n"), None, []
    for line in lines:
        if stopped is None and line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line == f"::{stopped}::":
            stopped = None
        elif stopped is None and as_a_runner_reads(line):
            acted.append(line)
    assert acted == []
    assert stopped is None, "the token ends it"
    assert "::error::" not in done.stderr
    name, _, rest = outputs.read_text().partition("<<")
    delimiter, value, end, *more = rest.split()
    assert more == ["sarif=false"]
    assert (name, value, end) == ("code", "3", delimiter)
    assert len(delimiter) == 40
    assert summary.read_text() == "code=0\n"
    assert not (tmp_path / "canary").exists()


def test_an_error_that_nobody_catches_is_printed_as_text():
    """As in a notebook, or a script that calls `robaudit.load`."""
    error = RobauditError("a\x1b[2J\u202eb: no such file\n::error::pass another \r##[error]x")
    assert str(error).count("\n") == 1
    shown = "".join(traceback.format_exception(error))
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert as_a_runner_reads(shown) == []
