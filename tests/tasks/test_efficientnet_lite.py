"""EfficientNet-Lite without timm is what it is with timm."""

from __future__ import annotations

import math
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from icm_tasks import efficientnet_lite

GETTER = {"features_only": True, "feature_cls": "getter"}


def both(name: str, options: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's, with the same weights and with statistics that are not those of the start."""
    own, other = efficientnet_lite.create(name, options), timm.create_model(name, **options)
    assert own is not None
    generator = torch.Generator().manual_seed(1)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    assert list(own.state_dict()) == list(other.state_dict())
    own.load_state_dict(other.state_dict())
    return own.eval(), other.eval()


def as_list(found: Tensor | list[Tensor]) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((f"tf_efficientnet_lite{size}", {"num_classes": 7}) for size in range(5)),
        ("tf_efficientnet_lite0", {}),
        ("tf_efficientnet_lite0", {**GETTER, "output_stride": 8, "out_indices": (2,)}),
        ("tf_efficientnet_lite0", {**GETTER, "output_stride": 8, "out_indices": (-1,)}),
        ("tf_efficientnet_lite2", {**GETTER, "output_stride": 16, "out_indices": (0, 3)}),
        ("tf_efficientnet_lite1", {**GETTER, "out_indices": (1, 2, 4)}),
    ],
)
def test_it_has_timms_weights_and_computes_the_same_bits(name: str, options: dict[str, Any]) -> None:
    own, other = both(name, options)
    picture = torch.rand(1, 3, 67, 90, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found, expected = as_list(own(picture)), as_list(other(picture))
    assert len(found) == len(expected)
    assert all(torch.equal(one, its) for one, its in zip(found, expected, strict=True))
    assert {key: other.pretrained_cfg[key] for key in own.pretrained_cfg} == own.pretrained_cfg
    if options.get("features_only"):
        assert own.feature_info.reduction() == other.feature_info.reduction()
        assert own.feature_info.channels() == other.feature_info.channels()


def test_values_are_cut_at_6_wherever_timm_cuts_them() -> None:
    own, other = both("tf_efficientnet_lite0", {"num_classes": 3})
    for network in (own, other):  # every normalisation then gives values of some tens
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 40)
    picture = torch.rand(1, 3, 33, 47, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert float(own.stem(picture).max()) == 6
        assert torch.equal(own(picture), other(picture))


def test_gradients_and_statistics_are_timms_in_training() -> None:
    own, other = both("tf_efficientnet_lite0", {"num_classes": 3})
    # In float64: means over a batch this small enlarge every rounding.
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)).double()
    for network in (own.double().train(), other.double().train()):
        network(picture).square().sum().backward()
    mine, its = dict(own.named_parameters()), dict(other.named_parameters())
    assert all(torch.allclose(mine[key].grad, its[key].grad, rtol=1e-6, atol=1e-8) for key in its)
    assert all(torch.allclose(value, other.state_dict()[key]) for key, value in own.state_dict().items())


def test_weights_are_drawn_as_timm_draws_them() -> None:
    torch.manual_seed(3)
    own, other = efficientnet_lite.create("tf_efficientnet_lite0", {}), timm.create_model("tf_efficientnet_lite0")
    assert own is not None
    its = other.state_dict()
    for key, value in own.state_dict().items():
        # Of a difference of two means.
        spread = 6 * its[key].float().std(correction=0).item() / math.sqrt(value.numel())
        assert value.float().mean().item() == pytest.approx(its[key].float().mean().item(), abs=spread + 1e-6), key
        if value.numel() > 1000:
            assert value.std().item() == pytest.approx(its[key].std().item(), rel=0.2, abs=1e-6), key


def test_the_last_layer_starts_uniform_and_the_wider_the_fewer_classes_there_are() -> None:
    torch.manual_seed(4)
    own = efficientnet_lite.create("tf_efficientnet_lite0", {"num_classes": 16})
    assert own is not None
    values = own.classifier.weight.detach()
    assert 0.24 < float(values.max()) <= 0.25 and -0.25 <= float(values.min()) < -0.24  # 1 / sqrt(16)
    assert float(values.std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.03)
    assert not own.classifier.bias.any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("tf_efficientnet_lite0.in1k", {}),
        ("tf_efficientnet_lite0", {"img_size": 64}),
        ("tf_efficientnet_lite0", {"num_classes": 0}),
        ("tf_efficientnet_lite0", {"features_only": True}),
        ("tf_efficientnet_lite0", {**GETTER, "out_indices": (5,)}),
        ("tf_efficientnet_lite0", {**GETTER, "out_indices": (1,), "output_stride": 4}),
    ],
)
def test_everything_else_is_left_to_timm(name: str, options: dict[str, Any]) -> None:
    assert efficientnet_lite.create(name, options) is None
