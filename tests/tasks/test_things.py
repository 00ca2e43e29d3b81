"""What kinds of things do with several pictures, many things, ties, and what a legend leaves out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Detection, Instances, Keypoints

LEGEND = Legend(("car", "person", "dog"), colours=((1, 2, 3), (40, 50, 60), (7, 8, 9)))
SIZE = (60, 80)
BOX = (1.0, 1.0, 9.0, 9.0)


def things(*found: tuple[int, float], box: tuple[float, ...] = BOX) -> dict[str, torch.Tensor]:
    """A head's answer of (label, score) each, all in one box."""
    return {
        "boxes": torch.tensor([box] * len(found)).reshape(-1, 4),
        "labels": torch.tensor([label for label, _ in found], dtype=torch.int64),
        "scores": torch.tensor([score for _, score in found]),
    }


def said(*pictures: dict[str, torch.Tensor], labels: tuple[str, ...] = LEGEND.labels) -> Prediction:
    return Prediction("detection", list(pictures), labels)


def test_the_class_that_is_seen_most_is_described_first() -> None:
    assert Detection().describe(said(things((2, 0.9), (0, 0.8), (0, 0.7)))) == "2 x car, 1 x dog"


def test_where_nothing_is_sure_the_best_is_described_with_its_score() -> None:
    assert Detection().describe(said(things((1, 0.2), (2, 0.4)))) == "nothing that is sure; the best is dog 40%"


def test_answers_of_all_pictures_are_looked_at() -> None:
    good, bad = things((0, 0.5)), things((7, 0.5))
    Detection().check_prediction(said(good, good), SIZE, 2)
    for pictures in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="class 7; classes are 0 to 2"):
            Detection().check_prediction(said(*pictures), SIZE, 2)


def test_examples_are_of_all_classes() -> None:
    seen = {
        int(label)
        for seed in range(20)
        for label in Detection().example_target(SIZE, LEGEND, torch.Generator().manual_seed(seed))["labels"]
    }
    assert seen == {0, 1, 2}
    without = Detection().example_target(SIZE, Legend(), torch.Generator().manual_seed(0))
    assert without["labels"].tolist() == [0, 0, 0]


def test_the_truth_is_drawn_in_the_legends_colours() -> None:
    found = Detection().truth(things((1, 1.0)), LEGEND)
    assert found is not None and found.legend.colours == ((1, 2, 3), (40, 50, 60), (7, 8, 9))


def test_targets_of_classes_that_the_head_has_not_are_not_measured() -> None:
    with pytest.raises(ValueError, match="3"):
        Detection().tally(said(things((0, 0.5))), things((3, 1.0)))


def test_of_equal_scores_the_first_one_comes_first() -> None:
    many = things(*((index % 3, 0.5) for index in range(60)))
    many["boxes"] = torch.arange(240.0).reshape(60, 4)
    found = Detection().things(said(many))
    assert torch.equal(found["boxes"], many["boxes"])


def test_classes_below_0_have_no_name_of_the_legend() -> None:
    assert [Detection().class_name(index, LEGEND) for index in (-1, 0, 2, 3)] == ["class -1", "car", "dog", "class 3"]


def test_targets_get_the_heads_numbers_and_none_is_ignored() -> None:
    found = Detection().renumber(things((0, 1.0), (1, 1.0), (2, 1.0)), (2, 0, 1), LEGEND)
    assert found["labels"].tolist() == [2, 0, 1]


def test_the_written_picture_has_no_more_things_than_the_answer_lists() -> None:
    answer = things(*((0, 1 - index / 200) for index in range(120)))
    answer["masks"] = torch.eye(120, dtype=torch.bool).reshape(120, 10, 12)
    prediction = Prediction("instances", [answer], LEGEND.labels)
    picture = Instances().raster(prediction)
    listed = Instances().answer(prediction)["instances"]
    assert isinstance(listed, list) and len(listed) == 100
    assert np.asarray(picture).ravel().tolist() == [*range(1, 101), *[0] * 20]


def test_masks_are_measured_at_height_and_width_of_the_picture() -> None:
    answer = things((0, 0.9), box=(0.0, 0.0, 12.0, 5.0))
    answer["masks"] = torch.ones(1, 10, 12)
    tally = Instances().tally(
        Prediction("instances", [answer], LEGEND.labels), {**answer, "masks": answer["masks"] > 0}
    )
    assert tally["size"] == [10, 12]


def keypoints(count: int, names: tuple[str, ...], shown: float = 1.0) -> Prediction:
    answer = things((0, 0.9), (0, 0.8))
    answer["keypoints"] = torch.cat([torch.rand(2, count, 2), torch.full((2, count, 1), shown)], 2)
    return Prediction("keypoints", [answer], names)


def test_points_of_every_thing_have_the_names_of_the_legend() -> None:
    answer = Keypoints().answer(keypoints(3, ("tip", "middle", "tail")))["instances"]
    assert isinstance(answer, list)
    for entry in answer:
        assert isinstance(entry, dict) and isinstance(entry["points"], list)
        assert [point["label"] for point in entry["points"]] == ["tip", "middle", "tail"]  # type: ignore[index,call-overload]


@pytest.mark.parametrize("count", [1, 3])
def test_an_answer_has_as_many_points_as_names(count: int) -> None:
    with pytest.raises(ValueError, match=r"they should be \(N, 2, 3\)"):
        Keypoints().check_prediction(keypoints(count, ("tip", "tail")), SIZE, 1)
    Keypoints().check_prediction(keypoints(2, ("tip", "tail")), SIZE, 1)
    Keypoints().check_prediction(keypoints(count, ()), SIZE, 1)


def test_cocos_sigmas_are_for_points_that_all_have_cocos_names() -> None:
    tallies = [{"points": 2}]
    assert Keypoints().sigmas(tallies, Legend(("nose", "left_ear")))[0] == [0.026, 0.035]
    sigmas, title = Keypoints().sigmas(tallies, Legend(("nose", "horn")))
    assert (sigmas, title) == ([0.05, 0.05], "keypoints, OKS with sigma 0.05")


def test_a_truth_with_fewer_points_than_the_head_is_measured_on_those_that_it_has() -> None:
    prediction = keypoints(3, ())
    truth = {**things((0, 1.0)), "keypoints": prediction.output[0]["keypoints"][:1, :2]}
    tally = Keypoints().tally(prediction, truth)
    assert tally["points"] == 3
    assert tally["truth"]["keypoints"][0][2] == [0, 0, 0]  # type: ignore[index,call-overload]
    more = {**truth, "keypoints": torch.rand(1, 4, 3)}
    with pytest.raises(ValueError, match="has 4 keypoints; the head has 3"):
        Keypoints().tally(prediction, more)


@pytest.mark.parametrize("output", [[], (), None, torch.zeros(1, 4), {"boxes": torch.zeros(0, 4)}], ids=str)
def test_an_answer_is_a_list_of_one_dict_a_picture_at_least(output: object) -> None:
    prediction = Prediction("detection", output, LEGEND.labels)
    with pytest.raises(ValueError, match="it should be a list with a dict for each picture"):
        Detection().check_prediction(prediction, SIZE, 1)
    with pytest.raises(ValueError, match=r"has no answer to compare it with: .* is .*a list with a dict"):
        Detection().tally(prediction, things((0, 1.0)))


def test_an_answer_may_be_a_tuple_and_has_as_many_dicts_as_pictures() -> None:
    pictures = (things((0, 0.5)), things((1, 0.25)))
    prediction = Prediction("detection", pictures, LEGEND.labels)
    Detection().check_prediction(prediction, SIZE, 2)
    assert Detection().things(prediction)["labels"].tolist() == [0]  # of the first picture
    for count in (1, 3):
        with pytest.raises(ValueError, match=f"has 2 dicts for {count} pictures; it should have one for each"):
            Detection().check_prediction(prediction, SIZE, count)


def test_a_tally_of_boxes_holds_what_was_found_and_what_there_is_and_no_more() -> None:
    truth = {**things((2, 1.0), (1, 1.0)), "iscrowd": torch.tensor([True, False]), "area": torch.tensor([3.0, 5.0])}
    del truth["scores"]
    assert Detection().tally(said(things((1, 0.25), (0, 0.5))), truth) == {
        "found": {"labels": [0, 1], "boxes": [[*BOX], [*BOX]], "scores": [0.5, 0.25]},
        "truth": {"labels": [2, 1], "boxes": [[*BOX], [*BOX]], "iscrowd": [1, 0], "area": [3.0, 5.0]},
    }


def test_draws_of_keypoints_have_the_sigmas_of_the_figures() -> None:
    names = ("nose", "left_hip")  # of which one has to be four times as near as the other
    prediction = keypoints(2, names)
    prediction.output[0] = {name: value[:1] for name, value in prediction.output[0].items()}
    points = prediction.output[0]["keypoints"]
    truth = {**things((0, 1.0)), "keypoints": points + torch.tensor([[[0.5, 0.0, 1.0], [1.5, 0.0, 1.0]]])}
    tallies = [Keypoints().tally(prediction, truth)]
    (figure,) = [one.value for name, one in Keypoints().figures(tallies, Legend(names)).items() if name == "ap"]
    drawn = Keypoints().resampled(tallies, Legend(names), np.ones((1, 1)))["ap"]
    assert figure is not None and 0 < figure < 100
    assert drawn.tolist() == pytest.approx([figure])
