"""`tasks.torchvision_detector`: torchvision's detectors by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import detection, get_model_builder, list_models
from torchvision.ops.misc import FrozenBatchNorm2d

from icm_core import SpecError, WeightsError, build, build_registry, parse_spec
from icm_core.pipeline.fill import fill
from icm_core.testing import HeadCase, check_builds_on_meta, check_declaration, run_checks
from icm_core.types import Features, Level
from icm_tasks import TorchvisionDetector

IMAGE = {"image": Level(3, 1)}
MOBILE: dict[str, object] = {
    "model": "fasterrcnn_mobilenet_v3_large_320_fpn",
    "classes": 3,
    "min_size": 64,
    "max_size": 96,
    "norm": "frozen",
}
LITE: dict[str, object] = {"model": "ssdlite320_mobilenet_v3_large", "classes": 3}
SIZES = ((64, 64), (50, 70))


def head(**params: object) -> TorchvisionDetector:
    torch.manual_seed(0)
    return TorchvisionDetector(TorchvisionDetector.Params.model_validate(params), IMAGE).eval()


def features(height: int, width: int, batch: int = 1) -> Features:
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return Features({"image": image}, (height, width))


def target(label: int = 1, **more: Tensor) -> dict[str, Tensor]:
    return {"boxes": torch.tensor([[5.0, 8, 40, 50]]), "labels": torch.tensor([label]), **more}


@pytest.mark.parametrize(
    ("params", "reasons"),
    [
        (MOBILE, {}),
        (LITE, {"check_gradients": "normalisation over two pictures of one pixel lets no gradient through"}),
    ],
    ids=["two stages", "one stage"],
)
def test_conformance(params: dict[str, object], reasons: dict[str, str]) -> None:
    tied = {"check_batch_independence": "which of two nearly equal boxes is kept depends on the machine's threads"}
    assert run_checks(HeadCase(TorchvisionDetector, params, sizes=SIZES, unpromised=tied | reasons)) == []


@pytest.mark.parametrize("model", list_models(module=detection))
def test_every_detector_builds_without_memory_and_says_its_kind(model: str) -> None:
    case = HeadCase(TorchvisionDetector, {"model": model})
    check_builds_on_meta(case)
    with torch.device("meta"):
        check_declaration(case)
        built = case.build(bare=True)
    kind = {"maskrcnn": "instances", "keypointrcnn": "keypoints"}.get(model.split("_")[0], "detection")
    assert built.kind == TorchvisionDetector.kind_of(built.params) == kind
    assert len(built.labels) == (17 if kind == "keypoints" else 90)
    assert built.labels[0] == ("nose" if kind == "keypoints" else "person")


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("maskrcnn_resnet50_fpn", {"masks": torch.zeros(1, 64, 80, dtype=torch.uint8)}),
        ("keypointrcnn_resnet50_fpn", {"keypoints": torch.tensor([[[20.0, 30, 2]] * 17])}),
        ("fcos_resnet50_fpn", {}),
        ("retinanet_resnet50_fpn", {}),
        ("ssd300_vgg16", {}),
    ],
)
def test_families_answer_and_learn_as_their_kinds_ask(model: str, more: dict[str, Tensor], kind_of: Any) -> None:
    if "masks" in more:
        more["masks"][:, 10:40, 10:30] = 1
    small = {} if model.startswith("ssd") else {"min_size": 64, "max_size": 96}
    classes = 1 if model.startswith("keypoint") else 2
    own = head(model=model, classes=classes, norm="frozen", most=3, score_threshold=0, **small)
    seen = features(64, 80)
    with torch.no_grad():
        found = own.predict(seen)
        losses = own.losses(seen, (target(classes - 1, **more),))
    kind_of(own.kind).check_prediction(found, (64, 80), 1)
    assert losses.shape == (1,) and bool(losses.isfinite().all()) and float(losses) > 0


# --- the network is torchvision's ------------------------------------------------------------------------------------


def original(params: dict[str, object]) -> nn.Module:
    """The same network as torchvision builds it."""
    torch.manual_seed(0)
    sizes = {name: params[name] for name in ("min_size", "max_size") if name in params}
    builder = get_model_builder(str(params["model"]))
    net: nn.Module = builder(weights=None, weights_backbone=None, num_classes=4, **sizes)
    return net.eval()


@pytest.mark.parametrize("params", [MOBILE | {"norm": "batch"}, LITE], ids=["two stages", "one stage"])
def test_answers_are_torchvisions_without_the_background(params: dict[str, object]) -> None:
    own, net, seen = head(**params), original(params), features(64, 80, 2)
    with torch.no_grad():
        expected, found = net(list(seen.maps["image"])), own.predict(seen).output
    assert all(len(things["scores"]) for things in found)
    for theirs, ours in zip(expected, found, strict=True):
        assert torch.equal(ours["boxes"], theirs["boxes"]) and torch.equal(ours["scores"], theirs["scores"])
        assert torch.equal(ours["labels"], theirs["labels"] - 1)


@pytest.mark.parametrize("params", [MOBILE | {"norm": "batch"}, LITE], ids=["two stages", "one stage"])
def test_losses_are_torchvisions_of_each_picture(params: dict[str, object]) -> None:
    own, net, seen = head(**params), original(params), features(64, 80, 2)
    targets = (target(0), {"boxes": torch.tensor([[1.0, 1, 60, 30]]), "labels": torch.tensor([2])})
    net.train()
    for module in net.modules():  # which look at the batch, or at chance
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    expected = []
    for picture, things in zip(seen.maps["image"], targets, strict=True):
        torch.manual_seed(7)
        terms = net([picture], [{**things, "labels": things["labels"] + 1}])
        expected.append(sum(terms.values()))
    torch.manual_seed(7)
    with torch.no_grad():
        found = own.losses(seen, targets)
    # The first picture's sample of regions is drawn alike, the second's is not.
    torch.testing.assert_close(found[0], expected[0].detach(), rtol=1e-4, atol=1e-4)
    if params is LITE:
        torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=1e-4, atol=1e-4)


def test_a_picture_without_things_has_a_loss() -> None:
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for params in (MOBILE, LITE):
        found = head(**params).losses(features(64, 80), (none,))
        assert found.shape == (1,) and bool(found.isfinite().all())


def test_crowds_are_left_out_of_the_loss() -> None:
    own, seen = head(**LITE), features(64, 80)
    crowd = {name: torch.cat((value, value)) for name, value in target().items()}
    crowd["boxes"][1] = torch.tensor([0.0, 0, 70, 60])
    found = own.losses(seen, (crowd | {"iscrowd": torch.tensor([0, 1])},))
    torch.testing.assert_close(found, own.losses(seen, (target(),)))


def test_a_training_pass_leaves_modes_and_methods_as_they_were() -> None:
    for params in (MOBILE, LITE):
        own = head(**params)
        own.losses(features(64, 80), (target(),))
        assert not any(module.training for module in own.modules())
        assert "compute_loss" not in vars(own.net)


def test_outputs_are_compared_by_the_backbones_maps() -> None:
    own = head(**MOBILE)
    clean = own(features(64, 80, 2))
    assert own.divergence(clean, clean).tolist() == [0, 0]
    double = {**clean, "maps": {name: 2 * maps for name, maps in clean["maps"].items()}}
    torch.testing.assert_close(own.divergence(double, clean), torch.ones(2))
    with pytest.raises(SpecError, match=r"by losses\(\)"):
        own.loss(clean, (target(), target()))


# --- parameters ------------------------------------------------------------------------------------------------------


def test_thresholds_and_sizes_reach_the_network() -> None:
    own = head(**MOBILE, score_threshold=0.25, nms_threshold=0.75, most=7)
    last = own.net.roi_heads
    assert (last.score_thresh, last.nms_thresh, last.detections_per_img) == (0.25, 0.75, 7)
    assert (own.net.transform.min_size, own.net.transform.max_size) == ((64,), 96)
    lite = head(**LITE, score_threshold=0.5, most=2).net
    assert (lite.score_thresh, lite.detections_per_img) == (0.5, 2)


@pytest.mark.parametrize(("most", "seen"), [(2000, (1000, 1200)), (1100, (916, 1100))])
def test_small_pictures_are_enlarged_to_the_sides_that_are_asked_for(most: int, seen: tuple[int, int]) -> None:
    own = head(**{**MOBILE, "min_size": 1000, "max_size": most})
    resized, _ = own.net.get_submodule("transform")([torch.rand(3, 50, 60)])
    assert resized.image_sizes == [seen]


def test_a_threshold_of_0_is_one_too() -> None:
    for params in (MOBILE, LITE):
        last = head(**params, score_threshold=0).net
        assert getattr(last, "roi_heads", last).score_thresh == 0


def test_names_are_those_given_or_numbers() -> None:
    assert head(**MOBILE).labels == ("class 0", "class 1", "class 2")
    assert head(**{**MOBILE, "classes": None}, class_names=("car", "bus")).labels == ("car", "bus")


def test_names_are_cocos_where_there_are_as_many_as_it_has_numbers() -> None:
    with torch.device("meta"):
        own = head(model="fasterrcnn_mobilenet_v3_large_320_fpn")
    assert (own.labels[0], own.labels[11], own.labels[-1], len(own.labels)) == ("person", "N/A", "toothbrush", 90)


def test_points_can_be_named() -> None:
    with torch.device("meta"):
        own = head(model="keypointrcnn_resnet50_fpn", keypoints=("tip", "tail"))
    assert own.labels == ("tip", "tail")
    assert own.net.roi_heads.keypoint_predictor.kps_score_lowres.out_channels == 2


def test_frozen_normalisation_has_the_statistics_and_eps_asked_for() -> None:
    norms = [module for module in head(**MOBILE).modules() if isinstance(module, FrozenBatchNorm2d)]
    assert norms and not any(isinstance(module, nn.BatchNorm2d) for module in head(**MOBILE).modules())
    assert {norm.eps for norm in norms} == {1e-5}
    exact = head(**MOBILE, norm_eps=0)
    assert {module.eps for module in exact.modules() if isinstance(module, FrozenBatchNorm2d)} == {0}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "fasterrcnn_resnet51_fpn"}, "'fasterrcnn_resnet51_fpn'; did you mean 'fasterrcnn_resnet50_fpn'"),
        ({"model": "resnet50"}, "unknown detector of torchvision 'resnet50'"),  # which torchvision has
        ({"model": "fasterrcnn_resnet50"}, "did you mean 'fasterrcnn_resnet50_fpn'"),
        ({"classes": 2, "class_names": ("a",)}, "1 names for 2 classes"),
        ({"classes": 2, "class_names": ("a", "b", "c")}, "3 names for 2 classes"),
        ({"model": "keypointrcnn_resnet50_fpn", "classes": 2, "class_names": ("a",)}, "1 names for 2 classes"),
        ({"keypoints": ("a",)}, "fasterrcnn_resnet50_fpn_v2, which finds none"),
        ({**LITE, "min_size": 64}, "whose input has a fixed size"),
        ({**LITE, "max_size": 64}, "whose input has a fixed size"),
        ({"norm_eps": 0}, "norm_eps is 0.0, and norm is 'batch'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchvisionDetector.Params.model_validate(params)


# --- weights ---------------------------------------------------------------------------------------------------------


def spec(folder: Path, params: dict[str, object]) -> Path:
    tasks = {
        "coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}},
        "boxes": {
            "adapter": {"use": "core.decoded_picture", "params": {"of": "coarse"}},
            "head": {"use": "tasks.torchvision_detector", "params": params},
        },
    }
    path = folder / "own.json"
    made = {"icm": 1, "name": "own", "extends": "sicmh-small", "tasks": tasks, "weights": "own.safetensors"}
    path.write_text(json.dumps(made))
    return path


def test_a_state_dict_of_torchvision_becomes_a_pipelines_weights(tmp_path: Path) -> None:
    net = original(LITE)
    save_file(net.state_dict(), tmp_path / "lite.safetensors")
    filled = fill(spec(tmp_path, LITE), build_registry(), {"tasks.boxes.head": str(tmp_path / "lite.safetensors")})
    assert filled.parts == ("tasks.boxes.head",) and not filled.missing
    import icm_core

    stored = icm_core.load(tmp_path / "own.json", device="cpu").task("boxes").head.net.state_dict()
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(stored[name].float(), tensor.half().float(), rtol=1e-3, atol=1e-3)


def test_weights_above_25_megabytes_can_be_imported(tmp_path: Path) -> None:
    save_file(original(MOBILE | {"norm": "batch"}).state_dict(), tmp_path / "mobile.safetensors")
    path = spec(tmp_path, MOBILE | {"norm": "batch"})
    filled = fill(path, build_registry(), {"tasks.boxes.head": str(tmp_path / "mobile.safetensors")})
    assert filled.file.stat().st_size > 25_000_000


def test_weights_of_the_other_normalisation_say_what_to_set(tmp_path: Path) -> None:
    own = head(**{**MOBILE, "norm": "batch"})
    with pytest.raises(WeightsError, match="frozen normalisation; set the head's parameter norm to 'frozen'"):
        own.adopt(head(**MOBILE).net.state_dict())
    # The other way round, counts of batches are of no use, and no harm.
    frozen = head(**MOBILE)
    tensors = frozen.adopt(own.net.state_dict())
    assert not [key for key in frozen.state_dict() if key not in tensors]


def test_a_start_keeps_the_layers_of_another_number_of_classes(tmp_path: Path) -> None:
    for params in (MOBILE, LITE):
        file = tmp_path / "start.safetensors"
        save_file(head(**params).net.state_dict(), file)
        own = head(**{**params, "classes": 5})
        torch.manual_seed(3)
        nn.init.normal_(next(own.net.backbone.parameters()))
        before = {key: value.clone() for key, value in own.state_dict().items()}
        own.start_from(str(file))
        theirs = head(**params).state_dict()
        for key, value in own.state_dict().items():
            source = theirs[key] if theirs[key].shape == value.shape else before[key]
            assert torch.equal(value, source), key


def test_a_recipes_start_takes_the_networks_own_names(tmp_path: Path) -> None:
    from icm_training.recipe import StartSpec
    from icm_training.start import Start
    from icm_training.start import fill as fill_start

    save_file(original(LITE).state_dict(), tmp_path / "lite.safetensors")
    registry = build_registry()
    tasks = json.loads(spec(tmp_path, LITE).read_text())["tasks"]
    pipe = build(parse_spec({"icm": 1, "name": "own", "codec": {"use": "sicmh.hyperprior"}, "tasks": tasks}), registry)
    start = StartSpec.model_validate({"weights": "lite.safetensors", "module": "tasks.boxes.head"})
    fill_start(pipe, [Start(start, "start")], lambda _: tmp_path, tmp_path, registry)
    expected = original(LITE).state_dict()
    found = pipe.task("boxes").head.net.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_other_sources_are_refused(tmp_path: Path) -> None:
    own = head(**LITE)
    with pytest.raises(SpecError, match=r"knows no pretrained weights 'imagenet'; it starts from a .safetensors file"):
        own.start_from("imagenet")
    with pytest.raises(WeightsError, match="missing"):
        own.start_from(str(tmp_path / "absent.safetensors"))
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 'net\..*' of ssdlite320_mobilenet_v3_large"):
        own.start_from(str(tmp_path / "other.safetensors"))
    tensors = own.net.state_dict()
    last = next(reversed(tensors))
    save_file({key: tensor for key, tensor in tensors.items() if key != last}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=rf"lacks 'net.{last}' of ssdlite320_mobilenet_v3_large"):
        own.start_from(str(tmp_path / "other.safetensors"))
    for part in ("backbone", "head.regression_head"):  # which do not depend on the number of classes
        first = next(key for key in tensors if key.startswith(part) and tensors[key].dim() == 4)
        save_file(tensors | {first: torch.zeros(1, 2)}, tmp_path / "other.safetensors")
        with pytest.raises(WeightsError, match=rf"'net.{first}' has the shape \(1, 2\)"):
            own.start_from(str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("part", ["backbone", "head.regression_head"])
def test_a_start_with_as_many_weights_in_another_shape_is_refused(tmp_path: Path, part: str) -> None:
    own = head(**LITE)
    tensors = own.net.state_dict()
    first = next(key for key in tensors if key.startswith(part) and tensors[key].dim() == 4)
    save_file(tensors | {first: tensors[first].flatten()}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=rf"'net.{first}' has the shape \({tensors[first].numel()},\)"):
        own.start_from(str(tmp_path / "other.safetensors"))
