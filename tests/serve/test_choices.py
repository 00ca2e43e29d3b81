"""What a request chooses reaches the pipeline, and requests that choose differently are not done together."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icm_core import Pipeline, build, parse_spec
from icm_core.bitstream import split
from icm_core.bitstream.container import read
from icm_core.errors import InputError
from icm_core.pictures import png_bytes
from icm_core.pipeline.told import told
from icm_serve.batching import Batcher, Work
from icm_serve.limits import Limits
from icm_serve.models import model_info
from icm_serve.refusals import busy
from icm_serve.served import Served, Settings

Serve = Callable[..., Any]


@pytest.fixture
def other(registry: Any) -> Pipeline:
    """A pipeline with finer steps and a picture alone."""
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}
    codec = {"use": "tiny.thumbnail", "params": {"steps": 5}}
    return build(parse_spec({"icm": 1, "name": "other", "codec": codec, "tasks": {"coarse": task}}), registry)


def test_the_format_that_is_asked_for_counts_before_what_is_accepted(serve: Serve, blob: bytes) -> None:
    service = serve()
    found = service.ask("POST", "/decode?task=fine&format=json", blob, {"Accept": "image/png"})
    assert list(found.json["tasks"]) == ["fine"]


def test_of_a_task_that_is_a_picture_there_is_no_drawing_but_the_picture(
    serve: Serve, pipe: Pipeline, blob: bytes
) -> None:
    found = serve().ask("POST", "/decode?task=fine&format=png&draw=true", blob)
    expected = told(pipe, pipe.decode(blob))["fine"].picture
    assert expected is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.body))), np.asarray(expected))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")]
)
def test_where_memory_runs_out_a_client_is_told_when_to_come_back(
    serve: Serve, pipe: Pipeline, blob: bytes, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(pipe, "decode_batch", full)
    found = serve(Limits(seconds=37)).ask("POST", "/decode", blob)
    assert (found.status, found.headers["Retry-After"]) == (503, "37")
    assert found.json["error"] == "there is not enough memory for a picture of this size"


def test_a_file_is_described_as_the_named_pipeline_reads_it(
    serve: Serve, pipe: Pipeline, other: Pipeline, photo: Image.Image
) -> None:
    service, blob = serve(pipes=[pipe, other]), other.encode(photo, 2)
    assert service.ask("POST", "/info", blob).json["pipeline"] == "other"
    assert service.ask("POST", "/info?model=tiny", blob).json["pipeline"] == "tiny"
    assert service.ask("POST", "/info?model=tinny", blob).status == 404


def test_a_wrong_method_is_told_the_right_one(serve: Serve) -> None:
    assert serve().ask("GET", "/encode").headers["Allow"] == "POST"


def test_a_whole_file_is_given_whatever_tasks_are_named(serve: Serve, blob: bytes) -> None:
    found = serve().ask("POST", "/refine?whole=true&tasks=fine", b"".join(split(blob)))
    assert found.body == blob


def test_pictures_that_are_compared_and_files_that_are_joined_keep_to_the_limit_of_pixels(
    serve: Serve, pipe: Pipeline, photo: Image.Image, png: bytes
) -> None:
    service = serve(Limits(pixels=40 * 56))
    larger = Image.new("RGB", (57, 40))
    assert service.ask("POST", "/compare?codec=jpeg&bytes=900", png).status == 200
    found = service.ask("POST", "/compare?codec=jpeg&bytes=900", png_bytes(larger))
    assert found.status == 400
    assert "57x40 is more than 2240 pixels" in found.json["error"]
    assert service.ask("POST", "/refine", b"".join(split(pipe.encode(photo, 2)))).status == 200
    found = service.ask("POST", "/refine?whole=true", b"".join(split(pipe.encode(larger, 2))))
    assert found.status == 400
    assert "1 to 2240 pixels are accepted" in found.json["error"]


def test_a_side_may_be_as_long_as_a_codec_can_hold(serve: Serve) -> None:
    longest = png_bytes(Image.new("RGB", (16_383, 1)))
    assert serve().ask("POST", "/compare?codec=webp&bytes=9", longest).status == 200


def test_the_encoder_is_looked_for_in_the_codec(serve: Serve, png: bytes) -> None:
    found = serve().ask("POST", "/encode?encoder=deep", png)
    assert found.status == 400
    assert "has no encoder 'deep'" in found.json["error"]


def test_efforts_up_to_the_limit_are_taken(pipe: Pipeline, photo: Image.Image) -> None:
    served = Served([pipe], Limits(effort=3))
    served.encoding(pipe, photo, Settings(effort=3))
    with pytest.raises(InputError, match="an effort of 4 is more than this service's 3"):
        served.encoding(pipe, photo, Settings(effort=4))


def test_pictures_are_coded_together_only_if_nothing_is_another(
    pipe: Pipeline, other: Pipeline, photo: Image.Image
) -> None:
    served, usual = Served([pipe, other], Limits()), Settings()
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    works = [
        served.encoding(pipe, photo, usual),
        served.encoding(other, photo, usual),
        served.encoding(pipe, turned, usual),
        *(
            served.encoding(pipe, photo, replace(usual, **{name: value}))  # type: ignore[arg-type]
            for name, value in (
                ("quality", 2.0),
                ("enhancement", False),
                ("enhancement_quality", 2.0),
                ("control", True),
                ("encoder", "deep"),
                ("effort", 1),
            )
        ),
    ]
    assert len({work.key for work in works}) == len(works)
    assert works[0].key == served.encoding(pipe, Image.new("RGB", photo.size), Settings()).key
    assert {work.pixels for work in works} == {40 * 56}


def test_files_are_decoded_together_only_if_nothing_is_another(
    pipe: Pipeline, other: Pipeline, photo: Image.Image
) -> None:
    served = Served([pipe, other], Limits())
    turned = photo.transpose(Image.Transpose.ROTATE_90)

    def work(its: Pipeline, blob: bytes, *names: str, pictures: bool = False, draw: bool = False) -> Work:
        return served.decoding(its, read(blob), len(blob), list(names) or None, pictures=pictures, draw=draw)

    blob = pipe.encode(photo, 2)
    works = [
        work(pipe, blob),
        work(other, blob),
        work(pipe, pipe.encode(turned, 2)),
        work(pipe, pipe.encode(photo, 3, enhancement_quality=2)),
        work(pipe, pipe.encode(photo, 2, enhancement_quality=3)),
        work(pipe, pipe.encode(photo, 2, enhancement=False)),
        work(pipe, blob, "coarse"),
        work(pipe, blob, "coarse", "labels"),
        work(pipe, blob, pictures=True),
        work(pipe, blob, draw=True),
    ]
    assert len({one.key for one in works}) == len(works)
    assert works[0].key == work(pipe, pipe.encode(Image.new("RGB", photo.size), 2)).key
    assert work(pipe, blob, "coarse", "coarse").key == work(pipe, blob, "coarse").key
    assert {one.pixels for one in works} == {40 * 56}


def test_each_of_several_files_has_its_own_length(pipe: Pipeline, photo: Image.Image) -> None:
    served = Served([pipe], Limits())
    blobs = [pipe.encode(photo, 2), pipe.encode(Image.new("RGB", photo.size, "red"), 2, control=True)]
    files = [(read(blob), len(blob)) for blob in blobs]
    work = served.decoding(pipe, *files[0], ["coarse"], pictures=False, draw=False)
    found = [one.file["bytes"] for one in work.run(files)]
    assert found == [len(blob) for blob in blobs]
    assert found[0] != found[1]


def test_what_waits_keeps_its_order() -> None:
    done: list[str] = []

    def do(items: Any) -> Any:
        done.append("".join(items))
        return items

    batcher = Batcher(2, 100, lambda *_: None)
    for item in "abcabca":
        batcher.submit(Work(item, item, do, 1), float("inf"))
    batcher.start()
    batcher.stop()
    assert done == ["aa", "bb", "cc", "a"]


def test_a_batch_has_no_more_pixels_than_it_may(
    serve: Serve, held: Any, pipe: Pipeline, blob: bytes, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, plain, sizes = serve(Limits(batch_pixels=3 * 40 * 56 - 1)), pipe.encode_batch, []

    def encode_batch(pictures: Any, *arguments: Any, **how: Any) -> Any:
        sizes.append(len(pictures))
        return plain(pictures, *arguments, **how)

    monkeypatch.setattr(pipe, "encode_batch", encode_batch)
    service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    waiting = [service.later("POST", "/encode?quality=2", png) for _ in range(5)]
    service.until(lambda: service.metric("icm_waiting") == 5)
    held.go.set()
    assert [one.result(30).status for one in waiting] == [200] * 5
    assert sizes == [2, 2, 1]


def test_a_model_says_the_unit_of_its_values_and_its_encoders(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(pipe.task("classes").head), "unit", "m", raising=False)
    monkeypatch.setattr(type(pipe.codec), "encoders", ("plain", "deep"))
    found = model_info(pipe)
    assert {task.name: task.unit for task in found.tasks} == {"labels": "", "classes": "m", "coarse": "", "fine": ""}
    assert found.encoders == ["plain", "deep"]


@pytest.mark.parametrize(("seconds", "later"), [(0.0, "1"), (0.4, "1"), (1.6, "2"), (60.0, "60")])
def test_whoever_comes_too_early_is_told_to_wait_a_second_at_least(seconds: float, later: str) -> None:
    assert busy("later", seconds).headers == {"Retry-After": later}
    assert busy("later", seconds, read=False).headers == {"Retry-After": later, "Connection": "close"}


def test_a_token_is_a_bearers_however_that_is_written(serve: Serve) -> None:
    service = serve(token="secret")
    for scheme, status in (("Bearer", 200), ("bearer", 200), ("BEARER", 200), ("Basic", 401), ("", 401)):
        found = service.ask("GET", "/models", headers={"Authorization": f"{scheme} secret"})
        assert found.status == status, scheme


def test_requests_are_counted_by_each_of_the_services_paths(serve: Serve, png: bytes, blob: bytes) -> None:
    service = serve()
    asked = {"/encode": png, "/compare?codec=jpeg&bytes=900": png, "/decode": blob, "/info": blob, "/refine": blob}
    for path, body in asked.items():
        service.ask("POST", path, body)
    for path in ("/models", "/limits", "/health", "/", "/openapi.json"):
        service.ask("GET", path)
    for path in (*(one.partition("?")[0] for one in asked), "/models", "/limits", "/health", "/", "/openapi.json"):
        assert service.metric(f'icm_requests_total{{path="{path}"') == 1, path
        assert service.metric(f'icm_request_seconds_count{{path="{path}"') == 1, path
    assert service.metric('icm_requests_total{path="other"') == 0
