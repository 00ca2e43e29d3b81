"""Kinds of answers that evaluation has never heard of: the whole chain asks them."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from icm_core import load
from icm_core.cli import app
from icm_core.errors import InputError
from icm_core.interfaces import Figure, TaskKind
from icm_core.pipeline.weights import save
from icm_core.plugins.datasets import open_dataset
from icm_core.plugins.registry import build_registry
from icm_core.types import Legend
from icm_evaluation.ablated import page, summary
from icm_evaluation.ablation import Job
from icm_evaluation.bootstrap import FEWER, FEWEST, TALLIES, Resampler, draws_of
from icm_evaluation.compare import compare
from icm_evaluation.curves import curves_of
from icm_evaluation.gallery import shoot
from icm_evaluation.kinds import Kinds, figures, kept
from icm_evaluation.measure import file_name
from icm_evaluation.options import Options
from icm_evaluation.plots import panels_of
from icm_evaluation.results import Result, read_result
from icm_evaluation.run import evaluate
from icm_evaluation.summary import points_of
from icm_evaluation.variants import Variant

COUNT = 12
DATA = f'{{"count": {COUNT}}}'


def of_spots(out: Path, *, model: str = "spots-jpeg", data: str = "field:.", params: str = DATA, **more) -> Result:
    options = Options(model, data, params, **{"workers": 1, "device": "cpu", "qualities": (1.0, 3.0), **more})
    return evaluate(options, out / "result.json")


def with_head(out: Path, head: str, codec: str = "baselines.jpeg", **params) -> str:
    """Path of a spec of one task, called as its head is."""
    spec = {
        "icm": 1,
        "name": head.rpartition(".")[2],
        "codec": {"use": codec},
        "tasks": {"it": {"adapter": {"use": "baselines.pixels"}, "head": {"use": head, "params": params}}},
        "weights": "weights.safetensors",
    }
    path = out / f"{spec['name']}.json"
    path.write_text(json.dumps(spec))
    save(load(path, device="cpu", weights=False), {out / "weights.safetensors": [""]})
    return str(path)


def test_a_figure_of_the_whole_set_is_that_of_numpy_on_the_kept_files(spotted) -> None:
    result = read_result(spotted["spots-jpeg"])
    registry = build_registry()
    pipe = load("spots-jpeg", device="cpu", registry=registry)
    data = open_dataset("field:.", "val", registry, {"count": COUNT})
    distances = []
    for number in range(COUNT):
        sample = data[number]
        blob = (spotted["spots-jpeg"].parent / "spots-jpeg" / file_name(sample.key, 2)).read_bytes()
        found = pipe.decode(blob, tasks=["spots"])["spots"].output[0]["places"]["xy"].numpy()
        for spot in sample.target["places"]["xy"].numpy():
            distances.append(np.sqrt(((found - spot) ** 2).sum(1)).min())
    point = result.points[1].tasks["spots"]
    assert len(distances) > COUNT
    assert point["median"] == pytest.approx(float(np.median(distances)), rel=1e-5)
    assert point["near"] == pytest.approx(100 * np.mean(np.array(distances) < 1), rel=1e-6)
    # It is no mean over pictures: set-level figures are made of all tallies together.
    each = [statistics.median(row.points[1].tasks["spots"]["distances"]) for row in result.pictures
            if row.points[1].tasks["spots"]["distances"]]  # fmt: skip
    assert point["median"] != pytest.approx(statistics.fmean(each), rel=1e-3)


def test_a_drop_is_by_how_much_coding_is_worse_where_less_is_better(spotted) -> None:
    for point in read_result(spotted["spots-jpeg"]).points:
        found = point.tasks["spots"]
        assert found["drop"] == pytest.approx(found["median"] - found["clean"], abs=1e-12)
        assert list(found) == ["median", "near", "clean", "drop"]
    assert found["clean"] < read_result(spotted["spots-jpeg"]).points[0].tasks["spots"]["median"]


def test_nested_tallies_come_back_from_the_file_as_they_were(tmp_path) -> None:
    result = of_spots(tmp_path)
    again = read_result(tmp_path / "result.json")
    assert again == result
    tallies = [row.points[0].tasks["spots"] for row in again.pictures]
    assert {len(tally["distances"]) for tally in tallies} == {0, 1, 2, 3, 4}
    assert [tally["seen"] is None for tally in tallies] == [not tally["distances"] for tally in tallies]


def test_a_journal_knows_a_third_partys_kind(tmp_path, monkeypatch) -> None:
    import icm_evaluation.work as work

    original = work.measure

    def stops(pipe, plan, sample, keep):
        if sample.key == "val/7":
            raise InputError("the power went")
        return original(pipe, plan, sample, keep)

    monkeypatch.setattr(work, "measure", stops)
    with pytest.raises(InputError, match="the power went"):
        of_spots(tmp_path)
    monkeypatch.setattr(work, "measure", original)
    went_on = of_spots(tmp_path)
    fresh = of_spots(tmp_path)
    assert [point.tasks for point in went_on.points] == [point.tasks for point in fresh.points]
    assert [row.clean for row in went_on.pictures] == [row.clean for row in fresh.pictures]


def test_a_data_set_of_a_kind_that_is_also_another_is_measured(tmp_path) -> None:
    more = of_spots(tmp_path, data="field_or_more:.")
    assert more.data.kind == "spots.more"
    assert more.points[0].tasks["spots"] == of_spots(tmp_path).points[0].tasks["spots"]


def test_a_data_set_of_another_kind_skips_the_task_and_says_why(tmp_path, folder) -> None:
    result = of_spots(tmp_path, data=f"maps:{folder}", params="")
    assert set(result.tasks) == {"picture"}
    assert result.skipped == {"spots": "the data set has targets of kind segmentation, the head is of kind spots.spots"}
    with pytest.raises(InputError, match=r"^nothing of pipeline 'finder' can be measured on this data set: it: the "
                                         r"data set has no targets, the head is of kind spots\.spots$"):  # fmt: skip
        of_spots(tmp_path, model=with_head(tmp_path, "spots.finder"), data=f"plain:{folder}", params="")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("shape", r"^the target of val/1 has places of shape \(1,\); it should be \(N, 2\) float32$"),
        ("none", "^val/1 has no target, though its data set has some$"),
    ],
)
def test_a_target_that_is_not_of_its_kind_is_named(tmp_path, wrong, said) -> None:
    with pytest.raises(InputError, match=said):
        of_spots(tmp_path, params=json.dumps({"count": 2, "wrong": wrong}))


def test_an_answer_that_no_file_could_hold_is_said(tmp_path) -> None:
    with pytest.raises(InputError, match=r"^a tally of kind 'spots\.spots' cannot be kept as JSON: "):
        of_spots(tmp_path, model=with_head(tmp_path, "spots.blind"), params='{"count": 2}')


def test_the_mean_absolute_error_is_that_of_numpy(tmp_path, folder) -> None:
    model = with_head(tmp_path, "measured.means", codec="baselines.jpeg")
    result = of_spots(tmp_path, model=model, data=f"brightness:{folder}", params="", keep=tmp_path / "files")
    pipe = load(model, device="cpu")
    errors = []
    for path in sorted((folder / "val").iterdir()):
        blob = (tmp_path / "files" / file_name(f"val/{path.stem}", 3)).read_bytes()
        red, _, blue = pipe.decode(blob)["it"].output[0].double().numpy()
        with Image.open(path) as image:
            true = np.asarray(image, dtype=np.float64).mean((0, 1))
        errors.append((abs(red - true[0]), abs(blue - true[2])))
    found = result.points[1].tasks["it"]
    assert found["mae"] == pytest.approx(np.mean(errors), rel=1e-5) and found["mae"] > 0
    assert found["mae.red"] == pytest.approx(np.mean(errors, axis=0)[0], rel=1e-5)
    assert found["mae.blue"] == pytest.approx(np.mean(errors, axis=0)[1], rel=1e-5)
    assert found["clean"] == pytest.approx(0, abs=1e-4)
    info = result.tasks["it"]
    assert (info.labels, info.unit) == (["red", "green", "blue"], "levels")
    assert (info.figure("mae").unit, info.figure("mae").higher_is_better) == ("levels", False)


def test_values_in_another_unit_are_not_measured(tmp_path, folder) -> None:
    with pytest.raises(InputError, match="it: the data set's values are in lux, the head's in levels"):
        of_spots(tmp_path, model=with_head(tmp_path, "measured.means"), data=f"brightness:{folder}",
                 params='{"unit": "lux"}')  # fmt: skip


def test_less_is_better_through_a_whole_comparison(run, spotted) -> None:
    rows = json.loads(run("compare", *spotted.values(), "--draws", 50, "--at", "median=0.25", "--json"))
    (row,) = (row for row in rows if row["metric"] == "median")
    assert (row["kind"], row["unit"], row["figure"]["higher_is_better"]) == ("spots.spots", "px", False)
    jpeg, webp = (read_result(path) for path in spotted.values())
    median = [[point.tasks["spots"]["median"] for point in result.points] for result in (jpeg, webp)]
    assert row["common"] == [max(map(min, median)), min(map(max, median))]
    # WebP needs a fraction of JPEG's bytes on these small pictures, whatever the median distance.
    assert row["bd_rate"] < -50 and row["bd_rate_interval"][1] < 0
    (at,) = row["at"]
    assert at["level"] == 0.25
    rates = [point.bpp for point in jpeg.points]
    assert rates[1] < at["anchor_bpp"] < rates[2]  # 0.37 and 0.20 pixels
    assert 0 < at["ratio"] < 50


def test_smaller_errors_at_equal_bits_are_more_than_zero(spotted) -> None:
    result = read_result(spotted["spots-webp"])
    data = result.model_dump()
    data["system"] = "nearer"
    for row in data["pictures"]:
        for point in row["points"]:
            tally = point["tasks"]["spots"]
            tally["distances"] = [distance / 2 for distance in tally["distances"]]
    rows = Result.model_validate(data).pictures
    kinds = Kinds(build_registry())
    nearer = Result.model_validate({**data, "points": points_of(rows, result.tasks, result.counted, kinds)})
    (found,) = (one for one in compare([result, nearer], count=50, kinds=kinds) if one.metric == "median")
    medians = [point.tasks["spots"]["median"] for point in result.points]
    assert min(medians) / 2 < found.bd_value < max(medians) / 2
    assert 0 < found.bd_value_interval[0] <= found.bd_value <= found.bd_value_interval[1]
    assert found.bd_rate < 0


def test_a_kind_that_draws_slowly_gets_fewer_draws_and_the_table_says_so(run, spotted) -> None:
    shown = run("compare", *spotted.values(), "--draws", 150, "--at", "near=90")
    row = next(line for line in shown.splitlines() if line.split() and line.split()[0] == "median")
    assert "intervals of 100 draws" in " ".join(shown.split())
    assert "reach spots within a pixel 90 %: no overlap" in shown
    assert row


def test_the_number_of_slow_draws_depends_on_kind_and_pictures_alone() -> None:
    kinds = Kinds(build_registry())
    slow, quick = kinds.get("spots.spots"), kinds.get("segmentation")
    assert draws_of(quick, 1000, 5000) == 1000
    assert draws_of(slow, 1000, 10) == FEWER
    assert draws_of(slow, 20, 10) == 20
    assert draws_of(slow, 1000, 200) == TALLIES // 200
    assert draws_of(slow, 1000, TALLIES // FEWEST) == FEWEST
    assert draws_of(slow, 1000, TALLIES // FEWEST + 1) == 0


def test_a_draw_of_every_picture_once_is_the_curve_itself(spotted) -> None:
    result = read_result(spotted["spots-webp"])
    for curve in curves_of(result):
        (drawn,) = Resampler(np.ones((1, COUNT)), Kinds(build_registry())).points(curve)
        assert drawn.rates == pytest.approx(curve.points.rates)
        assert drawn.values == pytest.approx(curve.points.values, rel=1e-6)


def of_gone_kind(result: Result, name: str | None = None) -> Result:
    data = result.model_dump()
    data["tasks"]["spots"]["kind"] = data["data"]["kind"] = "gone.kind"
    return Result.model_validate({**data, "system": name or data["system"]})


def test_results_of_a_kind_that_is_not_installed_are_compared_without_intervals(run, spotted, tmp_path) -> None:
    from icm_evaluation.results import write_result

    paths = []
    for path in spotted.values():
        paths.append(tmp_path / path.name)
        write_result(paths[-1], of_gone_kind(read_result(path)))
    rows = json.loads(run("compare", *paths, "--draws", 20, "--json"))
    (row,) = (row for row in rows if row["metric"] == "median")
    assert row["note"] == "no common rates; no intervals: the kind 'gone.kind' is not installed"
    assert row["bd_rate"] < -50 and row["bd_rate_interval"] is None
    run("report", *paths, "--draws", 20, "-o", tmp_path / "page.html")
    assert "gone.kind&#39; is not installed" in (tmp_path / "page.html").read_text()


def test_tallies_that_a_kind_cannot_read_cost_the_intervals_alone(spotted) -> None:
    results = []
    for path in spotted.values():
        data = read_result(path).model_dump()
        for row in data["pictures"]:
            for point in row["points"]:
                point["tasks"]["spots"] = {"of": "an earlier version"}
        results.append(Result.model_validate(data))
    (row,) = (row for row in compare(results, count=50, kinds=Kinds(build_registry())) if row.metric == "median")
    assert (
        row.note
        == "no common rates; no intervals: the kind 'spots.spots' cannot read these tallies (KeyError: 'distances')"
    )
    assert row.bd_rate is not None


def test_figures_of_one_name_and_two_kinds_are_not_compared(spotted) -> None:
    jpeg, webp = (read_result(path) for path in spotted.values())
    found = compare([jpeg, of_gone_kind(webp)], count=0)
    assert {one.metric for one in found} == {"psnr"}
    assert [panel.axis for panel in panels_of([jpeg, of_gone_kind(webp)])].count(
        "median distance in px, less is better"
    ) == 2


def test_a_result_says_what_its_figures_are(fail, spotted, tmp_path) -> None:
    data = json.loads(spotted["spots-jpeg"].read_text())
    assert data["tasks"]["spots"]["figures"]["median"] == {
        "title": "median distance", "unit": "px", "higher_is_better": False, "digits": 3,
    }  # fmt: skip
    path = tmp_path / "a.json"
    del data["tasks"]["spots"]["figures"]["near"]
    path.write_text(json.dumps(data))
    said = fail("compare", path, spotted["spots-webp"])
    assert "points have the figure 'near', which tasks.spots.figures does not describe" in said
    del data["tasks"]["spots"]["figures"]
    path.write_text(json.dumps(data))
    assert "the field tasks.spots.figures is missing" in fail("compare", path, spotted["spots-webp"])


def test_results_of_before_figures_described_themselves_are_read(measured, tmp_path) -> None:
    data = json.loads(measured["scalable"].read_text())
    for info in data["tasks"].values():
        for field in ("figures", "labels", "unit"):
            del info[field]
    path = tmp_path / "scalable.json"
    path.write_text(json.dumps(data))
    old, new = read_result(path), read_result(measured["scalable"])
    assert old.tasks["segmentation"].figures == new.tasks["segmentation"].figures
    assert old.tasks["fine"].figures == new.tasks["fine"].figures
    assert compare([old, read_result(measured["single"])], count=30) == compare(
        [new, read_result(measured["single"])], count=30
    )


def test_the_tables_and_the_page_show_a_third_partys_answers(run, spotted, tmp_path) -> None:
    page = tmp_path / "page.html"
    run("report", *spotted.values(), "--draws", 0, "-o", page, "--data", "field:.", "--data-params", DATA,
        "--pictures", 1, "--device", "cpu")  # fmt: skip
    text = page.read_text()
    assert "median distance in px, less is better" in text
    assert "annotation" in text and text.count("spots-jpeg: spots") >= 6
    run("report", *spotted.values(), "--draws", 0, "-o", tmp_path / "page.md")
    table = (tmp_path / "page.md").read_text()
    assert "| spots median, px | spots near, % | spots clean | spots drop |" in table
    value = read_result(spotted["spots-jpeg"]).points[0].tasks["spots"]["median"]
    assert f"| {value:.3f} |" in table
    assert re.search(r"\| median \| spots-jpeg \| spots-webp \| -\d", table)


def test_answers_are_drawn_on_the_picture_and_the_truth_beside_them() -> None:
    registry = build_registry()
    pipe = load("spots-webp", device="cpu", registry=registry)
    data = open_dataset("field:.", "val", registry, {"count": COUNT})
    shot = shoot([pipe], data, 3, kinds=Kinds(registry))
    cell = next(cell for cell in shot.steps[-1].cells if cell.title == "spots-webp: spots")
    assert cell.kind == "spots.spots" and cell.caption.startswith("quality 6, ")
    for drawn in (shot.truth, cell.picture):
        red = (np.asarray(drawn) == (255, 0, 0)).all(2)
        places = np.argwhere(red)[:, ::-1] + 0.5
        for spot in data[3].target["places"]["xy"].numpy():
            assert np.abs(places - spot).max(1).min() <= 4
        original = np.asarray(shot.original)
        assert (np.asarray(drawn)[~red] == original[~red]).all()


def test_a_truth_shows_the_picture_where_the_map_counts_nowhere(folder) -> None:
    registry = build_registry()
    pipe = load("single", device="cpu", registry=registry)
    data = open_dataset(f"maps:{folder}", "val", registry)
    shot = shoot([pipe], data, 0, kinds=Kinds(registry))
    target, shown = data[0].target.numpy(), np.asarray(shot.truth)
    original = np.asarray(shot.original)
    assert shown.shape == original.shape
    assert (shown[target == 255] == original[target == 255]).all()
    assert (shown[target != 255] != original[target != 255]).any(1).mean() > 0.9


def test_words_stand_under_a_picture_that_they_are_written_on(folder) -> None:
    registry = build_registry()
    pipe = load("single", device="cpu", registry=registry)
    data = open_dataset(f"named:{folder}", "val", registry)
    shot = shoot([pipe], data, 4, kinds=Kinds(registry))
    cell = next(cell for cell in shot.steps[-1].cells if cell.title == "single: classification")
    assert re.fullmatch(r"quality 4, \d+ bytes: class \d \d+%.*", cell.caption)
    assert cell.picture is not None and (np.asarray(cell.picture) != np.asarray(shot.original)).any()
    assert shot.truth is not None


def test_a_name_that_results_use_themselves_is_no_figures_name() -> None:
    class Unlucky(type(Kinds(build_registry()).get("spots.spots"))):
        name = "unlucky"

        def figures(self, tallies, legend):
            return {"drop": Figure(1.0)}

    with pytest.raises(InputError, match="kind 'unlucky' has a figure 'drop', a name that results have for another"):
        figures(Unlucky(), [{}], Legend())


def test_tallies_that_do_not_go_together_are_said() -> None:
    errors = [{"errors": [1.0], "mae": 1.0}, {"errors": [1.0, 2.0], "mae": 1.5}]
    with pytest.raises(InputError, match=r"^the figures of kind 'regression' cannot be made of these tallies: zip"):
        figures(Kinds().get("regression"), errors, Legend())


def test_a_tally_is_kept_as_its_file_gives_it_back() -> None:
    kind: TaskKind = Kinds(build_registry()).get("spots.spots")
    assert kept(kind, {"a": (1, np.float64(2.5)), "b": {"c": None}}) == {"a": [1, 2.5], "b": {"c": None}}
    for value in (float("nan"), torch.ones(1), {1, 2}):
        with pytest.raises(InputError, match=r"^a tally of kind 'spots\.spots' cannot be kept as JSON"):
            kept(kind, {"a": value})


def test_a_third_partys_kind_is_trained_and_measured_in_an_ablation(site, tmp_path) -> None:
    recipe = {
        "icm": 1,
        "recipe": "spots",
        "pipeline": "spots-jpeg",
        "data": {"field": {"use": "spots.field", "params": {"count": 8}}},
        "stages": [
            {
                "name": "head",
                "train": [{"modules": ["tasks.spots.head"], "lr": 0.5}],
                "feeds": [{"data": ["field"], "batch": 4, "losses": [{"use": "training.head", "task": "spots"}]}],
                "schedule": {"steps": 2},
            }
        ],
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    out = tmp_path / "out"
    words = ["ablate", "spots-jpeg", "--recipe", str(tmp_path / "recipe.json"), "--data", "field:.",
             "--data-params", '{"count": 6}', "-q", "1,2", "--device", "cpu", "--workers", "0"]  # fmt: skip
    vary = ["--start", "none", "--vary", "tasks.spots.head.params.bright=0.3,0.95"]
    found = CliRunner().invoke(app, [*words, *vary, "-o", str(out)])
    assert found.exit_code == 0, found.output
    told = json.loads((out / "ablation.json").read_text())
    assert told["tasks"]["spots"]["figures"]["median"]["higher_is_better"] is False
    medians = {
        name: [point["tasks"]["spots"]["median"]["mean"] for point in variant["points"]]
        for name, variant in told["variants"].items()
    }
    results = {name: read_result(out / name / "seed-0" / "result.json") for name in medians}
    for name, result in results.items():
        assert medians[name] == [point.tasks["spots"]["median"] for point in result.points]
    # A head that misses darker spots is farther from them.
    assert medians["bright-0.3"][1] < medians["bright-0.95"][1]
    table = (out / "ablation.md").read_text()
    assert "| spots median distance px | spots median distance px, clean | spots spots within a pixel % |" in table
    assert f"| {medians['bright-0.3'][0]:.3f} |" in table
    assert "less is better" in (out / "ablation.svg").read_text()


SHIPPED = (
    "classification", "depth", "detection", "embedding", "instances", "keypoints", "regression", "segmentation",
)  # fmt: skip


def test_every_shipped_kind_of_answers_is_tried_below() -> None:
    registry = build_registry()
    others = {
        name for name in registry.kinds.names if not name.startswith("spots.") and not registry.kind(name).is_picture
    }
    assert others == set(SHIPPED)


@pytest.mark.parametrize("kind", SHIPPED)
def test_every_shipped_kind_goes_the_whole_way(run, tmp_path, kind) -> None:
    params = json.dumps({"kind": kind})
    data = ("--data", "examples.examples:.", "--data-params", params)
    results, models = [], []
    for codec, settings in (("jpeg", (20, 65, 95)), ("webp", (20, 45, 70, 82))):
        model = tmp_path / f"{codec}.json"
        model.write_text(json.dumps({
            "icm": 1, "name": codec, "codec": {"use": f"baselines.{codec}", "params": {"settings": settings}},
            "tasks": {"it": {"adapter": {"use": "baselines.pixels"},
                             "head": {"use": "examples.reader", "params": {"kind": kind}}}},
        }))  # fmt: skip
        results.append(tmp_path / f"{codec}.result.json")
        models.append(str(model))
        run("evaluate", model, *data, "--workers", 1, "--device", "cpu", "--json", results[-1])
    webp = read_result(results[1])
    info = webp.tasks["it"]
    sign = 1 if info.figures[info.main].higher_is_better else -1
    values = [point.tasks["it"][info.main] for point in webp.points]
    best = 100 if info.figures[info.main].unit == "%" and sign > 0 else 0
    # The head knows what is true of clean pictures, and less and less the more is taken from them.
    assert webp.points[0].tasks["it"]["clean"] == pytest.approx(best, abs=1e-6) == values[-1]
    assert sign * values[0] < sign * values[2] < sign * values[3]
    assert values[1] == pytest.approx(values[3] - sign * webp.points[1].tasks["it"]["drop"])
    rows = json.loads(run("compare", *results, "--draws", 40, "--json"))
    assert {row["metric"] for row in rows} == set(info.figures)
    assert all(row["bd_rate"] < 0 and row["bd_rate_interval"] for row in rows if row["metric"] == info.main)
    page = tmp_path / "page.html"
    run("report", *results, "--draws", 0, "-o", page, *data, "--pictures", 1, "--models", ",".join(models))
    text = page.read_text()
    assert info.figures[info.main].title in text and "annotation" in text
    assert text.count("<b>webp: it</b>") == text.count("<b>jpeg: it</b>") == 3


def test_variants_of_two_kinds_stand_in_columns_of_their_own(spotted, measured, tmp_path) -> None:
    spots = read_result(spotted["spots-jpeg"])
    other = of_gone_kind(read_result(spotted["spots-webp"]))
    jobs = [Job(Variant(name, {"head": name}, None), 0, tmp_path) for name in ("one", "two")]  # type: ignore[arg-type]
    text = page(json.loads(json.dumps(summary(jobs, [spots, other], "icm ablate"))))
    head, _, *rows = text.splitlines()
    assert "spots (spots.spots) median distance px | spots (spots.spots) median distance px, clean" in head
    assert "spots (gone.kind) median distance px" in head
    column = head.split(" | ").index("spots (gone.kind) median distance px")
    assert rows[0].split(" | ")[column] == "-"
    assert rows[len(spots.points)].split(" | ")[column] == f"{other.points[0].tasks['spots']['median']:.3f}"
