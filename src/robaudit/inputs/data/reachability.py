"""Whether a host answers at all, asked once and briefly: downloads by others' code retry for minutes."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

#: Seconds to wait for a name and a connection.
WAIT = 4.0
#: Seconds without a byte after which a running download is given up.
IDLE = 20.0


def unreachable(urls: Sequence[str]) -> str:
    """Why none of the hosts can be reached, in a few words; empty if one can (or its proxy).

    Args:
        urls: addresses of which one suffices.

    """
    reasons = []
    for url in dict.fromkeys(urls):
        reason = _refusal(url)
        if not reason:
            return ""
        reasons.append(f"{urlsplit(url).hostname} {reason}")
    return "; ".join(reasons[:2])


def _refusal(url: str) -> str:
    """Why there is no connection to the host of `url`; empty if there is one."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        between = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = between.hostname or "", between.port or 80
    answers: list[str] = []

    def ask() -> None:
        try:
            socket.create_connection((host, port), timeout=WAIT).close()
            answers.append("")
        except OSError as error:
            answers.append(f"cannot be reached: {error.strerror or error}")

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name knows no timeout
    thread.start()
    thread.join(WAIT + 1)
    return answers[0] if answers else f"does not answer within {WAIT:.0f} seconds"


@contextmanager
def careful() -> Iterator[None]:
    """Others' code inside downloads with a timeout, and unpickles plain weights only."""
    timeout, force = socket.getdefaulttimeout(), "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, avoid = os.environ.get(force), os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    socket.setdefaulttimeout(IDLE)
    os.environ[force] = "1"
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        if avoid is not None:
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = avoid
        if before is None:
            del os.environ[force]
        else:
            os.environ[force] = before
