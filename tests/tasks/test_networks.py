"""Networks of timm by name: which there are, how they are built, and how their pictures are normalised."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import nn

from icm_core.errors import SpecError
from icm_tasks.networks import Normalisation, configuration, create, has


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("resnet18", True),
        ("resnet18.a1_in1k", True),
        ("tf_efficientnet_lite0", True),
        ("resnet17", False),
        ("hf-hub:timm/resnet18.a1_in1k", False),
        ("local-dir:resnet18", False),
        ("", False),
    ],
)
def test_names_are_those_of_timm_and_lead_nowhere_else(name: str, there: bool) -> None:
    assert has(name) is there


def test_a_name_with_a_place_is_refused_though_timm_would_look_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "is_model", lambda _: True)
    assert has("resnet18") and not has("hf-hub:timm/resnet18")


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_a_tag_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises((SpecError, RuntimeError), match="no_such_tag"), torch.device("meta"):
        create(f"{name}.no_such_tag")


@pytest.mark.parametrize("tag", ["a1_in1k", "fb_swsl_ig1b_ft_in1k"])
def test_a_network_has_the_configuration_of_its_tag(tag: str) -> None:
    with torch.device("meta"):
        assert configuration(create(f"resnet18.{tag}"))["tag"] == tag


def test_options_reach_the_network_and_weights_are_random() -> None:
    with torch.device("meta"):
        assert create("resnet18", num_classes=7).get_parameter("fc.weight").shape == (7, 512)
        assert create("tf_efficientnet_lite0", num_classes=7).get_parameter("classifier.weight").shape == (7, 1280)
    torch.manual_seed(0)
    first, second = (create("test_resnet").get_parameter("fc.weight") for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet1o1", "resnet101"), ("vit_base_patch16_38", "vit_base_patch16_384"), ("zzz", None), ("xception_41", None)],
)
def test_the_nearest_name_is_named(name: str, nearest: str | None) -> None:
    with pytest.raises(SpecError, match=rf"timm has no network named '{name}'; the nearest name is '{nearest or ''}"):
        create(name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"img_size": 64}),  # TypeError
        ("resnet18", {"features_only": True, "feature_cls": "getter", "out_indices": (9,)}),
        ("vgg11", {"output_stride": 8}),
        ("tf_efficientnet_lite0", {"img_size": 64}),
    ],
)
def test_options_that_a_network_does_not_take_are_named(name: str, options: dict[str, object]) -> None:
    key, value = list(options.items())[-1]
    with (
        pytest.raises(SpecError, match=rf"'{name}' cannot be built with .*{re.escape(f'{key}={value}')}"),
        torch.device("meta"),
    ):
        create(name, **options)


def test_a_network_without_a_configuration_is_refused() -> None:
    bare = nn.Linear(1, 1)
    bare.pretrained_cfg = None  # type: ignore[assignment]
    with pytest.raises(SpecError, match="timm network Linear carries no configuration"):
        configuration(bare)


def test_each_channel_has_a_mean_and_a_deviation_of_its_own() -> None:
    picture = torch.tensor([0.5, 0.25, 1.0]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    found = Normalisation((0.1, 0.5, 0.2), (0.5, 0.25, 2.0))(picture)
    assert found.shape == (2, 3, 4, 5)
    torch.testing.assert_close(found[1, :, 3, 4], torch.tensor([0.8, -1.0, 0.4]))


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("resnet18.a1_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tf_efficientnet_lite2.in1k", (127 / 255,) * 3, (128 / 255,) * 3),
        ("tf_efficientnet_lite4", (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_pictures_are_normalised_as_the_network_expects(
    name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        found = Normalisation.of(name, configuration(create(name)))
    assert found.mean == pytest.approx(mean) and found.std == pytest.approx(std)
