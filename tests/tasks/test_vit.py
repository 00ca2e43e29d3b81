"""The classification head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.kinds import Classification
from icm_core.types import Features, Level, Prediction
from icm_tasks import ViT


def head(layout, **params) -> ViT:
    torch.manual_seed(0)
    return ViT(ViT.Params.model_validate({"model": "tf_efficientnet_lite0", "input_size": 32} | params), layout).eval()


@pytest.mark.parametrize("size", [(32, 32), (37, 91), (5, 7)], ids=str)
def test_logits_for_any_picture_size(layout, picture, size):
    with torch.no_grad():
        assert head(layout, classes=7)(picture(*size, batch=2)).shape == (2, 7)


def test_padding_does_not_reach_the_logits(layout, picture):
    features = picture(40, 50)
    other = features.maps["image"].clone()
    other[..., 50:] = 0.5
    net = head(layout, classes=7)
    with torch.no_grad():
        assert torch.equal(net(features), net(Features({"image": other}, (40, 50))))


def test_resizing_stays_in_range(layout):
    net = head(layout, classes=7)
    seen: list[torch.Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    edges = (torch.arange(64) // 8 % 2).float().expand(1, 3, 64, 64)
    with torch.no_grad():
        net(Features({"image": edges}, (64, 64)))
    pixels = seen[0] * (128 / 255) + 127 / 255
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6


def test_a_picture_is_resized_as_a_whole_and_as_pillow_does_it(layout):
    net = head(layout, classes=7)
    seen: list[torch.Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = torch.randint(256, (45, 70, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        net(Features({"image": pixels.movedim(-1, 0)[None] / 255}, (45, 70)))
    wanted = np.array(Image.fromarray(pixels.numpy()).resize((32, 32), Image.Resampling.BICUBIC))
    found = (seen[0][0] * 128 + 127).movedim(0, -1)
    apart = (found - torch.from_numpy(wanted).float()).abs()
    assert float(apart.max()) < 4 and float(apart.mean()) < 0.6  # Pillow rounds and cuts twice, down and across


@pytest.mark.parametrize("size", [(64, 32), (32, 64)])
def test_a_picture_of_which_one_side_fits_is_resized_too(layout, size):
    net = head(layout, classes=7)
    seen: list[torch.Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(Features({"image": torch.rand(1, 3, *size)}, size))
    assert seen[0].shape == (1, 3, 32, 32)


def test_pictures_of_half_precision_are_resized_in_whole(layout):
    net = head(layout, classes=7)
    seen: list[torch.Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        for picture in (image, image.float()):
            net(Features({"image": picture}, (64, 80)))
    assert torch.equal(seen[0], seen[1])


def test_what_is_finer_than_the_networks_input_becomes_grey(layout):
    net = head(layout, classes=7)
    seen: list[torch.Tensor] = []
    net.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    board = (torch.arange(96)[:, None] + torch.arange(96)[None]) % 2
    with torch.no_grad():
        net(Features({"image": board.float().expand(1, 3, 96, 96)}, (96, 96)))
    pixels = seen[0][..., 2:-2, 2:-2] * (128 / 255) + 127 / 255
    assert float((pixels - 0.5).abs().max()) < 0.02


def test_paper_preset_builds_on_meta_with_its_parameter_count(layout):
    with torch.device("meta"):
        net = ViT(ViT.Params(), layout)
    assert net.input_size == (384, 384)
    assert sum(p.numel() for p in net.parameters()) == 86_859_496


def test_transformer_takes_another_input_size(layout):
    with torch.device("meta"):
        net = ViT(ViT.Params(input_size=96), layout)
    assert net.input_size == (96, 96)
    assert net.get_parameter("net.pos_embed").shape[1] == 6 * 6 + 1


def test_a_transformer_of_another_input_size_says_the_classes_that_are_asked_for(layout: dict[str, Level]) -> None:
    with torch.device("meta"):
        net = ViT(ViT.Params.model_validate({"model": "vit_tiny_patch16_224", "input_size": 96, "classes": 7}), layout)
        assert net(Features({"image": torch.rand(2, 3, 96, 96)}, (96, 96))).shape == (2, 7)


def test_imagenet_names_and_synsets(layout):
    with torch.device("meta"):
        net = ViT(ViT.Params(model="tf_efficientnet_lite0"), layout)
    assert len(net.labels) == len(net.synsets) == 1000
    assert (net.synsets[0], net.labels[0]) == ("n01440764", "tench, Tinca tinca")
    assert (net.synsets[-1], net.labels[-1].split(",")[0]) == ("n15075141", "toilet tissue")


def test_one_class_more_than_imagenet_has_numbers_for_names(layout):
    with torch.device("meta"):
        net = ViT(ViT.Params(model="tf_efficientnet_lite0", classes=1001), layout)
    assert net.labels == tuple(f"class {index}" for index in range(1001))
    assert (net.synsets, net.aliases) == ((), ())


def test_wordnet_ids_are_other_names_of_imagenets_classes(layout):
    with torch.device("meta"):
        net = ViT(ViT.Params(model="tf_efficientnet_lite0"), layout)
    assert len(net.aliases) == 1 and net.aliases[0][0] == "n01440764" and len(net.aliases[0]) == 1000


def test_a_thousand_names_of_the_spec_win_over_imagenets(layout):
    names = tuple(f"bird {index}" for index in range(1000))
    with torch.device("meta"):
        assert ViT(ViT.Params(model="tf_efficientnet_lite0", class_names=names), layout).labels == names


def test_other_class_counts_have_numbered_names(layout):
    net = head(layout, classes=2)
    assert (net.labels, net.synsets) == (("class 0", "class 1"), ())


def test_class_names_must_match_classes():
    with pytest.raises(ValidationError, match="3 names for 2 classes"):
        ViT.Params(classes=2, class_names=("a", "b", "c"))
    with pytest.raises(ValidationError, match="3 names for 1000 classes"):
        ViT.Params(class_names=("a", "b", "c"))
    with pytest.raises(ValidationError, match="1 names for 2 classes"):
        ViT.Params(classes=2, class_names=("a",))


def test_unknown_model_names_value_and_nearest(layout):
    with pytest.raises(SpecError, match=r"'vit_base_patch16_385'.*'vit_base_patch16_38"):
        ViT(ViT.Params(model="vit_base_patch16_385"), layout)


def test_missing_image_is_refused():
    with pytest.raises(SpecError, match="'image'"):
        head({})
    for other in (Level(3, 2), Level(4, 1)):
        with pytest.raises(SpecError, match=r"needs 'image' as .*channels=3, stride=1"):
            head({"image": other})


def test_pretrained_weights_are_of_the_source_that_is_named(layout):
    with pytest.raises(SpecError, match="'coco' of tf_efficientnet_lite0 are unknown; known: imagenet"):
        head(layout).start_from("coco")


def test_what_is_measured_is_top_1_over_pictures(layout):
    net, kind = head(layout, classes=3), Classification()
    said, true = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0])
    tallies = [kind.tally(Prediction(net.kind, said[i : i + 1], net.labels), true[i]) for i in range(4)]
    assert kind.figures(tallies, net.legend)["top1"].value == pytest.approx(75)


def test_loss_is_cross_entropy(layout):
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0]])
    expected = -logits.log_softmax(1)[[0, 1], [2, 0]]
    torch.testing.assert_close(head(layout, classes=3).loss(logits, torch.tensor([2, 0])), expected)
