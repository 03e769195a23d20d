"""Random draws that depend on (seed, attack, example, step) alone, never on the batch.

Philox4x32-10 (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405) is a pure function from a key
and a counter to four 32-bit words, so a draw can be made again anywhere, in any order, on any device. Here
the key is made of the seed and the attack's name, the counter of (block, step, example id). The words live in
int64 tensors because torch has no complete set of unsigned operations.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.devices import in_double

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10: four int64 tensors of one shape with values in [0, 2^32), to four like them."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The 64-bit product may wrap to a negative int64; its bits, and so both halves, are right.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Draws:
    """The random numbers of one attack under one seed."""

    seed: int
    attack: str

    def _key(self) -> tuple[int, int]:
        digest = hashlib.blake2b(f"{self.seed}:{self.attack}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")

    def uniform(self, ids: Tensor, step: Tensor | int, count: int) -> Tensor:
        """`count` draws from [0, 1) for each example.

        Args:
            ids: (n,) int64, the examples' ids in their data set.
            step: (n,) int64 or one number, in [0, 2^32): which draw of the attack this is.
            count: numbers per example.

        Returns:
            (n, count) float32, multiples of 2^-24, so that 1.0 never occurs.

        """
        blocks = -(-count // 4)
        block = torch.arange(blocks, device=ids.device).expand(len(ids), blocks)
        step = torch.as_tensor(step, device=ids.device).expand(len(ids))
        shape = (len(ids), blocks)
        words = philox(
            (
                block,
                step[:, None].expand(shape) & _MASK,
                (ids & _MASK)[:, None].expand(shape),
                ((ids >> 32) & _MASK)[:, None].expand(shape),
            ),
            self._key(),
        )
        bits = torch.stack(words, dim=-1).reshape(len(ids), blocks * 4)[:, :count]
        return (bits >> 8).to(torch.float32) * 2.0**-24

    def signs(self, ids: Tensor, step: Tensor | int, count: int) -> Tensor:
        """`count` fair draws from {-1, +1} for each example, (n, count) float32."""
        return (self.uniform(ids, step, count) >= 0.5).to(torch.float32) * 2 - 1

    def normal(self, ids: Tensor, step: Tensor | int, count: int) -> Tensor:
        """`count` standard normal draws for each example, (n, count) float32, by Box and Muller."""
        half = -(-count // 2)
        u = in_double(self.uniform(ids, step, 2 * half))
        radius = torch.sqrt(-2 * torch.log1p(-u[:, :half]))
        angle = 2 * torch.pi * u[:, half:]
        both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return both[:, :count].to(ids.device, torch.float32)
