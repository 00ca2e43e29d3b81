"""What several kinds compute with: means, classes by name, divergences; against values written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from icm_core.kinds import Classification, Regression, Segmentation
from icm_core.kinds.labels import check_classes, match_labels, renumbered
from icm_core.kinds.means import mean, number, resampled_means
from icm_core.types import Legend


def test_a_mean_is_of_all_values_or_of_none() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert mean([2.0]) == 2.0
    assert mean([1.0, None]) is None
    assert mean([None]) is None and mean([]) is None


def test_a_mean_does_not_depend_on_the_order() -> None:
    values = [1e16, 1.0, -1e16, 3.0]
    assert mean(values) == mean(sorted(values)) == 1.0


def test_numbers_of_a_tally_are_truth_values_too() -> None:
    tally = {"hit": True, "miss": False, "error": 3, "none": None}
    assert [number(tally, field) for field in (*tally, "absent")] == [1.0, 0.0, 3.0, None, None]


def test_means_over_draws_count_each_picture_as_often_as_it_was_drawn() -> None:
    tallies = [{"a": 1.0, "b": 10.0}, {"a": 2.0, "b": None}, {"a": 6.0, "b": 30.0}]
    weights = np.array([[1.0, 1, 1], [0, 0, 3], [2, 0, 1], [0, 1, 2]])
    found = resampled_means(tallies, {"a": 1.0, "b": 100.0}, weights)
    assert found["a"].tolist() == pytest.approx([3, 6, 8 / 3, 14 / 3])
    assert found["b"].tolist() == pytest.approx([math.nan, 3000, 5000 / 3, math.nan], nan_ok=True)


CRANES = Legend(("crane", "kite", "crane"))
HEAD = Legend(("cat", "dog", "cow"), (("n1", "n2", "n3"), ("Katze", "Hund", "Kuh")))


@pytest.mark.parametrize(
    ("data", "head", "expected"),
    [
        (("cow", "cat"), HEAD, (2, 0)),
        (("Kuh", "Hund"), HEAD, (2, 1)),
        (("cat", "n2"), HEAD, "the head has 3 classes, and they are not the data set's 2"),
        (("x", "y", "z"), HEAD, (0, 1, 2)),
        (("x", "y", "z", "w"), HEAD, "the head has 3 classes, and they are not the data set's 4"),
        ((), HEAD, (0, 1, 2)),
        (("x", "y"), Legend(), (0, 1)),
        # Two cranes: names that occur twice say nothing, unless all are the same.
        (CRANES.labels, CRANES, (0, 1, 2)),
        (
            ("kite", "crane"),
            CRANES,
            "the head has 3 classes, and they are not the data set's 2",
        ),
    ],
)
def test_classes_are_the_same_by_name_or_in_order(
    data: tuple[str, ...], head: Legend, expected: tuple[int, ...] | str
) -> None:
    assert match_labels(Legend(data), head) == expected


def test_without_any_names_there_are_as_many_classes_as_a_byte_holds() -> None:
    assert match_labels(Legend(), Legend()) == tuple(range(256))


def test_what_labels_stand_for_is_said() -> None:
    found = match_labels(Legend(("near",)), Legend(("far", "away")), "values")
    assert found == "the head has 2 values, and they are not the data set's 1"


def test_classes_get_the_heads_numbers_and_the_ignored_value_none() -> None:
    classes = torch.tensor([[0, 1, 2], [255, 1, 0]], dtype=torch.uint8)
    found = renumbered(classes, (7, 300, 5), 255, -1)
    assert found.dtype == torch.int64 and found.tolist() == [[7, 300, 5], [-1, 300, 7]]
    assert renumbered(torch.tensor([0, 1, 2]), (7, 8, 9), 1, -1).tolist() == [7, -1, 9]
    assert renumbered(torch.tensor([-1, 0]), (4,), -1, -5).tolist() == [-5, 4]
    assert renumbered(torch.tensor(1), (4, 6), None, -1).tolist() == 6


@pytest.mark.parametrize(
    ("classes", "ignore", "says"),
    [([0, 3], None, 3), ([0, -1], None, -1), ([255, 3], 255, 3), ([255, 0], 254, 255)],
)
def test_a_class_without_a_name_is_refused(classes: list[int], ignore: float | None, says: int) -> None:
    with pytest.raises(ValueError, match=f"holds the class {says}; classes are 0 to 2"):
        renumbered(torch.tensor(classes), (0, 1, 2), ignore, -1)


@pytest.mark.parametrize(("classes", "says"), [([0, 3], 3), ([-1, 2], -1), ([-2, 9], -2)])
def test_a_class_that_the_head_does_not_have_is_refused(classes: list[int], says: int) -> None:
    with pytest.raises(ValueError, match=f"holds the class {says}; the head has the classes 0 to 2"):
        check_classes(torch.tensor(classes), 3)
    for held in ([0, 1, 2], [0], [1, 1], [2]):
        check_classes(torch.tensor(held), 3)
    check_classes(torch.tensor([], dtype=torch.int64), 3)


def probabilities(*rows: list[float]) -> torch.Tensor:
    """Logits (B, K) of these probabilities, each row with an offset that does not count."""
    return torch.tensor(rows).log() + torch.arange(len(rows))[:, None] * 3.0


LOST = 0.6 * math.log(0.6 / 0.2) + 0.3 * math.log(0.3 / 0.2) + 0.1 * math.log(0.1 / 0.6)
"""KL(clean || coded) in nats of the two rows below; the other way round it is another number."""
CLEAN, CODED = [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]


def test_divergence_of_classes_is_what_is_lost_of_the_clean_pictures_answer() -> None:
    clean, coded = probabilities(CLEAN, CLEAN), probabilities(CODED, CLEAN)
    assert Classification().divergence(coded, clean).tolist() == pytest.approx([LOST, 0], abs=1e-6)


def test_divergence_of_maps_is_the_mean_over_pixels() -> None:
    clean = probabilities(CLEAN)[..., None, None].repeat(2, 1, 2, 3)
    coded = clean.clone()
    coded[1, :, 0, :2] = probabilities(CODED)[0][:, None]
    assert Segmentation().divergence(coded, clean).tolist() == pytest.approx([0, LOST * 2 / 6], abs=1e-6)


def test_divergence_of_values_is_their_mean_squared_difference() -> None:
    clean, coded = torch.tensor([[1.0, 2.0], [0.0, 5.0]]), torch.tensor([[1.0, 5.0], [0.5, 5.0]])
    assert Regression().divergence(coded, clean).tolist() == [4.5, 0.125]


def test_masks_are_filled_with_the_ignored_value_or_the_first_class() -> None:
    assert Segmentation().fill(Legend(("a",), ignore=255)) == 255
    assert Segmentation().fill(Legend(("a",), ignore=0)) == 0
    assert Segmentation().fill(Legend(("a",))) == 0


def test_the_ignored_value_is_a_target_of_a_class() -> None:
    Classification().check_target(torch.tensor(9), (4, 5), Legend(("a", "b"), ignore=9))
    with pytest.raises(ValueError, match="is the class 8, and there are 2 labels"):
        Classification().check_target(torch.tensor(8), (4, 5), Legend(("a", "b"), ignore=9))
