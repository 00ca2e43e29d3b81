"""What a service answers beside files and answers: what files, models and limits are, and other codecs' pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from icm_core import build, load, parse_spec
from icm_core.bitstream.container import read
from icm_core.pictures import png_bytes
from icm_core.pipeline.told import told
from icm_serve.limits import Limits
from icm_serve.metrics import Metrics
from icm_serve.models import model_info


@pytest.fixture(scope="module")
def smooth() -> Image.Image:
    """A picture that codecs can make small, 96 x 64."""
    rows, columns = np.mgrid[0:64, 0:96]
    noise = np.random.default_rng(0).normal(0, 4, (64, 96, 3))
    return Image.fromarray((np.stack([rows * 3, columns * 2, rows + columns], 2) + noise).clip(0, 255).astype(np.uint8))


def test_a_file_is_described_without_decoding_it(service, pipe, photo) -> None:
    blob = pipe.encode(photo, 2.5, enhancement_quality=1, control=True)
    file, found = read(blob), service.ask("POST", "/info", blob).json
    base, finer = file.layers
    assert found == {
        "pipeline": "tiny",
        "height": 40,
        "width": 56,
        "quality": 2.5,
        "bytes": len(blob),
        "bpp": 8 * len(blob) / (40 * 56),
        "truncated": False,
        "base_bytes": file.base_bytes,
        "overhead_bytes": 35 + 1 + 4,  # the enhancement names its quality; the tiny one has no control hash
        "layers": [
            {"kind": "base", "quality": 2.5, "bytes": len(base.payload), "control": base.control.hex()},
            {"kind": "enhancement", "quality": 1, "bytes": len(finer.payload), "control": None},
        ],
    }
    assert found["overhead_bytes"] + sum(layer["bytes"] for layer in found["layers"]) == len(blob)
    assert len(base.control) == 4
    cut = service.ask("POST", "/info", blob[:-1]).json
    assert cut["truncated"] is True and [layer["kind"] for layer in cut["layers"]] == ["base"]
    refused = service.ask("POST", "/info", blob[:20])
    assert refused.status == 400 and "ends after 20 bytes" in refused.json["error"]


@pytest.mark.parametrize("draw", [False, True])
def test_pictures_come_along_with_answers(service, pipe, photo, draw) -> None:
    blob = pipe.encode(photo, 2)
    path = f"/decode?pictures=true&draw={str(draw).lower()}"
    rows = service.ask("POST", path, blob).json["tasks"]
    expected = told(pipe, pipe.decode(blob), draw=draw)
    seen = 0
    for name, row in rows.items():
        for key, picture in (("picture", expected[name].picture), ("drawing", expected[name].drawing)):
            assert (key in row) == (picture is not None), (name, key)
            if picture is not None:
                head, _, body = row[key].partition(",")
                assert head == "data:image/png;base64"
                found = Image.open(io.BytesIO(base64.b64decode(body)))
                assert found.mode == picture.mode and np.array_equal(found, picture)
                seen += 1
    assert seen == (5 if draw else 3)  # labels, coarse and fine are pictures; drawn are labels and classes
    plain = service.ask("POST", "/decode", blob).json["tasks"]
    assert not any("picture" in row or "drawing" in row for row in plain.values())


@pytest.mark.parametrize(("codec", "kind", "options"), [
    ("jpeg", "JPEG", {"subsampling": "4:2:0", "optimize": True}), ("webp", "WEBP", {}),
])  # fmt: skip
def test_another_codec_gets_as_many_bytes(service, smooth, codec, kind, options) -> None:
    files = []
    for quality in range(1, 101):
        buffer = io.BytesIO()
        smooth.save(buffer, kind, quality=quality, **options)
        files.append(buffer.getvalue())
    body = png_bytes(smooth)
    for limit in (len(files[-1]), len(files[49]), len(files[49]) - 1, len(files[0])):
        found = service.ask("POST", f"/compare?codec={codec}&bytes={limit}", body)
        quality = int(found.headers["X-Icm-Codec-Quality"])
        assert found.headers["Content-Type"] == f"image/{codec}" and found.body == files[quality - 1]
        # Sizes do not quite rise with the quality: what is found is one where they cross the limit.
        assert len(found.body) <= limit and (quality == 100 or len(files[quality]) > limit)
    smallest = service.ask("POST", f"/compare?codec={codec}&bytes=1", body)
    assert smallest.headers["X-Icm-Codec-Quality"] == "1" and smallest.body == files[0]


def test_what_cannot_be_compared(service, png) -> None:
    wide = png_bytes(Image.new("RGB", (16_384, 1)))
    for path, body, status, says in (
        ("/compare?codec=bmp&bytes=9", png, 422, "codec is 'bmp'"),
        ("/compare?codec=jpeg&bytes=0", png, 422, "bytes is '0'"),
        ("/compare?codec=jpeg", png, 422, "the parameter 'bytes' is missing"),
        ("/compare?codec=jpeg&bytes=9", b"no picture", 400, "not a picture"),
        ("/compare?codec=webp&bytes=9", wide, 400, "16384x1; a side in a webp file is at most 16383"),
    ):
        found = service.ask("POST", path, body)
        assert found.status == status and says in found.json["error"], found.body
    assert service.ask("POST", "/compare?codec=jpeg&bytes=9", wide).status == 200


def test_bytes_of_bodies_are_counted(service, png) -> None:
    for number in (1, 2):
        assert service.ask("POST", "/encode?quality=2", png).status == 200
        assert service.metric("icm_received_bytes_total") == number * len(png)


def test_batches_are_counted_by_their_sizes_and_by_the_seconds_that_they_took() -> None:
    metrics = Metrics(lambda: 3, lambda: 5)
    metrics.batch(2, 0.25)
    metrics.batch(5, 1.5)
    said = dict(line.rsplit(" ", 1) for line in metrics.text().decode().splitlines() if not line.startswith("#"))
    wanted = {
        "icm_work_seconds_total": 1.75,
        "icm_batch_size_sum": 7,
        "icm_batch_size_count": 2,
        'icm_batch_size_bucket{le="2.0"}': 1,
        'icm_batch_size_bucket{le="8.0"}': 2,
        "icm_waiting": 3,
        "icm_places_taken": 5,
    }
    assert {name: float(said[name]) for name in wanted} == wanted


def test_limits_are_told(serve) -> None:
    service = serve(Limits(body=123, pixels=45, effort=6, seconds=7.5))
    assert service.ask("GET", "/limits").json == {"bytes": 123, "pixels": 45, "effort": 6, "seconds": 7.5}


def test_tasks_say_how_they_are_to_be_shown(service) -> None:
    (found,) = service.ask("GET", "/models").json
    shown = {task["name"]: (task["is_picture"], task["in_words"], task["whole_file"]) for task in found["tasks"]}
    assert shown == {
        "labels": (False, False, False),
        "classes": (False, True, False),
        "coarse": (True, False, False),
        "fine": (True, False, True),
    }
    assert found["searches"] is False  # the codec has none


def test_a_task_that_reads_the_refined_picture_needs_the_whole_file(registry, pipe) -> None:
    spec = pipe.spec.to_json()
    seen = {"use": "core.decoded_picture", "params": {"of": "fine"}}
    spec["tasks"]["seen"] = {"adapter": seen, "head": {"use": "tiny.labels"}}
    tasks = model_info(build(parse_spec(spec), registry)).tasks
    assert [task.name for task in tasks if task.whole_file] == ["seen", "fine"]


def test_tasks_say_what_they_were_trained_on() -> None:
    tasks = {task.name: task.trained_on for task in model_info(load("sicmh-small")).tasks}
    assert tasks["segmentation"].pictures == "streets" and "CamVid" in tasks["segmentation"].data
    assert tasks["classification"].pictures == "objects" and "ImageNet" in tasks["classification"].data
    assert tasks["coarse"] is tasks["fine"] is None


def test_a_pipeline_that_searches_says_so() -> None:
    assert model_info(load("sicmh-small")).searches is True


def test_the_page_is_a_few_files_that_let_nothing_in_from_elsewhere(serve) -> None:
    from icm_serve.page import PATHS

    service = serve(token="sesame")
    for path in PATHS:  # they need no token: they ask for it
        found = service.ask("GET", path)
        assert found.status == 200 and found.body, path
        policy = dict(part.split(maxsplit=1) for part in found.headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' blob:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert (
            b"http://" not in found.body.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in found.body
        )
    for path in ("/page.css/", "/__init__.py", "/page/main.js", "/main.js/../__init__.py"):
        assert service.ask("GET", path).status == 401, path
