"""A head around an ONNX file does with its network what its parameters say, and reads the file as it is now."""

from __future__ import annotations

import math
import os

import icm_small_onnx as small
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from icm_core.errors import InputError, SpecError, WeightsError
from icm_core.interfaces import SpecPath
from icm_core.types import Features
from icm_core.wrap import Input
from icm_tasks.onnx_files import Onnx
from icm_tasks.onnx_files.runtime import _session
from icm_tasks.onnx_files.writing import write

GRID = {"form": "grid", "strides": [8, 16]}


def pictures(height, width, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def features(image):
    return Features({"image": image}, tuple(image.shape[-2:]))


def run(path, image, *names):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(one) for one in session.run(list(names) or None, {"images": image.numpy()})]


# --- parameters ------------------------------------------------------------------------------------------------------


def test_all_that_is_said_of_the_input_reaches_it(tmp_path, head):
    path = small.maps(tmp_path / "net.onnx", size=None, batch=None)
    given = {
        "size": 40,
        "fit": "corner",
        "fill": 0.25,
        "longest": 70,
        "multiple": 16,
        "smooth": False,
        "resample": "bicubic",
        "order": "bgr",
        "levels": 2.0,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
    }
    assert head(path, "segmentation", **given).wants == Input(**given)


def test_an_ignored_class_is_the_one_that_is_named(tmp_path, head):
    own = head(small.maps(tmp_path / "net.onnx"), "segmentation", ignore=1)
    logits = torch.randn(1, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = -logits.log_softmax(1)[0, 0, 0, 1]
    torch.testing.assert_close(own.loss(logits, torch.tensor([[[1, 0], [1, 1]]])), expected[None])


def test_distances_have_a_least_and_a_farthest(tmp_path, head):
    g = small.Graph()
    most = g.node("ReduceMax", "images", axes=[1], keepdims=1)
    g.out(g.node("Sub", most, g.constant(np.float32(0.9))), "found", ["n", 1, 32, 48])  # which is below 0 in places
    path, image = g.write(tmp_path / "net.onnx"), features(pictures(32, 48))
    with torch.no_grad():
        raw = head(path, "depth", scale=1.0)(image)
        far = head(path, "depth", scale=1e6)(features(20 + pictures(32, 48)))
        turned = head(path, "depth", inverse=True)(image)
    assert float(raw.min()) == pytest.approx(1e-6) and float(raw.max()) < 100
    assert far.unique().tolist() == [1e6] and float(turned.max()) == pytest.approx(1e6)


def test_likelihoods_of_0_are_not_infinitely_unlikely(tmp_path, head):
    g = small.Graph()
    pooled = g.node("Flatten", g.node("GlobalAveragePool", "images"))
    g.out(g.node("Relu", g.node("Sub", pooled, g.constant(np.array([0, 9, 0], np.float32)))), "classes", ["n", 3])
    with torch.no_grad():
        found = head(g.write(tmp_path / "net.onnx"), "classification", likelihoods=True)(features(pictures(32, 48)))
    assert bool(found.isfinite().all()) and float(found[0, 1]) == pytest.approx(math.log(1e-7))


def test_what_the_answers_are_is_known_before_the_file_is_read(tmp_path):
    missing = SpecPath("net.onnx", tmp_path / "net.onnx")
    for kind in ("classification", "segmentation", "regression", "depth", "embedding", "detection"):
        more = {"layout": GRID} if kind == "detection" else {}
        assert Onnx.kind_of(Onnx.Params.model_validate({"file": missing, "kind": kind, **more})) == kind


@pytest.mark.parametrize("kind", ["depth", "classification"])
def test_outputs_may_have_a_dimension_less_or_sides_of_one_pixel(tmp_path, head, kind):
    g = small.Graph()
    image = pictures(32, 48)
    if kind == "depth":
        g.out(g.node("ReduceMax", "images", axes=[1], keepdims=0), "found", ["n", 32, 48])
        wanted = image.amax(1, keepdim=True)
    else:
        g.out(g.node("GlobalAveragePool", "images"), "found", ["n", 3, 1, 1])
        wanted = image.mean((2, 3))
    with torch.no_grad():
        found = head(g.write(tmp_path / "net.onnx"), kind)(features(image))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_map_is_no_list_of_classes(tmp_path, head):
    own = head(small.maps(tmp_path / "net.onnx"), "classification")
    with pytest.raises(SpecError, match=r"the output has the shape \(1, 5, 8, 12\); it should be \(B, K\)"):
        own(features(pictures(32, 48)))


def test_the_spec_says_which_boxes_are_kept(tmp_path, head):
    path = small.grid(tmp_path / "net.onnx", strides=(8, 16))
    layout = {"layout": GRID}
    image = features(pictures(32, 48))

    def scores(**params):
        with torch.no_grad():
            return head(path, "detection", **layout, **params).predict(image).output[0]["scores"]

    every = scores(overlap=None, least=0)
    assert len(every) > 9
    assert torch.equal(scores(overlap=None, least=0, most=3), every[:3])
    between = float(every[4] + every[5]) / 2
    assert torch.equal(scores(overlap=None, least=between), every[:5])
    # Of boxes that overlap by more than this one is left.
    assert len(scores(overlap=0.01, least=0)) < len(scores(overlap=1.0, least=0)) == len(every)


def test_an_answer_has_the_unit_and_the_names_of_the_head(tmp_path, head):
    own = head(small.classifier(tmp_path / "net.onnx"), "regression", classes=list("abcde"), unit="km")
    found = own.predict(features(pictures(32, 48)))
    assert (found.kind, found.labels, found.unit) == ("regression", tuple("abcde"), "km")


def test_differences_are_measured_from_the_clean_pictures_answer(tmp_path, head):
    """Kullback-Leibler divergence is of the clean picture's classes from the coded one's."""
    clean, coded = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 0.5, 0.0]])
    p, q = clean.softmax(1), coded.softmax(1)
    own = head(small.classifier(tmp_path / "net.onnx"), "classification")
    torch.testing.assert_close(own.divergence(coded, clean), (p * (p / q).log()).sum(1))
    boxes = head(small.grid(tmp_path / "grid.onnx", strides=(8,)), "detection", layout={"form": "grid"})
    thing = {"boxes": torch.tensor([[[0.0, 0, 10, 10]]]), "logits": torch.tensor([[[-9.0, 9, -9]]])}
    nothing = {"boxes": thing["boxes"] + 40, "logits": torch.full((1, 1, 3), -9.0)}
    # Where the clean picture has nothing, the place of a box does not count.
    assert float(boxes.divergence(thing, nothing)) == pytest.approx(9.0, abs=0.1)
    missed = 9 + 2 * (1 + 1 - 200 / 2500)
    assert float(boxes.divergence(nothing, thing)) == pytest.approx(missed, abs=0.1)


def test_shapes_of_a_batch_are_known_without_memory(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx", batch=2)
    own = head(path, "regression")
    image = Features({"image": torch.empty(5, 3, 64, 64, device="meta")}, (32, 48))
    assert own(image).shape == (5, 5) and own(image).is_meta


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_networks_of_three_pictures_at_once_answer_for_each_in_order(tmp_path, head, engine, count):
    own = head(small.classifier(tmp_path / "net.onnx", batch=3), "regression", engine=engine)
    image = pictures(32, 48, count)
    alone = small.classifier(tmp_path / "alone.onnx", batch=1)  # with the same weights
    expected = torch.cat([run(alone, one[None])[0] for one in image])
    assert len({tuple(row) for row in expected.tolist()}) == count
    with torch.no_grad():
        torch.testing.assert_close(own(features(image)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [0, 1])
def test_every_output_begins_with_the_number_of_pictures(tmp_path, head, wrong):
    g = small.Graph(batch=2)
    body = g.body(8)
    box, scores = g.rows(g.conv(body, 8, 4), 4), g.rows(g.node("Sigmoid", g.conv(body, 8, 3)), 3)
    for number, (name, value, channels) in enumerate((("boxes", box, 4), ("scores", scores, 3))):
        turned = number == wrong
        value = g.node("Transpose", value, perm=[1, 0, 2]) if turned else value
        g.out(value, name, [24, 2, channels] if turned else [2, 24, channels])
    own = head(g.write(tmp_path / "net.onnx"), "detection", layout={"form": "boxes"})
    shapes = [r"\(2, 24, 4\)", r"\(2, 24, 3\)"]
    shapes[wrong] = shapes[wrong].replace("2, 24", "24, 2")
    with pytest.raises(SpecError, match=f"for 2 pictures have the shapes {' and '.join(shapes)}; each .* with 2"):
        own(features(pictures(32, 48, 2)))


def test_the_loss_of_a_detector_is_of_each_picture(tmp_path, head):
    own = head(small.grid(tmp_path / "net.onnx"), "detection", layout=GRID)
    things = [
        {"boxes": torch.tensor([[4.0, 4, 20, 28]]), "labels": torch.tensor([1])},
        {"boxes": torch.tensor([[10.0, 2, 40, 30], [0, 0, 9, 9]]), "labels": torch.tensor([0, 2])},
    ]
    image = pictures(32, 48, 2)
    with torch.no_grad():
        found = own.loss(own(features(image)), tuple(things))
        alone = [own.loss(own(features(image[row : row + 1])), (things[row],)) for row in range(2)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-4, atol=1e-4)
    assert float((found[0] - found[1]).abs()) > 0.01


@pytest.mark.parametrize("trained", [False, True])
def test_a_head_is_built_where_all_else_is_built(tmp_path, head, trained):
    path = small.classifier(tmp_path / "net.onnx")
    with torch.device("meta"):
        net = head(path, "classification", trained=trained).net
    tensors = [*net.parameters(), *net.buffers()]
    assert tensors and all(tensor.is_meta for tensor in tensors)


# --- files that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_a_file_that_was_written_anew_is_read_anew(tmp_path, head, engine):
    path, image = tmp_path / "net.onnx", pictures(32, 48)
    answers = []
    for seed in (0, 1):
        small.classifier(path, seed=seed)
        os.utime(path, (1_000_000 + seed, 1_000_000 + seed))
        with torch.no_grad():
            answers.append(head(path, "classification", engine=engine)(features(image)))
        torch.testing.assert_close(answers[-1], run(path, image)[0], rtol=1e-4, atol=1e-5)
    assert float((answers[0] - answers[1]).abs().max()) > 0.01


def test_heads_of_one_file_have_weights_of_their_own(tmp_path, head):
    path = small.classifier(tmp_path / "net.onnx")
    one, other = (head(path, "classification", trained=True) for _ in range(2))
    before = [parameter.clone() for parameter in other.parameters()]
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert before and all(torch.equal(old, now) for old, now in zip(before, other.parameters(), strict=True))
    image = pictures(32, 48)
    with torch.no_grad():
        third = head(path, "classification")(features(image))
    torch.testing.assert_close(third, run(path, image)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_outputs_come_in_the_order_in_which_they_are_named(tmp_path, head, engine):
    path = small.queries(tmp_path / "net.onnx", batch=None)  # boxes, then logits
    own = head(
        path,
        "detection",
        layout={"form": "queries"},
        outputs=["logits", "pred_boxes"],
        engine=engine,
    )
    image = pictures(32, 48)
    with torch.no_grad():
        found = own(features(image))
    boxes, logits = run(path, image, "pred_boxes", "logits")
    torch.testing.assert_close(found["logits"].sigmoid(), logits.softmax(-1)[..., :-1], rtol=1e-3, atol=1e-4)
    x, _, width, _ = (boxes * torch.tensor([48.0, 32, 48, 32])).unbind(-1)
    torch.testing.assert_close(found["boxes"][..., 0], x - width / 2, rtol=1e-3, atol=1e-2)


def test_onnxruntime_takes_as_many_threads_as_torch_and_keeps_sessions(tmp_path, head):
    paths = [small.classifier(tmp_path / f"{seed}.onnx", seed=seed) for seed in range(2)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for path in paths:
            head(path, "classification", engine="onnxruntime")
    finally:
        torch.set_num_threads(before)
    kept = [_session(path, path.stat().st_mtime_ns) for path in paths]
    for session in kept:
        assert session.get_session_options().intra_op_num_threads == 2  # so that none was made anew
        assert session.get_providers() == ["CPUExecutionProvider"]


def test_onnxruntime_gives_no_gradients_and_says_so_where_they_are_asked_for(tmp_path, head):
    own = head(small.classifier(tmp_path / "net.onnx"), "classification", engine="onnxruntime")
    image = pictures(32, 48).requires_grad_()
    with pytest.raises(InputError, match="set engine to 'torch' to train through it"):
        own(features(image))
    with torch.no_grad():
        assert own(features(image)).shape == (1, 5)
        assert own.net(image)[0].shape == (1, 5)


def test_a_network_that_onnxruntime_cannot_run_is_refused_when_the_head_is_built(tmp_path, head):
    g = small.Graph()
    g.out(g.node("Strange", "images", domain="mine"), "classes", ["n", 3])
    model = g.model()
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(WeightsError, match=r"net\.onnx: onnxruntime cannot run the network: .*Strange"):
        head(tmp_path / "net.onnx", "classification", engine="onnxruntime")


def test_a_network_of_any_number_of_channels_is_given_three(tmp_path, head):
    g = small.Graph()
    g.out(g.node("Flatten", g.node("GlobalAveragePool", "images")), "means", ["n", "channels"])
    model = g.model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "channels"
    onnx.save(model, str(tmp_path / "net.onnx"))
    image = pictures(32, 48)
    with torch.no_grad():
        found = head(tmp_path / "net.onnx", "regression")(features(image))
    torch.testing.assert_close(found, image.mean((2, 3)), rtol=1e-4, atol=1e-5)


def normalised(path, double=False):
    """A network with statistics of its own, perhaps in double precision inside."""
    g = small.Graph()
    kind = np.float64 if double else np.float32

    def weight(*shape):
        return g.constant((g.random.random(shape) - 0.5).astype(kind))

    x = g.node("BatchNormalization", "images", *(g.constant(np.float32(row)) for row in 0.5 + g.random.random((4, 3))))
    x = g.node("Flatten", g.node("GlobalAveragePool", x))
    x = g.node("Cast", x, to=onnx.TensorProto.DOUBLE) if double else x
    found = g.node("Gemm", x, weight(3, 4), weight(4))
    g.out(g.node("Cast", found, to=onnx.TensorProto.FLOAT) if double else found, "classes", ["n", 4])
    return g.write(path)


def test_normalisations_use_the_statistics_of_the_file(tmp_path, head):
    path, image = normalised(tmp_path / "net.onnx"), pictures(32, 48)
    for trained in (False, True):
        own = head(path, "regression", trained=trained)
        with torch.no_grad():
            torch.testing.assert_close(own.train()(features(image)), run(path, image)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("double", [False, True])
def test_weights_are_written_back_under_their_names_and_in_their_precision(tmp_path, head, double):
    path, image = normalised(tmp_path / "net.onnx", double), pictures(32, 48)
    own = head(path, "regression", trained=True)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.25)
        write(own, tmp_path / "mine.onnx")
        wanted = own(features(image))
    before, after = (onnx.load(str(one)).graph.initializer for one in (path, tmp_path / "mine.onnx"))
    assert [(one.name, one.data_type) for one in after] == [(one.name, one.data_type) for one in before]
    torch.testing.assert_close(run(tmp_path / "mine.onnx", image)[0], wanted, rtol=1e-4, atol=1e-4)


def test_weights_that_are_listed_among_the_inputs_are_no_pictures(tmp_path, head):
    """As in files of version 3 and before."""
    path, image = small.classifier(tmp_path / "net.onnx"), pictures(32, 48)
    expected = run(path, image)[0]
    model = onnx.load(str(path))
    for one in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims))
    onnx.save(model, str(path))
    with torch.no_grad():
        torch.testing.assert_close(head(path, "classification")(features(image)), expected, rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_used_twice_and_trained_apart_cannot_be_written(tmp_path, head):
    g = small.Graph()
    shared = g.weight(3, 3, 1, 1)
    twice = g.node("Conv", g.node("Conv", "images", shared), shared)
    g.out(g.node("Flatten", g.node("GlobalAveragePool", twice)), "means", ["n", 3])
    own = head(g.write(tmp_path / "net.onnx"), "regression", trained=True)
    with torch.no_grad():
        for number, parameter in enumerate(own.parameters(), 1):
            parameter.add_(number)
    with pytest.raises(WeightsError, match=r"net\.onnx: the trained weight '.*' has no counterpart in the file"):
        write(own, tmp_path / "mine.onnx")
    assert not (tmp_path / "mine.onnx").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path, head):
    own = head(small.classifier(tmp_path / "net.onnx"), "classification", trained=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        write(own, tmp_path / "folder")
