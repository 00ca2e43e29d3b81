"""What the files of transformers' folders say of pictures, and what becomes of queries; no network is built here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from icm_core import SpecError
from icm_core.wrap import Input
from icm_tasks.transformers_models.pictures import wanted
from icm_tasks.transformers_models.things import kept

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
SIZE = {"size": {"height": 24, "width": 40}}


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """What a preprocessor_config.json of some entries asks for."""

    def read(kind: str = "segmentation", **data: object) -> Input:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(data))
        return wanted(tmp_path, kind)

    return read


# --- pictures --------------------------------------------------------------------------------------------------------


def test_height_and_width_are_told_apart(said: Any) -> None:
    assert said(**SIZE).size == (24, 40)


@pytest.mark.parametrize(("number", "name"), [(2, "bilinear"), (3, "bicubic"), (None, "bilinear"), (0, "bilinear")])
def test_pillows_numbers_say_how_pictures_are_resized(said: Any, number: int | None, name: str) -> None:
    assert said(**SIZE, resample=number).resample == name


def test_pictures_are_normalised_where_the_file_says_so_or_has_means(said: Any) -> None:
    statistics = {"image_mean": MEAN, "image_std": STD}
    own = said(**SIZE, **statistics)
    assert (own.mean, own.std) == (MEAN, STD)
    own = said(**SIZE, **statistics, do_normalize=True)
    assert (own.mean, own.std) == (MEAN, STD)
    for plain in (said(**SIZE, **statistics, do_normalize=False), said(**SIZE)):
        assert (plain.mean, plain.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("entries", "white"),
    [
        ({}, 1.0),
        ({"do_rescale": True}, 1.0),
        ({"rescale_factor": 1 / 127.5}, 2.0),
        ({"do_rescale": False, "rescale_factor": 1 / 127.5}, 255.0),
    ],
)
def test_levels_are_divided_by_255_unless_the_file_says_otherwise(
    said: Any, entries: dict[str, object], white: float
) -> None:
    assert said(**SIZE, **entries).levels == pytest.approx(white)


def test_a_file_that_resizes_nothing_leaves_pictures_their_size(said: Any) -> None:
    assert said(**SIZE, do_resize=False).size is None
    assert said(**SIZE, do_resize=True).size == (24, 40)


def test_channels_are_turned_round_where_the_file_flips_them(said: Any) -> None:
    assert said(**SIZE, do_flip_channel_order=True).order == "bgr"
    assert said(**SIZE, do_flip_channel_order=False, do_convert_rgb=True).order == "rgb"


def test_a_crop_counts_as_the_size_only_where_pictures_are_cropped(said: Any) -> None:
    crop = {"crop_size": {"height": 16, "width": 32}}
    assert said(**SIZE, **crop, do_center_crop=True).size == (16, 32)
    assert said(**SIZE, **crop, do_center_crop=False).size == (24, 40)
    assert said(**SIZE, **crop).size == (24, 40)


def test_classifiers_get_the_whole_picture_squeezed_and_others_its_shorter_side(said: Any) -> None:
    edges = {"size": {"shortest_edge": 30, "longest_edge": 70}}
    assert said("classification", **edges).size == (30, 30)
    own = said("detection", **edges)
    assert (own.size, own.longest) == (30, 70)
    assert said("detection", size={"shortest_edge": 30}).longest is None


def test_sides_are_multiples_of_what_the_file_says_first(said: Any) -> None:
    own = said(**SIZE, keep_aspect_ratio=True, ensure_multiple_of=14, size_divisor=32)
    assert (own.fit, own.multiple) == ("least", 14)
    assert said(**SIZE, keep_aspect_ratio=False, ensure_multiple_of=14).fit == "stretch"
    own = said(size={"shortest_edge": 30}, size_divisor=32)
    assert (own.size, own.multiple) == (30, 32)
    own = said(size_divisor=32)
    assert (own.size, own.multiple) == (None, 32)


@pytest.mark.parametrize(
    ("entries", "multiple"),
    [
        ({"image_processor_type": "YolosImageProcessor"}, 16),
        ({"image_processor_type": "YolosImageProcessorFast"}, 16),
        ({"feature_extractor_type": "YolosFeatureExtractor"}, 16),
        ({"image_processor_type": "DetrImageProcessor", "feature_extractor_type": "YolosFeatureExtractor"}, 1),
        ({}, 1),
    ],
)
def test_sides_of_yolos_are_whole_patches_though_its_files_do_not_say_so(
    said: Any, entries: dict[str, object], multiple: int
) -> None:
    assert said("detection", size={"shortest_edge": 30}, **entries).multiple == multiple


@pytest.mark.parametrize("wrong", [-4, 1.5, "many"])
def test_multiples_are_whole_numbers_above_0(said: Any, wrong: object) -> None:
    with pytest.raises(SpecError, match=f"preprocessor_config.json: sides are multiples of {wrong!r}"):
        said(**SIZE, ensure_multiple_of=wrong)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"image_mean": [0.5] * 4}, r"image_mean is \[0.5, 0.5, 0.5, 0.5\]; it should be three numbers"),
        ({"image_mean": [0.5] * 2}, r"image_mean is \[0.5, 0.5\]; it should be three numbers"),
        ({"image_mean": 0.5}, "image_mean is 0.5; it should be three numbers"),
        ({"image_mean": [0.5, 0.5, "x"]}, "it should be three numbers"),
        ({"image_mean": [0.5] * 3}, "image_std is None; it should be three numbers"),
        ({"do_normalize": True}, "image_mean is None; it should be three numbers"),
        ({"rescale_factor": [1]}, "float"),
        ({"resample": [2]}, "unhashable"),
        ({"size": [24, 40]}, r"size is \[24, 40\]; it should be height and width, or the shortest edge"),
        ({"size": {"height": 24.5, "width": 40}}, "it should be height and width, or the shortest edge"),
        ({"size": {"height": 24}}, "it should have height and width, or shortest_edge"),
    ],
    ids=str,
)
def test_what_a_file_says_that_cannot_be_is_an_error_that_names_it(
    said: Any, entries: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=rf"preprocessor_config\.json: .*{message}"):
        said(**{**SIZE, **entries})


@pytest.mark.parametrize("content", ["[]", "[1]", "5", '"wide"'])
def test_a_file_is_an_object(tmp_path: Path, content: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(SpecError, match=r"it is (list|int|str); it should be a JSON object"):
        wanted(tmp_path, "classification")


def test_whole_numbers_are_numbers_too_and_channels_keep_their_order(said: Any) -> None:
    own = said(**SIZE, image_mean=[0, 0.5, 1], image_std=[1, 2, 3])
    assert (own.mean, own.std) == ((0.0, 0.5, 1.0), (1.0, 2.0, 3.0))


# --- queries ---------------------------------------------------------------------------------------------------------

BOXES = torch.tensor([[-3.0, 5, 30, 45], [10, -2, 70, 20], [1, 2, 3, 4]])
SCORES = torch.tensor([[0.25, 0.125], [0.5, 0.75], [0.0625, 0.03125]])


def test_a_query_of_a_softmax_is_one_thing_of_its_likeliest_class() -> None:
    found = kept(BOXES, SCORES.logit(), (40, 60), 0.0, 10, single=True)
    torch.testing.assert_close(found["scores"], torch.tensor([0.75, 0.25, 0.0625]))
    assert found["labels"].tolist() == [1, 0, 0]
    # Cut to 60 columns and 40 rows.
    assert found["boxes"].tolist() == [[10, 0, 60, 20], [0, 5, 30, 40], [1, 2, 3, 4]]


def test_a_query_of_sigmoids_may_be_a_thing_of_each_class() -> None:
    found = kept(BOXES, SCORES.logit(), (40, 60), 0.0, 10, single=False)
    torch.testing.assert_close(found["scores"], torch.tensor([0.75, 0.5, 0.25, 0.125, 0.0625, 0.03125]))
    assert found["labels"].tolist() == [1, 0, 0, 1, 0, 1]
    assert found["boxes"][:, 0].tolist() == [10, 10, 0, 0, 1, 1]


def test_things_are_left_out_below_the_least_score_and_beyond_the_most() -> None:
    logits = torch.tensor([[0.0, -1.0], [2.0, -3.0]])  # a sigmoid of 0 is 0.5 to the bit
    assert len(kept(BOXES[:2], logits, (40, 60), 0.5, 10, single=False)["scores"]) == 2
    assert len(kept(BOXES[:2], logits, (40, 60), 0.51, 10, single=False)["scores"]) == 1
    found = kept(BOXES, SCORES.logit(), (40, 60), 0.0, 2, single=False)
    torch.testing.assert_close(found["scores"], torch.tensor([0.75, 0.5]))
