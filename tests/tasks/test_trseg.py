"""Segmentation heads: shapes, parameters, loss, errors; what their kind measures of them."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.kinds import Segmentation
from icm_core.types import Features, Legend, Level, Prediction
from icm_tasks import ModifiedTrSeg, TrSeg, icm_heads
from icm_tasks.backbones import Backbone
from icm_tasks.transformer import sine_encoding

SIZES = [(64, 64), (37, 91), (128, 50), (8, 9), (1, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("head", ["trseg", "modified"])
def test_logits_have_the_pictures_size(request, picture, head, size):
    with torch.no_grad():
        logits = request.getfixturevalue(head)(picture(*size, batch=2))
    assert logits.shape == (2, 11, *size)
    assert logits.isfinite().all()


def test_padding_does_not_reach_the_logits(trseg, picture):
    features = picture(40, 50)
    other = features.maps["image"].clone()
    other[..., 40:, :] = 0.5
    other[..., 50:] = 0.5
    with torch.no_grad():
        assert torch.equal(trseg(features), trseg(Features({"image": other}, (40, 50))))


def test_maps_are_both_rounds_and_forward_is_the_second(modified, picture):
    features = picture(40, 24)
    with torch.no_grad():
        first, second = modified.maps(features)
        assert first.shape == second.shape == (1, 11, 40, 24)
        assert torch.equal(second, modified(features))
        assert not torch.equal(first, second)


def test_first_round_is_trseg_with_the_same_weights(trseg, modified, small, layout, picture):
    head = ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(small), layout).eval()
    missing, unexpected = head.load_state_dict(trseg.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"mixing", "mixed", "second"}
    with torch.no_grad():
        assert torch.equal(head.maps(picture(33, 47))[0], trseg(picture(33, 47)))


@pytest.mark.parametrize(("head", "parameters"), [(TrSeg, 80_638_547), (ModifiedTrSeg, 122_709_094)])
def test_paper_preset_builds_on_meta_with_its_parameter_count(head, parameters, layout):
    with torch.device("meta"):
        built = head(head.Params(), layout)
    assert {p.device.type for p in built.state_dict().values()} == {"meta"}
    assert sum(p.numel() for p in built.parameters()) == parameters


def test_paper_preset_runs_on_meta(layout):
    with torch.device("meta"):
        head = ModifiedTrSeg(ModifiedTrSeg.Params(), layout)
        logits = head(Features({"image": torch.empty(1, 3, 1024, 2048)}, (1000, 2000)))
    assert logits.shape == (1, 19, 1000, 2000)


def test_head_built_on_meta_works_once_filled(modified, small, layout, picture):
    with torch.device("meta"):
        head = ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(small), layout)
    head.load_state_dict(modified.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(head.eval()(picture(24, 40)), modified(picture(24, 40)))


def test_every_parameter_learns_from_both_maps(small, layout, picture):
    torch.manual_seed(0)
    head = ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(small), layout).train()
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    head.losses(picture(64, 64, batch=2), target).sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_training_looks_at_the_second_map_and_a_little_at_the_first(modified, picture):
    with torch.no_grad():
        (one, second), (weight, first) = modified.outputs(picture(24, 40))
        maps = modified.maps(picture(24, 40))
    assert (one, weight) == (1.0, 0.4)
    assert torch.equal(first, maps[0]) and torch.equal(second, maps[1])


def test_losses_are_those_of_the_outputs_with_their_weights(modified, picture):
    target = torch.randint(11, (2, 24, 40), generator=torch.Generator().manual_seed(0))
    features = picture(24, 40, batch=2)
    with torch.no_grad():
        first, second = modified.maps(features)
        found = modified.losses(features, target)
    expected = [
        torch.nn.functional.cross_entropy(second[i : i + 1], target[i : i + 1])
        + 0.4 * torch.nn.functional.cross_entropy(first[i : i + 1], target[i : i + 1])
        for i in range(2)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_second_map_trains_the_first_rounds_weights_too(small, layout, picture):
    torch.manual_seed(1)
    head = ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(small), layout).eval()
    _, second = head.rounds(picture(64, 64))
    (second * torch.randn(second.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    # The first map is a factor of what the second round sees.
    for name, parameter in head.operations.classifier.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


def test_bf16_autocast_stays_near_float32(modified, picture):
    with torch.no_grad():
        exact = modified(picture(64, 64))
        with torch.autocast("cpu", torch.bfloat16):
            rough = modified(picture(64, 64))
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


def test_on_a_cpu_the_backbone_computes_in_float32_whatever_autocast_says(trseg, picture):
    features, seen = picture(40, 56), []
    hook = trseg.backbone.net.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], *output)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        trseg(features)
        trseg(Features({"image": features.maps["image"].bfloat16()}, features.size))
    hook.remove()
    assert len(seen) == 2 and {tensor.dtype for tensors in seen for tensor in tensors} == {torch.float32}


def test_loss_ignores_marked_pixels(trseg):
    logits = torch.randn(1, 11, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[1, 255], [255, 255]]])
    expected = -logits.log_softmax(1)[0, 1, 0, 0]
    torch.testing.assert_close(trseg.loss(logits, target), expected[None])


@pytest.mark.parametrize("ignored", [-1, 0, 4, 255])
def test_loss_is_the_mean_over_pixels_of_classes_below_and_above_the_ignored_one(
    small: dict[str, object], layout: dict[str, Level], ignored: int
) -> None:
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"ignore_index": ignored}), layout)
    logits = torch.randn(1, 11, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[1, ignored], [10, 3]]])
    likely = logits.log_softmax(1)[0]
    expected = -(likely[1, 0, 0] + likely[10, 1, 0] + likely[3, 1, 1]) / 3
    torch.testing.assert_close(head.loss(logits, target), expected[None])


def test_loss_is_one_of_each_picture_whatever_the_others_are(trseg):
    logits = torch.randn(3, 11, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[1, 255], [255, 255]], [[2, 3], [4, 255]], [[0, 0], [0, 0]]])
    alone = [trseg.loss(logits[i : i + 1], target[i : i + 1])[0] for i in range(3)]
    torch.testing.assert_close(trseg.loss(logits, target), torch.stack(alone))


def test_loss_is_zero_where_all_pixels_are_ignored(trseg):
    assert trseg.loss(torch.randn(1, 11, 2, 2), torch.full((1, 2, 2), 255)).tolist() == [0]


def test_what_is_measured_is_mean_iou_over_counted_pixels(trseg):
    predicted = torch.tensor([[[0, 1, 1, 2]]])
    logits = torch.nn.functional.one_hot(predicted, 11).permute(0, 3, 1, 2).float()
    kind = Segmentation()
    target = kind.renumber(torch.tensor([[0, 0, 1, 255]]), tuple(range(11)), Legend(trseg.labels, ignore=255))
    tally = kind.tally(Prediction("segmentation", logits, trseg.labels), target)
    # Classes 0 and 1: 1/2 each; no other class occurs.
    assert kind.figures([tally], trseg.legend)["miou"].value == pytest.approx(50)


def test_unknown_backbone_names_value_and_nearest(small, layout):
    params = TrSeg.Params.model_validate(small | {"backbone": "resnet1o1"})
    with pytest.raises(SpecError, match=r"'resnet1o1'.*'resnet101'"):
        TrSeg(params, layout)


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "resnet18.no_such_tag"])
def test_backbone_names_that_would_leave_this_machine_or_do_not_exist_are_refused(name):
    with pytest.raises(SpecError, match=r"resnet18|nearest"):
        Backbone(name)


@pytest.mark.parametrize("name", ["vgg11", "swin_tiny_patch4_window7_224"])
def test_backbone_that_cannot_be_dilated_is_refused(name):
    with pytest.raises(SpecError, match=name), torch.device("meta"):
        Backbone(name)


@pytest.mark.parametrize("layout", [{}, {"image": Level(64, 2)}], ids=["absent", "wrong"])
def test_adapter_without_a_semantic_image_is_refused(small, layout):
    with pytest.raises(SpecError, match="'image'"):
        TrSeg(TrSeg.Params.model_validate(small), layout)


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_names": ("a", "b")}, {"heads": 3}, {"classes": 256}, {"classes": 1}, {"bins": ()}, {"bins": (0,)},
        {"unknown": 1}, {"dropout": 1.0}, {"dropout": -0.1}, {"auxiliary_weight": -0.1}, {"auxiliary_weight": 11},
    ],
    ids=str,
)  # fmt: skip
def test_params_refuse(wrong, small):
    params = ModifiedTrSeg.Params if "auxiliary_weight" in wrong else TrSeg.Params
    params.model_validate(small)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        params.model_validate(small | wrong)


def test_there_are_as_many_names_as_classes_whatever_is_ignored(small, layout):
    names = tuple(f"thing {number}" for number in range(11))
    for ignored in (0, 100, 255):
        params = TrSeg.Params.model_validate(small | {"class_names": names, "ignore_index": ignored})
        with torch.device("meta"):
            assert TrSeg(params, layout).labels == names


@pytest.mark.parametrize(
    ("classes", "first", "last", "colour"),
    [
        (11, "sky", "bicyclist", (128, 128, 128)),
        (19, "road", "bicycle", (128, 64, 128)),
        (12, "class 0", "class 11", None),
    ],
)
def test_names_and_colours_are_those_of_the_known_data_set_of_as_many_classes(
    small, layout, classes, first, last, colour
):
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"classes": classes}), layout)
    assert (head.labels[0], head.labels[-1], len(head.labels)) == (first, last, classes)
    assert head.colours[:1] == ((colour,) if colour else ())


@pytest.mark.parametrize("params", [head.Params for head in icm_heads()], ids=lambda p: p.__qualname__)
def test_every_field_is_described(params):
    assert [name for name, field in params.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5)])
def test_positions_have_distinct_encodings(height, width):
    rows = sine_encoding(height, width, 16, torch.device("cpu"))
    assert rows.shape == (1, height * width, 16)
    assert len(torch.unique(rows[0].round(decimals=3), dim=0)) == height * width


def test_encoding_rows_follow_a_flattened_map():
    encoded = sine_encoding(2, 3, 8, torch.device("cpu"))[0].view(2, 3, 8)
    assert torch.equal(encoded[0, 0, :4], encoded[0, 2, :4])  # the first half is the row's
    assert torch.equal(encoded[0, 1, 4:], encoded[1, 1, 4:])  # the second half is the column's
