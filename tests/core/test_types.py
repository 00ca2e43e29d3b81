"""The values that travel between a pipeline's parts."""

from __future__ import annotations

import importlib

import pytest
import torch

from icm_core.types import CodecOutput, Features, Legend, Prediction, SideInfo


def test_a_class_is_called_by_its_name_and_else_by_its_number() -> None:
    legend = Legend(("sky", "road"))
    assert [legend.label(index) for index in (0, 1, 2, 7, -1)] == ["sky", "road", "2", "7", "-1"]
    assert Legend().label(0) == "0"


def test_the_rate_of_a_picture_is_the_sum_of_its_streams() -> None:
    side = SideInfo((torch.zeros(3, 1, 1, 1),), (8, 8))
    bits = {"first": torch.tensor([1.0, 20.0, 300.0]), "second": torch.tensor([4.0, 0.0, 5.0])}
    assert CodecOutput(side, bits).total_bits.tolist() == [5.0, 20.0, 305.0]
    assert CodecOutput(side, {"alone": torch.tensor([2.0, 3.0])}).total_bits.tolist() == [2.0, 3.0]


def test_a_prediction_has_the_legend_of_its_labels_colours_and_unit() -> None:
    told = Prediction("regression", torch.zeros(1, 2), ("height", "width"), ((1, 2, 3), (4, 5, 6)), "m")
    assert told.legend == Legend(("height", "width"), (), ((1, 2, 3), (4, 5, 6)), "m")
    assert Prediction("regression", torch.zeros(1, 2)).legend == Legend()


def test_padding_is_cut_off_below_and_to_the_right() -> None:
    whole = torch.arange(48.0).view(1, 1, 6, 8)
    found = Features({"image": whole, "other": whole + 1}, (2, 5)).cropped("image")
    assert found.tolist() == [[[[0.0, 1.0, 2.0, 3.0, 4.0], [8.0, 9.0, 10.0, 11.0, 12.0]]]]


@pytest.mark.parametrize(("module", "name"), [("icm_core.types", "Kind"), ("icm_core.interfaces.dataset", "DataKind")])
def test_what_an_older_package_asks_for_is_explained(module: str, name: str) -> None:
    found = importlib.import_module(module)
    with pytest.raises(ImportError, match=rf"{module}\.{name} belongs to interface 1 of icm.*From 1 to 2"):
        getattr(found, name)
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        found.Nothing  # noqa: B018
