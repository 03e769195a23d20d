"""Folders as Hugging Face's libraries write them: what lies beside the tensors counts."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from robaudit.cli import run
from robaudit.errors import RobauditError
from robaudit.inputs import Images, inspect_checkpoint, load_classifier, load_images, make_images, usual_size
from robaudit.inputs.data.pictures import Crop
from robaudit.inputs.files.copies import FileCopy
from robaudit.inputs.recovery.described import described
from robaudit.inputs.recovery.hugging_face import build_described
from robaudit.inputs.recovery.layers import chain_classes, read_layers

WIDTH, HEADS, HIDDEN, SIDE, PATCH, EPS = 16, 2, 24, 8, 4, 0.05
VIT = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": WIDTH,
       "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": HIDDEN, "image_size": SIDE,
       "patch_size": PATCH, "layer_norm_eps": EPS, "hidden_act": "gelu",
       "id2label": {str(n): f"class {n}" for n in range(4)}}  # fmt: skip
PREPARED = {"image_processor_type": "ViTImageProcessor", "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.3, 0.4, 0.5], "image_std": [0.2, 0.3, 0.25],
            "size": {"height": SIDE, "width": SIDE}}  # fmt: skip


class Reference(nn.Module):
    """A vision transformer out of torch's own encoder, and its tensors under Hugging Face's names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.position = nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2 + 1, WIDTH))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, HIDDEN, 0.0, "gelu", layer_norm_eps=EPS, batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH, EPS), nn.Linear(WIDTH, 4)
        for parameter in self.parameters():
            parameter.data = torch.randn_like(parameter) * 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(PREPARED[f"image_{name}"]).view(3, 1, 1) for name in ("mean", "std"))
        tokens = self.embed((x - mean) / std).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])

    def named(self) -> dict[str, torch.Tensor]:
        found = {"embeddings.cls_token": self.token, "embeddings.position_embeddings": self.position}
        parts = {"embeddings.patch_embeddings.projection": self.embed, "layernorm": self.norm}
        for number, block in enumerate(self.blocks):
            place = f"encoder.layer.{number}"
            weights, biases = block.self_attn.in_proj_weight.chunk(3), block.self_attn.in_proj_bias.chunk(3)
            for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
                found |= {f"{place}.attention.attention.{name}.weight": weight}
                found |= {f"{place}.attention.attention.{name}.bias": bias}
            parts |= {f"{place}.attention.output.dense": block.self_attn.out_proj}
            parts |= {f"{place}.intermediate.dense": block.linear1, f"{place}.output.dense": block.linear2}
            parts |= {f"{place}.layernorm_before": block.norm1, f"{place}.layernorm_after": block.norm2}
        found |= {
            f"{place}.{role}": value
            for place, part in parts.items()
            for role, value in part.named_parameters()
        }
        state = {f"vit.{name}": value for name, value in found.items()}
        state |= {"classifier.weight": self.head.weight, "classifier.bias": self.head.bias}
        return {name: value.detach().clone() for name, value in sorted(state.items())}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference().eval()


@pytest.fixture(scope="module")
def images(reference: Reference) -> Images:
    """What the network is right on."""
    pixels = torch.randint(
        0, 256, (120, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    with torch.no_grad():
        labels = reference(pixels.float() / 255).argmax(1)
    return make_images(pixels, labels, name="given", split="test", classes=4)


def folder_of(place: Path, state: dict[str, torch.Tensor], shards: int = 1, **beside: Any) -> Path:
    place.mkdir()
    names = list(state)
    for number in range(shards):
        file = "model.safetensors" if shards == 1 else f"model-{number + 1:05}-of-{shards:05}.safetensors"
        save_file({name: state[name] for name in names[number::shards]}, place / file)
    for name, content in beside.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    return place


def test_what_lies_beside_the_tensors_is_read(reference: Reference, images: Images, tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "a", reference.named(), config=VIT, preprocessor_config=PREPARED)
    parts = folder_of(tmp_path / "b", reference.named(), 3, config=VIT, preprocessor_config=PREPARED)
    x = images.float()
    with torch.no_grad():
        expected = reference(x)
    digests = set()
    for source in (plain, plain / "model.safetensors", parts):
        model = load_classifier(str(source), images=images)
        assert model.info.architecture.endswith(f"eps={EPS}") and f"heads={HEADS}" in model.info.architecture
        assert torch.allclose(model(x), expected, atol=1e-4)
        digests.add(model.info.digest)
    again = load_classifier(str(parts), arch=model.info.architecture, normalise=model.info.normalisation)
    assert digests == {again.info.digest}
    seen = inspect_checkpoint(str(plain))
    assert (seen.classes, seen.input_shape) == (4, (3, SIDE, SIDE))


def test_a_part_of_a_network_is_said_to_be_one(reference: Reference, tmp_path: Path) -> None:
    parts = folder_of(tmp_path / "a", reference.named(), 3, config=VIT)
    second = parts / "model-00002-of-00003.safetensors"
    for ask in (load_classifier, inspect_checkpoint):
        with pytest.raises(RobauditError, match=r"is one of 3 parts of a network; pass the folder"):
            ask(str(second))
    second.unlink()
    with pytest.raises(RobauditError, match="lacks part 2 of 3"):
        load_classifier(str(parts))
    with pytest.raises(RobauditError, match="is a folder; pass"):
        load_classifier(str(tmp_path))


def test_images_of_another_size_are_named(reference: Reference, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "a", reference.named(), config=VIT)
    with pytest.raises(RobauditError, match="takes images of 8 x 8, these are of 16 x 16; --image-size 8:8 "):
        load_classifier(str(place), shape=(3, 16, 16))


@pytest.mark.parametrize(
    ("config", "prepared", "expected"),
    [
        (VIT, PREPARED, "8:8"),
        (VIT, None, "8:8"),
        (VIT, {"size": 224}, "224:224"),
        (VIT, {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, "224:256"),
        (VIT, {"size": {"shortest_edge": 256}, "do_center_crop": False, "crop_size": 224}, "256:256"),
        (VIT, {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}}, "224:256"),
        (VIT, {"image_processor_type": "ConvNextImageProcessor", "size": 160, "crop_pct": 0.8}, "160:200"),
        (VIT, {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}}, "384:384"),
        ({"model_type": "resnet"}, {"size": {"height": 8, "width": 9}}, ""),
        ({"model_type": "resnet"}, {"size": 5000}, ""),
        ({"model_type": "resnet"}, {"size": True, "crop_pct": "x"}, ""),
        ({"architecture": "a", "pretrained_cfg": {"input_size": [3, 176, 176], "crop_pct": 0.95}}, None, "176:185"),
        ({"architecture": "a", "pretrained_cfg": {"input_size": [3, 8, 9]}}, None, ""),
        ({"architecture": "a", "pretrained_cfg": {"input_size": "x", "crop_pct": 0}}, None, ""),
    ],
)  # fmt: skip
def test_the_size_of_pictures_is_said_in_many_ways(
    config: dict[str, Any], prepared: dict[str, Any] | None, expected: str
) -> None:
    texts = {"config.json": config} | ({"preprocessor_config.json": prepared} if prepared else {})
    found = described(
        FileCopy(Path("m"), b"", beside={name: json.dumps(text).encode() for name, text in texts.items()})
    )
    assert found is not None and found.size.text == expected


def pictures_of(place: Path, network: nn.Module, sizes: list[tuple[int, int]]) -> Path:
    """A folder of pictures in whose 8 x 8 middles, as `--image-size 8:8` cuts them, the network sees their classes."""
    generator = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        tint, contrast = generator.integers(0, 200, 3), generator.integers(1, 56)
        picture = Image.fromarray((tint + generator.integers(0, contrast, (*size, 3))).astype(np.uint8))
        middle = torch.from_numpy(np.array(Crop(SIDE, SIDE).cut(picture))).permute(2, 0, 1)[None]
        with torch.no_grad():
            label = int(network(middle.float() / 255).argmax())
        (place / str(label)).mkdir(parents=True, exist_ok=True)
        picture.save(place / str(label) / f"{number}.png")
    (place / "classes.json").write_text(json.dumps([str(label) for label in range(4)]))
    return place


def test_pictures_take_the_size_that_the_folder_of_the_model_says(
    reference: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_of(tmp_path / "a", reference.named(), config=VIT, preprocessor_config=PREPARED)
    for name, sizes in (("mixed", [(16, 20), (13, 13), (8, 8), (8, 12)] * 6), ("alike", [(11, 14)] * 24)):
        data = pictures_of(tmp_path / name, reference, sizes)
        kept = str(tmp_path / f"{name}.evidence")
        asked = ["check", str(place), "--dataset", str(data), "--eps", "1/255"]
        assert run([*asked, "--attacks", "pgd10", "--evidence", kept]) in (0, 1, 3)
        told = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "images of 8 x 8 go in: pictures of other sizes are resized as --image-size 8:8 does" in told
        assert "100.0" in told  # correct on all, as its own preprocessor gives them
        assert run(["verify", kept, str(place), "--dataset", str(data)]) in (0, 1, 3)
        capsys.readouterr()
    with pytest.raises(RobauditError, match="--image-size 8:8 brings"):
        load_classifier(str(place), images=load_images(str(data), image_size="9"))


def test_models_of_one_size_share_it_and_others_have_none(reference: Reference, tmp_path: Path) -> None:
    one = folder_of(tmp_path / "a", reference.named(), config=VIT)
    two = folder_of(tmp_path / "b", reference.named(), config=VIT, preprocessor_config={"size": 16})
    bare = folder_of(tmp_path / "c", reference.named())
    assert usual_size([str(one), str(one / "model.safetensors")]) == "8:8"
    assert usual_size([str(two)]) == "16:16"
    for several in ([one, two], [one, bare], [bare], [tmp_path / "none"], []):
        assert not usual_size(list(map(str, several)))


def test_a_network_of_any_size_is_told_its_own(reference: Reference, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    from robaudit.inputs.recovery.catalogue import build_catalogue

    network = build_catalogue("timm", "test_resnet", 4, 3)
    config = {"architecture": "test_resnet", "num_classes": 4,
              "pretrained_cfg": {"input_size": [3, 160, 160], "crop_pct": 0.95,
                                 "mean": [0.5] * 3, "std": [0.5] * 3}}  # fmt: skip
    place = folder_of(tmp_path / "a", network.state_dict(), config=config)
    notes = load_classifier(str(place), shape=(3, 32, 32)).info.notes
    assert any("images of 160 x 160 go in" in note and "--image-size 160:168" in note for note in notes)
    config["pretrained_cfg"]["fixed_input_size"] = True
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(RobauditError, match=r"takes images of 160 x 160, .* --image-size 160:168"):
        load_classifier(str(place), shape=(3, 32, 32))


@pytest.mark.parametrize(
    ("prepared", "expected"),
    [
        (PREPARED, "0.3,0.4,0.5/0.2,0.3,0.25"),
        (PREPARED | {"do_normalize": False}, "none"),
        (PREPARED | {"rescale_factor": 1 / 127.5, "image_mean": [1.0], "image_std": [1.0]}, "0.5/0.5"),
        (PREPARED | {"do_rescale": False}, "0.00117647059,0.00156862745,0.00196078431/"),
        (PREPARED | {"do_rescale": False, "do_normalize": False}, "0/0.00392156863"),
        ({}, ""),
        ({"size": 224}, ""),
    ],
)
def test_a_preprocessor_is_a_normalisation(prepared: dict[str, Any], expected: str) -> None:
    beside = {"config.json": VIT, "preprocessor_config.json": prepared}
    copy = FileCopy(Path("m"), b"", beside={name: json.dumps(text).encode() for name, text in beside.items()})
    found = described(copy)
    assert (
        found is not None
        and found.normalisation.startswith(expected)
        and bool(found.normalisation) == bool(expected)
    )


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_damaged_json_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(RobauditError, match=r"config.json beside it is damaged"):
        described(FileCopy(Path("m"), b"", beside={"config.json": content}))


def test_other_kinds_need_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    place = folder_of(
        tmp_path / "a", {"classifier.weight": torch.randn(3, 4)}, config={"model_type": "convnext"}
    )
    with pytest.raises(RobauditError, match="of the kind convnext, which needs the transformers package"):
        load_classifier(str(place))


def test_a_configuration_sets_numbers_and_chooses_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    class PretrainedConfig:
        def __init__(self, attn_implementation: str = "", auto_map: object = None, **_: Any) -> None: ...

    class ToyConfig(PretrainedConfig):
        def __init__(self, width: int = 3, backbone: object = None, num_labels: int = 2, **more: Any) -> None:
            given.update(more, width=width, backbone=backbone, num_labels=num_labels)

    @dataclass
    class Told:
        logits: torch.Tensor

    class Toy(nn.Module):
        def __init__(self, _: ToyConfig) -> None:
            super().__init__()
            self.fc = nn.Linear(given["width"], given["num_labels"])

        def forward(self, x: torch.Tensor) -> Told:
            return Told(self.fc(x))

        @classmethod
        def from_pretrained(cls, _: None, *, config: ToyConfig, state_dict: Any, **_more: Any) -> Any:
            network = cls(config)
            network.load_state_dict(state_dict)
            return network, {"missing_keys": []}

    class Logging(types.ModuleType):
        def __getattr__(self, _: str) -> Any:
            return lambda *_: 0

    package = types.ModuleType("transformers")
    package.__dict__.update(PretrainedConfig=PretrainedConfig, ToyConfig=ToyConfig, Toy=Toy)
    names = types.ModuleType("names")
    names.__dict__.update(
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES={"resnet": "Toy"},
        CONFIG_MAPPING_NAMES={"resnet": "ToyConfig"},
    )
    monkeypatch.setitem(sys.modules, "transformers", package)
    monkeypatch.setitem(sys.modules, "transformers.models.auto.modeling_auto", names)
    monkeypatch.setitem(sys.modules, "transformers.models.auto.configuration_auto", names)
    monkeypatch.setitem(sys.modules, "transformers.utils.logging", Logging("logging"))
    config = {"model_type": "resnet", "width": 5, "num_labels": 4, "attn_implementation": "me/kernel",
              "auto_map": {"AutoModel": "evil.Net"}, "backbone": {"a": 1}, "trust_remote_code": True}  # fmt: skip
    said = described(FileCopy(Path("m"), b"", beside={"config.json": json.dumps(config).encode()}))
    assert said is not None
    state = {"fc.weight": torch.randn(4, 5), "fc.bias": torch.randn(4)}
    network = build_described(said, state, "m")
    assert given == {"width": 5, "backbone": None, "num_labels": 4}
    assert torch.equal(network(torch.ones(1, 5)), nn.functional.linear(torch.ones(1, 5), *state.values()))
    with pytest.raises(RobauditError, match="its tensors are of another one"):
        build_described(said, {"fc.weight": torch.randn(2, 5)}, "m")


def test_sorted_names_do_not_hide_the_classes() -> None:
    """As `.safetensors` keeps them: `classifier` before `encoder`, `fc` before `layer`."""
    for head in ("classifier", "fc", "head.fc", "net.fc", "classifier.3"):
        state = {f"{head}.weight": torch.zeros(7, 6), "stages.0.mlp.fc1.weight": torch.zeros(6, 6),
                 "conv_head.weight": torch.zeros(6, 3, 1, 1), "stages.0.mlp.fc2.weight": torch.zeros(6, 6)}  # fmt: skip
        assert chain_classes(read_layers(dict(sorted(state.items())))) == 7, head
