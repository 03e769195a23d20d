"""Many checkpoints over a Ray cluster: each is one task, with a GPU where the cluster has any."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from robaudit.cli.auditing import Checked, CheckRequest, check_safely
from robaudit.errors import RobauditError

if TYPE_CHECKING:
    from robaudit.inputs import Images

#: Seconds that an address has to answer in.
_PATIENCE_SECONDS = 5


def check_on_ray(
    jobs: list[tuple[str, Path | None]], images: Images, request: CheckRequest, address: str
) -> Iterator[Checked]:
    """Audit every checkpoint of `jobs`, with its place for the evidence, and give each as it finishes.

    The checkpoints and the evidence lie where every node finds them under the same path. A task whose node dies is
    started again elsewhere and resumed from its evidence file.

    Args:
        jobs: (checkpoint, place of its evidence or None).
        images: sent to the cluster once.
        request: of every checkpoint; with the device `auto` each node picks its own.
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT` of a running cluster, or `local` to start one here.

    Raises:
        RobauditError: Ray is not installed, or no cluster answers.

    """
    with connected(address) as (ray, gpus):
        task = ray.remote(num_gpus=gpus, max_retries=3)(_task)
        shared = ray.put((images, _movable(request)))
        waiting = {
            task.remote(_everywhere(model), place and place.resolve(), shared): model for model, place in jobs
        }
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            model = waiting.pop(done[0])
            try:
                yield replace(ray.get(done[0]), model=model)
            except ray.exceptions.RayError as error:
                yield Checked(model, error=str(error).strip().splitlines()[-1])


@contextmanager
def connected(address: str) -> Iterator[tuple[Any, int]]:
    """Ray, joined to the cluster at `address`, and the GPUs that a task takes: one where the cluster has any.

    Raises:
        RobauditError: Ray is not installed, or no cluster answers.

    """
    try:
        import ray
    except ImportError as error:
        raise RobauditError("--ray: Ray is not installed; pip install 'robaudit[ray]'") from error
    _reachable(address)
    with TemporaryDirectory() as empty:  # its workers import first from where it was started
        try:
            with chdir(empty):
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = str(error).strip().splitlines()[0]
            raise RobauditError(
                f"--ray {address}: no cluster there ({reason}); start one by `ray start`"
            ) from error
        try:
            yield ray, 1 if ray.cluster_resources().get("GPU") else 0  # type: ignore[no-untyped-call]
        finally:
            ray.shutdown()


def _reachable(address: str) -> None:
    """Ray itself asks a silent address for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise RobauditError(
            f"--ray {address}: no cluster there ({error}); start one by `ray start`"
        ) from error


def _task(model: str, place: Path | None, shared: tuple[Images, CheckRequest]) -> Checked:
    from robaudit.devices import pick_device

    images, request = shared
    return check_safely(
        model, images, replace(request, device=pick_device(request.device), quiet=True), place
    )


def _movable(request: CheckRequest) -> CheckRequest:
    """The same with the user's code and the other model's file by their whole paths."""
    return replace(
        request,
        arch=_code_everywhere(request.arch),
        surrogate=_code_everywhere(request.surrogate),
        transfer=_everywhere(request.transfer) if request.transfer else None,
    )


def _code_everywhere(text: str | None) -> str | None:
    """`FILE.py:FACTORY` with the file's whole path; other names as they are."""
    file, colon, name = (text or "").rpartition(":")
    return f"{_everywhere(file)}:{name}" if colon else text


def _everywhere(model: str) -> str:
    """A file by its whole path, for another process's folder is another; a name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
