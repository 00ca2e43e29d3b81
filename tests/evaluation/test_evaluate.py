"""`evaluate`: its figures against independent computations on the files that it kept, and how it goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import build, build_registry, load, parse_spec
from icm_core.bitstream.container import read
from icm_core.errors import InputError
from icm_core.pictures import to_picture
from icm_core.pipeline.fill import fill
from icm_core.pipeline.task import Task
from icm_core.pipeline.weights import save
from icm_core.plugins.datasets import open_dataset
from icm_core.spec.places import head_of
from icm_core.types import Features, Legend, Prediction
from icm_evaluation.curves import curves_of
from icm_evaluation.kinds import told
from icm_evaluation.measure import file_name
from icm_evaluation.measure import measure as measure_picture
from icm_evaluation.options import Options, spread
from icm_evaluation.plan import Setting, make_plan
from icm_evaluation.provenance import command_of
from icm_evaluation.results import Result, read_result
from icm_evaluation.run import evaluate
from icm_evaluation.work import whole_qualities


def without_times(result: Result) -> dict[str, object]:
    data = result.model_dump()
    del data["workers"]
    for point in (*data["points"], *(point for row in data["pictures"] for point in row["points"])):
        del point["encode_seconds"], point["decode_seconds"]
    return data


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float64)


def numpy_miou(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int = 4) -> float:
    scores = []
    for number in range(classes):
        inside = sum(int(((seen == number) & (true == number)).sum()) for true, seen in pairs)
        around = sum(int((((seen == number) | (true == number)) & (true != 255)).sum()) for true, seen in pairs)
        if around:
            scores.append(inside / around)
    return 100 * float(np.mean(scores))


def test_clean_pictures_are_for_heads_that_read_pictures_alone_and_fine_needs_the_whole_file(
    folder, monkeypatch
) -> None:
    registry = build_registry()
    pipe = load("scalable", device="cpu", registry=registry)
    data = open_dataset(f"maps:{folder}", "val", registry)
    plan = make_plan(pipe, data, registry, (1.0,))
    assert {name: one.info.whole for name, one in plan.tasks.items()} == {
        "segmentation": False, "coarse": False, "fine": True,
    }  # fmt: skip
    assert plan.clean == ("segmentation",)
    monkeypatch.setattr(type(pipe.task("segmentation").head), "requires", ("image", "fused"))
    assert make_plan(pipe, data, registry, (1.0,)).clean == ()


@pytest.mark.parametrize(("base", "fine"), [((1.0, 9.0), (1.0,)), ((1.0,), (1.0, 9.0))])
def test_qualities_of_both_layers_are_looked_at_before_anything_is_coded(folder, base, fine) -> None:
    registry = build_registry()
    pipe = load("scalable", device="cpu", registry=registry)
    data = open_dataset(f"maps:{folder}", "val", registry)
    low, high = pipe.codec.quality_range
    with pytest.raises(InputError, match=rf"^quality 9 is out of range; .* has {low:g} to {high:g}$"):
        make_plan(pipe, data, registry, base, fine)


def test_rates_are_those_of_the_files_on_disk(measure, tmp_path, folder) -> None:
    result = measure(keep=tmp_path / "files")
    for point, quality in zip(result.points, (1, 3), strict=True):
        rates, base_rates = [], []
        for row in result.pictures:
            file = tmp_path / "files" / file_name(row.key, quality)
            rates.append(8 * file.stat().st_size / (row.width * row.height))
            (tmp_path / "base.icm").write_bytes(file.read_bytes()[: read(file.read_bytes()).base_bytes])
            base_rates.append(8 * (tmp_path / "base.icm").stat().st_size / (row.width * row.height))
        assert point.bpp == pytest.approx(np.mean(rates), rel=1e-12)
        assert point.base_bpp == pytest.approx(np.mean(base_rates), rel=1e-12)
    assert result.data.sizes == {"20x33": 1, "190x180": 1, "40x24": 3}


def test_a_base_only_file_is_as_long_as_the_base_bytes_say(measure, folder) -> None:
    row = measure().pictures[0]
    pipe = load("scalable", device="cpu")
    picture = Image.open(folder / "val" / "p0_0.png")
    assert row.points[0].base_bytes == len(pipe.encode(picture, quality=1, enhancement=False))
    assert row.points[0].payload_bytes == row.points[0].bytes - 35


def test_miou_is_that_of_numpy_over_all_pixels_that_count(measure, tmp_path, folder) -> None:
    result = measure(keep=tmp_path / "files")
    pipe = load("scalable", device="cpu")
    pairs = []
    for row in result.pictures:
        blob = (tmp_path / "files" / file_name(row.key, 3)).read_bytes()
        seen = pipe.decode(blob, tasks=["segmentation"])["segmentation"].output[0].argmax(0).numpy()
        pairs.append((pixels(folder / "valannot" / f"{Path(row.key).name}.png"), seen))
    assert result.points[1].tasks["segmentation"]["miou"] == pytest.approx(numpy_miou(pairs), rel=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_clean_pictures_are_read_in_the_precision_of_coded_ones(measure, monkeypatch, precision) -> None:
    seen: list[bool] = []
    original = Task.answer

    def answer(task: Task, features: Features) -> Prediction:
        seen.append(torch.is_autocast_enabled("cpu"))
        return original(task, features)

    monkeypatch.setattr(Task, "answer", answer)
    found = measure(tasks=("segmentation",), qualities=(2.0,), limit=1, precision=precision)
    assert found.points[0].tasks["segmentation"]["clean"] is not None
    assert seen and set(seen) == {precision == "bf16"}


def test_clean_and_drop_are_of_the_same_head_on_the_pictures_themselves(measure, folder) -> None:
    result = measure()
    head = load("scalable", device="cpu").task("segmentation").head
    pairs = []
    for path in sorted((folder / "val").iterdir()):
        x = torch.from_numpy(pixels(path)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            for layer in head.layers:
                x = layer(x)
        pairs.append((pixels(folder / "valannot" / path.name), x[0].argmax(0).numpy()))
    for point in result.points:
        found = point.tasks["segmentation"]
        assert found["clean"] == pytest.approx(numpy_miou(pairs), rel=1e-6)
        assert found["drop"] == pytest.approx(found["clean"] - found["miou"], abs=1e-9)


def test_psnr_is_that_of_the_eight_bit_pictures_by_hand(measure, tmp_path, folder) -> None:
    result = measure(keep=tmp_path / "files")
    pipe = load("scalable", device="cpu")
    for task in ("coarse", "fine"):
        found = []
        for row in result.pictures:
            blob = (tmp_path / "files" / file_name(row.key, 1)).read_bytes()
            shown = np.asarray(to_picture(pipe.decode(blob, tasks=[task])[task].output), dtype=np.float64)
            original = pixels(folder / "val" / f"{Path(row.key).name}.png")
            found.append(10 * math.log10(255**2 / np.mean((shown - original) ** 2)))
        assert result.points[0].tasks[task]["psnr"] == pytest.approx(np.mean(found), abs=1e-5)


def test_a_picture_too_small_for_ms_ssim_leaves_it_out(measure) -> None:
    result = measure()
    assert result.points[0].tasks["coarse"]["ms_ssim"] is None
    assert [row.points[0].tasks["coarse"]["ms_ssim"] is not None for row in result.pictures] == [False] * 4 + [True]


def test_classes_of_the_data_set_are_found_among_the_heads_by_name(measure, tmp_path) -> None:
    result = measure(kind="named", keep=tmp_path / "files")
    pipe = load("scalable", device="cpu")
    hits = []
    for row in result.pictures:
        blob = (tmp_path / "files" / file_name(row.key, 1)).read_bytes()
        ranking = pipe.decode(blob, tasks=["classification"])["classification"].output[0].argsort(descending=True)
        place = ranking.tolist().index((5, 0, 3)[int(row.key[-1])])
        hits.append((place < 1, place < 5))
    found = result.points[0].tasks["classification"]
    assert (found["top1"], found["top5"]) == tuple(
        pytest.approx(100 * np.mean(part)) for part in zip(*hits, strict=True)
    )


def test_only_what_the_data_set_is_about_is_measured(measure) -> None:
    assert set(measure(kind="plain").tasks) == {"coarse", "fine"}
    result = measure(kind="named")
    assert set(result.tasks) == {"classification", "coarse", "fine"}
    assert list(result.skipped) == ["segmentation"]


def test_a_pipeline_without_enhancement_has_base_files_only(measure) -> None:
    result = measure("single")
    assert set(result.tasks) == {"segmentation", "coarse"}
    assert all(point.bpp == point.base_bpp for point in result.points)


def test_figures_do_not_depend_on_the_workers(measure) -> None:
    assert without_times(measure(workers=2)) == without_times(measure(workers=1))


def test_figures_are_the_same_on_ray(measure) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'icm-framework[ray]'")
    assert without_times(measure(engine="ray", workers=2)) == without_times(measure(workers=1))


def test_an_engine_that_there_is_not_is_refused(measure) -> None:
    with pytest.raises(InputError, match=r"unknown engine 'rai'; did you mean 'ray'\?"):
        measure(engine="rai")


def test_a_stopped_run_goes_on_where_it_was(measure, folder, tmp_path, monkeypatch) -> None:
    root = shutil.copytree(folder, tmp_path / "data")
    broken = root / "val" / "p3_0.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"p3_0\.png cannot be read"):
        measure(root=root)
    shutil.copy(folder / "val" / "p3_0.png", broken)
    # The line that was being written when the power went is not a line yet.
    with (tmp_path / "scalable.json.journal").open("ab") as journal:
        journal.write(b'{"number":3,"row":{"ke')

    import icm_evaluation.work as work

    asked: Counter[str] = Counter()
    original = work.measure

    def counted(pipe, plan, sample, keep):
        asked[sample.key] += 1
        return original(pipe, plan, sample, keep)

    monkeypatch.setattr(work, "measure", counted)
    went_on = measure(root=root)
    assert sorted(asked) == ["val/p3_0", "val/p4_1"]
    assert not (tmp_path / "scalable.json.journal").exists()
    assert without_times(went_on) == without_times(measure())


@pytest.mark.parametrize(
    "changes",
    [
        {"qualities": (2.0,)},
        {"qualities": (1.0,), "enhancement": (1.0, 3.0)},
        {"tasks": ("coarse",)},
        {"precision": "bf16"},
        {"params": '{"size": [24, 40]}'},
    ],
)
def test_a_journal_of_another_measurement_is_not_gone_on_with(measure, folder, tmp_path, changes) -> None:
    root = shutil.copytree(folder, tmp_path / "data")
    (root / "val" / "p3_0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        measure(root=root)
    with pytest.raises(InputError, match="beginning of another measurement"):
        measure(root=root, **changes)


def searching(folder: Path, **codec: object) -> Path:
    """The spec of a pipeline that searches, with weights."""
    torch.manual_seed(0)
    params = {"width": 8, "h1_channels": 16, "h2_channels": 8, **codec}
    spec = {
        "icm": 1,
        "name": "searching",
        "codec": {"use": "sicmh.hyperprior", "params": params},
        "tasks": {
            "coarse": {
                "adapter": {"use": "sicmh.multi_scale"},
                "head": {"use": "sicmh.coarse"},
                "search": [100.0, 100.0],
            }
        },
        "weights": "searching.safetensors",
    }
    path = folder / "searching.json"
    path.write_text(json.dumps(spec))
    pipe = load(path, device="cpu", weights=False)
    if pipe.codec.deep is not None:
        torch.nn.init.normal_(pipe.codec.deep.last.weight)
    pipe.codec.freeze_tables()
    save(pipe, {path.with_suffix(".safetensors"): [""]})
    return path


def test_a_search_is_measured_on_the_files_that_it_makes(measure, tmp_path, folder) -> None:
    path = searching(tmp_path)
    options = Options(
        str(path), f"maps:{folder}", qualities=(2.0,), limit=1, workers=1, effort=2, keep=tmp_path / "kept"
    )
    result = evaluate(options, tmp_path / "result.json")
    assert (result.system, result.model) == ("searching+search2", "searching")
    assert (result.effort, result.searched) == (2, ["coarse"])
    assert result.command.endswith("-q 2 --limit 1 --effort 2")
    (kept,) = (tmp_path / "kept").iterdir()
    picture = Image.open(folder / "val" / "p0_0.png")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert kept.read_bytes() == load(path, device="cpu").encode(picture, 2, effort=2)
    finally:
        torch.set_num_threads(threads)


def test_another_encoder_stands_in_the_systems_name_and_made_the_files(tmp_path, folder) -> None:
    path = searching(tmp_path, deep=16)
    kept = {}
    for encoder, name, said in (("deep", "searching+deep", "deep"), ("fast", "searching", None)):
        options = Options(
            str(path), f"maps:{folder}", qualities=(2.0,), limit=1, workers=1, encoder=encoder, keep=tmp_path / encoder
        )
        result = evaluate(options, tmp_path / f"{encoder}.json")
        assert (result.system, result.encoder) == (name, said)
        assert result.command.endswith(f"-q 2 --limit 1 --encoder {encoder}")
        (file,) = (tmp_path / encoder).iterdir()
        kept[encoder] = file.read_bytes()
    assert kept["deep"] != kept["fast"]


def test_seconds_are_those_of_encoding_and_of_decoding_alone(folder, monkeypatch) -> None:
    registry = build_registry()
    pipe, data = load("scalable", device="cpu", registry=registry), open_dataset(f"maps:{folder}", "val", registry)
    plan = make_plan(pipe, data, registry, (1.0, 2.0))
    clock = iter([10.0, 12.0, 17.0, 100.0, 100.25, 101.0])
    monkeypatch.setattr("icm_evaluation.measure.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = [(one.encode_seconds, one.decode_seconds) for one in measure_picture(pipe, plan, data[0]).points]
    assert found == [(2.0, 5.0), (0.25, 0.75)]


def test_a_row_has_the_size_of_its_picture_and_the_bytes_of_each_kept_file(folder, tmp_path) -> None:
    registry = build_registry()
    pipe, data = load("scalable", device="cpu", registry=registry), open_dataset(f"maps:{folder}", "val", registry)
    plan = make_plan(pipe, data, registry, (1.0,), (2.0, 3.5))
    picture, target = data[2].picture, data[2].target
    row = measure_picture(pipe, plan, data[2], tmp_path)
    assert (row.key, row.width, row.height) == ("val/p2_2", 20, 33)
    base = len(pipe.encode(picture, quality=1.0, enhancement=False))
    assert len(row.points) == 2 and row.clean.keys() == {"segmentation"}
    for point, fine in zip(row.points, (2.0, 3.5), strict=True):
        blob = pipe.encode(picture, quality=1.0, enhancement_quality=fine)
        assert (tmp_path / f"val.p2_2.q1.e{fine:g}.icm").read_bytes() == blob
        assert (point.setting, point.bytes, point.base_bytes) == ((1.0, fine), len(blob), base)
        assert point.payload_bytes == len(blob) - read(blob).overhead < len(blob)
        counted = int((target != 255).sum())
        for tally in (point.tasks["segmentation"], row.clean["segmentation"]):
            assert sum(tally["confusion"]) == counted > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val.p2_2.q1.e2.icm", "val.p2_2.q1.e3.5.icm"]


def test_outputs_say_what_they_are_and_whose_head_and_adapter_made_them(folder) -> None:
    registry = build_registry()
    spec = load("scalable", device="cpu", registry=registry).spec.to_json()
    seen = {"adapter": {"use": "core.decoded_picture", "params": {"of": "fine"}}, "head": {"use": "shown.labels"}}
    pipe = build(parse_spec({**spec, "tasks": {**spec["tasks"], "seen": seen}}), registry)
    plan = make_plan(pipe, open_dataset(f"maps:{folder}", "val", registry), registry, (1.0,))
    assert {name: (one.info.head, one.info.adapter, one.info.whole) for name, one in plan.tasks.items()} == {
        "segmentation": ("shown.labels", "tiny.enlarge", False),
        "coarse": ("tiny.picture", "tiny.enlarge", False),
        "seen": ("shown.labels", "core.decoded_picture", True),
        "fine": ("tiny.residual", "", True),
    }
    assert plan.tasks["seen"].info.labels == ["sky", "<road>", "tree", "car"]
    assert {name: one.info.kind for name, one in plan.tasks.items()}["fine"] == "reconstruction"
    some = make_plan(pipe, open_dataset(f"maps:{folder}", "val", registry), registry, (1.0,), only=["seen", "fine"])
    assert [*some.tasks] == ["seen", "fine"] and some.skipped == {} and some.legend.ignore == 255


def test_progress_is_told_from_what_was_there_to_the_last_picture(folder, tmp_path, monkeypatch) -> None:
    told: list[tuple[int, int, str]] = []

    def advance(*step) -> None:
        told.append(step)
        if len(told) == 2:
            raise KeyboardInterrupt

    options = Options("single", f"maps:{folder}", qualities=(2.0,), limit=3, workers=1, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        evaluate(options, tmp_path / "a" / "b.json", advance=advance)
    assert told == [(0, 3, ""), (1, 3, "val/p0_0")]
    result = evaluate(options, tmp_path / "a" / "b.json", advance=advance)
    assert told[2:] == [(1, 3, ""), (2, 3, "val/p1_1"), (3, 3, "val/p3_0")]
    assert (result.data.pictures, result.data.of, result.workers) == (3, 5, 1)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_whole_qualities_are_those_within_the_codecs_range(monkeypatch) -> None:
    pipe = load("scalable", device="cpu")
    for bounds, qualities in {(1.0, 4.0): (1, 2, 3, 4), (1.5, 3.5): (2, 3), (1.25, 1.75): (1.25,)}.items():
        monkeypatch.setattr(type(pipe.codec), "quality_range", bounds)
        assert whole_qualities(pipe) == qualities


def test_the_command_says_all_that_figures_depend_on() -> None:
    options = Options(
        "folder/own.json",
        "maps:folder",
        '{"size": 32}',
        "test",
        tasks=("coarse", "fine"),
        limit=7,
        precision="bf16",
        encoder="deep",
        effort=5,
        search_for=("coarse", "segmentation"),
    )
    said = command_of(options, [Setting(2.5, 1.0), Setting(2.5, 3.0)])
    assert said == (
        "icm evaluate own.json --data maps:FOLDER --data-params '{\"size\": 32}' --split test -q 2.5 "
        "--enhancement-quality 1,3 --tasks coarse,fine --limit 7 --encoder deep --effort 5 "
        "--for coarse,segmentation --precision bf16"
    )
    assert command_of(Options("own", "maps:x"), [Setting(1.0), Setting(3.0)]) == (
        "icm evaluate own --data maps:FOLDER --split val -q 1,3"
    )


def test_a_heads_own_names_and_unit_come_first() -> None:
    data = Legend(("a", "b"), unit="ft", ignore=7)
    assert told(Legend(("c", "d"), unit="m"), data) == Legend(("c", "d"), unit="m")
    assert told(Legend(), data) == Legend(("a", "b"), unit="ft")


def test_a_limit_spreads_over_the_data_set(measure) -> None:
    assert spread(101, 4) == [0, 25, 50, 75]
    assert spread(3, 10) == [0, 1, 2]
    assert [row.key for row in measure(limit=2).pictures] == ["val/p0_0", "val/p2_2"]


def test_the_file_is_the_result(measure, tmp_path) -> None:
    result = measure()
    assert read_result(tmp_path / "scalable.json") == result


def test_a_result_names_no_folder(measure, tmp_path, folder) -> None:
    measure()
    text = (tmp_path / "scalable.json").read_text()
    assert str(folder) not in text
    assert json.loads(text)["command"] == "icm evaluate scalable --data maps:FOLDER --split val -q 1,3"


def test_a_class_that_the_head_lacks_is_said(measure, folder, tmp_path) -> None:
    root = shutil.copytree(folder, tmp_path / "data")
    Image.fromarray(np.full((24, 40), 9, np.uint8)).save(root / "valannot" / "p0_0.png")
    with pytest.raises(InputError, match="class 9; classes are 0 to 3"):
        measure(root=root)


def test_a_quality_out_of_range_is_said(measure) -> None:
    with pytest.raises(InputError, match="quality 9 is out of range; pipeline 'scalable' has 1 to 4"):
        measure(qualities=(1.0, 9.0))


def test_the_command_writes_and_prints(run, folder, tmp_path) -> None:
    shown = run("evaluate", "single", "--data", f"maps:{folder}", "-q", "2", "--limit", 2, "--workers", 1,
                "--json", tmp_path / "out" / "single.json")  # fmt: skip
    assert "segmentation miou" in shown
    assert "not measured: classification" in shown
    assert read_result(tmp_path / "out" / "single.json").data.pictures == 2


def test_the_command_answers_a_wrong_option_with_a_sentence(fail, folder, tmp_path) -> None:
    common = ("evaluate", "single", "--data", f"maps:{folder}", "--json", tmp_path / "a.json")
    assert "-q is 'x'" in fail(*common, "-q", "x")
    assert "limit is 0" in fail(*common, "--limit", "0")
    assert "unknown data set 'mapz'; did you mean 'maps'" in fail(*common[:3], "mapz:x", *common[4:])


def test_a_head_behind_the_refined_picture_counts_whole_files(measure, site, tmp_path) -> None:
    """Four measurements of one head: behind side information, behind what people see coarse and fine, and clean."""
    behind = {
        name: {"adapter": {"use": "core.decoded_picture", "params": {"of": name.removeprefix("behind_")}}}
        for name in ("behind_coarse", "behind_fine")
    }
    spec = {"icm": 1, "name": "behind", "extends": "scalable.json", "weights": "behind.safetensors"}
    spec["tasks"] = {name: {**part, "head": {"use": "shown.labels"}} for name, part in behind.items()}
    path = site / "behind.json"
    path.write_text(json.dumps(spec))
    filled = {head_of(name): f"copy:{head_of('segmentation')}" for name in behind}
    fill(path, build_registry(), filled)
    found = measure(str(path))
    assert found.tasks["behind_fine"].whole and not found.tasks["behind_coarse"].whole
    rates = {curve.task: curve.rates for curve in curves_of(found) if curve.metric == "miou"}
    assert rates["behind_fine"] == tuple(point.bpp for point in found.points)
    assert rates["behind_coarse"] == rates["segmentation"] == tuple(point.base_bpp for point in found.points)
    clean = {found.points[0].tasks[name]["clean"] for name in ("segmentation", "behind_coarse", "behind_fine")}
    assert len(clean) == 1
