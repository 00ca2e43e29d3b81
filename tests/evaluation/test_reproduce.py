"""The paper's figures: the table of them, what is drawn, and what is said where something is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icm_core import build, build_registry, load, parse_spec
from icm_core.bitstream.container import read
from icm_core.errors import InputError
from icm_core.inspection.cost import account
from icm_core.plugins.datasets import open_dataset
from icm_core.spec.extends import read_spec
from icm_evaluation.gallery import Shot, shoot
from icm_evaluation.options import spread
from icm_evaluation.papers import AccountOf, Curves, Pictures, find_figures, paper

NAMED = [f"fig{number}" for number in (*range(11, 19), 20, 21, 22)] + ["table1", "sec6.1", "sec6.2"]


def test_every_figure_is_in_the_table_with_what_it_needs() -> None:
    table = paper()
    assert list(table.figures) == NAMED
    assert all(figure.needs and figure.paper_data for figure in table.figures.values())
    assert "Zhang, Liu, Peng" in table.source


def test_all_means_all_and_unknown_names_are_said() -> None:
    assert list(find_figures(["all"], paper())) == NAMED
    with pytest.raises(InputError, match="unknown figure 'fig1'; did you mean"):
        find_figures(["fig1"], paper())


def test_curves_stand_beside_the_papers_points_and_say_whose_place_they_take(run, measured, tmp_path) -> None:
    run("reproduce", "fig13", "--results", measured["single"], "--results", measured["scalable"], "-o", tmp_path)
    svg = (tmp_path / "fig13.svg").read_text()
    text = " ".join(" ".join(re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)).split())
    stated = paper().figures["fig13"]
    assert isinstance(stated, Curves)
    said = ("single", "scalable", "clean pictures", "maps val, 5 pictures of 3 sizes", "Cityscapes val, 256x512")
    for words in (*said, *(point.label for point in stated.points)):
        assert words in text, words
    with Image.open(tmp_path / "fig13.png") as image:
        assert image.width > 500


def test_a_figure_without_its_material_is_named_and_the_others_are_made(measured, tmp_path) -> None:
    from typer.testing import CliRunner

    from icm_core.cli import app

    arguments = ["reproduce", "fig14", "fig20", "fig15", "fig11", "--results", str(measured["single"])]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["fig14", "fig20", "fig15"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig11.png", "fig11.svg"]


def test_missing_results_are_measured_and_kept(run, folder, tmp_path) -> None:
    common = ("reproduce", "fig16", "--data", f"maps:{folder}", "-m", "scalable", "--limit", 2, "--workers", 1)
    run(*common, "-o", tmp_path)
    kept = tmp_path / "scalable.maps.json"
    assert json.loads(kept.read_text())["data"]["pictures"] == 2
    assert f"taken as it is: {kept}" in run(*common, "-o", tmp_path)


def test_pictures_are_drawn_from_data_and_models(run, folder, tmp_path) -> None:
    run("reproduce", "fig17", "fig15", "--data", f"maps:{folder}", "-m", "scalable,single", "-o", tmp_path)
    for name in ("fig15", "fig17"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 300


def test_each_figure_has_its_own_picture_of_four_and_label_maps_base_layers_alone(
    folder, run, tmp_path, monkeypatch
) -> None:
    asked: list[tuple[int, bool]] = []

    def noted(*given: Any, base_only: bool, **more: Any) -> Shot:
        asked.append((given[2], base_only))
        return shoot(*given, base_only=base_only, **more)

    monkeypatch.setattr("icm_evaluation.reproduce.shoot", noted)
    figures = {name: figure for name, figure in paper().figures.items() if isinstance(figure, Pictures)}
    assert len({figure.picture % 4 for figure in figures.values()}) > 1
    run("reproduce", *figures, "--data", f"maps:{folder}", "-m", "single", "-o", tmp_path)
    assert asked == [(spread(5, 4)[figure.picture % 4], figure.tasks == "segmentation") for figure in figures.values()]


def test_the_costs_of_sharing_stand_beside_the_names_of_their_parts(run, tmp_path) -> None:
    run("reproduce", "sec6.2", "-m", "scalable", "-o", tmp_path)
    rows = [
        line.strip("| ").split(" | ") for line in (tmp_path / "sec6.2.md").read_text().splitlines() if " | " in line
    ]
    registry, wanted = build_registry(), paper().figures["sec6.2"]
    assert isinstance(wanted, AccountOf)
    height, width = wanted.size
    costs = account(read_spec(registry.specs.get("scalable"), registry), registry, height=height, width=width).sharing
    parts = [costs.codec, costs.adapter, costs.picture, costs.enhancement, costs.shared, costs.separate]
    assert [row[0].split(":")[0] for row in rows[2:]] == [
        "a, codec", "b, adapter (mean)", "c, coarse reconstruction", "d, enhancement", "shared", "separate",
    ]  # fmt: skip
    assert [row[1:] for row in rows[2:]] == [[f"{p.parameters:,}", f"{p.kmac_per_pixel:,.2f}"] for p in parts]
    assert len({row[1] for row in rows[2:]}) > 3


def test_label_maps_are_held_to_the_bytes_of_the_base_layer(folder) -> None:
    registry = build_registry()
    pipe = load("scalable", device="cpu", registry=registry)
    data = open_dataset(f"maps:{folder}", "val", registry)
    whole, base = (len(pipe.encode(data[4].picture, quality=4, enhancement=both)) for both in (True, False))
    assert base < whole
    limit = 8 * base / (180 * 190) + 1e-9
    (step,) = shoot([pipe], data, 4, [limit], base_only=True).steps
    assert step.bytes == base == len(read(pipe.encode(data[4].picture, quality=4)).base.payload) + 22
    assert f"quality 4, {base:,} bytes" in next(cell for cell in step.cells if "segmentation" in cell.title).caption
    (step,) = shoot([pipe], data, 4, [limit]).steps
    assert step.cells[0].picture is None or "quality 4," not in step.cells[0].caption


def test_a_task_that_reads_the_refined_picture_has_the_bytes_of_the_whole_file(folder) -> None:
    registry = build_registry()
    spec = load("scalable", device="cpu", registry=registry).spec.to_json()
    seen = {"adapter": {"use": "core.decoded_picture", "params": {"of": "fine"}}, "head": {"use": "shown.labels"}}
    pipe = build(parse_spec({**spec, "tasks": {**spec["tasks"], "seen": seen}}), registry)
    sample = open_dataset(f"maps:{folder}", "val", registry)
    blob = pipe.encode(sample[4].picture, quality=2)
    cells = shoot([pipe], sample, 4).steps[1].cells
    said = {cell.title.removeprefix("scalable: "): cell.caption for cell in cells if "quality 2," in cell.caption}
    for task, size in {"segmentation": read(blob).base_bytes, "fine": len(blob), "seen": len(blob)}.items():
        assert f"quality 2, {size:,} bytes" in said[task]


def test_sharing_is_accounted_for(run, tmp_path) -> None:
    run("reproduce", "sec6.2", "-m", "scalable,single", "-o", tmp_path)
    text = (tmp_path / "sec6.2.md").read_text()
    assert "shared: a + 3b + c + d" in text
    assert "separate: 2a + 2b" not in text.split("single, pictures")[0]
    assert "Sharing saves" in text


def test_what_sharing_saves_is_told_of_parameters_and_of_operations(run, tmp_path) -> None:
    run("reproduce", "sec6.2", "-m", "scalable", "-o", tmp_path)
    said = re.search(
        r"saves ([\d.]+)% of the parameters and ([\d.]+)% of the operations", (tmp_path / "sec6.2.md").read_text()
    )
    registry, wanted = build_registry(), paper().figures["sec6.2"]
    assert said is not None and isinstance(wanted, AccountOf)
    height, width = wanted.size
    costs = account(read_spec(registry.specs.get("scalable"), registry), registry, height=height, width=width).sharing
    ours, theirs = costs.shared, costs.separate
    shares = (1 - ours.parameters / theirs.parameters, 1 - ours.kmac_per_pixel / theirs.kmac_per_pixel)
    assert [float(share) for share in said.groups()] == pytest.approx([100 * share for share in shares], abs=0.05)
    assert said[1] != said[2]


def test_without_a_name_the_figures_are_listed(run) -> None:
    shown = run("reproduce")
    assert all(name in shown for name in NAMED)


def test_the_table_ships_with_the_package() -> None:
    import icm_evaluation

    assert (Path(icm_evaluation.__file__).parent / "figures.json").is_file()
