"""`icm ablate`: the grid, what is shared, and whole runs at toy size."""

from __future__ import annotations

import csv
import json
import shlex
import statistics
from pathlib import Path

import pytest
from icm_made import made, of_pictures, pictured
from PIL import Image
from typer.testing import CliRunner

from icm_core.cli import app
from icm_core.errors import SpecError
from icm_core.plugins.registry import build_registry
from icm_evaluation import ablation
from icm_evaluation.ablated import page, panels, summary
from icm_evaluation.ablation import Plan, jobs_of, work_of
from icm_evaluation.results import Result, read_result
from icm_evaluation.variants import Json, grid, parse_vary

ADAPTERS = "tasks.segmentation.adapter=sicmh.one_scale,sicmh.two_scale"


@pytest.fixture(scope="module")
def smoke() -> Json:
    found: Json = json.loads(build_registry().recipes.get("smoke").read_text())
    for stage in found["stages"]:
        stage["schedule"] = {"steps": 1}
        stage.pop("validate_on", None)
    return found


@pytest.fixture(scope="module")
def toy(smoke: Json) -> Json:
    return smoke["pipeline"]


@pytest.fixture(scope="module")
def files(smoke: Json, toy: Json, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    (folder / "toy.json").write_text(json.dumps(toy))
    (folder / "recipe.json").write_text(json.dumps({**smoke, "stages": smoke["stages"][:2]}))
    return folder


def ablate(files: Path, out: Path, *more: str) -> str:
    words = ["ablate", str(files / "toy.json"), "--recipe", str(files / "recipe.json"), "--data", f"shapes:{files}"]
    data = ["--data-params", '{"count": 2, "size": 80}', "-q", "1", "--device", "cpu", "--workers", "0"]
    found = CliRunner().invoke(app, [*words, *data, "-o", str(out), *more])
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("text", ["path", "path=one", "=a,b", "path="])
def test_a_variation_needs_a_path_and_two_values(text: str) -> None:
    with pytest.raises(SpecError, match="at least two values"):
        parse_vary(text)


def test_values_are_json_or_text() -> None:
    assert parse_vary("a=1,x,true") == ("a", [1, "x", True])
    assert parse_vary('a=[[1,2],{"b":3}]') == ("a", [[1, 2], {"b": 3}])


def test_every_combination_is_a_variant_with_its_pipeline(toy: Json, smoke: Json) -> None:
    vary = [parse_vary(ADAPTERS), parse_vary("codec.params.groups=1,2")]
    found = grid(toy, smoke, vary, ["recipe.seed=7"], None)
    assert [one.name for one in found] == [
        "one_scale_groups-1",
        "one_scale_groups-2",
        "two_scale_groups-1",
        "two_scale_groups-2",
    ]
    pipeline = found[1].recipe.pipeline
    assert not isinstance(pipeline, str)
    assert pipeline.tasks["segmentation"].adapter.use == "sicmh.one_scale"
    assert pipeline.codec.params["groups"] == 2
    assert found[1].recipe.seed == 7


def test_what_is_varied_starts_untrained_and_the_rest_from_the_weights(toy: Json, smoke: Json) -> None:
    first = grid(toy, smoke, [parse_vary(ADAPTERS)], [], "some")[0].recipe.stages[0].start
    assert first is not None
    modules = {start.module for start in first}
    assert "codec" in modules and "tasks.segmentation.head" in modules and "tasks.coarse.adapter" in modules
    assert "tasks.segmentation.adapter" not in modules


def test_a_path_that_leads_nowhere_is_named_with_its_neighbour(toy: Json, smoke: Json) -> None:
    with pytest.raises(SpecError, match="did you mean 'segmentation'"):
        grid(toy, smoke, [parse_vary("tasks.segmentaton.adapter=a.b,c.d")], [], None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("recipe.stages.fin.clip", "^recipe.stages.fin.clip: in stages: unknown item 'fin'; did you mean 'fine'"),
        ("recipe.stages.fine.clipp", r"^variant 'clipp-1': unknown field 'clipp' in stages\[3\]; did you mean 'clip'"),
        ("codec.parms.groups", "^--vary codec.parms.groups: unknown field 'parms'; did you mean 'params'"),
        ("name.x", "^--vary name.x: name is 'smoke', which has no fields$"),
    ],
)
def test_a_misspelt_path_is_named_wherever_it_leads(toy: Json, smoke: Json, path: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        grid(toy, smoke, [parse_vary(f"{path}=1,2")], [], None)


def test_a_stage_before_the_first_difference_is_trained_once(toy: Json, smoke: Json, tmp_path: Path) -> None:
    variants = grid(toy, smoke, [parse_vary("recipe.stages.fine.clip=1.0,2.0")], [], None)
    first, second = work_of(jobs_of(variants, [0], tmp_path))
    assert first.stages == ("joint", "segmentation", "coarse", "fine")
    assert second.stages == ("fine",)
    assert [stage for stage, _ in second.shared] == ["joint", "segmentation", "coarse"]


@pytest.mark.parametrize("vary", ["recipe.data.shapes.params.size=64,96", "codec.params.groups=1,2", "recipe.keep=1,3"])
def test_stages_that_see_other_data_or_another_network_are_not_shared(
    toy: Json, smoke: Json, tmp_path: Path, vary: str
) -> None:
    variants = grid(toy, smoke, [parse_vary(vary)], [], None)
    assert all(not work.shared for work in work_of(jobs_of(variants, [0], tmp_path)))


def test_a_part_whose_parameter_is_varied_starts_untrained(toy: Json, smoke: Json) -> None:
    first = grid(toy, smoke, [parse_vary("codec.params.groups=1,2")], [], "some")[0].recipe.stages[0].start
    assert first is not None
    assert {start.module for start in first} == {
        "enhancement",
        *(f"tasks.{task}.{half}" for task in ("segmentation", "coarse") for half in ("adapter", "head")),
    }


def starts(spec: Json, recipe: Json, vary: str, *changes: str) -> list[tuple[str, str]]:
    """Weights and modules that the first variant starts from, in order."""
    first = grid(spec, recipe, [parse_vary(vary)], changes, "some")[0].recipe.stages[0].start
    return [(str(start.weights), start.module) for start in first or ()]


def test_a_part_that_is_changed_in_all_variants_starts_untrained_too(toy: Json, smoke: Json) -> None:
    assert ("some", "codec") in starts(toy, smoke, ADAPTERS)
    assert ("some", "codec") not in starts(toy, smoke, ADAPTERS, "codec.params.groups=2")


def test_a_task_whose_name_begins_with_that_of_a_varied_one_starts_from_the_weights(toy: Json, smoke: Json) -> None:
    tasks = toy["tasks"]
    assert isinstance(tasks, dict)
    coarse = json.dumps(tasks["coarse"])
    spec = {**toy, "tasks": {**tasks, "coarse2": tasks["coarse"]}}
    found = starts(spec, smoke, f"tasks.coarse=[{coarse}, {json.dumps(tasks['segmentation'])}]")
    assert [module for _, module in found if "coarse" in module] == ["tasks.coarse2.adapter", "tasks.coarse2.head"]


def test_what_a_recipe_itself_starts_from_comes_last_and_wins(toy: Json, smoke: Json) -> None:
    stages = smoke["stages"]
    assert isinstance(stages, list) and isinstance(stages[0], dict)
    own = {**smoke, "stages": [{**stages[0], "start": [{"weights": "own", "module": "codec"}]}, *stages[1:]]}
    found = starts(toy, own, ADAPTERS)
    assert found[0] == ("some", "codec") and found[-1] == ("own", "codec")


def test_a_component_that_is_changed_in_all_variants_is_named_alone(toy: Json, smoke: Json) -> None:
    changes = ["tasks.segmentation.adapter=sicmh.one_scale", "recipe.seed=3"]
    for variant in grid(toy, smoke, [parse_vary("codec.params.groups=1,2")], changes, None):
        assert not isinstance(variant.recipe.pipeline, str) and variant.recipe.seed == 3
        assert variant.recipe.pipeline.tasks["segmentation"].adapter.use == "sicmh.one_scale"


def test_a_variant_does_not_start_from_the_pipeline_that_the_recipe_names(toy: Json, smoke: Json) -> None:
    variant = grid(toy, {**smoke, "start": "sicmh-small"}, [parse_vary(ADAPTERS)], [], None)[0]
    assert variant.recipe.start is None


def test_a_variant_has_no_weights_of_the_pipeline(toy: Json, smoke: Json) -> None:
    variant = grid({**toy, "weights": "x.safetensors"}, smoke, [parse_vary(ADAPTERS)], [], None)[0]
    assert not isinstance(variant.recipe.pipeline, str) and variant.recipe.pipeline.weights == ()


def test_a_row_of_the_table_has_the_base_layers_rate(toy: Json, smoke: Json) -> None:
    jobs = jobs_of(grid(toy, smoke, [parse_vary("codec.params.groups=1,2")], [], None), [0], Path())
    result = made("one", [pictured("a", [(50, 10), (100, 20)], of_pictures((30, 33)), 10, 10)], whole=("seen",))
    text = page(json.loads(json.dumps(summary(jobs, [result] * 2, "how"))))
    assert "| groups-1 | 1 | 0.8000 | 30.00 | - |\n| groups-1 | 2 | 1.6000 | 33.00 | - |" in text


def test_what_comes_after_a_difference_and_other_seeds_share_nothing(toy: Json, smoke: Json, tmp_path: Path) -> None:
    stages = ("joint", "segmentation", "coarse", "fine")
    variants = grid(toy, smoke, [parse_vary("recipe.stages.joint.clip=1.0,2.0")], [], None)
    assert [(work.stages, work.shared) for work in work_of(jobs_of(variants, [0, 1], tmp_path))] == [(stages, ())] * 4


def test_a_variants_figures_are_means_and_standard_deviations_over_seeds(
    toy: Json, smoke: Json, measured: dict[str, Path]
) -> None:
    variants = grid(toy, smoke, [parse_vary("codec.params.groups=1,2")], ["codec.params.qualities=3"], None)
    assert [one.recipe.pipeline.codec.params["qualities"] for one in variants] == [3, 3]  # type: ignore[union-attr]
    jobs = jobs_of(variants, [3, 4, 8], Path())
    result = read_result(measured["single"])
    results = []
    for more in (0.0, 2.0, 7.0, 0.0, 0.0, 0.0):
        data = result.model_dump()
        data["points"][1]["tasks"]["coarse"]["psnr"] += more
        data["points"][1]["base_bpp"] += more
        results.append(Result.model_validate(data))
    found = summary(jobs, results, "how")
    point = result.points[1]
    spread = (((0 - 3) ** 2 + (2 - 3) ** 2 + (7 - 3) ** 2) / 2) ** 0.5
    for variant, (off, wide) in zip(found["variants"].values(), [(3, spread), (0, 0)], strict=True):
        one = variant["points"][1]
        expected = {"mean": pytest.approx(point.tasks["coarse"]["psnr"] + off), "spread": pytest.approx(wide)}  # type: ignore[operator]
        assert one["tasks"]["coarse"]["psnr"] == expected
        assert one["base_bpp"] == {"mean": pytest.approx(point.base_bpp + off), "spread": pytest.approx(wide)}
        assert one["bpp"] == {"mean": pytest.approx(point.bpp), "spread": pytest.approx(0)}
    assert found["seeds"] == [3, 4, 8] and [one["values"] for one in found["variants"].values()] == [
        {"codec.params.groups": 1},
        {"codec.params.groups": 2},
    ]


def test_figures_are_drawn_over_the_rates_of_the_layers_that_they_take(
    toy: Json, smoke: Json, measured: dict[str, Path]
) -> None:
    jobs = jobs_of(grid(toy, smoke, [parse_vary("codec.params.groups=1,2")], [], None), [0], Path())
    result = read_result(measured["scalable"])
    drawn = {
        line.label.split()[-1]: line for panel in panels(summary(jobs, [result] * 2, "how")) for line in panel.lines
    }
    assert drawn.keys() == {"segmentation", "coarse", "fine"}
    for task, line in drawn.items():
        main = result.tasks[task].main
        assert line.rates == [point.bpp if task == "fine" else point.base_bpp for point in result.points]
        assert line.values == [point.tasks[task][main] for point in result.points]  # type: ignore[index]


def test_a_dry_run_lists_the_work_and_does_none(files: Path, tmp_path: Path) -> None:
    output = ablate(files, tmp_path / "out", "--vary", ADAPTERS, "--dry-run")
    assert "one_scale" in output and "joint (1 steps)" in output
    assert not (tmp_path / "out").exists()


def test_all_that_is_said_of_the_measuring_is_in_the_plan(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(ablation, "check", lambda plan, _: plans.append(plan))
    said = ("--split", "train", "--tasks", "segmentation,fine", "--limit", "3", "--train-data", str(tmp_path))
    ablate(files, tmp_path / "out", "--vary", ADAPTERS, "--dry-run", "--seeds", "4,2", *said, "--parallel", "2")
    (plan,) = plans
    measure, training = plan.measure, plan.train
    assert (measure.data, measure.data_params()) == (f"shapes:{files}", {"count": 2, "size": 80})
    assert (measure.split, measure.qualities, measure.tasks) == ("train", (1.0,), ("segmentation", "fine"))
    assert (measure.limit, measure.device, measure.workers) == (3, "cpu", 1)
    assert (training.out, training.data, training.home) == (tmp_path / "out", tmp_path, files)
    assert (training.device, training.workers) == ("cpu", 0)
    assert {job.seed for job in plan.jobs} == {4, 2}


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("tasks.segmentation.adapter=sicmh.one_scale,sicmh.one_scal", "one_scal"),
        ("recipe.stages.joint.feeds.0.losses.0.use=training.rate,training.rat", "training.rat"),
        ("recipe.stages.segmentation.train.0.modules.1=codec,tasks.segmentation.hed", "tasks.segmentation.hed"),
    ],
)
def test_a_component_that_there_is_not_is_told_before_the_first_training(
    files: Path, tmp_path: Path, vary: str, said: str
) -> None:
    words = ["ablate", str(files / "toy.json"), "--recipe", str(files / "recipe.json"), "--data", f"shapes:{files}"]
    found = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "out"), "--vary", vary])
    assert found.exit_code == 2
    assert f"'{said}'" in " ".join(found.output.split()) and "variant" in found.output
    assert not (tmp_path / "out").exists()


def test_a_variant_that_cannot_be_measured_is_told_before_the_first_training(files: Path, tmp_path: Path) -> None:
    words = ["ablate", str(files / "toy.json"), "--recipe", str(files / "recipe.json"), "--data", f"shapes:{files}"]
    found = CliRunner().invoke(app, [*words, "-q", "1,9", "-o", str(tmp_path / "out"), "--vary", ADAPTERS])
    assert found.exit_code == 2
    said = " ".join(found.output.split())
    assert "variant 'one_scale': quality 9 is out of range; pipeline 'one_scale' has 1 to 2" in said
    assert not (tmp_path / "out").exists()


def test_seeds_are_whole_numbers(files: Path, tmp_path: Path) -> None:
    words = ["ablate", str(files / "toy.json"), "--recipe", str(files / "recipe.json"), "--data", f"shapes:{files}"]
    found = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "out"), "--vary", ADAPTERS, "--seeds", "0,0.5"])
    said = " ".join(found.output.split())
    assert found.exit_code == 2
    assert "--seeds is '0,0.5'; it should be whole numbers with commas between them" in said


def test_variants_are_trained_measured_and_told_of(files: Path, tmp_path: Path) -> None:
    vary = ("--vary", "recipe.stages.segmentation.clip=0.5,1.0", "--seeds", "0,1", "--start", "none")
    out = tmp_path / "out"
    ablate(files, out, *vary)
    found = json.loads((out / "ablation.json").read_text())
    words = shlex.split(found["command"])
    assert words[words.index("--start") + 1] == "none"
    assert words[words.index("--data-params") + 1] == '{"count": 2, "size": 80}'
    assert set(found["variants"]) == {"clip-0.5", "clip-1.0"}
    figures = found["variants"]["clip-1.0"]["points"][0]["tasks"]["segmentation"]["miou"]
    assert 0 <= figures["mean"] <= 100 and figures["spread"] >= 0
    table = (out / "ablation.md").read_text()
    assert "±" in table
    titles = [title.strip() for title in table.splitlines()[0].split("|")]
    row = [cell.strip() for cell in table.splitlines()[2].split("|")]
    clean = found["variants"]["clip-0.5"]["points"][0]["tasks"]["segmentation"]["clean"]["mean"]
    assert row[titles.index("segmentation mIoU %, clean")].startswith(f"{clean:.2f} ")
    with Image.open(out / "ablation.png") as picture:
        assert len(picture.convert("L").getcolors(256) or []) > 10
    joint = [out / name / "seed-0" / "run" / "joint" / "weights.safetensors" for name in ("clip-0.5", "clip-1.0")]
    assert joint[0].read_bytes() == joint[1].read_bytes()
    others = [out / name / "seed-1" / "run" / "joint" / "weights.safetensors" for name in ("clip-0.5", "clip-1.0")]
    assert others[0].read_bytes() == others[1].read_bytes() != joint[0].read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors") if "run" in path.parts}
    ablate(files, out, *vary)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_variants_run_beside_one_another_as_processes_and_give_the_same(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray or not: here it is told to be missing. The second variant waits for the stage that it takes over."""
    vary = ("--vary", "recipe.stages.segmentation.clip=0.5,1.0", "--tasks", "segmentation")
    ablate(files, tmp_path / "one", *vary)
    monkeypatch.setattr("icm_evaluation.ablation.find_spec", lambda _: None)
    ablate(files, tmp_path / "two", *vary, "--parallel", "2")
    one, two = (json.loads((tmp_path / name / "ablation.json").read_text()) for name in ("one", "two"))
    assert set(one["variants"]) == {"clip-0.5", "clip-1.0"}
    for name, variant in one["variants"].items():
        assert list(variant["points"][0]["tasks"]) == ["segmentation"]
        assert two["variants"][name]["points"] == variant["points"]


def test_every_figure_of_every_seed_is_a_row_of_the_table_for_pandas(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ablate(files, out, "--vary", "recipe.stages.segmentation.clip=0.5,1.0", "--seeds", "0,1")
    with (out / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = json.loads((out / "ablation.json").read_text())["variants"]
    for name, variant in found.items():
        for point in variant["points"]:
            cells = [row for row in rows if row["system"] == name and float(row["quality"]) == point["quality"]]
            assert {row["seed"] for row in cells} == {"0", "1"}
            values = [float(row["value"]) for row in cells if row["figure"] == "miou"]
            assert statistics.fmean(values) == pytest.approx(point["tasks"]["segmentation"]["miou"]["mean"])
            rates = [float(row["bpp"]) for row in cells if row["figure"] == "miou"]
            assert statistics.fmean(rates) == pytest.approx(point["base_bpp"]["mean"])


def test_a_task_that_there_is_not_is_told_before_the_first_training(files: Path, tmp_path: Path) -> None:
    words = ["ablate", str(files / "toy.json"), "--recipe", str(files / "recipe.json"), "--data", f"shapes:{files}"]
    found = CliRunner().invoke(app, [*words, "-t", "segmentatio", "-o", str(tmp_path / "out"), "--vary", ADAPTERS])
    assert found.exit_code == 2
    assert "unknown task 'segmentatio'; did you mean 'segmentation'" in " ".join(found.output.split())
    assert not (tmp_path / "out").exists()


def test_variants_run_beside_one_another_with_ray(files: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; it is the extra icm-framework[ray]")
    ablate(files, tmp_path / "out", "--vary", ADAPTERS, "--parallel", "2")
    assert set(json.loads((tmp_path / "out" / "ablation.json").read_text())["variants"]) == {"one_scale", "two_scale"}
    assert not ray.is_initialized()
