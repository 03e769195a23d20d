"""What the tests of hostile files share: a place for them, the command line in a process of its own, and the rules.

    def test_something(hostile: Hostile) -> None:
        path = hostile.write("model.pt", data)            # hostile.canary is the file that an attack would write
        hostile.refused(hostile.run("inspect", path))     # exit 2, one or two lines, nothing else happened

`refused` and `behaved` raise `AssertionError` with what came out; `try_all` tries many and tells all that went wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: What one hostile file may cost.
SECONDS = 60.0
MEGABYTES = 2500
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: the signal that ended it), what it wrote, what it took."""

    code: int
    late: bool
    out: str
    err: str
    seconds: float
    megabytes: int


@dataclass(frozen=True)
class Case:
    """A hostile file.

    Attributes:
        name: of the trick.
        data: its bytes.
        ending: of its name.
        harmless: whether reading it is right as well, for it may be only odd.

    """

    name: str
    data: bytes
    ending: str = "pt"
    harmless: bool = False


class Hostile:
    """A folder for hostile files, and the server that runs commands on them."""

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self.folder, self._server = folder, server
        self.canary = folder / "canary" / "touched"
        self.canary.parent.mkdir(exist_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def run(
        self, *arguments: object, seconds: float = SECONDS, megabytes: int = 6000, **environment: str
    ) -> Outcome:
        """`robaudit ARGUMENTS` in a fork of the server, which may map `megabytes` more than it has."""
        request = {
            "arguments": [str(item) for item in arguments],
            "folder": str(self.folder),
            "seconds": seconds,
            "megabytes": megabytes,
            "environment": {
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "CANARY": str(self.canary),
                **environment,
            },
        }
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the server of hostile commands died"
        return Outcome(**json.loads(answer))

    def faults(self, outcome: Outcome, *, harmless: bool = False) -> str:
        """What is wrong with how a command on a hostile file ended; empty if nothing is."""
        lines = [line for line in outcome.err.splitlines() if line.strip()]
        wrong = []
        if outcome.late:
            wrong.append("did not end")
        elif outcome.code != 2 and not (harmless and outcome.code in (0, 1, 3)):
            wrong.append(f"exit {outcome.code}")
        if outcome.code == 2 and not 1 <= len(lines) <= 2:
            wrong.append(f"{len(lines)} lines")
        if "Traceback" in outcome.err or "should not happen" in outcome.err:
            wrong.append("an error that nobody foresaw")
        if any(not (c.isprintable() or c == "\n") for c in outcome.err):
            wrong.append("control characters")
        if len(outcome.err) > 1500:
            wrong.append(f"{len(outcome.err)} characters")
        if outcome.megabytes > MEGABYTES:
            wrong.append(f"{outcome.megabytes} MB")
        if any(self.canary.parent.iterdir()):
            wrong.append("the canary was touched")
            for file in self.canary.parent.iterdir():
                file.unlink()
        return f"{', '.join(wrong)}: {outcome.err.strip()[:300]}" if wrong else ""

    def refused(self, outcome: Outcome) -> None:
        """Assert exit 2, one or two printable lines, no canary, no signal, memory and time under the limits."""
        assert not self.faults(outcome), self.faults(outcome)

    def behaved(self, outcome: Outcome) -> None:
        """Assert the same, or that the command simply worked."""
        assert not self.faults(outcome, harmless=True), self.faults(outcome, harmless=True)

    def try_all(self, cases: Iterable[Case], *command: object) -> int:
        """Try `robaudit COMMAND FILE` for every case (`{}` in the command stands for the file); how many there were.

        Raises:
            AssertionError: some did not end well; it names them.

        """
        wrong: list[str] = []
        count = 0
        command = command or ("inspect", "{}")
        for count, case in enumerate(cases, 1):  # noqa: B007  used at the end
            path = self.write(f"case.{case.ending}", case.data)
            words = [str(path) if word == "{}" else word for word in command]
            fault = self.faults(self.run(*words), harmless=case.harmless)
            wrong += [f"{case.name}: {fault}"] if fault else []
        assert not wrong, f"{len(wrong)} of {count} cases:\n" + "\n".join(wrong[:40])
        return count


@pytest.fixture(scope="session")
def hostile_server() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110", "NO_COLOR": "1"}
    environment.pop("ROBAUDIT_DEBUG", None)
    command = [sys.executable, "-m", "tests.hostile.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as server:
        yield server
        assert server.stdin is not None
        server.stdin.close()
        server.terminate()  # it may still be importing
        server.wait(60)


@pytest.fixture
def hostile(tmp_path: Path, hostile_server: subprocess.Popen[str]) -> Hostile:
    return Hostile(tmp_path, hostile_server)


def part(cases: list[Any], count: int) -> list[Any]:
    """About `count` of the cases, evenly over all of them: what `make test` has time for."""
    step = max(len(cases) // count, 1)
    return cases[::step]
