"""Head `Pyramid`: an answer for every pixel, from all stages of a backbone."""

from __future__ import annotations

import pytest
import torch
from timm.models import FeatureInfo, _registry
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.testing import HeadCase, parametrize_with_checks
from icm_tasks import Pyramid

SMALL = {"width": 16, "model": "tf_efficientnet_lite0"}
_SIZES = {"sizes": ((64, 64), (50, 70), (33, 65))}


@parametrize_with_checks(
    [
        HeadCase(Pyramid, {**SMALL, "classes": 5}, **_SIZES),
        HeadCase(Pyramid, {**SMALL, "kind": "depth"}, **_SIZES),
    ]
)
def test_conformance(case, check):
    check(case)


def head(layout, **params):
    torch.manual_seed(0)
    return Pyramid(Pyramid.Params.model_validate({**SMALL, **params}), layout).eval()


def test_maps_are_the_sum_of_all_levels_each_with_what_is_above_it(layout, picture):
    own = head(layout, classes=3)
    features = picture(64, 96)
    net = own.net
    with torch.no_grad():
        image = (features.cropped("image") - 127 / 255) / (128 / 255)
        stages = net.backbone(image)[1:]
        assert [stage.shape[-1] for stage in stages] == [24, 12, 6, 3]

        def grown(maps, width):
            return F.interpolate(maps, size=(width * 2 // 3, width), mode="bilinear", align_corners=False)

        fifth = net.lateral[3](stages[3])
        fourth = net.lateral[2](stages[2]) + grown(fifth, 6)
        third = net.lateral[1](stages[1]) + grown(fourth, 12)
        second = net.lateral[0](stages[0]) + grown(third, 24)
        parts = [net.smooth[index](maps) for index, maps in enumerate((second, third, fourth, fifth))]
        wanted = net.answer(sum(grown(part, 24) for part in parts[1:]) + parts[0])
        torch.testing.assert_close(own(features), grown(wanted, 96), rtol=1e-4, atol=1e-4)


def test_a_picture_is_filled_up_with_grey_to_multiples_of_the_coarsest_stride(layout, picture):
    own = head(layout, classes=3)
    seen = []
    own.net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        assert own(picture(33, 70)).shape == (1, 3, 33, 70)
    (image,) = seen
    assert image.shape == (1, 3, 64, 96)
    grey = torch.full((1, 3), (0.5 - 127 / 255) / (128 / 255))
    for place in ((40, 10), (10, 80)):
        torch.testing.assert_close(image[:, :, place[0], place[1]], grey, rtol=0, atol=1e-4)


def test_distances_lie_between_the_nearest_and_the_farthest(layout, picture):
    own = head(layout, kind="depth", nearest=2.0, farthest=8.0)
    with torch.no_grad():
        for bias, wanted in ((-100.0, 2.0), (0.0, 4.0), (100.0, 8.0)):
            own.net.answer.weight.zero_()
            own.net.answer.bias.fill_(bias)
            assert torch.allclose(own(picture(32, 32)), torch.tensor(wanted))
    assert own.predict(picture(32, 32)).unit == "m"
    assert not own.labels


def test_a_levels_maps_are_smoothed_in_eight_groups_of_the_width_that_is_asked_for(layout):
    with torch.device("meta"):
        net = head(layout, width=24, classes=3).net
    assert {conv.out_channels for conv in net.lateral} == {24}
    assert net.answer.weight.shape == (3, 24, 1, 1)
    assert len(net.smooth) == len(net.lateral) == 4
    for conv, norm, _ in net.smooth:
        assert conv.weight.shape == (24, 24, 3, 3) and conv.padding == (1, 1)
        assert (norm.num_groups, norm.num_channels) == (8, 24)


def test_what_the_answers_are_is_known_before_anything_is_built():
    for kind in ("segmentation", "depth"):
        assert Pyramid.kind_of(Pyramid.Params.model_validate({**SMALL, "kind": kind})) == kind


def test_distances_have_no_colours_and_neither_have_names_that_no_data_set_has(layout):
    with torch.device("meta"):
        assert (head(layout, kind="depth").labels, head(layout, kind="depth").colours) == ((), ())
        own = head(layout, class_names=[f"thing {number}" for number in range(19)])
    assert own.colours == () and own.labels[18] == "thing 18"


def test_known_numbers_of_classes_have_names_and_colours(layout):
    assert head(layout).labels[:2] == ("road", "sidewalk")
    assert head(layout).colours[0] == (128, 64, 128)
    assert head(layout, classes=2, class_names=["sky", "else"]).labels == ("sky", "else")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"nearest": 10.0}, "nearest is 10 and farthest 10; it should be smaller"),
        ({"class_names": ["a"]}, "class_names has 1 names for 19 classes"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(layout, params, message):
    with pytest.raises(ValueError, match=message):
        head(layout, **params)


def test_a_backbone_without_stages_is_refused(layout):
    with pytest.raises(SpecError, match=r"cannot be built with features_only=True|a pyramid needs 4"):
        head(layout, model="vit_tiny_patch16_224")


@pytest.mark.parametrize(("model", "strides"), [("visformer_tiny", r"\[8, 16, 32\]"), ("pit_ti_224", r"\[8, 16, 32\]")])
def test_a_backbone_without_a_map_at_stride_4_is_refused(layout, model, strides):
    with (
        torch.device("meta"),
        pytest.raises(SpecError, match=f"'{model}' has the strides {strides}; a pyramid needs 4"),
    ):
        head(layout, model=model)


class OneMap(torch.nn.Module):
    """A network of a single stage, with what timm tells of one."""

    def __init__(self):
        super().__init__()
        self.feature_info = FeatureInfo([{"num_chs": 8, "reduction": 4, "module": "stem"}], (0,))


def test_a_backbone_of_a_single_map_at_stride_4_is_refused(layout, monkeypatch):
    monkeypatch.setitem(_registry._model_entrypoints, "test_one_map", lambda **_: OneMap())
    with pytest.raises(SpecError, match=r"'test_one_map' has the strides \[4\]; a pyramid needs 4 and further ones"):
        head(layout, model="test_one_map")


def test_pictures_are_normalised_with_the_backbones_mean_and_deviation(layout):
    with torch.device("meta"):
        wants = head(layout, model="resnet18").wants
    assert (wants.mean, wants.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_pixel_of_the_ignored_class_does_not_count(layout):
    with torch.device("meta"):
        own = head(layout, classes=5, ignore_index=1)
    logits = torch.randn(1, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = -logits.log_softmax(1)[0, 0, 0, 1]
    torch.testing.assert_close(own.loss(logits, torch.tensor([[[1, 0], [1, 1]]])), expected[None])


def test_distances_have_the_unit_of_the_params_and_classes_have_none(layout):
    with torch.device("meta"):
        assert head(layout, kind="depth", unit="km").unit == "km"
        assert head(layout, unit="km").unit == ""


def test_pretrained_weights_are_those_of_the_backbone_and_of_the_source_that_is_named(layout):
    with torch.device("meta"), pytest.raises(SpecError, match="'coco' of tf_efficientnet_lite0 are unknown"):
        head(layout).start_from("coco")
