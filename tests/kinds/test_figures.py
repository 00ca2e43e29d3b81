"""Figures of the core's kinds at their borders, and against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim
from sklearn.metrics import confusion_matrix, jaccard_score, top_k_accuracy_score

from icm_core.kinds import Classification, Reconstruction, Segmentation
from icm_core.types import Legend, Prediction


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_fifth_class_counts_for_top_5_and_the_sixth_does_not() -> None:
    logits = torch.tensor([[0.0, 7, 1, 6, 2, 5, 3, 4]])
    ranking = [1, 3, 5, 7, 6, 4, 2, 0]
    tallies = [Classification().tally(Prediction("classification", logits), torch.tensor(target)) for target in ranking]
    assert [tally["top1"] for tally in tallies] == [True] + [False] * 7
    assert [tally["top5"] for tally in tallies] == [True] * 5 + [False] * 3


def test_accuracies_are_scikit_learns() -> None:
    logits = torch.randn(40, 9, generator=rng(0))
    truth = torch.randint(9, (40,), generator=rng(1))
    tallies = [
        Classification().tally(Prediction("classification", row[None]), target)
        for row, target in zip(logits, truth, strict=True)
    ]
    found = Classification().figures(tallies, Legend())
    for name, k in (("top1", 1), ("top5", 5)):
        expected = 100 * top_k_accuracy_score(truth.numpy(), logits.numpy(), k=k, labels=np.arange(9))
        assert found[name].value == pytest.approx(expected)


def test_confusion_and_miou_are_scikit_learns() -> None:
    logits = torch.randn(3, 4, 12, 10, generator=rng(2))
    truth = torch.randint(-1, 4, (3, 12, 10), generator=rng(3))
    tallies = [
        Segmentation().tally(Prediction("segmentation", row[None]), target)
        for row, target in zip(logits, truth, strict=True)
    ]
    counted = truth >= 0
    pair = truth[counted].numpy(), logits.argmax(1)[counted].numpy()
    matrix = np.array([tally["confusion"] for tally in tallies]).sum(0).reshape(4, 4)
    assert np.array_equal(matrix, confusion_matrix(*pair, labels=range(4)))
    expected = 100 * jaccard_score(*pair, average="macro")
    assert Segmentation().figures(tallies, Legend())["miou"].value == pytest.approx(expected, abs=1e-4)


def test_classes_that_occur_nowhere_do_not_count_and_those_only_predicted_do() -> None:
    truth = torch.tensor([[0, 0, 1, 1]])
    classes = torch.tensor([[0, 0, 1, 2]])
    logits = torch.nn.functional.one_hot(classes, 4).permute(2, 0, 1)[None].float()
    tally = Segmentation().tally(Prediction("segmentation", logits), truth)
    figure = Segmentation().figures([tally], Legend())["miou"]
    assert figure.value == pytest.approx(100 * (1 + 1 / 2 + 0) / 3)
    drawn = Segmentation().resampled([tally], Legend(), np.ones((1, 1)))["miou"]
    assert drawn[0] == pytest.approx(figure.value)


def test_ms_ssim_is_another_implementations_of_8_bit_pictures() -> None:
    truth = torch.randint(256, (3, 200, 240), generator=rng(4)).float()
    smooth = torch.nn.functional.avg_pool2d(truth[None], 9, 1, 4)
    picture = smooth[0].round().to(torch.uint8)
    output = (smooth + 6 * torch.randn(smooth.shape, generator=rng(5))).clamp(0, 255) / 255
    tally = Reconstruction().tally(Prediction("reconstruction", output), picture)
    shown = (output * 255).round()
    expected = float(ms_ssim(shown, picture[None].float(), data_range=255))
    assert 0.5 < expected < 0.99
    assert tally["ms_ssim"] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(("size", "has"), [((176, 176), True), ((175, 300), False), ((300, 175), False)])
def test_ms_ssim_needs_176_pixels_a_side(size: tuple[int, int], has: bool) -> None:
    picture = torch.randint(256, (3, *size), generator=rng(6)).to(torch.uint8)
    tally = Reconstruction().tally(Prediction("reconstruction", picture[None] / 300), picture)
    assert (tally["ms_ssim"] is not None) == has
    figures = Reconstruction().figures([tally, {"psnr": 30.0, "ms_ssim": 0.9}], Legend())
    assert (figures["ms_ssim"].value is not None) == has
