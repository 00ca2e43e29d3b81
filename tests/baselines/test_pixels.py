"""The decoded picture as features, and the shipped specs of codec and task networks."""

from __future__ import annotations

import pytest
import torch

import icm_baselines
import icm_core
from icm_baselines.pixels import Picture, PixelsAdapter
from icm_core import SpecError, build_registry
from icm_core.pipeline.identify import Fingerprints
from icm_core.spec.extends import read_spec
from icm_core.types import Level, SideInfo, SideInfoLayout

PICTURE = SideInfoLayout((Level(3, 1),), 3)


@pytest.fixture(scope="module")
def registry():
    import icm_sicmh
    import icm_tasks

    return build_registry(path=[], extra={"baselines": icm_baselines, "sicmh": icm_sicmh, "tasks": icm_tasks})


def test_the_adapter_hands_the_picture_on(picture) -> None:
    x = picture(10, 20)
    adapter = PixelsAdapter(PixelsAdapter.Params(), PICTURE)
    found = adapter(SideInfo((x,), (10, 20)))
    assert torch.equal(found.cropped("image"), x) and adapter.features == {"image": Level(3, 1)}
    assert adapter.state_dict() == {}


def test_the_adapter_hands_on_the_first_of_several_levels(picture) -> None:
    x = picture(48, 64)
    adapter = PixelsAdapter(PixelsAdapter.Params(), SideInfoLayout((Level(3, 1), Level(18, 16)), 12))
    found = adapter(SideInfo((x, torch.ones(1, 18, 3, 4)), (40, 60)))
    assert list(found.maps) == ["image"] and torch.equal(found.maps["image"], x) and found.size == (40, 60)


def test_the_adapter_refuses_side_information_that_is_no_picture() -> None:
    with pytest.raises(
        SpecError, match=r"takes a codec whose side information begins with the decoded picture.*\(96, 32\)"
    ):
        PixelsAdapter(PixelsAdapter.Params(), SideInfoLayout((Level(96, 32), Level(48, 64)), 64))


def test_a_map_of_three_channels_at_half_the_size_is_no_picture() -> None:
    with pytest.raises(SpecError, match=r"this one gives \[\(3, 2\), \(3, 1\)\] \(channels, stride\)"):
        PixelsAdapter(PixelsAdapter.Params(), SideInfoLayout((Level(3, 2), Level(3, 1)), 3))


def test_the_picture_head_is_the_picture_within_0_and_1(picture) -> None:
    head = Picture(Picture.Params(), {"image": Level(3, 1)})
    adapter = PixelsAdapter(PixelsAdapter.Params(), PICTURE)
    found = head.predict(adapter(SideInfo((picture(8, 8) * 2 - 0.5,), (8, 8))))
    assert torch.equal(found.output, (picture(8, 8) * 2 - 0.5).clamp(0, 1))
    off = torch.tensor([0.1, 0.3])[:, None, None, None]
    pictures = picture(8, 10, 2)
    assert head.loss(pictures + off, pictures).tolist() == pytest.approx([0.01, 0.09], rel=1e-4)
    with pytest.raises(SpecError, match="needs 'image' as"):
        Picture(Picture.Params(), {"image": Level(3, 2)})


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000", "webp", "avif", "jpegxl", "hevc", "vvc", "bpg"])
def test_shipped_specs_have_the_heads_of_sicmh_small(registry, name) -> None:
    own, small = (read_spec(registry.specs.get(spec), registry) for spec in (f"{name}-camvid", "sicmh-small"))
    assert own.codec.use == f"baselines.{name}"
    assert own.enhancement is None
    assert set(own.tasks) == {"segmentation", "classification", "picture"}
    for task in ("segmentation", "classification"):
        assert own.tasks[task].head == small.tasks[task].head
        assert own.tasks[task].adapter.use == "baselines.pixels"


def test_a_shipped_spec_at_work_with_inherited_weights(registry, picture) -> None:
    small = icm_core.load("sicmh-small", device="cpu", registry=registry)
    pipe = icm_core.load("jpeg-camvid", device="cpu", registry=registry)
    for task in ("segmentation", "classification"):
        theirs = small.task(task).head.state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in pipe.task(task).head.state_dict().items())
    blob = pipe.encode(picture(64, 96)[0], quality=3)
    out = pipe.decode(blob)
    assert out["segmentation"].output.shape == (1, 11, 64, 96) and out["classification"].output.shape == (1, 1000)
    assert Fingerprints(registry).find(pipe.base_fingerprint) == "jpeg-camvid"


def test_what_the_plugin_offers() -> None:
    codecs = "bmshj2018_hyperprior mbt2018 cheng2020_anchor cheng2020_attn jpeg jpeg2000 webp avif jpegxl hevc vvc bpg"
    assert {codec.name for codec in icm_baselines.icm_codecs()} == {f"baselines.{name}" for name in codecs.split()}
    assert {spec.stem for spec in icm_baselines.icm_specs()} == {
        *(f"{name}-camvid" for name in ("jpeg", "jpeg2000", "webp", "avif", "jpegxl", "hevc", "vvc", "bpg")),
        *(f"sicmh-small-{name}-residual" for name in ("avif", "hevc", "jpegxl", "vvc")),
        "coarse-to-fine-small",
    }
    assert [adapter.name for adapter in icm_baselines.icm_adapters()] == ["baselines.pixels", "baselines.latent"]
    assert [head.name for head in icm_baselines.icm_heads()] == ["baselines.picture"]
    assert [one.name for one in icm_baselines.icm_enhancements()] == ["baselines.codec_residual"]


def test_specs_without_weights_can_be_inspected(registry) -> None:
    from icm_core.inspection.cost import account

    for name in ("jpeg-camvid", "coarse-to-fine-small", "siic-small"):
        found = account(read_spec(registry.specs.get(name)), registry, height=64, width=64)
        assert found.total.parameters > 0
    assert found.sharing.tasks == 1
