"""Codecs of related work do what their formulas say: written out, or as another library has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional as F

from icm_baselines.residual import CodecResidual
from icm_baselines.still import JPEG, WebP
from icm_core import BitstreamError, Quality, build, build_registry, parse_spec
from icm_core.interfaces import Nested, TaskHead
from icm_core.types import Features, Level, SideInfo, SideInfoLayout
from icm_related.filtered import Filter, Filtered
from icm_related.gan import Adversarial, ChannelNorm, Discriminator, Generator, HiFiC
from icm_related.label_features import LabelFeatures
from icm_related.label_map import LabelMap
from icm_related.latent import LatentClassifier, Preview
from icm_related.lossless import Lossless
from icm_related.recurrent import Cell, Recurrent
from icm_related.steps import UNSENT, ClassSteps, OneStep
from icm_related.synthesis import Synthesis
from icm_related.travelling import Told
from icm_training.batch import CodedBatch, Kept
from icm_training.shapes import Shapes

CLASSES = 4
MAP = SideInfoLayout((Level(CLASSES, 1),), 8)


class Bands(TaskHead):
    """A segmentation network whose classes are bands of red."""

    name = "tests.bands"
    kind = "segmentation"
    labels = tuple("abcd")

    def forward(self, features: Features) -> Tensor:
        red = features.cropped("image")[:, :1]
        return -(red - torch.linspace(0.125, 0.875, CLASSES)[:, None, None]).abs()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none").flatten(1).mean(1)


SEGMENTER: Any = Nested.of(Bands)


def bands(x: Tensor) -> np.ndarray:
    """Classes (B, H, W) of pictures; no red of these tests is on a border."""
    return np.minimum((x[:, 0].numpy() * CLASSES).astype(int), CLASSES - 1)


@pytest.fixture
def x() -> Tensor:
    """Two smooth pictures of 8 bits, with another height than width and neither a multiple of 16."""
    generator = torch.Generator().manual_seed(3)
    smooth = F.interpolate(torch.rand(2, 3, 5, 6, generator=generator), (70, 90), mode="bilinear")
    return (smooth * 255).round().clamp(0, 255) / 255


def one_hot(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.eye(CLASSES, dtype=np.float32)[labels]).movedim(-1, 1)


def test_a_channel_norm_is_of_each_places_channels(x) -> None:
    layer, values = ChannelNorm(3), x.double().numpy()
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1))
        layer.shift.copy_(torch.tensor([0.0, 0.5, 3.0]).view(1, 3, 1, 1))
        found = layer(x)
    mean = values.mean(1, keepdims=True)
    variance = ((values - mean) ** 2).mean(1, keepdims=True)
    factor, more = np.array([1.0, 2.0, -1.0]).reshape(3, 1, 1), np.array([0.0, 0.5, 3.0]).reshape(3, 1, 1)
    expected = (values - mean) / np.sqrt(variance + 1e-3) * factor + more
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_latent_is_classified_by_the_mean_over_its_places() -> None:
    head = LatentClassifier(LatentClassifier.Params(classes=5, width=4, blocks=1), {"latent": Level(6, 16)}).eval()
    latent = torch.randn(2, 6, 5, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = head.groups(head.enter(latent))
        assert maps.shape == (2, 8, 3, 4)
        means = torch.stack([maps[:, :, row, column] for row in range(3) for column in range(4)]).sum(0) / 12
        expected = means @ head.classify.weight.T + head.classify.bias
        torch.testing.assert_close(head(Features({"latent": latent}, (80, 128))), expected)


# --- label maps ------------------------------------------------------------------------------------------------------


def test_beyond_the_picture_a_label_map_goes_on_as_at_its_edge(x) -> None:
    codec = LabelMap(LabelMap.Params(segmenter=SEGMENTER, picture=Nested.of(Lossless), reduction=16)).eval()
    side = codec.decode(codec.encode(x, Quality.of(1)), (70, 90), Quality.of(1))
    expected = np.pad(bands(x), ((0, 0), (0, 80 - 70), (0, 96 - 90)), "edge")
    assert len(np.unique(expected[:, -1])) > 1 and expected[:, -1].any()  # no edge of class 0 alone
    assert torch.equal(side.levels[0], one_hot(expected))


def test_a_label_map_has_the_gradient_of_the_classes_probabilities(x) -> None:
    """Zeros and ones themselves have none; the straight-through estimator of Bengio, Leonard, Courville (2013)."""
    codec = LabelMap(LabelMap.Params(segmenter=SEGMENTER)).train()
    weights = torch.rand(2, CLASSES, 70, 90, generator=torch.Generator().manual_seed(5))
    given, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    level = codec(given, torch.ones(2)).side.levels[0]
    torch.testing.assert_close(level.detach(), one_hot(bands(x)))
    (weights * level).sum().backward()
    (weights * codec.scores(other).softmax(1)).sum().backward()
    assert given.grad is not None and float(given.grad.abs().max()) > 0.01
    torch.testing.assert_close(given.grad, other.grad)


def test_the_reduced_picture_is_the_means_of_blocks(x) -> None:
    codec = LabelMap(LabelMap.Params(segmenter=SEGMENTER, picture=Nested.of(Lossless), reduction=4)).eval()
    side = codec.decode(codec.encode(x[..., :68, :88], Quality.of(1)), (68, 88), Quality.of(1))
    means = x[..., :68, :88].reshape(2, 3, 17, 4, 22, 4).double().mean((3, 5)) * 255
    torch.testing.assert_close(side.levels[1].double() * 255, means, rtol=0, atol=0.501)  # of 8 bits


def test_of_a_coarser_map_rows_and_columns_are_left_out_and_its_bits_are_those_of_its_file(x) -> None:
    codec = LabelMap(LabelMap.Params(segmenter=SEGMENTER, map_stride=2)).eval()
    files = codec.encode(x, Quality.of(1))
    side = codec.decode(files, (70, 90), Quality.of(1))
    assert torch.equal(side.levels[0], one_hot(bands(x)[:, ::2, ::2]))
    found = codec(x, torch.ones(2))
    assert torch.equal(found.side.levels[0], side.levels[0])
    assert found.bits["map"].tolist() == [8 * len(file) for file in files]


def test_a_picture_that_is_not_grey_is_no_label_map(x) -> None:
    codec = LabelMap(LabelMap.Params(segmenter=SEGMENTER)).eval()
    colours = torch.zeros(1, 3, 70, 90)
    colours[:, 0, 5, 7] = 1 / 255
    with pytest.raises(BitstreamError, match="names a class that is none of 4"):
        codec.decode(Lossless(Lossless.Params()).encode(colours, Quality.of(1)), (70, 90), Quality.of(1))


def test_a_reduced_picture_is_coarser_by_its_factor_and_knows_its_codecs_qualities(x) -> None:
    params = {"segmenter": SEGMENTER, "picture": Nested.of(Lossless)}
    codec = LabelMap(LabelMap.Params(**params, reduction=4, qualities=3)).eval()
    assert codec.layout.levels == (Level(CLASSES, 1), Level(3, 4)) and codec.quality_range == (1, 3)
    x = x[..., :68, :88]
    once, thrice = (codec(x, torch.full((2,), quality)) for quality in (1.0, 3.0))
    assert torch.equal(once.side.levels[1], thrice.side.levels[1])
    assert codec.encode(x, Quality.of(1)) == codec.encode(x, Quality.of(3))
    finer = LabelMap(LabelMap.Params(segmenter=SEGMENTER, picture=Nested.of(JPEG, settings=(10, 90)), reduction=4))
    bits = finer.eval()(x, torch.tensor([1.0, 2.0])).bits["picture"].tolist()
    small = F.avg_pool2d(x, 4)
    assert bits == [
        8 * len(JPEG(JPEG.Params(settings=(q,))).encode(small[row : row + 1], Quality.of(1))[0])
        for row, q in ((0, 10), (1, 90))
    ]
    others = [
        {**params, "reduction": 8},
        {**params, "reduction": 4, "map_stride": 2},
        {"segmenter": SEGMENTER, "picture": Nested.of(JPEG), "reduction": 4},
        {**params, "reduction": 4, "map": Nested.of(WebP)},
    ]
    states = {LabelMap(LabelMap.Params(**one)).coding_state() for one in others}
    assert len(states) == 4 and codec.coding_state() not in states


def test_one_step_is_the_same_for_all_classes_and_a_step_of_each_begins_alike() -> None:
    side = SideInfo((one_hot(np.arange(2 * 32 * 48).reshape(2, 32, 48) % CLASSES),), (30, 40))
    one = OneStep(OneStep.Params(start=-1.25), MAP)
    assert one(side).maps["steps"].tolist() == np.full((2, 1, 2, 3), -1.25).tolist()
    each = ClassSteps(ClassSteps.Params(), MAP)
    assert each(side).maps["steps"].unique().tolist() == [3.0] == OneStep(OneStep.Params(), MAP).log2_step.tolist()


def test_one_step_is_learned_from_every_position() -> None:
    one = OneStep(OneStep.Params(start=3.0), MAP)
    (step,) = one.parameters()
    one(SideInfo((one_hot(np.zeros((2, 32, 48), dtype=int)),), (30, 40))).maps["steps"].sum().backward()
    assert step.grad is not None and step.grad.tolist() == [2 * 2 * 3]


def test_steps_are_those_of_the_class_of_most_pixels_and_of_unsent_ones_too_large() -> None:
    labels = np.zeros((1, 32, 48), dtype=int)
    labels[0, :16, :16] = 3
    labels[0, :9, 16:32] = 1  # 144 pixels of 256
    labels[0, 9:16, 16:32] = 2
    labels[0, 16:24, :16], labels[0, 24:, :16] = 2, 1  # as many of both
    labels[0, 16:, 32:] = 2
    steps = ClassSteps(ClassSteps.Params(unsent=(0, 2)), MAP)
    with torch.no_grad():
        steps.log2_step.copy_(torch.tensor([0.5, 1.5, 2.5, 3.5]))
        found = steps(SideInfo((one_hot(labels),), (32, 48))).maps["steps"]
    assert found.tolist() == [[[[3.5, 1.5, UNSENT], [1.5, UNSENT, UNSENT]]]]


def test_features_are_coded_in_their_classes_steps_and_cost_what_a_gaussian_says(x) -> None:
    torch.manual_seed(0)
    x = x[..., :64, :80]
    codec = LabelFeatures(LabelFeatures.Params(segmenter=SEGMENTER, width=8, channels=8)).eval()
    with torch.no_grad():
        codec.encoder[6].weight.mul_(30)
        codec.mean.normal_(0, 2)
        codec.log2_sigma.uniform_(3, 5)
        codec.quantiser.log2_step.copy_(torch.tensor([-1.0, 0.0, 1.0, 0.5]))
        found = codec(x, torch.tensor([1.0, 2.5]))
        y = codec.encoder(x).double().numpy()
    blocks = bands(x).reshape(2, 4, 16, 5, 16)
    classes = np.stack([(blocks == number).sum((2, 4)) for number in range(CLASSES)]).argmax(0)
    assert len(np.unique(classes)) > 2

    def of_class(table: Tensor) -> np.ndarray:
        values = table.detach().double().numpy()[classes]
        return values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1)

    mean, sigma, step = of_class(codec.mean), 2 ** of_class(codec.log2_sigma), 2 ** of_class(codec.quantiser.log2_step)
    step = step / 2 ** np.array([0, 1.5])[:, None, None, None]  # a quality more halves all steps
    symbols = np.rint((y - mean) / step)
    masses = norm.cdf((symbols + 0.5) * step / sigma) - norm.cdf((symbols - 0.5) * step / sigma)
    assert masses.min() > 1e-9
    bits = -np.log2(masses).sum((1, 2, 3))
    assert found.bits["features"].tolist() == pytest.approx(bits.tolist(), rel=1e-3)
    near = np.abs(found.side.levels[1].numpy() - (symbols * step + mean)) < 1e-3
    assert near.mean() > 0.999  # but where rounding to float32 decides


@pytest.mark.parametrize("quality", [1, 2.5, 4])
def test_what_features_decode_to_and_cost_is_what_training_said(x, quality) -> None:
    torch.manual_seed(0)
    codec = LabelFeatures(LabelFeatures.Params(segmenter=SEGMENTER, width=8, channels=8)).eval()
    with torch.no_grad():
        codec.encoder[6].weight.mul_(30)
        codec.mean.normal_(0, 2)
        codec.log2_sigma.uniform_(2, 5)
        codec.quantiser.log2_step.copy_(torch.tensor([-1.0, 0.0, 1.0, 0.5]))
        x = x[..., :64, :80]
        found = codec(x, torch.full((2,), float(quality)))
    codec.freeze_tables()
    payloads = codec.encode(x, Quality.of(quality))
    decoded = codec.decode(payloads, (64, 80), Quality.of(quality)).levels[1]
    near = (decoded - found.side.levels[1]).abs() < 0.01
    assert float(near.float().mean()) > 0.98  # a rounding may fall to the other side
    bits = [8.0 * len(payload) for payload in payloads]
    assert bits == pytest.approx(found.total_bits.tolist(), rel=0.03)


def test_the_fingerprint_covers_what_features_are_decoded_with() -> None:
    torch.manual_seed(0)
    codec = LabelFeatures(LabelFeatures.Params(segmenter=SEGMENTER, width=8, channels=8)).eval()
    codec.freeze_tables()
    before = codec.coding_state()
    with torch.no_grad():
        codec.encoder[0].weight.add_(1)
        assert codec.coding_state() == before  # how features are found is the encoder's business
        codec.mean[1, 2] += 1
        codec.freeze_tables()
        assert codec.coding_state() != before
        between = codec.coding_state()
        codec.quantiser.log2_step[2] += 1
    assert codec.coding_state() != between


# --- generators ------------------------------------------------------------------------------------------------------


def test_what_is_made_of_a_map_begins_grey_and_of_a_reduced_picture_as_that_enlarged() -> None:
    torch.manual_seed(0)
    labels = torch.randint(CLASSES, (1, 64, 48))
    level = one_hot(labels.numpy())
    alone = Synthesis(Synthesis.Params(channels=16), MAP)
    beside = Synthesis(Synthesis.Params(channels=16), SideInfoLayout((Level(CLASSES, 1), Level(3, 8)), 8))
    small = torch.rand(1, 3, 8, 6)
    with torch.no_grad():
        for network in (alone, beside):
            network.last.weight.zero_()
        grey = alone(SideInfo((level,), (64, 48))).maps["image"]
        enlarged = beside(SideInfo((level, small), (64, 48))).maps["image"]
    assert torch.equal(grey, torch.full((1, 3, 64, 48), 0.5))
    assert torch.equal(enlarged, F.interpolate(small, (64, 48), mode="bicubic", align_corners=False))


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_adversarial_loss_is_goodfellows(x, weight) -> None:
    picture = {"use": "baselines.pixels"}
    tasks = {"realness": {"adapter": picture, "head": {"use": "related.discriminator", "params": {"width": 4}}}}
    codec = {"use": "related.recurrent", "params": {"width": 8, "code_channels": 8, "passes": 1}}
    torch.manual_seed(0)
    pipe = build(parse_spec({"icm": 1, "name": "made", "codec": codec, "tasks": tasks}), build_registry()).eval()
    judge = pipe.task("realness").head
    loss = Adversarial(Adversarial.Params(generator=weight), pipe, "realness", Shapes(Shapes.Params(), Path(), ""))
    with torch.no_grad():
        judge.layers[-1].weight.mul_(20)
        batch = CodedBatch(pipe, x, None, torch.ones(2), 0.0, range(2), [-1] * 2, Kept())
        found = loss(batch)
        made = pipe.codec(x, torch.ones(2)).side.levels[0]
        real, false = (judge(Features({"image": one}, (70, 90)))[:, 0].double() for one in (x, made))
    assert bool(((real - false).abs() > 0.01).all())
    expected = -real.sigmoid().log() - (1 - false.sigmoid()).log() - weight * false.sigmoid().log()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


# --- passes ----------------------------------------------------------------------------------------------------------


def test_a_cell_is_pytorchs_lstm_where_a_map_has_one_place() -> None:
    torch.manual_seed(0)
    cell, reference = Cell(3, 5), nn.LSTMCell(3, 5)
    order = (0, 1, 3, 2)  # gates of PyTorch's: input, forget, new, output

    def theirs(gates: Tensor) -> Tensor:
        return torch.cat([gates.chunk(4)[number] for number in order])

    with torch.no_grad():
        reference.weight_ih.copy_(theirs(cell.given.weight[:, :, 1, 1]))
        reference.weight_hh.copy_(theirs(cell.kept.weight[:, :, 0, 0]))
        reference.bias_ih.copy_(theirs(cell.given.bias))
        reference.bias_hh.zero_()
        state = expected = None
        for step in torch.randn(3, 2, 3):
            hidden, state = cell(step[:, :, None, None], state)
            expected = reference(step, expected)
            torch.testing.assert_close(hidden[:, :, 0, 0], expected[0])
            torch.testing.assert_close(state[1][:, :, 0, 0], expected[1])


def test_each_pass_codes_the_signs_of_what_is_left(x) -> None:
    torch.manual_seed(0)
    codec = Recurrent(Recurrent.Params(width=8, code_channels=8, passes=3)).eval()
    padded = F.pad(x, (0, 96 - 90, 0, 80 - 70), mode="replicate")
    made, read, written, signs = torch.full_like(padded, 0.5), [None] * 3, [None] * 4, []
    with torch.no_grad():
        for _ in range(3):
            code = codec.analysis(padded - made, read)
            signs.append((code > 0).flatten(1))
            made = made + codec.synthesis(torch.where(code > 0, 1.0, -1.0), written)
    payloads = codec.encode(x, Quality.of(3))
    assert payloads == [np.packbits(row.numpy()).tobytes() for row in torch.cat(signs, 1)]
    decoded = codec.decode(payloads, (70, 90), Quality.of(3))
    torch.testing.assert_close(decoded.levels[0], made[..., :70, :90].clamp(0, 1), rtol=0, atol=1e-5)


def test_in_training_a_code_is_drawn_with_the_probability_that_the_network_says(x) -> None:
    codec = Recurrent(Recurrent.Params(width=4, code_channels=64, passes=1)).train()
    soft, seen = torch.full((2, 64, 5, 6), 0.5, requires_grad=True), []
    codec.analysis.forward = lambda left, states: soft
    codec.synthesis.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    torch.manual_seed(0)
    codec(x, torch.ones(2))
    (code,) = seen
    torch.testing.assert_close(code.abs(), torch.ones_like(code))
    assert float((code > 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    (gradient,) = torch.autograd.grad(code.sum(), soft)
    assert torch.equal(gradient, torch.ones_like(soft))


def test_the_fingerprint_covers_what_passes_are_decoded_with() -> None:
    params = Recurrent.Params(width=4, code_channels=8, passes=2)
    torch.manual_seed(0)
    codec = Recurrent(params)
    other = Recurrent(params.model_copy(update={"passes": 3}))
    other.load_state_dict(codec.state_dict())
    before = codec.coding_state()
    assert other.coding_state() != before
    with torch.no_grad():
        codec.analysis.enter.weight.add_(1)
        assert codec.coding_state() == before
        codec.synthesis.leave.bias.add_(1)
    assert codec.coding_state() != before


@pytest.mark.parametrize(("quality", "passes"), [(1.4375, 1), (1.5, 2), (2.4375, 2), (2.5, 3), (3.5, 4)])
def test_between_two_numbers_of_passes_the_nearer_one_is_trained_and_coded(x, quality, passes) -> None:
    codec = Recurrent(Recurrent.Params(width=4, code_channels=8, passes=4)).eval()
    bits = codec(x, torch.full((2,), quality)).total_bits.tolist()
    assert bits == [8 * len(payload) for payload in codec.encode(x, Quality.of(quality))] == [passes * 240] * 2


# --- residues --------------------------------------------------------------------------------------------------------


def test_a_residue_with_a_gain_is_finer_and_clips_sooner(x) -> None:
    layout = SideInfoLayout((Level(3, 1),), 3)
    plain, gained = (CodecResidual(CodecResidual.Params(codec=Nested.of(Lossless), gain=g), layout) for g in (1, 4))
    assert plain.coding_state() != gained.coding_state()
    coarse = (x + torch.linspace(-0.2, 0.2, 90)).clamp(0, 1)
    side = SideInfo((coarse,), (70, 90))
    found = gained.decode(gained.encode(x, coarse, side, Quality.of(1)), coarse, side, Quality.of(1))
    kept = (x - coarse).clamp(-128 / 255 / 4, 127 / 255 / 4)
    assert float((x - coarse - kept).abs().max()) > 0.05
    torch.testing.assert_close(found, (coarse + kept).clamp(0, 1), rtol=0, atol=0.5 / 255 / 4 + 1e-6)


def test_a_residue_is_written_around_grey_level_128_and_added_back(x) -> None:
    residual = CodecResidual(CodecResidual.Params(codec=Nested.of(Lossless)), SideInfoLayout((Level(3, 1),), 3))
    coarse = x.flip(2)
    levels = [(one * 255).round().long() for one in (x, coarse)]
    difference = (levels[0] - levels[1]).clamp(-128, 127)
    assert int(difference.min()) < -100 and int(difference.max()) > 100
    side = SideInfo((coarse,), (70, 90))
    payloads = residual.encode(x, coarse, side, Quality.of(1))
    picture = residual.codec.decode(payloads, (70, 90), Quality.of(1)).levels[0]
    assert torch.equal((picture * 255).round().long(), difference + 128)
    found = residual.decode(payloads, coarse, side, Quality.of(1))
    assert torch.equal((found * 255).round().long(), (levels[1] + difference).clamp(0, 255))
    torch.testing.assert_close(found * 255, (levels[1] + difference).clamp(0, 255).float(), rtol=0, atol=1e-3)


# --- filters ---------------------------------------------------------------------------------------------------------


def test_a_filter_adds_what_its_convolutions_make_of_a_picture_whose_edge_goes_on(x) -> None:
    torch.manual_seed(2)
    network = Filter(channels=4, layers=3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    found = x
    convolutions = [layer for layer in network.change if isinstance(layer, nn.Conv2d)]
    for number, layer in enumerate(convolutions):
        found = F.conv2d(F.pad(found, (1, 1, 1, 1), mode="replicate"), layer.weight, layer.bias)
        if number < 2:
            found = torch.where(found > 0, found, found / 10)
    torch.testing.assert_close(network(x), x + found)


def test_a_codec_is_given_filtered_pictures_within_0_and_1(x) -> None:
    filtered = Filtered(Filtered.Params(codec=Nested.of(Lossless)))
    with torch.no_grad():
        filtered.before.change[-1].bias.copy_(torch.tensor([0.6, -0.6, 0.0]))
    expected = (x + torch.tensor([0.6, -0.6, 0.0])[:, None, None]).clamp(0, 1)
    torch.testing.assert_close(filtered.filtered(x), expected)
    found = filtered.decode(filtered.encode(x, Quality.of(1)), (70, 90), Quality.of(1)).levels[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / 255)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_losses_of_heads_are_cross_entropies_and_squared_errors() -> None:
    logits, classes = torch.randn(3, 5, generator=torch.Generator().manual_seed(2)), torch.tensor([4, 0, 2])
    expected = torch.stack([-row.log_softmax(0)[number] for row, number in zip(logits, classes, strict=True)])
    latent = LatentClassifier(LatentClassifier.Params(classes=5, width=4, blocks=1), {"latent": Level(6, 16)})
    told = Told(Told.Params(classes=5), {"answer": Level(5, 0)})
    for head in (latent, told):
        torch.testing.assert_close(head.loss(logits, classes), expected)
    judge = Discriminator(Discriminator.Params(width=4, layers=1), {"image": Level(3, 1)})
    assert judge.loss(torch.tensor([[3.0], [0.5]]), torch.tensor([[1.0], [1.0]])).tolist() == [4, 0.25]


def test_a_preview_is_shown_within_0_and_1() -> None:
    head = _stirred(Preview(Preview.Params(width=4), {"latent": Level(6, 4)}))
    features = Features({"latent": 20 * torch.randn(1, 6, 5, 6, generator=torch.Generator().manual_seed(1))}, (18, 21))
    with torch.no_grad():
        made, shown = head(features), head.predict(features).output
    assert float(made.min()) < 0 and float(made.max()) > 1
    assert torch.equal(shown, made.clamp(0, 1))


# --- networks, layer by layer ----------------------------------------------------------------------------------------


def _stirred(network: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def _leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def test_a_discriminator_halves_the_picture_around_grey_and_takes_the_mean_over_patches(x) -> None:
    head = _stirred(Discriminator(Discriminator.Params(width=4, layers=2), {"image": Level(3, 1)}))
    first, second, last = (layer for layer in head.layers if isinstance(layer, nn.Conv2d))
    found = x - 0.5
    for layer in (first, second):
        found = _leaky(F.conv2d(found, layer.weight, layer.bias, stride=2, padding=2), 0.2)
    patches = F.conv2d(found, last.weight, last.bias)
    expected = patches.flatten(1).mean(1, keepdim=True)
    torch.testing.assert_close(head(Features({"image": x}, (70, 90))), expected, rtol=1e-4, atol=1e-5)


def test_a_generator_is_blocks_that_add_and_four_doublings() -> None:
    network = _stirred(Generator(latent=5, width=32, blocks=2))
    layers = iter(network)
    found = torch.rand(1, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    latent = found

    def convolved(x: Tensor, layer: Any) -> Tensor:
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    norm, enter, entered = (next(layers) for _ in range(3))
    found = entered(convolved(norm(found), enter))
    for block in (next(layers), next(layers)):
        one, first, _, other, second = block.layers
        found = found + second(convolved(first(convolved(found, one)).relu(), other))
    for _ in range(4):
        larger, _, norm, _ = (next(layers) for _ in range(4))
        found = norm(F.pixel_shuffle(convolved(found, larger), 2)).relu()
    last = next(layers)
    found = convolved(found, last)
    assert last.weight.shape == (3, 2, 7, 7) and found.shape == (1, 3, 32, 48) and next(layers, None) is None
    torch.testing.assert_close(network(latent), found, rtol=1e-4, atol=1e-5)


def test_a_preview_doubles_up_to_the_pictures_size_and_is_cut() -> None:
    head = _stirred(Preview(Preview.Params(width=4), {"latent": Level(6, 4)}))
    latent = torch.rand(1, 6, 5, 6, generator=torch.Generator().manual_seed(1))
    enter, first, second = (layer for layer in head.enlarge if isinstance(layer, nn.Conv2d))
    found = _leaky(F.conv2d(latent, enter.weight, enter.bias, padding=1), 0.1)
    found = _leaky(F.pixel_shuffle(F.conv2d(found, first.weight, first.bias, padding=1), 2), 0.1)
    found = F.pixel_shuffle(F.conv2d(found, second.weight, second.bias, padding=1), 2)
    made = head(Features({"latent": latent}, (18, 21)))
    torch.testing.assert_close(made, found[..., :18, :21])
    target = torch.rand(1, 3, 18, 21)
    torch.testing.assert_close(head.loss(made, target), (made - target).square().mean((1, 2, 3)))


def test_what_is_made_of_a_map_begins_near_its_start() -> None:
    torch.manual_seed(0)
    weight = Synthesis(Synthesis.Params(channels=64), MAP).last.weight.detach()
    assert float(weight.std()) == pytest.approx(0.01, rel=0.2)


def test_defaults_are_those_of_the_papers() -> None:
    """HiFiC's generator and the weight of its side; Toderici's 32 bits a place."""
    assert (HiFiC.Params().width, HiFiC.Params().blocks) == (960, 9)
    assert Adversarial.Params().generator == 0.15
    assert Recurrent.Params().code_channels == 32


def test_what_is_made_of_a_map_goes_through_blocks_at_five_scales() -> None:
    layout = SideInfoLayout((Level(4, 1), Level(3, 8), Level(5, 16)), 8)
    network = _stirred(Synthesis(Synthesis.Params(channels=16), layout))
    generator = torch.Generator().manual_seed(1)
    labels, reduced, features = (
        torch.rand(2, channels, 32 // stride, 48 // stride, generator=generator)
        for channels, stride in ((4, 1), (3, 8), (5, 16))
    )
    found: list[Tensor] = []
    for stride, block in zip((16, 8, 4, 2, 1), network.blocks, strict=True):
        own = {16: [features], 8: [reduced]}.get(stride, [])
        below = [one.repeat_interleave(2, 2).repeat_interleave(2, 3) for one in found[-1:]]
        x = torch.cat([F.avg_pool2d(labels, stride), *own, *below], 1)
        for layer in (block[0], block[2]):
            x = _leaky(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), layer.weight, layer.bias), 0.2)
        found.append(x)
    last = F.conv2d(F.pad(found[-1], (1, 1, 1, 1), mode="replicate"), network.last.weight, network.last.bias)
    expected = last + F.interpolate(reduced, scale_factor=8, mode="bicubic")
    made = network(SideInfo((labels, reduced, features), (32, 48))).maps["image"]
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


def test_passes_of_a_recurrent_codec_halve_and_double_between_their_cells(x) -> None:
    codec = _stirred(Recurrent(Recurrent.Params(width=8)))
    analysis, synthesis = codec.analysis, codec.synthesis
    found = F.conv2d(x[..., :64, :80], analysis.enter.weight, analysis.enter.bias, stride=2, padding=1)
    for cell in analysis.cells:
        found = cell(found, None)[0]
    code = F.conv2d(found, analysis.code.weight, analysis.code.bias).tanh()
    assert code.shape[-2:] == (4, 5)
    torch.testing.assert_close(analysis(x[..., :64, :80], [None] * 3), code)
    found = F.conv2d(code.sign(), synthesis.enter.weight, synthesis.enter.bias)
    for cell in synthesis.cells:
        found = F.pixel_shuffle(cell(found, None)[0], 2)
    part = F.conv2d(found, synthesis.leave.weight, synthesis.leave.bias)
    torch.testing.assert_close(synthesis(code.sign(), [None] * 4), part)
