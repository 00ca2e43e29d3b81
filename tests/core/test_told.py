"""What is said of a decoded file in words and in pictures."""

from __future__ import annotations

import pytest
import torch

from icm_core import Pipeline
from icm_core.pipeline.told import told


def test_answers_in_words_are_drawn_where_that_is_asked_for_and_pictures_never(
    pipeline: Pipeline, picture: torch.Tensor
) -> None:
    decoded = pipeline.decode(pipeline.encode(picture))
    for draw in (False, True):
        found = told(pipeline, decoded, draw=draw)
        assert {name: one.picture is not None for name, one in found.items()} == {
            "labels": True,
            "classes": False,
            "coarse": True,
            "fine": True,
        }
        assert [name for name, one in found.items() if one.drawing] == (["labels", "classes"] if draw else [])


def test_what_is_no_picture_and_no_words_is_drawn_without_being_asked_for(
    pipeline: Pipeline, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = pipeline.decode(pipeline.encode(picture), ["labels", "classes"])
    kind = pipeline.kind("labels")
    expected = kind.draw(decoded["labels"], pipeline.canvas(decoded))
    monkeypatch.setattr(type(kind), "raster", lambda *_: None)
    monkeypatch.setattr(type(kind), "draw", lambda *_: expected)
    found = told(pipeline, decoded)
    assert found["labels"].picture is None and found["labels"].drawing is expected
    assert found["classes"].drawing is None


def test_numbers_and_words_alone_need_no_pictures(
    pipeline: Pipeline, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = pipeline.decode(pipeline.encode(picture))
    rows = {name: one.row for name, one in told(pipeline, decoded, draw=True).items()}
    monkeypatch.setattr(type(pipeline), "canvas", None)
    found = told(pipeline, decoded, draw=True, pictures=False)
    assert {name: one.row for name, one in found.items()} == rows
    assert all(one.picture is None and one.drawing is None for one in found.values())
    assert rows["classes"]["text"] == pipeline.kind("classes").describe(decoded["classes"])
    assert rows["coarse"] == {"kind": "reconstruction", "text": ""}
