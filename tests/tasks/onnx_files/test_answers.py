"""What a head around an ONNX file answers is what its network says, as another runtime computes it."""

from __future__ import annotations

import math

import icm_small_onnx as small
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.types import Features
from icm_core.wrap import fit_into
from icm_tasks.onnx_files.candidates import assign, divergence, loss, thinned
from icm_tasks.onnx_files.layouts import Boxes, Candidates, Grid, Queries, read

NAMES = ["car", "person", "dog"]


def pictures(height, width, count=1, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def features(image):
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 64, 0, -height % 64))
    return Features({"image": padded}, (height, width))


def run(path, image, *names):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [session.run(list(names) or None, {"images": one[None].numpy()}) for one in image]
    return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_a_classifier_of_one_picture_answers_for_a_batch(tmp_path, head, engine):
    path = small.classifier(tmp_path / "net.onnx")
    image = pictures(32, 48, 3)
    with torch.no_grad():
        found = head(path, "classification", engine=engine)(features(image))
    torch.testing.assert_close(found, run(path, image)[0], rtol=1e-4, atol=1e-5)


def test_a_network_of_several_pictures_answers_for_any_number(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx", batch=2)
    image = pictures(32, 48, 3)
    with torch.no_grad():
        found = head(path, "regression")(features(image))
    parts = onnxruntime.InferenceSession(str(path)).run(None, {"images": image[[0, 1]].numpy()})[0]
    assert found.shape == (3, 5)
    torch.testing.assert_close(found[:2], torch.from_numpy(parts), rtol=1e-4, atol=1e-5)


def test_likelihoods_become_logits(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx", likelihoods=True)
    with torch.no_grad():
        found = head(path, "classification", likelihoods=True)(features(pictures(32, 48)))
    torch.testing.assert_close(found.softmax(1), run(path, pictures(32, 48))[0], rtol=1e-4, atol=1e-5)


def test_the_input_has_the_networks_colours_scale_and_statistics(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx")
    params = {"order": "bgr", "levels": 255, "mean": [100, 110, 120], "std": [50, 60, 70]}
    image = pictures(32, 48)
    mean, std = np.array([100, 110, 120.0])[:, None, None], np.array([50, 60, 70.0])[:, None, None]
    given_to_it = torch.from_numpy(((image[0].numpy()[::-1] * 255 - mean) / std).astype(np.float32))
    with torch.no_grad():
        found = head(path, "classification", **params)(features(image))
    torch.testing.assert_close(found, run(path, given_to_it[None])[0], rtol=1e-4, atol=1e-4)


def test_a_map_is_scaled_to_the_picture_from_where_the_picture_was(tmp_path, head):
    path = small.maps(tmp_path / "net.onnx", channels=1, positive=True)
    image = pictures(24, 24)
    with torch.no_grad():
        found = head(path, "depth", fit="letterbox", scale=3.0, fill=0.5)(features(image))
    # 24x24 becomes 32x32 in the middle of 32x48.
    scaled = F.interpolate(image, size=(32, 32), mode="bilinear", antialias=True)
    maps = run(path, F.pad(scaled, (8, 8, 0, 0), value=0.5))[0]
    whole = F.interpolate(3.0 * maps, size=(32, 48), mode="bilinear")[..., 8:40]
    torch.testing.assert_close(found, F.interpolate(whole, size=(24, 24), mode="bilinear"), rtol=1e-4, atol=1e-4)


def test_an_inverse_distance_is_turned_round(tmp_path, head):
    path = small.maps(tmp_path / "net.onnx", channels=1, positive=True)
    with torch.no_grad():
        near = head(path, "depth")(features(pictures(32, 48)))
        far = head(path, "depth", inverse=True, scale=2.0)(features(pictures(32, 48)))
    assert float(near.min()) > 0
    # Turned round before it is scaled to the picture.
    maps = 2.0 / run(path, pictures(32, 48))[0]
    torch.testing.assert_close(far, F.interpolate(maps, size=(32, 48), mode="bilinear"), rtol=1e-4, atol=1e-4)


def test_a_network_of_any_size_gets_the_pictures_own_filled_up(tmp_path, head):
    path = small.maps(tmp_path / "net.onnx", size=None, batch=None)
    image = pictures(30, 45)
    with torch.no_grad():
        found = head(path, "segmentation", multiple=16, fill=0.25)(features(image))
    maps = run(path, F.pad(image, (0, 3, 0, 2), value=0.25))[0]
    whole = F.interpolate(maps, size=(32, 48), mode="bilinear")[..., :30, :45]
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


# --- fitting ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.one_of(st.none(), st.tuples(st.integers(8, 80), st.integers(8, 80))),
    st.sampled_from(["stretch", "corner", "letterbox", "cover"]),
    st.sampled_from([1, 8, 32]),
)
def test_the_corners_of_a_picture_come_back_from_any_input(own, size, fit, multiple):
    fitted = fit_into(torch.ones(1, 3, *own), size, fit, multiple=multiple)
    height, width = fitted.image.shape[-2:]
    assert (height, width) == (size or (-(-own[0] // multiple) * multiple, -(-own[1] // multiple) * multiple))
    (top, left), inner = fitted.start, fitted.inner
    corners = torch.tensor([left, top, left + inner[1], top + inner[0]], dtype=torch.float32)
    torch.testing.assert_close(
        fitted.boxes(corners), torch.tensor([0.0, 0, own[1], own[0]]), rtol=1e-4, atol=1e-3 * max(own)
    )
    if fit != "cover":
        # All ones are the picture, and what is filled up is not.
        assert int((fitted.image[0, 0] > 0.5).sum()) == inner[0] * inner[1]
        assert fitted.maps(fitted.image).shape[-2:] == own


@pytest.mark.parametrize(
    ("own", "size", "longest", "inner"),
    [
        ((100, 150), 50, None, (50, 75)),
        ((150, 100), 50, None, (75, 50)),
        ((100, 150), 200, None, (200, 300)),
        ((100, 300), 50, 120, (40, 120)),
        ((300, 100), 50, 150, (150, 50)),
    ],
)
def test_a_size_is_of_the_shorter_side_as_far_as_the_longer_one_may_be(own, size, longest, inner):
    fitted = fit_into(torch.ones(1, 3, *own), size, longest=longest)
    assert fitted.inner == tuple(fitted.image.shape[-2:]) == inner


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_a_grid_has_yoloxs_strides_unless_it_is_told_others():
    assert Grid(form="grid").strides == (8, 16, 32)


def test_a_grid_is_read_as_yolox_writes_it():
    random = np.random.default_rng(0)
    raw = random.random((2, 8 * 12 + 4 * 6, 5 + 3)).astype(np.float32)
    found = read(Grid(form="grid", strides=(4, 8)), [torch.from_numpy(raw)], (32, 48))
    row = 0
    for stride, high, wide in ((4, 8, 12), (8, 4, 6)):
        for y in range(high):
            for x in range(wide):
                middle = (raw[1, row, 0] + x) * stride, (raw[1, row, 1] + y) * stride
                sides = np.exp(raw[1, row, 2]) * stride, np.exp(raw[1, row, 3]) * stride
                wanted = [middle[0] - sides[0] / 2, middle[1] - sides[1] / 2, middle[0] + sides[0] / 2]
                wanted.append(middle[1] + sides[1] / 2)
                np.testing.assert_allclose(found.boxes[1, row].numpy(), wanted, rtol=1e-4, atol=1e-4)
                np.testing.assert_allclose(
                    found.logits[1, row].sigmoid().numpy(), raw[1, row, 4] * raw[1, row, 5:], rtol=1e-4, atol=1e-5
                )
                row += 1


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
def test_decoded_boxes_in_one_output(channels_first, objectness):
    rows = torch.rand(2, 7, 4 + objectness + 3, generator=torch.Generator().manual_seed(1))
    rows[..., :4] *= 40
    layout = Boxes(form="boxes", channels_first=channels_first, objectness=objectness)
    found = read(layout, [rows.transpose(1, 2) if channels_first else rows], (32, 48))
    x, y, width, height = rows[..., :4].unbind(-1)
    torch.testing.assert_close(
        found.boxes, torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
    )
    scores = rows[..., 5:] * rows[..., 4:5] if objectness else rows[..., 4:]
    torch.testing.assert_close(found.logits.sigmoid(), scores, rtol=1e-4, atol=1e-6)


def test_decoded_boxes_in_an_output_of_their_own_may_be_corners_in_shares():
    boxes, logits = torch.rand(1, 5, 4), torch.randn(1, 5, 2)
    layout = Boxes(form="boxes", corners=True, normalised=True, scores="sigmoid")
    found = read(layout, [boxes, logits], (32, 48))
    torch.testing.assert_close(found.boxes, boxes * torch.tensor([48.0, 32, 48, 32]))
    torch.testing.assert_close(found.logits, logits)


def test_queries_of_a_softmax_have_a_class_for_nothing():
    logits, boxes = 3 * torch.randn(2, 6, 4), torch.rand(2, 6, 4)
    found = read(Queries(form="queries"), [logits, boxes], (32, 48))
    torch.testing.assert_close(found.logits.sigmoid(), logits.softmax(-1)[..., :3], rtol=1e-4, atol=1e-5)
    x, y, width, height = (boxes * torch.tensor([48.0, 32, 48, 32])).unbind(-1)
    torch.testing.assert_close(found.boxes[..., 0], x - width / 2)
    torch.testing.assert_close(found.boxes[..., 3], y + height / 2)
    assert read(Queries(form="queries", scores="sigmoid"), [logits, boxes], (32, 48)).logits.shape[-1] == 4


@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        (Grid(form="grid"), [(1, 100, 85)]),
        (Boxes(form="boxes"), [(1, 100)]),
        (Boxes(form="boxes"), [(1, 10, 4), (1, 11, 3)]),
        (Queries(form="queries"), [(1, 10, 4), (1, 10, 6)]),
    ],
    ids=str,
)
def test_outputs_of_other_shapes_are_refused(layout, shapes):
    with pytest.raises(ValueError, match=r"the outputs? ha[s|ve].* the shapes? \(1, "):
        read(layout, [torch.zeros(shape) for shape in shapes], (416, 416))


# --- things ----------------------------------------------------------------------------------------------------------


def certain(*boxes, labels, count=3):
    """Proposals that are sure of their classes."""
    logits = torch.full((len(boxes), count), -9.0)
    logits[torch.arange(len(boxes)), torch.tensor(labels)] = 9.0
    return Candidates(torch.tensor(boxes, dtype=torch.float32)[None], logits[None])


def things(*boxes, labels, **more):
    return ({"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels), **more},)


def test_each_thing_goes_to_the_proposal_that_overlaps_it_and_has_its_class():
    found = certain((0, 0, 10, 10), (20, 20, 40, 40), (20, 20, 40, 41), (0, 0, 10, 9), labels=[1, 2, 0, 1])
    owner, overlap = assign(
        Candidates(found.boxes[0], found.logits[0]),
        torch.tensor([[20.0, 20, 40, 40], [0, 0, 10, 10]]),
        torch.tensor([2, 1]),
    )
    assert owner.tolist() == [1, 0, -1, 1] or owner.tolist() == [1, 0, -1, -1]
    assert overlap[0] == overlap[1] == 1.0


def test_the_loss_is_least_for_the_truth():
    truth = things((0, 0, 10, 10), (20, 20, 40, 40), labels=[1, 2])
    right = certain((0, 0, 10, 10), (20, 20, 40, 40), (5, 5, 8, 8), labels=[1, 2, 0])
    right.logits[0, 2] = -9.0
    least = float(loss(right, truth))
    assert least < 0.01
    moved = Candidates(right.boxes + torch.tensor([4.0, 0, 4, 0]), right.logits)
    assert float(loss(moved, truth)) > least + 0.2
    assert float(loss(Candidates(right.boxes, right.logits.roll(1, -1)), truth)) > least + 0.5
    too_many = Candidates(right.boxes, right.logits.clone())
    too_many.logits[0, 2, 0] = 9.0
    assert float(loss(too_many, truth)) > least + 0.5


def test_what_is_found_in_a_crowd_counts_neither_way():
    alone = certain((0, 0, 10, 10), (50, 50, 60, 60), labels=[1, 1])
    crowd = torch.tensor([0, 1])
    truth = things((0, 0, 10, 10), (40, 40, 80, 80), labels=[1, 1], iscrowd=crowd)
    without = things((0, 0, 10, 10), labels=[1])
    assert float(loss(alone, truth)) < 0.01
    assert float(loss(alone, without)) > 0.5


@pytest.mark.parametrize(
    ("box", "counts"),
    [
        ((32, 45, 52, 55), False), ((28, 45, 48, 55), True),  # 60 % and 40 % of it are inside
        ((50, 32, 60, 66), False), ((50, 20, 60, 66), True),  # 59 % and 43 %
        ((0, 40, 10, 60), True), ((45, 70, 55, 80), True), ((45, 45, 46, 47), False),
    ],
)  # fmt: skip
def test_inside_of_a_crowd_is_what_has_half_of_its_area_there(box, counts):
    found = certain((0, 0, 10, 10), box, labels=[1, 1])
    truth = things((0, 0, 10, 10), (40, 40, 80, 60), labels=[1, 1], iscrowd=torch.tensor([0, 1]))
    without = float(loss(found, things((0, 0, 10, 10), labels=[1])))
    assert without > 0.5
    assert float(loss(found, truth)) == pytest.approx(without if counts else 0, abs=0.01)


def test_the_loss_is_its_formulas_written_out():
    logits = [[-2.0, 1.5], [0.5, -1.0]]
    boxes = [[2.0, 0, 12, 8], [50, 50, 60, 60]]
    overlap = 64 / 116  # of the first with the thing; both lie in 12 x 10 pixels
    truth = [[0.0, overlap], [0.0, 0.0]]
    expected = 2 * (1 - (overlap - (120 - 116) / 120))
    for row, wanted in zip(logits, truth, strict=True):
        for logit, y in zip(row, wanted, strict=True):
            p = 1 / (1 + math.exp(-logit))
            expected -= (y - p) ** 2 * (y * math.log(p) + (1 - y) * math.log(1 - p))
    found = loss(Candidates(torch.tensor([boxes]), torch.tensor([logits])), things((0, 0, 10, 10), labels=[1]))
    assert found.tolist() == pytest.approx([expected], rel=1e-5)


def test_numbers_that_are_not_finite_or_boxes_without_area_leave_losses_finite():
    truth, clean = things((0, 0, 10, 10), labels=[1]), certain((0, 0, 10, 10), (20, 20, 40, 40), labels=[1, 2])
    for strange in ((-math.inf, 0, math.inf, math.inf), (math.nan, 5, 1e30, 3e38), (8, 8, 2, 2)):
        found = certain((0, 0, 10, 10), strange, labels=[1, 0])
        found.logits[0, 1, 2] = math.inf
        assert loss(found, truth).isfinite().all() and divergence(found, clean).isfinite().all()


def test_a_picture_without_things_wants_none():
    nothing = ({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},)
    sure = certain((0, 0, 10, 10), labels=[1])
    assert float(loss(sure, nothing)) > 0.5
    assert float(loss(Candidates(sure.boxes, sure.logits * 0 - 9), nothing)) < 1e-6


def test_the_divergence_is_none_from_itself_and_grows_with_distance():
    clean = certain((0, 0, 10, 10), (20, 20, 40, 40), labels=[1, 2])
    assert float(divergence(clean, clean)) == pytest.approx(0.0, abs=1e-5)
    near = Candidates(clean.boxes + 1, clean.logits)
    far = Candidates(clean.boxes + 4, clean.logits)
    assert 0.05 < float(divergence(near, clean)) < float(divergence(far, clean))
    assert float(divergence(Candidates(clean.boxes, clean.logits / 3), clean)) > 0.05


def test_the_divergence_is_its_formula_written_out():
    """Two proposals of two classes; boxes side by side have a generalised IoU of 0 less the gap's share."""
    clean = Candidates(torch.tensor([[[0.0, 0, 10, 10], [20, 0, 30, 10]]]), torch.tensor([[[1.0, -2.0], [0.5, 3.0]]]))
    coded = Candidates(torch.tensor([[[5.0, 0, 15, 10], [35, 0, 45, 10]]]), torch.tensor([[[0.0, -1.0], [0.5, 1.0]]]))
    p, q = clean.logits.sigmoid(), coded.logits.sigmoid()
    nats = float((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum())
    apart = 1 - 5 / 15, 1 + 5 / 25
    likely = float(p[0, 0, 0]), float(p[0, 1, 1])
    boxes = 2 * sum(share * one for share, one in zip(likely, apart, strict=True))
    assert sum(likely) > 1
    assert float(divergence(coded, clean)) == pytest.approx((nats + boxes) / sum(likely), rel=1e-5)


def test_where_a_box_lies_that_the_clean_picture_does_not_have_counts_nowhere():
    clean = certain((0, 0, 10, 10), (20, 20, 40, 40), labels=[1, 2])
    clean.logits[0, 1] = -9
    made_up = certain((0, 0, 10, 10), (20, 20, 40, 40), labels=[1, 2])
    elsewhere = certain((0, 0, 10, 10), (60, 60, 70, 90), labels=[1, 2])
    other = certain((5, 0, 15, 10), (20, 20, 40, 40), labels=[1, 2])
    found = [float(divergence(one, clean)) for one in (made_up, elsewhere, other)]
    assert found[1] == pytest.approx(found[0], abs=0.01)
    assert found[2] > found[0] + 0.1 > 1


def test_boxes_are_cut_thinned_out_by_class_and_sorted():
    boxes = torch.tensor([[-5.0, 0, 10, 10], [-5, 0, 10, 9.9], [0, 0, 10, 10], [0, 0, 9, 9], [100, 0, 120, 10]])
    scores = torch.tensor([[0.6, 0.1], [0.9, 0.1], [0.1, 0.7], [0.004, 0.003], [0.99, 0.1]])
    found = thinned(boxes, scores.logit(), (50, 60), 0.01, 0.5, 10)
    assert found["labels"].tolist() == [0, 1]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.7]))
    torch.testing.assert_close(found["boxes"], torch.tensor([[0.0, 0, 10, 9.9], [0, 0, 10, 10]]))
    assert len(thinned(boxes, scores.logit(), (50, 60), 0.01, None, 10)["scores"]) == 3
    assert len(thinned(boxes, scores.logit(), (50, 60), 0.01, None, 2)["scores"]) == 2


def test_a_detector_answers_in_pixels_of_the_picture(tmp_path, head):
    path = small.grid(tmp_path / "net.onnx", strides=(8, 16))
    own = head(path, "detection", layout={"form": "grid", "strides": [8, 16]}, classes=NAMES, fit="corner", fill=0.5)
    image = pictures(16, 12)
    with torch.no_grad():
        output, found = own(features(image)), own.predict(features(image))
    scaled = F.interpolate(image, size=(32, 24), mode="bilinear", antialias=True)
    raw = run(path, F.pad(scaled, (0, 24, 0, 0), value=0.5))[0]
    there = read(Grid(form="grid", strides=(8, 16)), [raw], (32, 48))
    torch.testing.assert_close(output["boxes"], there.boxes / 2, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(output["logits"], there.logits, rtol=1e-3, atol=1e-3)
    assert found.labels == tuple(NAMES)
    assert len(found.output[0]["boxes"]) == len(found.output[0]["scores"]) > 0


def test_another_number_of_classes_than_is_named_is_refused(tmp_path, head):
    path = small.grid(tmp_path / "net.onnx", strides=(8,))
    own = head(path, "detection", layout={"form": "grid", "strides": [8]}, classes=["car"])
    with pytest.raises(SpecError, match="it has 3 classes, and 1 are named"):
        own(features(pictures(32, 48)))
    with pytest.raises(SpecError, match=r"the output has the shape \(1, 5\); it should be \(B, K, h, w\)"):
        head(small.classifier(tmp_path / "other.onnx"), "segmentation")(features(pictures(32, 48)))
