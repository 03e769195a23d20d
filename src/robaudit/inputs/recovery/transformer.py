"""Vision transformers from names and shapes: blocks by the number in their names, what is in them by role.

What they seem to be is built and compared. Heads leave no trace in shapes; each number of them that divides the width
becomes a candidate.
"""

from __future__ import annotations

import math
import re

import torch

from robaudit.inputs.networks.transformer import FAMILY, SHARES, TransformerPlan
from robaudit.inputs.recovery.candidates import Candidate
from robaudit.inputs.recovery.layers import Layer
from robaudit.inputs.recovery.published import Sizes, in_network_order

Roles = dict[str, Layer]
#: A network's layers by role, in its order: before the blocks, in each, after them.
BEFORE = ("norm_patch", "embed", "norm_embedded", "token", "position")
INSIDE = ("norm1", "qkv", "out", "norm2", "fc1", "fc2")
AFTER = ("norm", "head")

#: Up to and with the first number of a name.
NUMBERED = re.compile(r"((?:[^.]*\.)*?[^.]*\d)\.(.+)")
#: Names of attention's layers within a block, and of its parts.
ATTENTION = re.compile(
    r"att|msa|qkv|in_proj|(^|[._])(to_|w_?)?(q|k|v|o|query|key|value|out)(_proj|_linear)?(\.\d+)?$"
)
PARTS = re.compile(r"(^|[._])(to_|w_?)?(q|k|v)(uery|ey|alue)?(_proj|_linear)?$")


def transformer_candidates(layers: list[Layer], shape: tuple[int, int, int] | None) -> list[Candidate]:
    """Vision transformers that the layers may be, the likeliest first.

    Args:
        layers: as `read_layers` gives them.
        shape: (C, H, W) of the images, or None.

    """
    blocks, rest = _blocks(layers)
    frame, inside = _frame(rest), [_block_roles(block) for block in blocks]
    if frame is None or not inside or not all(inside):
        return []
    plan, sizes = _proposed(frame, inside)
    ordered = [
        *(frame[role] for role in BEFORE if role in frame),
        *(block[role] for block in inside for role in INSIDE if role in block),
        *(frame[role] for role in AFTER if role in frame),
    ]
    order = in_network_order(plan, ordered, sizes, any_order=False)
    if not order or (shape is not None and sizes[:2] != shape[:2]):
        return []
    found = [Candidate(other, order, *sizes, price) for other, price in FAMILY.first_guesses(plan)]
    return sorted(found, key=lambda candidate: candidate.price)


def _proposed(frame: Roles, blocks: list[Roles]) -> tuple[TransformerPlan, Sizes]:
    """What the layers by role seem to be, and the sizes of images and answers."""
    embed, first = frame["embed"], blocks[0]
    patch, channels = _patch(embed)
    side = math.isqrt(frame["position"].shape[1] - ("token" in frame)) * patch
    inner = first["qkv"].shape[0] // 3
    heads = next((inner // share for share in SHARES if inner % share == 0), 1)
    plan = TransformerPlan(
        embed.shape[0], len(blocks), heads, inner, first["fc1"].shape[0], patch,
        conv=embed.kind == "conv", norm_patch="norm_patch" in frame, norm_embedded="norm_embedded" in frame,
        token="token" in frame, mean="token" not in frame, last_norm="norm" in frame,
        batch=first["norm1"].kind == "norm", out="out" in first,
    )  # fmt: skip
    return plan, (channels, side, frame["head"].shape[0])


def _blocks(layers: list[Layer]) -> tuple[list[list[Layer]], list[Layer]]:
    """The layers of each block, in the order of the blocks' numbers, and all others."""
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        match = NUMBERED.match(layer.name)
        groups.setdefault(match[1] if match else "", []).append(layer)
    blocks = {
        name: group for name, group in groups.items() if name and sum(x.kind == "linear" for x in group) >= 3
    }
    ordered = sorted(blocks, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
    inside = {id(layer) for name in ordered for layer in blocks[name]}
    return [blocks[name] for name in ordered], [layer for layer in layers if id(layer) not in inside]


def _block_roles(block: list[Layer]) -> Roles:
    """A block's layers by role, queries, keys and values joined; nothing where it is not a block."""
    norms = sorted((layer for layer in block if layer.normalises), key=lambda layer: "after" in layer.name)
    linears = [layer for layer in block if layer.kind == "linear"]
    if len(norms) != 2 or len(norms) + len(linears) != len(block):
        return {}
    attention = [layer for layer in linears if ATTENTION.search(_inside(layer))]
    alone = [layer for layer in linears if layer not in attention]
    if len(alone) != 2:
        attention, alone = linears[:-2], linears[-2:]
    joined = _joined(attention)
    names = ("norm1", "norm2", "fc1", "fc2", "qkv", "out")
    return dict(zip(names, (*norms, *alone, *joined), strict=False)) if joined else {}


def _inside(layer: Layer) -> str:
    """A layer's name within its block."""
    match = NUMBERED.match(layer.name)
    return match[2] if match else layer.name


def _joined(attention: list[Layer]) -> list[Layer] | None:
    """Queries, keys and values as one layer, then the layer after the heads where there is one."""
    parts = {match[3]: layer for layer in attention if (match := PARTS.search(layer.name))}
    rest = [layer for layer in attention if layer not in parts.values()]
    if not parts and len(attention) in (3, 4):
        parts, rest = dict(zip("qkv", attention, strict=False)), attention[3:]
    if parts:
        three = [parts[part] for part in "qkv" if part in parts]
        if len(three) != 3 or len(rest) > 1 or len({(layer.shape, layer.bias) for layer in three}) != 1:
            return None
        roles = three[0].tensors
        tensors = {role: torch.cat([layer.tensors[role] for layer in three]) for role in roles}
        return [Layer(three[0].name, "linear", tensors), *rest]
    if not 1 <= len(rest) <= 2:
        return None
    return sorted(
        rest, key=lambda layer: -layer.shape[0] / layer.shape[1]
    )  # three times as many outputs as inputs


def _frame(rest: list[Layer]) -> Roles | None:
    """What is around the blocks, by role."""
    learned = [layer for layer in rest if layer.kind == "other" or re.search(r"(pos|token|cls)", layer.name)]
    main = [layer for layer in rest if layer not in learned]
    embeds = [layer for layer in main if layer.kind in ("conv", "linear") and _patch(layer)[0]]
    convs = [layer for layer in main if layer.kind == "conv"]
    heads = [layer for layer in main if layer.kind == "linear" and layer not in (convs or embeds)[:1]]
    if not embeds or len(convs) > 1 or len(heads) != 1:
        return None
    embed, head = (convs or embeds)[0], heads[0]
    found = {"embed": embed, "head": head}
    parent = embed.name.rpartition(".")[0]
    for layer in main:
        if layer.normalises:
            near = bool(parent) and layer.name.rpartition(".")[0] == parent
            first = (
                near
                and "norm_patch" not in found
                and layer.shape == (embed.shape[1],)
                and embed.kind == "linear"
            )
            role = "norm_patch" if first else "norm_embedded" if near else "norm"
            if role in found:
                return None
            found[role] = layer
    if len(found) != len(main):
        return None
    return _learned(found, learned, embed.shape[0])


def _learned(found: Roles, learned: list[Layer], width: int) -> Roles | None:
    """With the first token and the positions, whose tensors may have any shape of the same size."""
    for layer in learned:
        tensor = next(iter(layer.tensors.values()))
        if len(layer.tensors) != 1 or tensor.numel() % width:
            return None
        role = "token" if tensor.numel() == width else "position"
        if role in found:
            return None
        found[role] = Layer(layer.name, "other", {"weight": tensor.reshape(1, -1, width)})
    return found if "position" in found else None


def _patch(embed: Layer) -> tuple[int, int]:
    """(side of a patch, channels of the images); zeros where the layer embeds no patches."""
    if embed.kind == "conv":
        square = embed.shape[2] == embed.shape[3] and embed.shape[1] in (1, 3)
        return (embed.shape[2], embed.shape[1]) if square else (0, 0)
    for channels in (3, 1):
        side = math.isqrt(embed.shape[1] // channels)
        if side > 1 and side * side * channels == embed.shape[1]:
            return side, channels
    return 0, 0
