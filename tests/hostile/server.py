"""A warm process that runs one command line in each fork of it: torch is imported once, not a thousand times.

Reads requests from standard input and writes answers to standard output, JSON, one a line.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    """Answer until the input ends."""
    import sklearn.datasets  # the digits come with it, and most of a short check is its import
    import torch

    import robaudit.api.entry
    import robaudit.audit
    import robaudit.inputs
    import robaudit.reports
    from robaudit.cli import run

    del robaudit, sklearn
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(run, json.loads(line))) + "\n")
        answers.flush()


def _answer(run: Any, request: dict[str, Any]) -> dict[str, Any]:
    outputs = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  closed with the answer
    started = time.monotonic()
    child = os.fork()
    if not child:
        _command(run, request, [file.fileno() for file in outputs])
    code, late = None, False
    while code is None:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() - started > request["seconds"]:
            late = True
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            code = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.002)
    texts = []
    for file in outputs:
        file.seek(0)
        texts.append(file.read(1 << 20).decode("utf-8", "replace"))
        file.close()
    return {
        "code": code,
        "late": late,
        "out": texts[0],
        "err": texts[1],
        "seconds": time.monotonic() - started,
        "megabytes": usage.ru_maxrss >> 10,
    }


def _command(run: Any, request: dict[str, Any], outputs: list[int]) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        limit = mapped + int(request["megabytes"]) * (1 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        code = run(request["arguments"])
    except BaseException:  # a stray SystemExit is a failure of its own
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 98)


if __name__ == "__main__":
    main()
