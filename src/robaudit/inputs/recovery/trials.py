"""Trying candidates on labelled images, and successive halving among them.

What is tried, on which images and on how many depends on the file and the images only, never on the clock:
the same choice comes out on any machine, however busy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from robaudit.devices import NO_ROOM, out_of_memory
from robaudit.errors import RobauditError
from robaudit.inputs.data.images import Images
from robaudit.inputs.networks.family import Plan
from robaudit.inputs.normalisation import Normalisation, Normalise
from robaudit.inputs.recovery.candidates import Candidate, assemble
from robaudit.inputs.recovery.scoring import Choice, least_doubted, same_answers

#: Images of a race's first lap; each lap doubles them.
FIRST_LAP_IMAGES = 8
#: (least, most) images of a whole trial, and the multiplications that it may cost.
LEAST_IMAGES, MOST_IMAGES, TRIAL_WORK = 96, 2000, 20e9
#: Images after which a first look at many guesses ends.
GLANCE_IMAGES = 64
#: Standard errors of doubt behind the likeliest at which a guess leaves a race.
BEHIND_ERRORS = 3.0
#: Answers that a lap may ask for in all, the multiplications it may cost, and the guesses that stay in any case.
LAP_ANSWERS, LAP_WORK, STAYING = 2048, 4e10, 4
#: Multiplications that guesses which nothing speaks for may cost in their first lap, and the fewest of them tried.
UNLIKELY_WORK, FEWEST_UNLIKELY = 1e11, 12
#: Multiplications an image for each learned number, as in a ResNet-18 for 32x32 pixels.
USUAL_WORK = 50
#: Learned numbers of the networks kept in memory; on the CPU most share theirs with the file.
KEPT_PARAMETERS = 300_000_000
#: Images after which of two guesses with the same answers the dearer leaves.
COMPARED_IMAGES = 64

Guess = tuple[Candidate, Normalisation]


def multiplications(network: nn.Module, image: torch.Tensor) -> int:
    """What a network costs for one image (1, C, H, W), on any machine: multiplications of its layers.

    Programs have no layers to count; theirs are taken as this many a learned number.
    """
    total = 0

    def count(module: nn.Module, _: Any, result: torch.Tensor) -> None:
        nonlocal total
        total += result.numel() * module.weight[0].numel()  # type: ignore[index]

    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return total or USUAL_WORK * sum(parameter.numel() for parameter in network.parameters())


def _refuse_no_room(error: Exception) -> None:
    """Nothing, unless memory ran out: that says nothing about a guess.

    Raises:
        RobauditError: it did.

    """
    if out_of_memory(error):
        raise RobauditError(NO_ROOM.removeprefix("model: ")) from error


@dataclass
class Trial:
    """The images that candidates are tried on, and what is known already.

    Attributes:
        images: labelled.
        device: where networks compute.
        prices: of normalisations.
        count: images of a whole trial.
        work: multiplications of the likeliest candidate for an image.

    """

    images: Images
    device: str = "cpu"
    prices: dict[Normalisation, float] = field(default_factory=dict)
    count: int = MOST_IMAGES
    work: float = 1
    tried: dict[tuple[Plan, Normalisation], Choice | None] = field(default_factory=dict)
    _works: dict[Plan, float] = field(default_factory=dict)
    _networks: dict[Plan, nn.Module] = field(default_factory=dict)

    def measure(self, candidates: list[Candidate]) -> None:
        """Set the images of a trial by the multiplications of the first candidate that runs."""
        self.work = next((work for c in candidates[:8] if (work := self._work(c)) < math.inf), self.work)
        self.count = int(min(MOST_IMAGES, max(LEAST_IMAGES, TRIAL_WORK / self.work), len(self.images)))

    def affordable(self, guesses: Iterable[Guess]) -> list[Guess]:
        """Of unlikely guesses, the likelier first, those that `UNLIKELY_WORK` lets try a lap.

        A structure that costs more than what is left is passed over; some of usual cost are tried in any case.
        """
        left, chosen = UNLIKELY_WORK / FIRST_LAP_IMAGES, list[Guess]()
        for guess in guesses:
            if left < self.work / 4 and len(chosen) >= FEWEST_UNLIKELY:
                break
            work = self._work(guess[0])
            if work <= left or (len(chosen) < FEWEST_UNLIKELY and work <= 2 * self.work):
                chosen.append(guess)
                left -= work
        return chosen

    def _work(self, candidate: Candidate) -> float:
        """Multiplications of one image; infinite where it does not run."""
        if candidate.plan not in self._works:
            try:
                image = self.images.float(slice(0, 1)).to(self.device)
                work: float = max(multiplications(self._network(candidate), image), 1)
            except (RobauditError, RuntimeError, ValueError, MemoryError) as error:
                _refuse_no_room(error)
                work = math.inf
            self._works[candidate.plan] = work
        return self._works[candidate.plan]

    def _network(self, candidate: Candidate) -> nn.Module:
        """The candidate's network on the device; the last few built are kept."""
        network = self._networks.get(candidate.plan)
        if network is None:
            network = assemble(candidate).to(self.device)
            size = sum(parameter.numel() for parameter in network.parameters())
            if (len(self._networks) + 1) * size > KEPT_PARAMETERS:
                self._networks.clear()
            self._networks[candidate.plan] = network
        return network

    def logits(self, network: Callable[[torch.Tensor], torch.Tensor], rows: range) -> torch.Tensor:
        """(n, classes) of a normalised network on the images `rows`, on the CPU."""
        found = []
        with torch.no_grad():
            for start in range(rows.start, rows.stop, 100):
                part = slice(start, min(start + 100, rows.stop))
                logits = network(self.images.float(part).to(self.device))
                if logits.ndim != 2 or logits.shape[0] != part.stop - part.start:
                    raise RobauditError(f"output of shape {tuple(logits.shape)}; expected (N, classes)")
                found.append(logits.cpu())
        return torch.cat(found)

    def answers(self, guess: Guess, count: int) -> Choice | None:
        """A guess tried on (at least) this many images, counting on from those it has seen; None if it cannot run."""
        candidate, norm = guess
        key, count = (candidate.plan, norm), min(count, len(self.images))
        known = self.tried.get(key)
        if key in self.tried and (known is None or len(known) >= count):
            return known
        try:
            network, normalise = self._network(candidate), Normalise(norm).to(self.device)
            logits = self.logits(lambda x: network(normalise(x)), range(len(known) if known else 0, count))
        except (RobauditError, RuntimeError, ValueError, MemoryError) as error:
            _refuse_no_room(error)
            self.tried[key] = None
            return None
        logits = torch.cat([known.logits, logits]) if known else logits
        price = candidate.price + self.prices.get(norm, 0.0)
        self.tried[key] = Choice(candidate, norm, logits, self.images.labels[:count], price)
        return self.tried[key]

    def race(self, guesses: Iterable[Guess], count: int) -> list[Choice]:
        """Successive halving: in each lap twice as many images, and of the guesses only those not clearly behind.

        Returns:
            Those who stayed to the last of `count` images, the least doubted first.

        """
        last = {(candidate.plan, norm): (candidate, norm) for candidate, norm in reversed(list(guesses))}
        running, lap = list(last.values())[::-1], FIRST_LAP_IMAGES
        count = min(count, len(self.images))
        while True:
            lap = min(lap, count)
            ranked = least_doubted(
                (choice for guess in running if (choice := self.answers(guess, lap))), lap / self.count
            )
            most = max(STAYING, int(min(LAP_ANSWERS, LAP_WORK / self.work) / lap))
            stay = [choice for errors, choice in ranked if errors <= ranked[0][0] + BEHIND_ERRORS][:most]
            if lap >= COMPARED_IMAGES:
                stay = [c for c in stay if c is stay[0] or not same_answers(c, stay[0])]
            if lap >= count or not stay:
                return stay
            running, lap = [c.guess for c in stay], 2 * lap
