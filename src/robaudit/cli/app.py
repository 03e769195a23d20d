"""The commands, and how they end.

Exit codes: 0 nothing found against the robustness; 1 overestimated, or the claim refuted; 2 could not audit;
3 inconclusive. An error that nobody foresaw exits 2 as well, never 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback

import typer

import robaudit
from robaudit.cli.check import check
from robaudit.cli.compare import compare
from robaudit.cli.demo import demo
from robaudit.cli.gate import gate
from robaudit.cli.inspect import inspect
from robaudit.cli.landscape import landscape
from robaudit.cli.report import report
from robaudit.cli.sweep import sweep
from robaudit.cli.train import train, with_heal_value
from robaudit.cli.verify import verify
from robaudit.errors import RobauditError
from robaudit.sandbox import parse_bytes

COULD_NOT_AUDIT = 2
INTERRUPTED = 130

# Newer releases of typer carry their own copy of click; this is the base of its errors in either.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="robaudit",
    help="Says, with evidence anyone can re-check, whether a classifier's adversarial robustness is overestimated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the rich help takes a third of a second to import
    epilog="Exit codes: 0 nothing found · 1 overestimated or claim refuted · 2 could not audit · 3 inconclusive",
)
app.command()(check)
app.command()(inspect)
app.command()(verify)
app.command()(report)
app.command()(train)
app.command()(sweep)
app.command()(compare)
app.command()(gate)
app.command()(landscape)
app.command()(demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robaudit {robaudit.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: bool = typer.Option(
        False, "--debug", envvar="ROBAUDIT_DEBUG", help="Show the traceback of an error."
    ),
    max_memory: str = typer.Option(
        "",
        "--max-memory",
        envvar="ROBAUDIT_MAX_MEMORY",
        help="What reading one file may take, for example 4G; most of what is free by default.",
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del debug, max_memory, version  # acted on before a command runs


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed to standard error in one or two lines."""
    # `--debug` is wanted where people think of it: after the command that failed.
    debug = "--debug" in arguments or bool(os.environ.get("ROBAUDIT_DEBUG"))
    arguments = [item for item in arguments if item != "--debug"]
    try:
        arguments = _with_memory(arguments)
        result = app(with_heal_value(arguments), standalone_mode=False)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else 0
    except typer.Exit as done:
        return done.exit_code
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return COULD_NOT_AUDIT
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; what was finished is kept, the same command resumes it", debug)
        return INTERRUPTED
    except RobauditError as error:
        _complain(str(error), debug)
        return COULD_NOT_AUDIT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_AUDIT
    except (Exception, SystemExit) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        advice = "This should not happen; run again with --debug and report it."
        _complain(f"{type(error).__name__}: {first}\n{advice}", debug)
        return COULD_NOT_AUDIT


def _with_memory(arguments: list[str]) -> list[str]:
    """The arguments without `--max-memory SIZE`, which is wanted after the command too; it holds for the process.

    Raises:
        RobauditError: it is no size.

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


def _complain(message: str, debug: bool) -> None:
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in message)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody may be listening
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"{printable}\n")
