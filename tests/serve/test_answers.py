"""What a service answers to requests that are in order."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from icm_core import build, parse_spec
from icm_core.bitstream import split
from icm_core.bitstream.container import read
from icm_core.pipeline.told import told


def picture(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def test_a_picture_is_coded_as_the_pipeline_does(service, pipe, photo, png) -> None:
    found = service.ask("POST", "/encode?quality=2.5", png)
    assert found.status == 200 and found.body == pipe.encode(photo, 2.5)
    assert found.headers["Content-Type"] == "application/octet-stream" and found.headers["X-Icm-Model"] == "tiny"
    assert int(found.headers["X-Icm-Base-Bytes"]) == read(found.body).base_bytes < len(found.body)
    short = service.ask("POST", "/encode?quality=2.5&enhancement=false&control=true", png)
    assert short.body == pipe.encode(photo, 2.5, enhancement=False, control=True)
    finer = service.ask("POST", "/encode?quality=2.5&enhancement_quality=1", png)
    assert finer.body == pipe.encode(photo, 2.5, enhancement_quality=1)
    assert service.ask("POST", "/encode", png).body == pipe.encode(photo, 3)


def test_answers_are_those_of_their_kinds(service, pipe, photo) -> None:
    blob = pipe.encode(photo, 2)
    found = service.ask("POST", "/decode", blob).json
    assert isinstance(found.pop("seconds"), float)
    expected = told(pipe, pipe.decode(blob))
    assert found == {
        "pipeline": "tiny",
        "height": 40,
        "width": 56,
        "quality": 2.0,
        "bytes": len(blob),
        "bpp": 8 * len(blob) / (40 * 56),
        "truncated": False,
        "tasks": {name: json.loads(json.dumps(one.row)) for name, one in expected.items()},
    }
    assert list(found["tasks"]) == ["labels", "classes", "coarse", "fine"]
    assert len(found["tasks"]["classes"]["top"]) == 5


def test_only_what_is_asked_for_is_answered(service, pipe, photo) -> None:
    blob = pipe.encode(photo, 2)
    assert list(service.ask("POST", "/decode?tasks=fine,classes,fine", blob).json["tasks"]) == ["fine", "classes"]
    base = blob[: read(blob).base_bytes + 5]
    found = service.ask("POST", "/decode", base).json
    assert list(found["tasks"]) == ["labels", "classes", "coarse"] and found["truncated"] is True


def test_pictures_are_png(service, pipe, photo) -> None:
    blob = pipe.encode(photo, 2)
    expected = told(pipe, pipe.decode(blob), draw=True)
    for path, headers in (
        ("/decode?task=fine&format=png", {}),
        ("/decode?task=fine", {"Accept": "image/png,*/*;q=0.5"}),
        ("/decode?tasks=fine", {"Accept": "image/png"}),
    ):
        found = service.ask("POST", path, blob, headers)
        assert found.headers["Content-Type"] == "image/png", path
        assert np.array_equal(picture(found.body), expected["fine"].picture)
    labels = picture(service.ask("POST", "/decode?task=labels&format=png", blob).body)
    assert labels.mode == "P" and np.array_equal(labels, expected["labels"].picture)
    drawn = picture(service.ask("POST", "/decode?task=classes&format=png&draw=true", blob).body)
    alone = told(pipe, pipe.decode(blob, ["classes"]), draw=True)  # on the coarse picture: no other was decoded
    assert np.array_equal(drawn, alone["classes"].drawing)
    refused = service.ask("POST", "/decode?task=classes&format=png", blob)
    assert refused.status == 400 and "task 'classes' answers in words" in refused.json["error"]
    for path in ("/decode?format=png", "/decode?format=png&tasks=fine,coarse"):
        refused = service.ask("POST", path, blob)
        assert refused.status == 400 and "a PNG is of one task" in refused.json["error"]


def test_an_enhancement_that_comes_later_is_joined(service, pipe, photo) -> None:
    blob = pipe.encode(photo, 2, control=True)
    base, part = split(blob)
    assert service.ask("POST", "/refine?whole=true", base + part).body == blob
    found, whole = service.ask("POST", "/refine", base + part).json, service.ask("POST", "/decode", blob).json
    assert found["tasks"] == whole["tasks"] and "fine" in found["tasks"]
    fine = service.ask("POST", "/refine?task=fine&format=png", base + part).body
    assert np.array_equal(picture(fine), told(pipe, pipe.decode(blob))["fine"].picture)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda base, part: b"", "ends after 0 bytes, inside its base layer"),
        (lambda base, part: base, "the enhancement part does not start with 'ICE'"),
        (lambda base, part: base + part[:-1], "the enhancement part is cut"),
        (lambda base, part: base[:-1] + part, "the file is damaged: the checksum of its base layer"),
        (lambda base, part: base + part[:-1] + bytes([part[-1] ^ 1]), "the checksum of its enhancement"),
    ],
    ids=["empty", "base", "cut", "shifted", "damaged"],
)
def test_parts_that_do_not_make_a_file(service, pipe, photo, change, says) -> None:
    refused = service.ask("POST", "/refine", change(*split(pipe.encode(photo, 2))))
    assert refused.status == 400 and says in refused.json["error"]


def test_parts_of_two_files(service, pipe, photo) -> None:
    (base, _), (_, part) = split(pipe.encode(photo, 2)), split(pipe.encode(photo, 3))
    refused = service.ask("POST", "/refine", base + part)
    assert refused.status == 400 and "belongs to another file" in refused.json["error"]


def test_what_is_served_is_listed(service, pipe) -> None:
    (found,) = service.ask("GET", "/models").json
    assert found["name"] == "tiny" and found["qualities"] == [1, 4]
    assert found["fingerprint"] == pipe.base_fingerprint.hex()
    assert found["enhancement"] == pipe.enhancement_fingerprint.hex()
    assert [(task["name"], task["kind"]) for task in found["tasks"]] == [
        ("labels", "segmentation"),
        ("classes", "classification"),
        ("coarse", "reconstruction"),
        ("fine", "reconstruction"),
    ]
    assert found["tasks"][1]["labels"] == [f"class {index}" for index in range(7)]


def test_a_file_finds_its_pipeline(serve, registry, pipe, photo, png) -> None:
    spec = {"icm": 1, "name": "other", "codec": {"use": "tiny.thumbnail", "params": {"steps": 5}}}
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}
    other = build(parse_spec({**spec, "tasks": {"coarse": task}}), registry)
    service = serve(pipes=[pipe, other])
    assert [one["name"] for one in service.ask("GET", "/models").json] == ["tiny", "other"]
    blob = service.ask("POST", "/encode?model=other&quality=2", png).body
    assert blob == other.encode(photo, 2)
    assert service.ask("POST", "/decode", blob).json["pipeline"] == "other"
    assert service.ask("POST", "/decode", pipe.encode(photo, 2)).json["pipeline"] == "tiny"
    refused = service.ask("POST", "/decode?model=tiny", blob)
    assert refused.status == 400 and "was written by another pipeline" in refused.json["error"]
    refused = service.ask("POST", "/encode?model=othr", png)
    assert refused.status == 404 and "'other'" in refused.json["error"]


def test_of_pipelines_with_one_base_layer_a_file_finds_the_one_with_its_enhancement(
    serve, registry, pipe, photo
) -> None:
    twin = build(parse_spec({**pipe.spec.to_json(), "name": "twin"}), registry)
    twin.load_state_dict({name: value + (name == "enhancement.scale") for name, value in pipe.state_dict().items()})
    assert twin.base_fingerprint == pipe.base_fingerprint
    service = serve(pipes=[pipe, twin])
    for one in (twin, pipe):
        found = service.ask("POST", "/decode?tasks=coarse,fine", one.encode(photo, 2))
        assert (found.status, found.json["pipeline"]) == (200, one.name)
        assert service.ask("POST", "/info", one.encode(photo, 2)).json["pipeline"] == one.name


def test_the_interface_is_described(service) -> None:
    found = service.ask("GET", "/openapi.json").json
    works, about = {"/encode", "/decode", "/refine", "/info", "/compare"}, {"/models", "/limits", "/health", "/metrics"}
    assert set(found["paths"]) == works | about
    encode = found["paths"]["/encode"]["post"]
    assert {one["name"] for one in encode["parameters"]} >= {"quality", "model", "enhancement", "effort"}
    assert "application/octet-stream" in encode["requestBody"]["content"]
    assert {"200", "400", "413", "422", "503", "504"} <= set(encode["responses"])
    for path in ("/docs", "/redoc"):  # they would fetch scripts from elsewhere
        assert service.ask("GET", path).status == 404


def test_health_and_counters(service, pipe, photo, png) -> None:
    assert service.ask("GET", "/health").json == {"status": "ok", "waiting": 0}
    service.ask("POST", "/encode", png)
    service.ask("POST", "/decode", b"garbage")
    service.ask("GET", "/not/there/at/all")
    text = service.ask("GET", "/metrics").body.decode()
    for line in (
        'icm_requests_total{path="/encode",status="200"} 1.0',
        'icm_requests_total{path="/decode",status="400"} 1.0',
        'icm_requests_total{path="other",status="404"} 1.0',
        f"icm_received_bytes_total {float(len(png) + 7)}",
        "icm_batch_size_count 1.0",
        "icm_waiting 0.0",
        "icm_places_taken 0.0",
    ):
        assert line in text.splitlines(), text


def test_the_command_says_what_it_cannot_do(tmp_path, service) -> None:
    from icm_core.cli import app

    (tmp_path / "empty").write_text("\n")
    for arguments, says in (
        (["--port", str(service.port)], f"cannot listen at 127.0.0.1, port {service.port}"),
        (["--token-file", str(tmp_path / "empty")], "holds no token"),
        (["--token-file", str(tmp_path / "absent")], "absent"),
        (["no-such-model", "--port", "0"], "no-such-model"),
    ):
        result = CliRunner().invoke(app, ["serve", *arguments])
        assert result.exit_code == 2 and says in result.stderr, result.stderr


def test_the_program_says_what_is_not_installed(monkeypatch) -> None:
    from icm_core.cli import app

    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not there
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert result.stderr == "icm: icm serve needs uvicorn: pip install 'icm-framework[serve]'\n"
