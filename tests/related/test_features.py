"""Systems that send features, answers, filtered or made-up pictures: what they promise, what JSON alone exchanges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import icm_related
from icm_baselines.learned import ScaleHyperpriorCodec
from icm_baselines.still import JPEG
from icm_core import BitstreamError, Pipeline, Quality, Registry, SpecError, build, build_registry
from icm_core.interfaces import Nested
from icm_core.spec.extends import compose
from icm_core.types import Features, Level, SideInfoLayout
from icm_related.filtered import Filtered
from icm_related.gan import Block, Discriminator, Generator, HiFiC
from icm_related.latent import LatentClassifier, Preview
from icm_related.recurrent import Recurrent
from icm_related.travelling import AnswerAdapter, Told, WithAnswer
from icm_tasks.vit import ViT

ONE = Quality.of(1)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


@pytest.fixture
def x() -> torch.Tensor:
    """Two smooth pictures."""
    torch.manual_seed(3)
    return torch.nn.functional.interpolate(torch.rand(2, 3, 5, 6), (70, 90), mode="bilinear")


def extended(folder: Path, registry: Registry, base: str, **changes: object) -> Pipeline:
    """A pipeline that a JSON file makes of a shipped one; untrained."""
    path = folder / "own.json"
    path.write_text(json.dumps({"icm": 1, "name": "own", "extends": base, **changes}))
    torch.manual_seed(0)
    return build(compose(path, registry).spec, registry)


# --- a filter before the codec ---------------------------------------------------------------------------------------


def test_an_untrained_filter_changes_nothing(x) -> None:
    plain, filtered = JPEG(JPEG.Params()), Filtered(Filtered.Params(codec=Nested.of(JPEG)))
    assert filtered.encode(x, ONE) == plain.encode(x, ONE)
    assert filtered.writes_own_files


def test_the_plain_codecs_pipeline_reads_files_of_the_filtered_one(x) -> None:
    """A filter is the encoder's business: other bytes, the same fingerprint."""
    plain, filtered = JPEG(JPEG.Params()), Filtered(Filtered.Params(codec=Nested.of(JPEG)))
    torch.nn.init.constant_(filtered.before.change[-1].bias, 0.2)
    payloads = filtered.encode(x, ONE)
    assert payloads != plain.encode(x, ONE) and filtered.coding_state() == plain.coding_state()
    brighter = plain.decode(payloads, (70, 90), ONE).levels[0].mean() - x.mean()
    assert 0.1 < float(brighter) < 0.25


def test_a_filter_learns_through_other_peoples_codecs(x) -> None:
    filtered = Filtered(Filtered.Params(codec=Nested.of(JPEG))).train()
    found = filtered(x, torch.full((2,), 2.0))
    found.side.levels[0].mean().backward()
    assert float(filtered.before.change[-1].bias.grad.sum()) == pytest.approx(1.0, abs=1e-4)


def test_and_through_the_rate_of_a_learned_one(x) -> None:
    filtered = Filtered(Filtered.Params(codec=Nested.of(ScaleHyperpriorCodec, n=8, m=8))).train()
    filtered(x, torch.ones(2)).total_bits.sum().backward()
    assert bool(filtered.before.change[-1].weight.grad.any())


def test_and_through_one_that_is_frozen_as_a_stage_freezes_it(x) -> None:
    """It rounds as it is, and rounding has no gradient; behind a filter that learns it has noise in its place."""
    filtered = Filtered(Filtered.Params(codec=Nested.of(ScaleHyperpriorCodec, n=8, m=8))).eval()
    filtered.codec.requires_grad_(False)
    filtered.before.train()
    filtered(x, torch.ones(2)).total_bits.sum().backward()
    assert bool(filtered.before.change[-1].weight.grad.any())
    assert not any(module.training for module in filtered.codec.modules())


def test_the_codec_behind_a_filter_is_exchanged_from_json(tmp_path, registry, x) -> None:
    codec = {"params": {"codec": {"use": "baselines.webp"}}}
    pipe = extended(tmp_path, registry, "transformed-images-small", codec=codec)
    assert type(pipe.codec.codec).name == "baselines.webp" and pipe.codec.params.channels == 32
    assert pipe.decode(pipe.encode(x[0], 1), ["picture"])["picture"].output.shape == (1, 3, 70, 90)


# --- heads of latents ------------------------------------------------------------------------------------------------


def test_a_base_of_features_is_exchanged_from_json(tmp_path, registry, x) -> None:
    """HMI-IC on SICMH's side information: heads and enhancement fit themselves to another latent."""
    codec = {
        "use": "sicmh.hyperprior",
        "params": {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 2, "context_channels": 8, "qualities": 2},
    }
    residual = {"params": {"codec": {"use": "baselines.jpeg", "params": {"settings": [30, 60]}}}}
    pipe = extended(tmp_path, registry, "hmi-ic-small", codec=codec, enhancement=residual)
    pipe.codec.freeze_tables()
    assert pipe.task("preview").head.features == {"latent": Level(16, 32)}
    blob = pipe.encode(x[0], 2)
    found = pipe.decode(blob)
    assert set(found) == {"classification", "preview", "fine"} and found["fine"].output.shape == (1, 3, 70, 90)
    errors = [float((found[name].output - x[:1]).square().mean()) for name in ("preview", "fine")]
    assert errors[1] < 0.2 * errors[0]


def test_a_preview_begins_grey_at_any_stride() -> None:
    for stride in (8, 16, 32):
        head = Preview(Preview.Params(width=8), {"latent": Level(6, stride)})
        picture = head(Features({"latent": torch.zeros(1, 6, 64 // stride, 64 // stride)}, (60, 50)))
        assert picture.shape == (1, 3, 60, 50) and abs(float(picture.detach().mean()) - 0.5) < 0.2
    with pytest.raises(SpecError, match="from a stride of 24"):
        Preview(Preview.Params(), {"latent": Level(6, 24)})


def test_names_of_classes_are_as_many_as_classes() -> None:
    with pytest.raises(ValueError, match="class_names has 2 names for 3 classes"):
        LatentClassifier.Params(classes=3, class_names=("a", "b"))
    assert LatentClassifier.Params(classes=2).labels == ("class 0", "class 1")


# --- answers that travel ---------------------------------------------------------------------------------------------


@pytest.fixture
def telling() -> WithAnswer:
    """A codec whose classifier reads the clean picture: 20 classes, the best three are sent."""
    torch.manual_seed(1)
    head = Nested.of(ViT, model="test_vit", classes=20)
    made = WithAnswer(WithAnswer.Params(codec=Nested.of(JPEG), head=head, top=3)).eval()
    return made.requires_grad_(False)


def test_the_answer_travels_in_as_few_bytes_as_answers_need(telling, x) -> None:
    assert telling.length == 2  # 20^3 answers
    payloads = telling.encode(x, ONE)
    plain = telling.codec.encode(x, ONE)
    assert [len(one) - 2 for one in payloads] == list(map(len, plain))
    assert float(telling(x, torch.ones(2)).bits["answer"][0]) == 16
    side = telling.decode(payloads, (70, 90), ONE)
    best = telling.head(Features({"image": x}, (70, 90))).topk(3).indices
    assert side.levels[-1].shape == (2, 20, 1, 1)
    assert torch.equal(side.levels[-1].flatten(1).topk(3).indices, best)


def test_the_head_behind_says_what_it_is_told(telling, x) -> None:
    layout = telling.layout
    adapter = AnswerAdapter(AnswerAdapter.Params(), layout)
    head = Told(Told.Params(classes=20), adapter.features)
    side = telling.decode(telling.encode(x, ONE), (70, 90), ONE)
    assert torch.equal(head(adapter(side)), side.levels[-1].flatten(1))
    with pytest.raises(SpecError, match="is told 9 classes"):
        Told(Told.Params(classes=9), adapter.features)
    with pytest.raises(SpecError, match=r"such as 'related.with_answer'"):
        AnswerAdapter(AnswerAdapter.Params(), SideInfoLayout((Level(3, 1),), 3))


def test_out_of_training_the_side_information_is_what_a_decoder_has(telling, x) -> None:
    side = telling.decode(telling.encode(x, ONE), (70, 90), ONE)
    found = telling(x, torch.ones(2)).side
    assert torch.equal(found.levels[-1], side.levels[-1])
    assert sorted(side.levels[-1][0].flatten().tolist()) == [0.0] * 17 + [1.0, 2.0, 3.0]
    logits = telling.train()(x, torch.ones(2)).side.levels[-1]
    assert torch.equal(logits.flatten(1), telling.head(Features({"image": x}, (70, 90))))


@pytest.mark.parametrize(("classes", "top", "length"), [(16, 2, 1), (17, 2, 2), (4, 100, 1), (256, 5, 5)])
def test_an_answer_takes_as_many_bytes_as_all_answers_need(classes, top, length) -> None:
    head = Nested.of(ViT, model="test_vit", classes=classes)
    made = [WithAnswer(WithAnswer.Params(codec=Nested.of(JPEG), head=head, top=one)) for one in (top, 1)]
    assert made[0].length == length
    assert made[0].coding_state() != made[1].coding_state()


def test_answers_that_none_writes_are_refused(telling, x) -> None:
    (payload,) = telling.encode(x[:1], ONE)
    for answer in (b"", b"\0", b"\0\0", (20**3).to_bytes(2, "big"), b"\xff\xff"):
        with pytest.raises(BitstreamError):
            telling.decode([answer + payload[2:] if len(answer) == 2 else answer], (70, 90), ONE)


def test_the_network_at_the_encoder_learns_from_the_head_behind(telling, x) -> None:
    telling.train().requires_grad_(True)
    side = telling(x, torch.ones(2)).side
    adapter = AnswerAdapter(AnswerAdapter.Params(), telling.layout)
    head = Told(Told.Params(classes=20), adapter.features)
    head.loss(head(adapter(side)), torch.tensor([3, 4])).sum().backward()
    assert all(parameter.grad is not None for parameter in telling.head.parameters())


def test_only_classifiers_answer() -> None:
    with pytest.raises(SpecError, match="is of kind reconstruction"):
        WithAnswer(WithAnswer.Params(codec=Nested.of(JPEG), head=Nested.of(Preview)))
    with pytest.raises(SpecError, match="needs latent, and it gets image"):
        WithAnswer(WithAnswer.Params(codec=Nested.of(JPEG), head=Nested.of(LatentClassifier, classes=3)))


# --- passes ----------------------------------------------------------------------------------------------------------


def test_fewer_passes_are_the_beginning_of_more(x) -> None:
    torch.manual_seed(0)
    codec = Recurrent(Recurrent.Params(width=8, code_channels=8, passes=4)).eval()
    payloads = [codec.encode(x, Quality.of(quality)) for quality in (1, 2, 4)]
    assert [len(one[0]) for one in payloads] == [30, 60, 120]  # 5 x 6 positions, one byte a pass
    assert payloads[2][1].startswith(payloads[1][1]) and payloads[1][1].startswith(payloads[0][1])


def test_each_picture_has_its_own_number_of_passes(x) -> None:
    torch.manual_seed(0)
    codec = Recurrent(Recurrent.Params(width=8, code_channels=8, passes=4)).eval()
    found = codec(x, torch.tensor([1.0, 4.0]))
    assert found.total_bits.tolist() == [240, 960]
    for row, quality in enumerate((1, 4)):
        decoded = codec.decode(codec.encode(x[row : row + 1], Quality.of(quality)), (70, 90), Quality.of(quality))
        torch.testing.assert_close(found.side.levels[0][row : row + 1], decoded.levels[0], rtol=0, atol=1e-4)


def test_passes_that_are_missing_are_said(x) -> None:
    codec = Recurrent(Recurrent.Params(width=8, code_channels=8, passes=4))
    (payload,) = codec.encode(x[:1], Quality.of(2))
    with pytest.raises(BitstreamError, match="has 60 bytes, and 3 passes of this size 90"):
        codec.decode([payload], (70, 90), Quality.of(3))


# --- generators ------------------------------------------------------------------------------------------------------


def test_hific_has_the_generator_that_its_spec_names() -> None:
    codec = HiFiC(HiFiC.Params(n=8, m=8, width=32, blocks=2))
    (generator,) = (part for part in codec.modules() if isinstance(part, Generator))
    assert sum(isinstance(part, Block) for part in generator) == 2
    assert generator(torch.zeros(1, 8, 2, 3)).shape == (1, 3, 32, 48)


def test_the_adversarial_loss_pulls_both_sides_apart(registry, x) -> None:
    """The discriminator is not helped to be fooled, and the codec gets nothing from its side of the game."""
    from icm_related.gan import Adversarial
    from icm_training.batch import CodedBatch, Kept
    from icm_training.shapes import Shapes

    picture = {"use": "baselines.pixels"}
    tasks = {"realness": {"adapter": picture, "head": {"use": "related.discriminator", "params": {"width": 4}}}}
    codec = {"use": "related.recurrent", "params": {"width": 8, "code_channels": 8, "passes": 1}}
    torch.manual_seed(0)
    pipe = build(icm_spec(codec, tasks), registry).train()

    def gradients(weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        pipe.zero_grad()
        loss = Adversarial(Adversarial.Params(generator=weight), pipe, "realness", Shapes(Shapes.Params(), Path(), ""))
        batch = CodedBatch(pipe, x, None, torch.ones(2), 0.0, range(2), [-1] * 2, Kept())
        loss(batch).sum().backward()
        first, last = pipe.task("realness").head.layers[0].weight.grad, pipe.codec.synthesis.leave.weight.grad
        return first.clone(), torch.zeros(()) if last is None else last.clone()

    without, nothing = gradients(0.0)
    judge, maker = gradients(1.0)
    assert not bool(nothing.any()) and bool(maker.any())
    torch.testing.assert_close(judge, without)


def icm_spec(codec: dict, tasks: dict):
    from icm_core import parse_spec

    return parse_spec({"icm": 1, "name": "made", "codec": codec, "tasks": tasks})


def test_a_loss_without_a_discriminator_is_refused(registry) -> None:
    from icm_related.gan import Adversarial
    from icm_training.shapes import Shapes

    picture = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}
    pipe = build(icm_spec({"use": "baselines.jpeg"}, {"picture": picture}), registry)
    with pytest.raises(SpecError, match=r"whose head is 'related.discriminator'"):
        Adversarial(Adversarial.Params(), pipe, "picture", Shapes(Shapes.Params(), Path(), ""))


def test_an_adversarial_loss_is_of_a_task(registry) -> None:
    from icm_related.gan import Adversarial
    from icm_training.shapes import Shapes

    picture = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "related.discriminator", "params": {"width": 4}}}
    pipe = build(icm_spec({"use": "baselines.jpeg"}, {"realness": picture}), registry)
    with pytest.raises(SpecError, match=r"loss 'related.adversarial' is of a task whose head is"):
        Adversarial(Adversarial.Params(), pipe, None, Shapes(Shapes.Params(), Path(), ""))


def test_the_discriminator_is_left_out_as_any_task(tmp_path, registry) -> None:
    pipe = extended(tmp_path, registry, "hific-small", tasks={"realness": None})
    assert set(pipe.tasks) == {"segmentation", "classification", "picture"}
    assert not [part for part in pipe.modules() if isinstance(part, Discriminator)]


def test_every_row_of_the_comparison_has_its_spec_and_its_recipe(registry) -> None:
    rows = json.loads((Path(__file__).parents[2] / "benchmarks" / "systems" / "features.json").read_text("utf-8"))
    assert len({row["name"] for row in rows}) == len(rows) == 10
    for row in rows:
        assert row["spec"] in registry.specs.names and row["recipe"] in registry.recipes.names, row["name"]
        assert row["source"] and row["simplified"].endswith("."), row["name"]


def test_every_spec_and_recipe_of_the_folder_is_brought() -> None:
    folder = Path(icm_related.__file__).parent
    for kind, brought in (("specs", icm_related.icm_specs()), ("recipes", icm_related.icm_recipes())):
        found = [path.name for path in brought]
        assert found == sorted(path.name for path in (folder / kind).iterdir()) and len(found) > 10
