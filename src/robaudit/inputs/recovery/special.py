"""What is done for one kind of published file: pattern, effect, where it was seen, and its test, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from robaudit.inputs.networks.family import Plan
from robaudit.inputs.networks.residual import ResidualPlan
from robaudit.inputs.recovery.chains import Unit
from robaudit.inputs.recovery.layers import Layer
from robaudit.inputs.recovery.reductions import parts_of, shapes_of

Words = tuple[str, ...]


@dataclass(frozen=True)
class Special:
    """One kind of published file.

    Attributes:
        pattern: by what it is known.
        effect: what is done.
        seen: whose files are so.
        test: the function that tests it, in `tests/inputs/recovery`.
        use: what does it; None where an entry of another table does.

    """

    pattern: str
    effect: str
    seen: str
    test: str
    use: Callable[..., Any] | None = None


def usual_padding(plan: ResidualPlan, head: str) -> float:
    """The price of the kind of padding beside the table's, where the last layer is named `head`."""
    if head.rpartition(".")[2] == "linear":
        return 0.0
    return {"pad": 0.3, "pad-end": -0.3}.get(plan.shortcut, 0.0)


def without_spare(layers: list[Layer]) -> list[Layer]:
    """The layers but a `sub_block1` beside a `block1` of the same shapes."""
    parts = parts_of(layers)
    spare = [
        name
        for name, part in parts.items()
        if name.startswith("sub_block")
        and shapes_of(part) == shapes_of(parts.get(name.removeprefix("sub_"), []))
    ]
    return [layer for layer in layers if not any(layer in parts[name] for name in spare)]


def resnet_9(convs: list[Unit], linears: list[Unit], side: int, head: Words) -> Iterator[tuple[float, Words]]:
    """(price, words) of the network for eight convolutions, two pairs with skips; `head` are its last words."""
    shapes = [unit.layer.shape for unit in convs]
    alike = [i for i, shape in enumerate(shapes) if shape[0] == shape[1]]
    if len(shapes) != 8 or alike[-4:] != [2, 3, 6, 7] or any(shape[2:] != (3, 3) for shape in shapes):
        return
    words = [[f"conv{unit.layer.shape[0]}k3p1", *(["bn"] if unit.norm else []), "relu"] for unit in convs]
    body: list[str] = []
    for i, part in enumerate(words):
        body += [*(["skip"] if i in (2, 6) else []), *part, *(["add"] if i in (3, 7) else [])]
        body += ["max2"] if i in (1, 4, 5) else []
    left = linears[0].layer.shape[1] // shapes[-1][0] if linears else 0
    for pool in ("gmp", "gap", "max2") if side % 16 == 0 else ("gmp", "gap"):
        if left == (1 if pool != "max2" else (side // 16) ** 2):
            yield 0.0 if pool == "gmp" else 0.6, (*body, pool, "flatten", *head)


def tried_early(plan: Plan) -> bool:
    """Whether a combination goes first: of a heavy network only the first few are tried."""
    return isinstance(plan, ResidualPlan) and plan.activation == "silu" and plan.pad_end


SPECIAL: dict[str, Special] = {
    "padding by the head's name": Special(
        "a residual network whose shortcuts have no parameters and whose last layer is not called `linear`",
        "its zero channels are rather at the end than on both sides",
        "akamaster/pytorch_resnet_cifar10 pads both sides and says `linear`; others pad the end and say `fc`",
        "test_zero_channels_are_where_the_head_s_name_says",
        usual_padding,
    ),
    "spare block": Special(
        "`sub_block1` beside a `block1` of the same shapes",
        "left out: it is defined and never run, and as wide as the stem it would read as a deeper network",
        "yaodongyu/TRADES' wide network, which many have taken over",
        "test_an_unused_copy_of_a_stage_is_left_out",
        without_spare,
    ),
    "ResNet-9": Special(
        "eight 3x3 convolutions, the third, fourth, seventh and eighth as wide as their inputs",
        "read as a plain network with two skips",
        "https://myrtle.ai/learn/how-to-train-your-resnet",
        "test_a_network_comes_back_without_its_names",
        resnet_9,
    ),
    "swish with far padding": Special(
        "a residual network that sees nothing with ReLU",
        "SiLU with strided convolutions padded on the far side is the first combination tried",
        "the wide networks of Gowal et al. 2020 (https://arxiv.org/abs/2010.03593), written for TensorFlow and JAX",
        "test_far_padding_and_swish_are_found_by_accuracy",
        tried_early,
    ),
    "ShuffleNet of width 224": Special(
        "a ShuffleNet V2 x2 whose first stage has 224 channels instead of the paper's 244",
        "known as `shufflenetv2-x2-224` (`networks.published`)",
        "kuangliu/pytorch-cifar and what was taken over from it",
        "test_the_index_holds_every_published_network",
    ),
    "some poolings averages": Special(
        "a plain network with several maximum poolings",
        "tried with averages in place of the last of them, or of all but the first (`networks.sequential_family`)",
        "Caffe's networks for CIFAR-10, which begin with a maximum and continue with averages",
        "test_some_poolings_may_be_averages",
    ),
    "Caffe's LeNet": Special(
        "a plain network with linear layers behind its convolutions",
        "tried without activations between the convolutions (`networks.sequential_family`)",
        "Caffe's LeNet, which has them between its linear layers only",
        "test_convolutions_may_have_no_activation_of_their_own",
    ),
    "MobileNetV2 for small images": Special(
        "a MobileNetV2, whose shapes do not tell where its strides are",
        "one of four patterns of strides by stage (`networks.mobile.PATTERNS`)",
        "published networks for CIFAR, which leave out one or two of the paper's strides",
        "test_a_network_comes_back_without_its_names",
    ),
    "narrow MobileNetV2": Special(
        "17 blocks with fewer than seven changes of width",
        "stages begin where the paper's do (`networks.mobile.STAGES`)",
        "torchvision's network with a width of 0.5 or 0.75, two of whose stages are equally wide",
        "test_torchvision_networks_with_a_small_stem",
    ),
    "padding before the first layer": Special(
        "a plain network whose first layer is number 1 of its `nn.Sequential`",
        "padding on the far side in front of it is likelier (`recovery.sequential`)",
        "networks that begin with `nn.ZeroPad2d`, as TensorFlow's do when they are written in PyTorch",
        "test_a_first_number_of_one_speaks_for_padding",
    ),
    "temperature": Special(
        "a single number beside the layers",
        "read as a learned slope, or left out as a temperature: no prediction changes (`recovery.matching`)",
        "networks that are saved with the temperature that calibrates them",
        "test_a_lone_number_may_be_a_temperature",
    ),
    "even kernels": Special(
        "kernels of 4, or of 2 in the shortcut, in a residual network without norms",
        "the stride is 2 there, 1 elsewhere; the shortcut is in the middle of its block (`ResidualPlan.even`)",
        "Wong et al. 2018 (https://arxiv.org/abs/1805.12514), provable defences",
        "test_blocks_with_even_kernels_and_a_shortcut_in_their_middle",
    ),
    "two sets of norms": Special(
        "normalisations in pairs of one width, and no known network with all of them",
        "read with the first of each pair, and with the second; images choose (`recovery.reductions`)",
        "AdvProp (https://arxiv.org/abs/1911.09665), with norms of its own for adversarial examples",
        "test_the_first_of_two_sets_of_norms_without_images",
    ),
    "a norm called after": Special(
        "a transformer's block with a norm whose name holds `after`",
        "it is the second of the two, wherever the file has it (`recovery.transformer`)",
        "Hugging Face's `layernorm_after`, which comes before `layernorm_before` where names are sorted",
        "test_separate_queries_keys_and_values_are_joined",
    ),
}
