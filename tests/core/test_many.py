"""Many pictures and files through one pipeline, in order, with what comes next read ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from icm_core import BitstreamError, InputError
from icm_core.bitstream.container import read
from icm_core.pipeline.groups import alike
from icm_core.pipeline.many import many

SIZES = [(70, 45), (33, 80), (70, 45), (16, 16), (33, 80), (70, 45), (70, 45)]


def pictures() -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    for size in SIZES:
        yield torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


@pytest.fixture
def blobs(pipeline) -> list[bytes]:
    return [pipeline.encode(picture, 2.5, control=True) for picture in pictures()]


@pytest.mark.parametrize(("batch", "lanes"), [(1, None), (1, 1), (1, 3), (3, 1), (3, 2)])
def test_files_come_in_order_and_are_the_same_however_they_are_made(pipeline, blobs, batch, lanes) -> None:
    assert list(pipeline.encode_many(pictures(), 2.5, control=True, batch=batch, lanes=lanes)) == blobs


@pytest.mark.parametrize(("batch", "lanes"), [(1, None), (1, 3), (3, 1), (3, 2)])
@pytest.mark.parametrize("parsed", [False, True])
def test_predictions_come_in_order_and_are_the_same(pipeline, blobs, batch, lanes, parsed) -> None:
    files = [read(blob) for blob in blobs] if parsed else blobs
    found = list(pipeline.decode_many(files, ["coarse", "fine"], verify=True, batch=batch, lanes=lanes))
    for blob, decoded in zip(blobs, found, strict=True):
        alone = pipeline.decode(blob, ["coarse", "fine"])
        assert decoded.size == alone.size
        for name in ("coarse", "fine"):
            torch.testing.assert_close(decoded[name].output, alone[name].output)


def test_files_that_are_decoded_together_are_verified_too(pipeline, blobs) -> None:
    right, other = read(blobs[0]), read(blobs[2])  # of one size
    wrong = replace(other, layers=(replace(other.base, control=b"\1\2\3\4"), *other.layers[1:]))
    assert len(list(pipeline.decode_many([right, wrong], batch=2))) == 2
    with pytest.raises(BitstreamError, match="its control hash is 01020304"):
        list(pipeline.decode_many([right, wrong], verify=True, batch=2))


def test_files_of_several_qualities_may_come_mixed(pipeline) -> None:
    picture = next(pictures())
    how = [(2.5, None), (3, None), (2.5, 1.5), (2.5, None), (3, 1.5)]
    files = [read(pipeline.encode(picture, quality, enhancement_quality=finer)) for quality, finer in how]
    found = list(pipeline.decode_many(files, ["coarse", "fine"], batch=3))
    for file, decoded in zip(files, found, strict=True):
        alone = pipeline.decode(file, ["coarse", "fine"])
        assert decoded.quality == file.quality
        for name in ("coarse", "fine"):
            torch.testing.assert_close(decoded[name].output, alone[name].output)


def test_pictures_are_read_only_a_few_ahead(pipeline) -> None:
    read_so_far = 0

    def counted() -> Iterator[torch.Tensor]:
        nonlocal read_so_far
        for picture in pictures():
            read_so_far += 1
            yield picture

    found = pipeline.encode_many(counted(), lanes=1)
    assert read_so_far == 0
    next(found)
    assert read_so_far == 2
    found.close()
    assert read_so_far == 2


def test_a_picture_is_read_while_another_is_computed(pipeline, monkeypatch) -> None:
    spans: dict[str, list[tuple[float, float]]] = {"read": [], "computed": []}
    plain = pipeline.encode

    def timed(name, work):
        start = time.perf_counter()
        work()
        spans[name].append((start, time.perf_counter()))

    def slow(*arguments, **how):
        timed("computed", lambda: time.sleep(0.05))
        return plain(*arguments, **how)

    def slowly() -> Iterator[torch.Tensor]:
        for picture in pictures():
            timed("read", lambda: time.sleep(0.05))
            yield picture

    monkeypatch.setattr(pipeline, "encode", slow)
    list(pipeline.encode_many(slowly(), lanes=1))
    (begun, ended), (begun_reading, ended_reading) = spans["computed"][0], spans["read"][1]
    assert begun < ended_reading and begun_reading < ended


def test_threads_and_modes_are_put_back(pipeline, threads) -> None:
    pipeline.train()
    with threads(2):
        found = pipeline.encode_many(pictures())
        next(found)
        assert torch.get_num_threads() == 1
        assert not any(module.training for module in pipeline.modules())
        found.close()
        assert torch.get_num_threads() == 2
    assert pipeline.training
    assert pipeline.codec.training


def test_every_lane_has_one_thread_however_many_there_are() -> None:
    found = many(range(6), lambda _: [torch.get_num_threads()], lambda _: None, batch=1, lanes=3)
    assert list(found) == [1] * 6


def test_what_cannot_be_coded_is_said_when_its_turn_comes(pipeline, blobs) -> None:
    found = pipeline.encode_many([next(pictures()), Image.new("RGB", (20, 0))], lanes=1)
    with pytest.raises(InputError, match="20x0"):
        list(found)
    decoded = pipeline.decode_many([blobs[0], b"no file", blobs[1]])
    with pytest.raises(BitstreamError):
        list(decoded)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"lanes": 0}])
def test_numbers_below_one_are_refused(pipeline, blobs, wrong) -> None:
    with pytest.raises(InputError, match="is 0; it should be 1 or more"):
        list(pipeline.encode_many(pictures(), **wrong))
    with pytest.raises(InputError, match="is 0; it should be 1 or more"):
        list(pipeline.decode_many(blobs, **wrong))


@given(keys=st.lists(st.sampled_from([None, 1, 2, 3]), max_size=60), most=st.integers(1, 4))
def test_groups_hold_every_item_once_with_its_like(keys, most) -> None:
    groups = list(alike(keys, lambda key: key, most))
    assert sorted(number for group in groups for number, _ in group) == list(range(len(keys)))
    for group in groups:
        assert 1 <= len(group) <= most
        assert len({key for _, key in group}) == 1
        assert [keys[number] for number, _ in group] == [key for _, key in group]
        assert len(group) == 1 or group[0][1] is not None


def test_how_long_a_group_waits_is_counted_from_its_first_item() -> None:
    keys = [0, *[None] * 9, 0, *[None] * 40]
    groups = list(alike(keys, lambda key: key, 3))
    assert groups.index([(0, 0), (10, 0)]) == groups.index([(24, None)]) + 1


def test_an_item_does_not_wait_for_its_like_for_ever() -> None:
    rare = iter([0, *[1] * 100])
    seen = 0

    def items() -> Iterator[int]:
        nonlocal seen
        for item in rare:
            seen += 1
            yield item

    for group in alike(items(), lambda key: key, 2):
        if group == [(0, 0)]:
            break
    else:
        raise AssertionError
    assert seen == 17
