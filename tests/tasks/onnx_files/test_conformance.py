"""Heads around ONNX files keep the contract, whatever the kind of their answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import icm_small_onnx as small

from icm_core.interfaces import SpecPath
from icm_core.testing import HeadCase, parametrize_with_checks
from icm_tasks.onnx_files import Onnx

_HOME = tempfile.TemporaryDirectory()
_SIZES = {"sizes": ((64, 64), (50, 70), (33, 65))}
_BOXES = {"kind": "detection", "classes": ["car", "person", "dog"], "fit": "corner"}
_NO_GRADIENT = {"check_divergence": "onnxruntime gives no gradients"}
_NO_TARGET = "labels are not what an embedding from a file is trained towards"
_NO_LOSS = {"check_loss_is_finite": _NO_TARGET, "check_loss_per_picture": _NO_TARGET}


def _case(write, params, **options):
    more = {key: options.pop(key) for key in ("exceptions", "unpromised") if key in options}
    path = write(Path(_HOME.name) / f"{write.__name__}{len(list(Path(_HOME.name).iterdir()))}.onnx", **options)
    return HeadCase(Onnx, {"file": SpecPath(path.name, path), **params}, **_SIZES, **more)


@parametrize_with_checks(
    [
        _case(small.classifier, {"kind": "classification", "trained": True}),
        _case(small.classifier, {"kind": "classification", "likelihoods": True}, likelihoods=True, batch=None),
        _case(small.classifier, {"kind": "regression", "classes": list("abcde")}, size=None, batch=None),
        _case(small.classifier, {"kind": "embedding"}, exceptions=_NO_LOSS),
        _case(small.maps, {"kind": "segmentation", "classes": list("abcde"), "trained": True}),
        _case(small.maps, {"kind": "segmentation", "multiple": 8}, size=None, batch=None),
        _case(small.maps, {"kind": "depth", "unit": "m", "trained": True}, channels=1, positive=True),
        _case(small.maps, {"kind": "depth", "inverse": True, "scale": 2.0}, channels=1, positive=True),
        _case(small.grid, {**_BOXES, "layout": {"form": "grid", "strides": [8]}, "trained": True}, strides=(8,)),
        _case(small.boxes, {**_BOXES, "layout": {"form": "boxes"}}),
        _case(small.queries, {**_BOXES, "layout": {"form": "queries"}, "outputs": ["logits", "pred_boxes"]}),
        _case(small.classifier, {"kind": "classification", "engine": "onnxruntime"}, exceptions=_NO_GRADIENT),
    ]
)
def test_conformance(case, check):
    check(case)
