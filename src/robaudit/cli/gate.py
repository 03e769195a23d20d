"""`robaudit gate`: every checkpoint of a project against its policy; only new or changed ones are audited."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from robaudit.cli.common import TRUST_HELP, check_apart, check_writable, console, write_text
from robaudit.cli.exceptions import idle, refuse_expired
from robaudit.cli.help import one_of
from robaudit.cli.streams import annotate, complain
from robaudit.errors import RobauditError
from robaudit.escaping import plain
from robaudit.spelling import unknown

if TYPE_CHECKING:
    from robaudit.cli.gate_judging import Judged
    from robaudit.cli.policy import Policy

_FORMATS = ("text", "github")


def gate(
    models: list[Path] = typer.Argument(
        None, help="Checkpoints; by default those the policy names.", metavar="[MODEL]..."
    ),
    policy: Path | None = typer.Option(
        None, help="robaudit.toml or pyproject.toml; by default the one here."
    ),
    init: bool = typer.Option(
        False, "--init", help="Write a policy for these checkpoints, or those found below this folder."
    ),
    verify: bool = typer.Option(
        False,
        "--verify",
        help="Audit nothing: check the evidence that was made elsewhere, attack a few survivors again, and judge it.",
    ),
    arch: str | None = typer.Option(
        None, help="Architecture of all of them, such as FILE.py:FACTORY: a policy cannot name code."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda …"),
    output_format: str = typer.Option(
        "text",
        help="Of standard output: text, or github for annotations, with the text on standard error.",
        autocompletion=one_of(_FORMATS),
        rich_help_panel="Output",
    ),
    markdown: str | None = typer.Option(None, help="Write a Markdown report, such as a step summary."),
    sarif: str | None = typer.Option(None, help="Write SARIF 2.1.0."),
    junit: str | None = typer.Option(None, help="Write JUnit XML."),
    json_path: str | None = typer.Option(None, "--json", help="Write the reports as JSON."),
    trust_program: bool = typer.Option(
        False, "--trust-program", help=f"{TRUST_HELP} A policy cannot say so."
    ),
) -> int:
    """Hold checkpoints against the project's policy.

    Evidence is kept by the content of checkpoint and policy, so what did not change is not attacked again. Exit
    codes: 0 all pass; 1 one fails; 2 one could not be audited, or an exception has expired; 3 one is inconclusive.

    Examples:
      robaudit gate --init

      robaudit gate --sarif robaudit.sarif --markdown summary.md

    """
    if output_format not in _FORMATS:
        raise RobauditError(unknown("output-format", output_format, _FORMATS))
    if init:
        from robaudit.cli.gate_init import write_policy

        return write_policy(models or [], policy)
    from robaudit.cli.policy import find_policy, read_policies

    outputs = {"markdown": markdown, "sarif": sarif, "junit": junit, "json": json_path}
    for place in outputs.values():
        check_writable(place)
    policies = read_policies(find_policy(policy))
    if arch:
        policies = tuple(replace(rules, arch=arch) for rules in policies)
    check_apart(inputs=[policies[0].path, arch], **outputs)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    refuse_expired(policies[0].path, [*policies[0].waivers, *policies[0].ignored], today)
    work = _work(policies, models or [])
    checkpoints = [path for _, paths in work for path in paths]
    if not models:
        first = policies[0]
        for item in idle([*first.waivers, *first.ignored], checkpoints, first.path.parent):
            complain(f"{first.path}: {item} fits none of its models; correct the pattern or remove it")
    check_apart(inputs=[*(rules.dataset for rules in policies), *checkpoints], **outputs)
    from robaudit.cli.gate_judging import Gate
    from robaudit.devices import pick_device
    from robaudit.reports import REPORTS_OF_SEVERAL

    where = pick_device(device)
    found = [
        judged
        for rules, paths in work
        for judged in map(Gate(rules, verify, where, trust_program).judge, paths)
    ]
    for name, place in outputs.items():
        if place:
            write_text(place, REPORTS_OF_SEVERAL[name]([item.case for item in found]))
    _print(found, output_format, quiet="-" in outputs.values())
    return next(code for code in (1, 2, 3, 0) if code in {item.code for item in found})


def _print(found: Sequence[Judged], output_format: str, *, quiet: bool) -> None:
    from robaudit.reports import github_annotations

    lines = [plain(f"{item.case.name}: {item.message}") for item in found]
    if output_format == "github":
        for line in lines:
            complain(line)
        annotate(github_annotations([item.case for item in found]))
    elif not quiet:
        for line in lines:
            console().print(line, markup=False, soft_wrap=True)


def _work(policies: Sequence[Policy], named: Sequence[Path]) -> list[tuple[Policy, list[Path]]]:
    """The checkpoints of each data set's policy, or those of them that were named.

    Raises:
        RobauditError: the policy names none, or it is not told for which data set a named one is.

    """
    path = policies[0].path
    if len(policies) == 1 and named:
        return [(policies[0], list(named))]
    work = [(rules, rules.found()) for rules in policies]
    if not any(paths for _, paths in work):
        raise RobauditError(
            f'{path}: names no models; add models = ["models/*.safetensors"], or run robaudit gate --init'
        )
    if not named:
        return work
    wanted = {model.resolve(): model for model in named}
    chosen = [
        (rules, [wanted[item.resolve()] for item in paths if item.resolve() in wanted])
        for rules, paths in work
    ]
    known = {model for _, paths in chosen for model in paths}
    for model in named:
        if model not in known:
            raise RobauditError(
                f"{model}: fits no models of {path}, which has several data sets; add it to one"
            )
    return chosen
