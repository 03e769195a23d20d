"""The commands, and how they end.

Exit codes: 0 nothing found against the robustness; 1 overestimated, or the claim refuted; 2 could not audit;
3 inconclusive. An error that nobody foresaw exits 2 as well, never 1; an interrupt exits 130, SIGTERM 143.
"""

from __future__ import annotations

import os
import signal
import sys

import typer

import robaudit
from robaudit.cli.auditing import ended, from_users_code
from robaudit.cli.board import board
from robaudit.cli.check import check
from robaudit.cli.compare import compare
from robaudit.cli.defaults import NO_CONFIG, project_defaults
from robaudit.cli.demo import demo
from robaudit.cli.explain import explain
from robaudit.cli.export import export
from robaudit.cli.gate import gate
from robaudit.cli.help import Command, completed, flags_of
from robaudit.cli.inspect import inspect
from robaudit.cli.landscape import landscape
from robaudit.cli.lists import architectures, attacks, datasets
from robaudit.cli.report import report
from robaudit.cli.stopping import stoppable
from robaudit.cli.streams import complain, guarded
from robaudit.cli.sweep import sweep
from robaudit.cli.train import train, with_heal_value
from robaudit.cli.verify import verify
from robaudit.errors import RobauditError
from robaudit.sandbox import parse_bytes

COULD_NOT_AUDIT = 2
INTERRUPTED = 130
#: What a shell sets that asks for completions.
_COMPLETING = "_ROBAUDIT_COMPLETE"
#: Commands that go on where they were stopped.
_RESUMED = ("check", "gate", "sweep", "train")

# Newer releases of typer carry their own copy of click; this is the base of its errors in either.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="robaudit",
    help="Says, with evidence anyone can re-check, whether a classifier's adversarial robustness is overestimated.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the rich help takes a third of a second to import
    epilog="Exit codes: 0 nothing found · 1 overestimated or claim refuted · 2 could not audit · 3 inconclusive",
)
for _command in (
    *(check, inspect, verify, report, export, compare, gate, board, explain),
    *(train, sweep, landscape),
    *(datasets, architectures, attacks, demo),
):
    app.command(cls=Command)(completed(_command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robaudit {robaudit.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    debug: bool = typer.Option(
        False, "--debug", envvar="ROBAUDIT_DEBUG", help="Show the traceback of an error."
    ),
    max_memory: str = typer.Option(
        "",
        "--max-memory",
        envvar="ROBAUDIT_MAX_MEMORY",
        help="What reading one file may take, for example 4G; most of what is free by default.",
    ),
    no_config: bool = typer.Option(
        False,
        "--no-config",
        envvar=NO_CONFIG,
        help="Leave out [tool.robaudit.check] of the pyproject.toml here.",
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del debug, max_memory, version  # acted on before a command runs
    if context.invoked_subcommand == "check" and not no_config:
        context.default_map = {"check": project_defaults(flags_of(check))}


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed to standard error in one or two lines."""
    # `--debug` is wanted where people think of it: after the command that failed.
    debug = "--debug" in arguments or bool(os.environ.get("ROBAUDIT_DEBUG"))
    arguments = [item for item in arguments if item != "--debug"]
    # So is this one.
    without = ["--no-config"] * ("--no-config" in arguments)
    arguments = without + [item for item in arguments if item != "--no-config"]
    with guarded(), stoppable() as stopped:
        try:
            arguments = _with_memory(arguments)
            if not arguments and _COMPLETING not in os.environ:  # nothing asked for: the help, and no success
                app(["--help"], prog_name="robaudit", standalone_mode=False)
                return COULD_NOT_AUDIT
            result = app(with_heal_value(arguments), prog_name="robaudit", standalone_mode=False)
            sys.stdout.flush()
            code = int(result) if isinstance(result, int) else 0
            return _stopped(arguments, stopped, debug) if code == INTERRUPTED else code
        except (KeyboardInterrupt, typer.Abort):
            return _stopped(arguments, stopped, debug)
        except typer.Exit as done:
            return done.exit_code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return COULD_NOT_AUDIT
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and _COMPLETING in os.environ:  # a shell asked, and was told
                return int(error.code or 0)
            if isinstance(error.__context__, BrokenPipeError):  # Rich's way to say that nobody reads on
                return COULD_NOT_AUDIT
            complain(_sentence(error), debug=debug)
            return COULD_NOT_AUDIT


def _with_memory(arguments: list[str]) -> list[str]:
    """The arguments without `--max-memory SIZE`, which is wanted after the command too; it holds for the process.

    Raises:
        RobauditError: it is not a size.

    """
    rest: list[str] = []
    waiting = iter(arguments)
    for item in waiting:
        flag, equals, value = item.partition("=")
        if flag != "--max-memory":
            rest.append(item)
            continue
        size = value if equals else next(waiting, "")
        try:
            parse_bytes(size)
        except ValueError as error:
            raise RobauditError(f"--max-memory {error}") from error
        os.environ["ROBAUDIT_MAX_MEMORY"] = size
    return rest


def _stopped(arguments: list[str], signals: list[int], debug: bool) -> int:
    """What is said where somebody ended the command; the exit code that shells expect."""
    kept = "; what was finished is kept, the same command resumes it"
    resumed = any(name in arguments[:1] for name in _RESUMED)
    complain(
        f"{'terminated' if signal.SIGTERM in signals else 'interrupted'}{kept if resumed else ''}",
        debug=debug,
    )
    return 128 + signal.SIGTERM if signal.SIGTERM in signals else INTERRUPTED


def _sentence(error: BaseException) -> str:
    """One or two lines on what went wrong: the offending thing, and what to do."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, RobauditError):
        return str(error)
    if isinstance(error, SystemExit):
        return str(ended(error))
    if isinstance(error, _UsageError):
        asked = getattr(error, "ctx", None)
        help_of = f"\n`{asked.command_path} --help` lists what there is." if asked else ""
        return f"{error.format_message()}{help_of}"  # type: ignore[attr-defined]
    if isinstance(error, MemoryError):
        return "out of memory; pass a smaller model or data set, or fewer examples with --limit"
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return (
            f"{named}cannot be read or written ({error.strerror}); check the place, its rights and its space"
        )
    if told := from_users_code(error):
        return told
    return f"{type(error).__name__}: {first}\nThis should not happen; run again with --debug and report it."
