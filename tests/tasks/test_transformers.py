"""`tasks.transformers`: tiny networks of transformers that the tests write, from their folders."""

from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.ops import box_convert

import icm_core
from icm_core import InputError, SpecError, WeightsError, build_registry
from icm_core.interfaces import SpecPath
from icm_core.testing import HeadCase, run_checks
from icm_core.testing.card import CARD, card
from icm_core.types import Features, Level
from icm_core.wrap.fitting import fit_into
from icm_tasks.transformers_models import Transformers
from icm_tasks.transformers_models.reading import build, read_config
from icm_tasks.transformers_models.things import as_labels

t = pytest.importorskip("transformers", reason="transformers (extra 'transformers') is not installed")

NAMES = {0: "road", 1: "car", 2: "sky"}
LABELS = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
WIDE = {"initializer_range": 0.25}
"""The usual 0.02 makes networks of a few channels say the same of every picture."""
LAYERS = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "layer_type": "basic"}
KINDS = {
    "segformer": "segmentation",
    "yolos": "detection",
    "detr": "detection",
    "rt_detr": "detection",
    "dpt": "depth",
    "depth_anything": "depth",
    "glpn": "depth",
    "vit": "classification",
}
_UNUSED = "transformers builds weights that the network does not use, such as a token for masks"
TRAINED = {
    "dpt": {"check_gradients": _UNUSED},
    "yolos": {"check_gradients": _UNUSED},
    "detr": {"check_gradients": "before the first layer queries are 0, so that what they attend to has no gradient"},
    "depth_anything": {"check_gradients": _UNUSED},
}
PICKLES = {"depth_anything": {"check_pickling": "transformers hooks some backbones with functions that do not pickle"}}


def segformer() -> Any:
    sizes = {"hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 16, "sr_ratios": [4, 2, 1, 1]}
    config = t.SegformerConfig(depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], **sizes, **LABELS, **WIDE)
    return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 64, "width": 64})


def yolos() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = t.YolosConfig(image_size=[64, 64], patch_size=16, num_detection_tokens=10, **sizes, **LABELS, **WIDE)
    return t.YolosForObjectDetection(config), t.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


def detr() -> Any:
    backbone = t.ResNetConfig(out_features=["stage4"], **LAYERS)
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 16, "num_queries": 10}
    config = t.DetrConfig(backbone_config=backbone, **heads, **layers, **LABELS)
    return t.DetrForObjectDetection(config), t.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


def rt_detr() -> Any:
    backbone = t.RTDetrResNetConfig(out_features=["stage2", "stage3", "stage4"], **LAYERS)
    config = t.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=10,
        decoder_in_channels=[16] * 3,
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=4,
        hidden_expansion=1.0,
        **LABELS,
    )
    return t.RTDetrForObjectDetection(config), t.RTDetrImageProcessor(size={"height": 64, "width": 64})


def dpt() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
    neck = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16, "backbone_out_indices": [0, 1, 2, 3]}
    net = t.DPTForDepthEstimation(t.DPTConfig(image_size=64, patch_size=16, **sizes, **neck, **WIDE))
    torch.nn.init.constant_(net.head.head[-2].bias, 2.0)  # behind it is a ReLU
    return net, t.DPTImageProcessor(size={"height": 64, "width": 64})


def depth_anything() -> Any:
    stages = [f"stage{number}" for number in range(1, 5)]
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 1}
    sizes |= {"image_size": 56, "patch_size": 14, "reshape_hidden_states": False}
    backbone = t.Dinov2Config(out_features=stages, **sizes, **WIDE)
    neck = {"reassemble_hidden_size": 16, "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16}
    config = t.DepthAnythingConfig(
        backbone_config=backbone, head_hidden_size=8, depth_estimation_type="metric", max_depth=10, **neck, **WIDE
    )
    shape = {"keep_aspect_ratio": True, "ensure_multiple_of": 14}
    return t.DepthAnythingForDepthEstimation(config), t.DPTImageProcessor(size={"height": 56, "width": 56}, **shape)


def glpn() -> Any:
    sizes = {"hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 16, "num_attention_heads": [1, 1, 2, 2]}
    return t.GLPNForDepthEstimation(t.GLPNConfig(depths=[1] * 4, **sizes, **WIDE)), t.GLPNImageProcessor()


def vit() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = t.ViTConfig(image_size=32, patch_size=8, **sizes, **LABELS, **WIDE)
    return t.ViTForImageClassification(config), t.ViTImageProcessor(size={"height": 32, "width": 32})


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    for name in KINDS:
        torch.manual_seed(0)
        net, processor = globals()[name]()
        net.save_pretrained(root / name)
        processor.save_pretrained(root / name)
    return root


def params(folder: Path, kind: str | None = None, **more: object) -> dict[str, object]:
    kind = kind or KINDS[folder.name]
    extra = {"depth": "distance"} if folder.name == "dpt" and "depth" not in more else {}
    return {"folder": SpecPath(folder.name, folder), "kind": kind, **extra, **more}


def head(folder: Path, kind: str | None = None, **more: object) -> Transformers:
    made = Transformers.Params.model_validate(params(folder, kind, **more))
    return Transformers(made, {"image": Level(3, 1)}).eval()


def features(height: int, width: int, batch: int = 1) -> Features:
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return Features({"image": image}, (height, width))


@pytest.mark.parametrize(
    ("name", "trained"), [*((name, False) for name in KINDS), *((name, True) for name in ("segformer", *TRAINED))]
)
def test_conformance(name: str, trained: bool, folders: Path) -> None:
    unpromised = PICKLES.get(name, {}) | (TRAINED.get(name, {}) if trained else {})
    given = params(folders / name, trained=trained, **({"least": 0} if KINDS[name] == "detection" else {}))
    assert run_checks(HeadCase(Transformers, given, sizes=((64, 64), (33, 50)), unpromised=unpromised)) == []


# --- what it answers is what the library answers ---------------------------------------------------------------------


def original(folder: Path, cls: str, picture: torch.Tensor) -> Any:
    processor = t.AutoImageProcessor.from_pretrained(folder)
    net = getattr(t, cls).from_pretrained(folder).eval()
    with torch.no_grad():
        return processor, net(**processor(Image.fromarray(picture.permute(1, 2, 0).numpy()), return_tensors="pt"))


def levels(height: int, width: int, smooth: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    if not smooth:
        return torch.randint(0, 256, (3, height, width), generator=generator).to(torch.uint8)
    coarse = torch.rand(1, 3, 7, 9, generator=generator)
    grown = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return (grown[0] * 255).round().to(torch.uint8)


def of(picture: torch.Tensor) -> Features:
    return Features({"image": picture[None] / 255}, (picture.shape[1], picture.shape[2]))


@pytest.mark.parametrize("size", [(64, 64), (90, 120), (40, 100), (300, 200)])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "glpn"])  # which cuts pictures to multiples of 32
def test_networks_see_what_the_librarys_processors_make(folders: Path, name: str, size: tuple[int, int]) -> None:
    picture, own = levels(*size, smooth=True), head(folders / name)
    processor = t.AutoImageProcessor.from_pretrained(folders / name)
    expected = processor(Image.fromarray(picture.permute(1, 2, 0).numpy()), return_tensors="pt")["pixel_values"]
    found = own.wants.normalised(own.wants.fit_in(of(picture).maps["image"]).image)
    assert found.shape == expected.shape
    steps = (found - expected).abs() * torch.tensor(own.wants.std).view(1, 3, 1, 1) * 255
    assert float(steps.max()) < 1.5  # resized pictures are rounded to 8 bits there


def test_class_maps_are_the_librarys(folders: Path) -> None:
    picture = levels(64, 64)
    processor, answer = original(folders / "segformer", "SegformerForSemanticSegmentation", picture)
    (expected,) = processor.post_process_semantic_segmentation(answer, target_sizes=[(64, 64)])
    assert torch.equal(head(folders / "segformer")(of(picture)).argmax(1)[0], expected)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("detr", "DetrForObjectDetection"),
        ("yolos", "YolosForObjectDetection"),
        ("rt_detr", "RTDetrForObjectDetection"),
    ],
)
def test_boxes_are_the_librarys(folders: Path, name: str, cls: str) -> None:
    picture = levels(64, 64)
    processor, answer = original(folders / name, cls, picture)
    (expected,) = processor.post_process_object_detection(answer, threshold=0.0, target_sizes=[(64, 64)])
    (found,) = head(folders / name, least=0, most=10).predict(of(picture)).output
    order = expected["scores"].argsort(descending=True)
    assert len(found["scores"]) == len(order) == 10
    torch.testing.assert_close(found["scores"], expected["scores"][order])
    assert found["labels"].tolist() == expected["labels"][order].tolist()
    torch.testing.assert_close(found["boxes"], expected["boxes"][order].clamp(0, 64), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "cls", "size"),
    [("depth_anything", "DepthAnythingForDepthEstimation", (56, 56)), ("dpt", "DPTForDepthEstimation", (64, 64))],
)
def test_distances_are_the_librarys(folders: Path, name: str, cls: str, size: tuple[int, int]) -> None:
    picture = levels(*size)
    processor, answer = original(folders / name, cls, picture)
    (expected,) = processor.post_process_depth_estimation(answer, target_sizes=[size])
    found = head(folders / name)(of(picture))
    assert found.shape == (1, 1, *size) and found.std() > 0.1
    torch.testing.assert_close(found[0, 0], expected["predicted_depth"].clamp_min(1e-6), rtol=0.01, atol=0.01)


def test_classes_are_the_librarys(folders: Path) -> None:
    picture = levels(32, 32)
    _, answer = original(folders / "vit", "ViTForImageClassification", picture)
    torch.testing.assert_close(head(folders / "vit")(of(picture)), answer.logits)


# --- parameters ------------------------------------------------------------------------------------------------------


def test_kind_labels_and_unit_come_from_parameters_and_config(folders: Path) -> None:
    boxes = head(folders / "detr")
    assert (boxes.kind, boxes.labels, boxes.unit) == ("detection", ("road", "car", "sky"), "")
    assert head(folders / "detr", class_names=("a", "b", "c")).labels == ("a", "b", "c")
    distances = head(folders / "glpn", unit="m")
    assert (distances.kind, distances.labels, distances.unit) == ("depth", (), "m")


def test_depth_that_is_not_said_to_be_distance_is_refused(folders: Path) -> None:
    with pytest.raises(SpecError, match=r"dpt does not say that its depths are distances; .* parameter depth"):
        head(folders / "dpt", depth=None)


def test_inverse_depth_is_turned_round(folders: Path) -> None:
    plain = head(folders / "dpt")(features(64, 64))
    inverse = head(folders / "dpt", depth="inverse", scale=0.5, shift=0.25)(features(64, 64))
    torch.testing.assert_close(inverse, 1 / (0.5 * plain + 0.25))


def test_sizes_of_the_spec_win(folders: Path) -> None:
    assert head(folders / "segformer", size=(32, 48)).wants.size == (32, 48)
    own = head(folders / "segformer", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).wants
    assert (own.mean, own.size) == ((0.0, 0.0, 0.0), (64, 64))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folder": None}, "a folder beside the spec or a repository of the hub"),
        ({"hub": "hf://a/b"}, "one of the two"),
        ({"folder": "../elsewhere"}, "inside it, not as '../elsewhere'"),
        ({"folder": "/etc"}, "inside it, not as '/etc'"),
        ({"folder": None, "hub": "https://a/b"}, "pattern"),
        ({"mean": (0, 0, 0)}, "mean and std are given together"),
        ({"mean": (0, 0, 0), "std": (1, 0, 1)}, "its values are above 0"),
        ({"size": 8}, "size is 8; sides are 16 to 4096"),
        ({"size": (64, 8)}, r"size is \(64, 8\); sides are 16 to 4096"),
        ({"size": (4097, 64)}, r"size is \(4097, 64\); sides are 16 to 4096"),
        ({"kind": "keypoints"}, "'classification', 'segmentation', 'detection' or 'depth'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(changed: dict[str, object], message: str, folders: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Transformers.Params.model_validate(params(folders / "segformer") | changed)


def test_class_names_are_as_many_as_classes(folders: Path) -> None:
    with pytest.raises(SpecError, match="2 names for 3 classes"):
        head(folders / "segformer", class_names=("a", "b"))


# --- folders that somebody else wrote --------------------------------------------------------------------------------


@pytest.fixture
def changed(folders: Path, tmp_path: Path) -> Any:
    """A copy of a folder whose config.json or preprocessor_config.json is changed."""

    def change(name: str, file: str = "config.json", **values: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in (folders / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        data = json.loads((folder / file).read_text()) | values
        (folder / file).write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
        return folder

    return change


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "config.json: model_type: unknown network for segmentation 'bert'"),
        ({"model_type": None}, "unknown network for segmentation 'None'"),
        ({"num_encoder_blocks": 10**9}, "num_encoder_blocks is 1000000000, and the limit is 256"),
        ({"depths": [1, 1, 1, 5000]}, "the limit is 256"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config: weights of fewer bits"),
        ({"hidden_sizes": "many"}, "transformers cannot"),
    ],
)
def test_configs_that_cannot_be_are_refused(changed: Any, values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        head(changed("segformer", **values), "segmentation")


def test_a_backbone_on_the_hub_is_refused(changed: Any) -> None:
    folder = changed("detr", backbone_config={"model_type": "timm_backbone", "backbone": "hf-hub:somebody/net"})
    with pytest.raises(SpecError, match="backbone is 'hf-hub:somebody/net', which timm does not have"):
        head(folder)


def test_code_beside_the_config_is_not_run(changed: Any) -> None:
    folder = changed("segformer", auto_map={"AutoModelForSemanticSegmentation": "evil.Net"}, _attn_implementation="a/b")
    (folder / "evil.py").write_text("raise SystemExit('it was run')")
    assert head(folder)(features(64, 64)).shape == (1, 3, 64, 64)


def test_pickles_are_not_read(changed: Any) -> None:
    folder = changed("segformer")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no weights, such as model.safetensors; other formats are not read"):
        head(folder)


def test_damaged_weights_are_refused(changed: Any) -> None:
    folder = changed("segformer")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(WeightsError, match="segformer: the weights cannot be read"):
        head(folder)


def test_weights_of_another_network_are_refused(changed: Any, folders: Path) -> None:
    folder = changed("segformer")
    (folder / "model.safetensors").write_bytes((folders / "vit/model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"the weights lack '.*' of SegformerForSemanticSegmentation"):
        head(folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"config.json: no such file"):
        head(tmp_path, "segmentation")


def test_pictures_have_to_be_explained(changed: Any) -> None:
    folder = changed("segformer")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SpecError, match=r"no preprocessor_config.json, .* parameters mean, std and size"):
        head(folder)
    assert head(folder, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), size=64).wants.size == 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_mean": [0.5]}, r"image_mean is \[0.5\]; it should be three numbers"),
        ({"size": {"area": 5}}, "it should have height and width, or shortest_edge"),
        ({"size": "large"}, "size is 'large'"),
        ({"ensure_multiple_of": 0.5}, "multiples of 0.5; it should be a whole number"),
        ({"image_std": [0, 1, 1]}, "those of std above 0"),
    ],
)
def test_pictures_that_cannot_be_are_refused(changed: Any, values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=f"preprocessor_config.json: .*{message}"):
        head(changed("segformer", "preprocessor_config.json", **values))


def test_a_size_that_the_network_does_not_take_is_an_error(folders: Path) -> None:
    with pytest.raises(SpecError, match=r"vit: the network does not take 48x48 pixels"):
        head(folders / "vit", size=(48, 48))(features(64, 64))


def test_without_the_package_one_sentence_says_what_to_install(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SpecError, match=r"pip install 'icm-framework\[transformers\]'"):
        head(folders / "segformer")


# --- pipelines -------------------------------------------------------------------------------------------------------


def spec(folder: Path, name: str, trained: bool) -> Path:
    task = {
        "adapter": {"use": "core.decoded_picture", "params": {"of": "coarse"}},
        "head": {"use": "tasks.transformers", "params": {"folder": name, "kind": KINDS[name], "trained": trained}},
    }
    shown = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}
    made = {"icm": 1, "name": "own", "extends": "sicmh-small", "tasks": {"coarse": shown, "own": task}}
    path = folder / "own.json"
    path.write_text(json.dumps(made | ({"weights": "own.safetensors"} if trained else {})))
    return path


@pytest.fixture
def beside(folders: Path, tmp_path: Path) -> Any:
    def make(name: str, trained: bool) -> Path:
        (tmp_path / name).symlink_to(tmp_path / "copied")
        (tmp_path / "copied").mkdir()
        for path in (folders / name).iterdir():
            (tmp_path / "copied" / path.name).write_bytes(path.read_bytes())
        return spec(tmp_path, name, trained)

    return make


def test_a_spec_is_all_that_a_network_needs(beside: Any, folders: Path) -> None:
    pipe = icm_core.load(beside("segformer", False), device="cpu")
    assert not [key for key in pipe.state_dict() if key.startswith("tasks.own.")]
    blob = pipe.encode(Image.new("RGB", (70, 50), (90, 120, 30)), quality=1)
    found = pipe.decode(blob)["own"]
    alone = head(folders / "segformer")(Features({"image": pipe.decode(blob)["coarse"].output}, (50, 70)))
    torch.testing.assert_close(found.output, alone)


def test_weights_that_are_trained_belong_to_the_pipeline(beside: Any, folders: Path) -> None:
    from icm_core.pipeline.fill import fill

    path = beside("segformer", True)
    with pytest.raises(WeightsError, match=r"own\.safetensors: the weights are missing"):
        icm_core.load(path, device="cpu")
    fill(path, build_registry(), {"tasks.own.head": "start:file"})
    pipe = icm_core.load(path, device="cpu")
    theirs = head(folders / "segformer").net
    stored = pipe.state_dict()
    for name, tensor in theirs.named_buffers():
        torch.testing.assert_close(stored[f"tasks.own.head.net.{name}"].float(), tensor.half().float())
    with pytest.raises(SpecError, match="knows no pretrained weights 'imagenet'; known: file"):
        pipe.tasks["own"].head.start_from("imagenet")


def test_frozen_weights_are_no_parameters_and_let_gradients_through(folders: Path) -> None:
    for name in ("segformer", "detr", "rt_detr"):
        own = copy.deepcopy(head(folders / name)).train()
        assert not list(own.parameters()) and not own.state_dict() and not own.net.training
        image = features(64, 64).maps["image"].requires_grad_()
        seen = Features({"image": image}, (64, 64))
        boxes = {"boxes": torch.tensor([[5.0, 5, 40, 30]]), "labels": torch.tensor([1])}
        target = torch.zeros(1, 64, 64, dtype=torch.int64) if name == "segformer" else (boxes,)
        own.losses(seen, target).sum().backward()
        assert image.grad is not None and bool(image.grad.any())


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_targets_of_detectors_are_middles_and_sides_as_shares_of_the_input(fit: str) -> None:
    fitted = fit_into(torch.rand(1, 3, 40, 60), (100, 90), fit)
    boxes = torch.tensor([[6.0, 4.0, 30.0, 12.0], [0.0, 0.0, 60.0, 40.0]])
    found = as_labels({"boxes": boxes, "labels": torch.tensor([3, 1])}, fitted)
    # Stretched, a pixel is 1.5 wide and 2.5 high; else both are 1.5, and 20 rows are above the picture.
    down, above = (2.5, 0) if fit == "stretch" else (1.5, 20)
    moved = boxes * torch.tensor([1.5, down, 1.5, down]) + torch.tensor([0, above, 0, above])
    shares = moved / torch.tensor([90, 100, 90, 100])
    torch.testing.assert_close(found["boxes"], box_convert(shares, "xyxy", "cxcywh"))
    assert found["class_labels"].tolist() == [3, 1]


def test_crowds_are_left_out_of_the_loss(folders: Path) -> None:
    own = head(folders / "detr")
    one = {"boxes": torch.tensor([[5.0, 5, 40, 30]]), "labels": torch.tensor([1])}
    crowd = {
        "boxes": torch.cat((one["boxes"], torch.tensor([[0.0, 0, 60, 60]]))),
        "labels": torch.tensor([1, 2]),
        "iscrowd": torch.tensor([0, 1]),
    }
    seen = features(64, 64, 2)
    both = own.losses(Features({"image": seen.maps["image"][:1].expand(2, -1, -1, -1)}, (64, 64)), (one, crowd))
    torch.testing.assert_close(both[0], both[1])
    with pytest.raises(SpecError, match=r"by losses\(\)"):
        own.loss(own(seen), (one, one))


# --- hub -------------------------------------------------------------------------------------------------------------


def test_a_repository_of_the_hub_is_read_where_it_was_fetched(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = {"hub": "hf://somebody/streets@v1", "kind": "segmentation"}
    with pytest.raises(
        InputError,
        match=r"hf://somebody/streets@v1 is not on this machine; fetch it once with: hf download somebody/streets "
        r"--revision v1 --include '\*.json' --include '\*.safetensors'",
    ):
        Transformers(Transformers.Params.model_validate(given), {"image": Level(3, 1)})
    commit = "0" * 40
    place = tmp_path / "models--somebody--streets"
    (place / "refs").mkdir(parents=True)
    (place / "refs/v1").write_text(commit)
    (place / "snapshots").mkdir()
    (place / "snapshots" / commit).symlink_to(folders / "segformer")
    fetched = Transformers(Transformers.Params.model_validate(given), {"image": Level(3, 1)}).eval()
    torch.testing.assert_close(fetched(features(64, 64)), head(folders / "segformer")(features(64, 64)))


# --- what it does with what it is told -------------------------------------------------------------------------------


def test_boxes_of_pictures_that_are_no_squares_are_the_librarys(changed: Any) -> None:
    picture, limits = levels(64, 96), torch.tensor([96.0, 64, 96, 64])
    folder = changed("yolos")
    net = t.YolosForObjectDetection.from_pretrained(folder)
    torch.nn.init.normal_(net.vit.embeddings.detection_tokens)  # which are all 0 otherwise, and queries the same
    net.save_pretrained(folder)
    processor, answer = original(folder, "YolosForObjectDetection", picture)
    (expected,) = processor.post_process_object_detection(answer, threshold=0.0, target_sizes=[(64, 96)])
    (found,) = head(folder, least=0).predict(of(picture)).output
    order = expected["scores"].argsort(descending=True)
    torch.testing.assert_close(found["scores"], expected["scores"][order])
    inside = expected["boxes"][order].clamp_min(0).minimum(limits)
    torch.testing.assert_close(found["boxes"], inside, atol=1e-3, rtol=0)
    assert float(found["boxes"].std(0).min()) > 0.1


def test_boxes_reach_beyond_the_picture_in_training_and_end_with_it_in_answers(folders: Path) -> None:
    own, seen = head(folders / "detr", least=0), features(64, 96)
    own.net.bbox_predictor.layers[-1].bias.fill_(2.0)
    share = 1 / (1 + math.exp(-2))  # of middle and sides
    end = share + share / 2
    raw = own(seen)["boxes"][0, :, 2:]
    torch.testing.assert_close(raw, torch.tensor([[96 * end, 64 * end]]).expand(10, 2), atol=0.5, rtol=0)
    assert own.predict(seen).output[0]["boxes"][:, 2:].tolist() == [[96, 64]] * 10


def test_the_spec_says_how_many_things_and_from_which_score(folders: Path) -> None:
    seen = features(64, 64)
    for name, count in (("detr", 10), ("rt_detr", 30)):  # of ten queries one thing each, or one of each class
        (whole,) = head(folders / name, least=0).predict(seen).output
        assert len(whole["scores"]) == count
        (few,) = head(folders / name, least=0, most=3).predict(seen).output
        assert torch.equal(few["scores"], whole["scores"][:3])
        between = float(whole["scores"][3] + whole["scores"][4]) / 2
        (sure,) = head(folders / name, least=between).predict(seen).output
        assert torch.equal(sure["boxes"], whole["boxes"][:4])


def test_losses_of_detectors_are_the_librarys_of_each_picture(folders: Path) -> None:
    own, seen = head(folders / "detr"), features(64, 96, 2)
    targets = (
        {"boxes": torch.tensor([[5.0, 5, 40, 30]]), "labels": torch.tensor([1])},
        {"boxes": torch.tensor([[50.0, 10, 90, 60], [0, 0, 20, 64]]), "labels": torch.tensor([2, 0])},
    )
    found = own.losses(seen, targets)
    net = t.DetrForObjectDetection.from_pretrained(folders / "detr").eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for row, things in enumerate(targets):
        shares = box_convert(things["boxes"] / torch.tensor([96, 64, 96, 64]), "xyxy", "cxcywh")
        label = {"class_labels": things["labels"], "boxes": shares}
        pixels = (seen.maps["image"][row : row + 1] - mean) / std
        torch.testing.assert_close(found[row], net(pixel_values=pixels, labels=[label]).loss, rtol=1e-4, atol=1e-5)
    assert float((found[0] - found[1]).abs()) > 0.01


def test_names_are_in_the_order_of_their_numbers(changed: Any) -> None:
    assert head(changed("segformer", id2label={"2": "sky", "0": "road", "1": "car"})).labels == ("road", "car", "sky")


def test_depth_that_is_relative_is_no_distance(changed: Any) -> None:
    folder = changed("depth_anything", depth_estimation_type="relative")
    with pytest.raises(SpecError, match="depth_anything does not say that its depths are distances"):
        head(folder)


def test_distances_have_a_least_and_a_farthest(folders: Path) -> None:
    seen = features(64, 64)
    assert head(folders / "dpt", scale=1e-6, shift=-1.0)(seen).unique().tolist() == pytest.approx([1e-6])
    assert head(folders / "dpt", scale=1e6, shift=1e6)(seen).unique().tolist() == [1e6]
    # One divided by what is 0 or below is far away.
    assert head(folders / "dpt", depth="inverse", scale=1e-6, shift=-1)(seen).unique().tolist() == [1e6]


def test_an_answer_has_the_unit_and_the_names_of_the_head(folders: Path) -> None:
    assert head(folders / "glpn", unit="km").predict(features(64, 64)).unit == "km"
    named = head(folders / "vit", class_names=("a", "b", "c"), unit="km").predict(features(32, 32))
    assert (named.labels, named.unit) == (("a", "b", "c"), "")


def test_the_ignored_class_is_the_specs(folders: Path) -> None:
    own = head(folders / "segformer", ignore=1)
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[[0, 1], [1, 1]]])
    expected = -logits.log_softmax(1)[0, 0, 0, 0]
    torch.testing.assert_close(own.loss(logits, truth), expected[None])


def test_losses_are_of_each_picture(folders: Path) -> None:
    logits = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[[0, 1], [1, 1]], [[2, 255], [2, 0]], [[1, 1], [0, 2]]])
    own = head(folders / "segformer")
    expected = torch.nn.functional.cross_entropy(logits, truth, ignore_index=255, reduction="none").sum((1, 2))
    torch.testing.assert_close(own.loss(logits, truth), expected / torch.tensor([4, 3, 4]))


def test_what_the_answers_are_is_known_before_the_folder_is_read(tmp_path: Path) -> None:
    for kind in ("classification", "segmentation", "detection", "depth"):
        made = Transformers.Params.model_validate(params(tmp_path / "missing", kind))
        assert Transformers.kind_of(made) == kind


@pytest.mark.parametrize("given", ["mean", "std"])
def test_a_mean_or_a_deviation_alone_is_refused(folders: Path, given: str) -> None:
    with pytest.raises(ValueError, match="mean and std are given together"):
        Transformers.Params.model_validate(params(folders / "segformer") | {given: (0.5, 0.5, 0.5)})


def test_statistics_and_sizes_of_the_spec_take_the_place_of_the_folders(folders: Path) -> None:
    statistics: dict[str, object] = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    for more in ({}, {"size": (32, 64)}):
        own = head(folders / "yolos", **statistics, **more).wants
        assert (own.mean, own.std, own.levels) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 1.0)
    # A shorter side keeps the folder's limit for the longer one, and an input of fixed sides has none.
    assert (head(folders / "yolos", size=48).wants.size, head(folders / "yolos", size=48).wants.longest) == (48, 96)
    assert head(folders / "yolos", size=(48, 64)).wants.longest is None


def test_a_start_from_the_file_brings_trained_weights_back(folders: Path) -> None:
    own, seen = head(folders / "segformer", trained=True), features(64, 64)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.zero_()
    own.start_from("file")
    torch.testing.assert_close(own(seen), head(folders / "segformer")(seen))
    own.train()
    assert own.net.training
    fixed = head(folders / "segformer")
    fixed.start_from("file")  # whose weights are there already
    fixed.train()
    assert fixed.training and not any(module.training for module in fixed.net.modules())


def test_differences_are_measured_from_the_clean_pictures_answer(folders: Path) -> None:
    """Kullback-Leibler divergence is of the clean picture's classes from the coded one's."""
    clean, coded = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 0.5, 0.0]])
    p, q = clean.softmax(1), coded.softmax(1)
    torch.testing.assert_close(head(folders / "vit").divergence(coded, clean), (p * (p / q).log()).sum(1))


def test_what_a_detector_finds_is_weighted_by_what_is_in_the_clean_picture(folders: Path) -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]]])
    nothing = {"boxes": boxes + 40, "logits": torch.full((1, 1, 3), -9.0)}
    thing = {"boxes": boxes, "logits": torch.tensor([[[9.0, -9, -9]]])}
    own = head(folders / "detr")
    # A box where nothing is in the clean picture has no place that counts: its class alone is wrong.
    made_up, missed = float(own.divergence(thing, nothing)), float(own.divergence(nothing, thing))
    assert made_up == pytest.approx(9.0, abs=0.1)
    assert missed == pytest.approx(9.0 + 2 * (1 + 1 - 200 / 2500), abs=0.1)


def test_running_out_of_memory_is_not_called_a_wrong_size(folders: Path) -> None:
    own = head(folders / "vit")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory left")

    own.net.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError, match="no memory left"):
        own(features(32, 32))


# --- configs ---------------------------------------------------------------------------------------------------------


def test_as_many_layers_as_the_limit_are_read(changed: Any) -> None:
    assert read_config(changed("vit", num_hidden_layers=256), "classification").num_hidden_layers == 256


@pytest.mark.parametrize("content", ["[]", "[1]", '"vit"', "5", "null"])
def test_a_config_is_an_object(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SpecError, match=r"config\.json: a config is a JSON object, not (list|str|int|NoneType)"):
        read_config(tmp_path, "classification")


@pytest.mark.parametrize(
    ("name", "kind"), [("vit", "detection"), ("detr", "classification"), ("glpn", "segmentation"), ("dpt", "detection")]
)
def test_a_network_of_another_kind_is_refused(folders: Path, name: str, kind: str) -> None:
    with pytest.raises(SpecError, match=f"model_type: unknown network for {kind} '{name}'"):
        read_config(folders / name, kind)


@pytest.mark.parametrize("name", ["deit", "levit"])
def test_of_several_classes_for_a_network_the_usual_one_is_built(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
    with torch.device("meta"):
        net = build(tmp_path, read_config(tmp_path, "classification"), "classification", weights=False)
    assert type(net).__name__ == {"deit": "DeiT", "levit": "Levit"}[name] + "ForImageClassification"


@pytest.mark.parametrize("values", [{"hidden_size": [1, 2]}, {"hidden_act": {"a": 1}}, {"num_attention_heads": "many"}])
def test_a_config_that_transformers_cannot_read_is_one_line(changed: Any, values: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"config\.json: transformers cannot (read|build) it") as raised:
        head(changed("vit", **values), "classification")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("values", [{"depth": 257}, {"backbone_config": {"depths": [1, 2, 300]}}, {"blocks": 999}])
def test_too_many_layers_are_refused_wherever_they_stand(changed: Any, values: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="the limit is 256"):
        read_config(changed("vit", **values), "classification")


def test_nothing_is_fetched_for_a_backbone(changed: Any) -> None:
    backbone = {"model_type": "timm_backbone", "backbone": "resnet18", "use_pretrained_backbone": True}
    found = read_config(changed("detr", backbone_config=backbone), "detection")
    assert found.backbone_config.backbone == "resnet18" and not found.backbone_config.use_pretrained_backbone


def test_layers_are_counted_in_lists_of_parts_too(changed: Any) -> None:
    with pytest.raises(SpecError, match="num_layers is 999, and the limit is 256"):
        read_config(changed("vit", parts=[{"num_layers": 999}]), "classification")


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_whose_attention_runs_is_not_the_folders_to_say(changed: Any, name: str) -> None:
    folder = changed("vit", **{name: "a/b"})
    assert "a/b" not in str(vars(read_config(folder, "classification")))
    assert head(folder)(features(32, 32)).shape == (1, 3)


def test_one_weight_that_is_lacking_is_refused_and_one_too_many_is_not(changed: Any, folders: Path) -> None:
    folder = changed("segformer")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "more": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    torch.testing.assert_close(head(folder)(features(64, 64)), head(folders / "segformer")(features(64, 64)))
    del weights["decode_head.classifier.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 'decode_head\.classifier\.bias' of SegformerForSemanticSegmentation"):
        head(folder)


def test_weights_of_half_precision_become_whole_ones(changed: Any) -> None:
    folder = changed("segformer", dtype="float16", torch_dtype="float16")
    net = t.SegformerForSemanticSegmentation.from_pretrained(folder, dtype=torch.float16)
    net.save_pretrained(folder)
    assert {tensor.dtype for tensor in net.parameters()} == {torch.float16}
    for trained in (False, True):
        own = head(folder, "segmentation", trained=trained)
        tensors = [*own.net.parameters(), *own.net.buffers()]
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}
        assert own(features(64, 64)).dtype == torch.float32


def test_the_librarys_remarks_are_as_loud_afterwards_as_before(folders: Path) -> None:
    logging = t.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        for level, shown in ((logging.INFO, True), (logging.ERROR, False)):
            logging.set_verbosity(level)
            (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
            head(folders / "vit")
            assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, shown)
    finally:
        logging.set_verbosity(before)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


def test_the_weights_are_where_tensors_are_made(folders: Path) -> None:
    config = read_config(folders / "vit", "classification")
    with card(), torch.device("cuda"):
        net = build(folders / "vit", config, "classification", weights=True)
        assert {one.device for one in net.parameters()} == {CARD}


def test_without_memory_no_weights_are_read(changed: Any) -> None:
    folder = changed("segformer")
    (folder / "model.safetensors").unlink()
    with torch.device("meta"):
        own = head(folder)
    assert {tensor.device.type for tensor in own.net.buffers()} == {"meta"}
