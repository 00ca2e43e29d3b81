"""`icm reproduce` draws a comparison only where it is the one that the figure makes; what is wrong is one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icm_evaluation.options import Options
from icm_evaluation.papers import Clean, Curves, Tradeoff, paper
from icm_evaluation.results import read_result
from icm_evaluation.run import evaluate

Make = Callable[..., Path]
SCALES = ("sicmh.one_scale", "sicmh.two_scale", "sicmh.multi_scale")


@pytest.fixture
def make(measured: dict[str, Path], tmp_path: Path) -> Make:
    """A result as it would be of another system, adapter, head, codec, data set, search or picture size."""

    def call(name: str, source: str | Path = "single", **changes: Any) -> Path:
        data = json.loads((measured[source] if isinstance(source, str) else source).read_text())
        data["system"] = name
        for key in ("codec", "effort"):
            data[key] = changes.get(key, data[key])
        task = data["tasks"]["segmentation" if "segmentation" in data["tasks"] else "classification"]
        for key in ("adapter", "head"):
            task[key] = changes.get(key, task[key])
        data["data"]["name"] = changes.get("data", data["data"]["name"])
        if "size" in changes:
            width, height = map(int, changes["size"].split("x"))
            data["data"]["sizes"] = {changes["size"]: len(data["pictures"])}
            for row in data["pictures"]:
                row["width"], row["height"] = width, height
            for point, own in zip(data["points"], rates_of(data["pictures"]), strict=True):
                point |= own
        path = tmp_path / "made" / f"{name}-{len(list(tmp_path.glob('made/*')))}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data))
        read_result(path)  # it is one that could have been written
        return path

    return call


@pytest.fixture(scope="session")
def fixed(site: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Results of one pipeline whose base layer keeps quality 1 or 3."""
    out = tmp_path_factory.mktemp("fixed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        for base in (1.0, 3.0):
            both = {"qualities": (base,), "enhancement": (1.0, 2.0, 4.0)}
            options = Options("scalable", f"maps:{folder}", **both, workers=1, device="cpu")  # type: ignore[arg-type]
            evaluate(options, out / f"{base:g}.json")
    return {base: out / f"{base:g}.json" for base in (1.0, 3.0)}


@pytest.fixture(scope="session")
def named(site: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result on pictures with classes."""
    out = tmp_path_factory.mktemp("named") / "scalable.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        evaluate(Options("scalable", f"named:{folder}", workers=1, device="cpu"), out)
    return out


def rates_of(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """What pictures of these sizes make of the bytes, at each quality."""
    found = []
    for coded in zip(*(row["points"] for row in rows), strict=True):
        pixels = [row["width"] * row["height"] for row in rows]
        found.append(
            {
                rate: sum(8 * one[part] / size for one, size in zip(coded, pixels, strict=True)) / len(rows)
                for rate, part in (("bpp", "bytes"), ("base_bpp", "base_bytes"))
            }
        )
    return found


def given(paths: list[Path]) -> list[object]:
    return [part for path in paths for part in ("--results", path)]


def words_of(svg: Path) -> str:
    return " ".join(" ".join(re.findall(r"<!-- (.*?) -->", svg.read_text(), re.DOTALL)).split())


def test_every_figure_of_curves_says_what_makes_it_a_right_comparison() -> None:
    curves = {name: figure for name, figure in paper().figures.items() if isinstance(figure, Curves)}
    assert {name: figure.of.differ for name, figure in curves.items()} == {
        **dict.fromkeys(("fig11", "fig12", "fig13", "fig14", "fig16"), "system"),
        **dict.fromkeys(("fig20", "fig21"), "adapter"),
        "fig22": "side rate",
    }
    assert all("data set" in figure.of.share for figure in curves.values())
    assert all(
        {"codec", "search"} <= set(figure.of.share) for figure in curves.values() if figure.of.differ != "system"
    )
    assert {name: figure.size for name, figure in curves.items() if figure.size and figure.of.differ == "system"} == {
        "fig11": (1024, 2048), "fig12": (512, 1024), "fig13": (256, 512), "fig16": (256, 512)
    }  # fmt: skip


def test_shares_that_the_text_states_are_the_points_that_follow_from_them() -> None:
    """40 % and 25 % of what 0.08 bpp is at 26 dB, and so on, to two digits."""
    ours = 0.18 * 0.11
    follow = {
        "fig11": {"VVC-intra": (ours / 0.20, 51), "J-FT T-FT": (ours / 0.28, 51), "SICMH": (ours, 51)},
        "fig12": {"C128": (0.02 / 0.55, 50), "C64": (0.02 / 0.40, 50)},
        "fig16": {"DSSLIC": (0.08 / 0.40, 26), "JPEG": (0.08 / 0.40, 26), "RL-ASC": (0.08 / 0.25, 26)},
    }  # fmt: skip
    for name, points in follow.items():
        figure = paper().figures[name]
        assert isinstance(figure, Curves)
        for label, (rate, value) in points.items():
            found = [p for p in figure.points if p.label == f"paper: {label}" and p.derived and p.value == value]
            assert [point.bpp for point in found] == [pytest.approx(rate, rel=0.02)], (name, label)
    later = {p.label: p.bpp for p in paper().figures["fig12"].points if p.value == 61 and p.derived}  # type: ignore[union-attr]
    assert later == {
        "paper: C128": pytest.approx(0.08 / 0.32, rel=0.02),
        "paper: C64": pytest.approx(0.08 / 0.33, rel=0.02),
    }


def test_the_sets_of_section_6_1_add_up() -> None:
    tradeoff = paper().figures["sec6.1"]
    assert isinstance(tradeoff, Tradeoff)
    assert [(one.side, one.top1, one.miou) for one in tradeoff.sets] == [(0.08, 69, 49), (0.18, 75, 53), (0.3, 78, 57)]
    for one in tradeoff.sets:
        for total, rate in one.enhancement.items():
            assert float(total) - one.side == pytest.approx(rate)


def test_results_at_three_sizes_give_three_figures_each_with_its_own_points(
    make: Make, run: Any, tmp_path: Path
) -> None:
    sizes = {"fig11": "2048x1024", "fig12": "1024x512", "fig13": "512x256"}
    paths = [make(f"at-{size}", size=size) for size in sizes.values()]
    run("reproduce", *sizes, *given(paths), "-o", tmp_path)
    for name, size in sizes.items():
        words = words_of(tmp_path / f"{name}.svg")
        figure = paper().figures[name]
        assert isinstance(figure, Curves)
        assert f"at-{size}" in words and f"pictures of {size}" in words
        assert not any(f"at-{other}" in words for other in sizes.values() if other != size)
        assert all(point.label in words for point in figure.points)
        assert not (tmp_path / f"{name}-2.svg").exists()


def test_a_size_of_another_figure_is_sent_there(make: Make, fail: Any, tmp_path: Path) -> None:
    said = fail("reproduce", "fig11", *given([make("low", size="512x256")]), "-o", tmp_path)
    assert "fig11 shows pictures of 1024x2048, and 'low' was measured on 256x512, which fig13 shows" in said


def test_a_size_that_no_figure_is_about_stands_in_the_place_of_each(make: Make, run: Any, tmp_path: Path) -> None:
    run("reproduce", "fig11", "fig13", *given([make("square", size="256x256")]), "-o", tmp_path)
    for name, size in (("fig11", "1024x2048"), ("fig13", "256x512")):
        assert f"256x256, in place of the paper's Cityscapes val, {size}" in words_of(tmp_path / f"{name}.svg")


def test_folders_and_pairs_say_whose_classes_they_have(make: Make, run: Any, tmp_path: Path) -> None:
    """The data set's own name says nothing of whose pictures they are."""
    path = make("one", data="pairs", size="256x256")
    data = json.loads(path.read_text())
    data["data"]["params"] = {"maps": "{split}_labels", "classes": "cityscapes"}
    path.write_text(json.dumps(data))
    run("reproduce", "fig13", "--results", path, "-o", tmp_path)
    assert "pairs (cityscapes) val, 5 pictures of 256x256, in place of" in words_of(tmp_path / "fig13.svg")


def twice(data: dict[str, Any]) -> None:
    data["points"][1]["quality"] = data["points"][0]["quality"]


def unmeasured(data: dict[str, Any]) -> None:
    data["pictures"][1]["points"].pop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (twice, r"two points have quality 1; each quality should have one point"),
        (unmeasured, r"picture '.*' has points at quality 1, .*; like the result it should have them at 1, .*"),
    ],
)
def test_a_result_whose_points_are_not_those_of_its_pictures_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, make: Make, fail: Any, tmp_path: Path
) -> None:
    path = make("one")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    assert re.search(said, " ".join(fail("reproduce", "fig13", "--results", path, "-o", tmp_path).split()))


def rate(data: dict[str, Any]) -> None:
    data["points"][0]["base_bpp"] /= 2


def figure(data: dict[str, Any]) -> None:
    data["points"][2]["tasks"]["segmentation"]["miou"] = 61.5


def clean(data: dict[str, Any]) -> None:
    for point in data["points"]:
        point["tasks"]["segmentation"]["clean"] += 3


def unknown(data: dict[str, Any]) -> None:
    data["points"][1]["tasks"]["segmentation"]["miou"] = None


def fewer(data: dict[str, Any]) -> None:
    data["pictures"].pop()


def sizes(data: dict[str, Any]) -> None:
    data["data"]["sizes"] = {"512x256": 5}


def unanswered(data: dict[str, Any]) -> None:
    del data["pictures"][1]["points"][0]["tasks"]["segmentation"]


def unclean(data: dict[str, Any]) -> None:
    del data["pictures"][1]["clean"]["segmentation"]


def muddled(data: dict[str, Any]) -> None:
    data["pictures"][1]["points"][0]["tasks"]["segmentation"] = {"matrix": "none"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rate, r"its point at quality 1 says base_bpp .*, and its own pictures give .*; .* measure it again"),
        (figure, r"its point at quality 3 says segmentation miou 61\.5, and its own pictures give"),
        (clean, r"its point at quality 1 says segmentation (clean|drop) .*, and its own pictures give"),
        (unknown, r"its point at quality 2 says segmentation miou nothing, and its own pictures give \d"),
        (fewer, r"it says that it has 5 pictures, and has 4"),
        (sizes, r"it says that its pictures are 5 of 512x256, and they are .*3 of 40x24"),
        (unanswered, r"picture '.*' has no 'segmentation' at quality 1"),
        (unclean, r"some pictures have 'segmentation' of the clean picture, and others have not"),
        (muddled, r"no figures can be made of what it keeps of its pictures"),
    ],
)
def test_a_result_that_contradicts_its_own_pictures_is_refused(
    change: Callable[[dict[str, Any]], None],
    said: str,
    measured: dict[str, Path],
    fail: Any,
    run: Any,
    tmp_path: Path,
) -> None:
    data = json.loads(measured["single"].read_text())
    path = tmp_path / "one.json"
    path.write_text(json.dumps(data))
    run("reproduce", "fig13", "--results", path, "-o", tmp_path / "as-it-was")
    change(data)
    path.write_text(json.dumps(data))
    shown = " ".join(fail("reproduce", "fig13", "--results", path, "-o", tmp_path / "out").split())
    assert re.search(said, shown) and str(path) in shown
    assert not (tmp_path / "out").exists()


def test_a_changed_result_is_refused_by_comparisons_and_reports_too(
    measured: dict[str, Path], fail: Any, tmp_path: Path
) -> None:
    data = json.loads(measured["single"].read_text())
    figure(data)
    path = tmp_path / "one.json"
    path.write_text(json.dumps(data))
    for command in (("compare", path, measured["scalable"]), ("report", path, "-o", tmp_path / "page.md")):
        assert "says segmentation miou 61.5, and its own pictures give" in fail(*command)


def test_one_pipeline_under_two_names_is_no_comparison_of_systems(
    site: Path, folder: Path, measured: dict[str, Path], make: Make, run: Any, fail: Any, tmp_path: Path
) -> None:
    says = "fig13 compares systems, and 'single' and 'renamed' are one system under two names"
    renamed = make("renamed")
    assert says in fail("reproduce", "fig13", *given([measured["single"], renamed]), "-o", tmp_path)

    # The same weights beside a copy of the spec: what names them both, spec and weights, is another.
    spec = {**json.loads((site / "single.json").read_text()), "name": "renamed"}
    (tmp_path / "renamed.json").write_text(json.dumps(spec))
    (tmp_path / "single.safetensors").write_bytes((site / "single.safetensors").read_bytes())
    options = Options(str(tmp_path / "renamed.json"), f"maps:{folder}", workers=1, device="cpu")
    evaluate(options, tmp_path / "copied.json")
    assert read_result(tmp_path / "copied.json").weights != read_result(measured["single"]).weights
    assert says in fail("reproduce", "fig13", *given([measured["single"], tmp_path / "copied.json"]), "-o", tmp_path)

    run("reproduce", "fig13", *given([measured["single"], measured["scalable"]]), "-o", tmp_path)


def test_pictures_of_one_pipeline_under_two_names_are_not_drawn(
    site: Path, folder: Path, fail: Any, tmp_path: Path
) -> None:
    spec = json.loads((site / "single.json").read_text())
    (tmp_path / "single.safetensors").write_bytes((site / "single.safetensors").read_bytes())
    for name in ("renamed", "single"):
        (tmp_path / f"{name}.json").write_text(json.dumps({**spec, "name": name}))
    for model, says in (
        ("renamed.json", "'single' and 'renamed' are one system under two names"),
        ("single.json", "two of them are called 'single'"),
    ):
        models = f"single,{tmp_path / model}"
        said = fail("reproduce", "fig15", "--data", f"maps:{folder}", "-m", models, "-o", tmp_path / "out")
        assert f"fig15 compares systems, and {says}" in said
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (("--limit", 3), "has pictures 2, and 3 should be measured"),
        (("--limit", 2, "--split", "train"), "has split val, and train should be measured"),
    ],
)
def test_a_result_in_the_folder_of_other_pictures_is_not_taken(
    other: tuple[object, ...], says: str, folder: Path, run: Any, fail: Any, tmp_path: Path
) -> None:
    common = ("reproduce", "fig16", "--data", f"maps:{folder}", "-m", "single", "--workers", 1, "-o", tmp_path)
    run(*common, "--limit", 2)
    kept = (tmp_path / "single.maps.json").read_bytes()
    assert f"single.maps.json {says}; remove the file" in fail(*common, *other)
    assert (tmp_path / "single.maps.json").read_bytes() == kept


HEADS = ("tasks.trseg", "tasks.modified_trseg")


def test_heads_on_one_data_set_are_a_table_and_on_two_are_none(make: Make, run: Any, fail: Any, tmp_path: Path) -> None:
    both = [make(f"model-{number}", head=head) for number, head in enumerate(HEADS)]
    elsewhere = make("elsewhere", head=HEADS[1], data="camvid")
    run("reproduce", "table1", *given([*both, elsewhere]), "-o", tmp_path)
    text = (tmp_path / "table1.md").read_text()
    clean = read_result(both[0]).points[0].tasks["segmentation"]["clean"]
    assert all(f"| {head} |" in text for head in HEADS) and text.count(f"| {clean:.2f} % |") == 2
    assert "model-1" in text and "elsewhere" not in text
    wanted = paper().figures["table1"]
    assert isinstance(wanted, Clean)
    for head in HEADS:
        assert f"| {head} | {wanted.heads[head]:.2f} % | {clean:.2f} % |" in text
    said = fail("reproduce", "table1", *given([both[0], elsewhere]), "-o", tmp_path)
    assert "table1 compares heads on one data set: tasks.trseg was measured on maps val, 5 pictures" in said
    assert "tasks.modified_trseg on camvid val" in said
    run("reproduce", "table1", *given([elsewhere]), "-o", tmp_path)
    assert "Not measured here: tasks.trseg." in (tmp_path / "table1.md").read_text()


def test_what_the_paper_says_otherwise_elsewhere_stands_under_the_figure(make: Make, run: Any, tmp_path: Path) -> None:
    run("reproduce", "fig13", *given([make("low", size="512x256")]), "-o", tmp_path)
    assert "Within the paper: 0.085 bpp is 53 % less than 0.18" in words_of(tmp_path / "fig13.svg")


def test_two_results_of_one_system_are_no_comparison_of_systems(make: Make, fail: Any, tmp_path: Path) -> None:
    said = fail("reproduce", "fig13", *given([make("twin"), make("twin")]), "-o", tmp_path)
    assert "fig13 compares systems, and two results on maps val" in said and "are of 'twin'" in said


def test_three_adapters_are_drawn_and_named(make: Make, run: Any, tmp_path: Path) -> None:
    paths = [make(f"model-{number}", adapter=adapter) for number, adapter in enumerate(SCALES)]
    run("reproduce", "fig20", *given(paths), "-o", tmp_path)
    words = words_of(tmp_path / "fig20.svg")
    assert all(f"model-{number} ({adapter})" in words for number, adapter in enumerate(SCALES))
    assert "Not measured here" not in words


def test_two_of_three_adapters_are_drawn_and_the_third_is_said_to_be_missing(
    make: Make, run: Any, tmp_path: Path
) -> None:
    paths = [make(f"model-{number}", adapter=adapter) for number, adapter in enumerate(SCALES[::2])]
    run("reproduce", "fig20", *given(paths), "-o", tmp_path)
    assert "Not measured here: sicmh.two_scale" in words_of(tmp_path / "fig20.svg")


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ({"adapter": SCALES[2]}, {"adapter": SCALES[2]}, "both 'one' and 'other' have sicmh.multi_scale"),
        (
            {"adapter": SCALES[0], "codec": "sicmh.hyperprior"},
            {"adapter": SCALES[2]},
            "fig20 compares adapters alone, and the codec of 'one' is sicmh.hyperprior, that of 'other' tiny.thumbnail",
        ),
        (
            {"adapter": SCALES[0], "head": "tasks.trseg"},
            {"adapter": SCALES[2]},
            "fig20 compares adapters alone, and the head of 'one' is tasks.trseg, that of 'other' shown.labels",
        ),
        (
            {"adapter": SCALES[0], "effort": 8},
            {"adapter": SCALES[2]},
            "fig20 compares adapters alone, and the search of 'one' is of 8 steps, that of 'other' of 0 steps",
        ),
        (
            {"adapter": SCALES[0], "data": "camvid"},
            {"adapter": SCALES[2]},
            "fig20 compares adapters on one data set: 'one' was measured on camvid val",
        ),
        (
            {"adapter": SCALES[0], "size": "480x360"},
            {"adapter": SCALES[2], "size": "256x256"},
            "fig20 compares adapters on one picture size: 'one' was measured on maps val, 5 pictures of 480x360",
        ),
        ({"adapter": SCALES[0]}, {}, "there is 'one' with sicmh.one_scale alone"),
        ({}, {}, "fig20 needs results of pipelines that are alike but for the adapter"),
    ],
)
def test_what_is_no_comparison_of_adapters_is_refused(
    one: dict[str, Any], other: dict[str, Any], says: str, make: Make, fail: Any, tmp_path: Path
) -> None:
    paths = [make("one", **one), make("other", **other)]
    assert says in fail("reproduce", "fig20", *given(paths), "-o", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_adapters_of_a_classifier_are_fig_21(make: Make, named: Path, run: Any, fail: Any, tmp_path: Path) -> None:
    paths = [make(f"model-{number}", named, adapter=adapter) for number, adapter in enumerate(SCALES)]
    run("reproduce", "fig21", *given(paths), "-o", tmp_path)
    assert "model-1 (sicmh.two_scale)" in words_of(tmp_path / "fig21.svg")
    twins = [make("a", named, adapter=SCALES[2]), make("b", named, adapter=SCALES[2])]
    assert "fig21 compares adapters, and both 'a' and 'b' have" in fail(
        "reproduce", "fig21", *given(twins), "-o", tmp_path
    )


def test_side_rates_of_one_network_are_drawn_with_their_rates(
    fixed: dict[float, Path], measured: dict[str, Path], run: Any, tmp_path: Path
) -> None:
    run("reproduce", "fig22", *given([*fixed.values(), measured["scalable"]]), "-o", tmp_path)
    words = words_of(tmp_path / "fig22.svg")
    for base, path in fixed.items():
        rate = read_result(path).points[0].base_bpp
        assert f"scalable+base{base:g} fine, base {rate:.3g} bpp" in words
    assert "scalable fine, base" not in words  # its base layer has four rates


def test_side_rates_that_change_or_are_alike_are_refused(
    fixed: dict[float, Path], measured: dict[str, Path], make: Make, fail: Any, tmp_path: Path
) -> None:
    said = fail("reproduce", "fig22", *given([make("a", "scalable"), make("b", "scalable")]), "-o", tmp_path)
    assert "fig22 compares side rates that stay, and the base layer of 'a fine' has" in said
    assert "measure it with -q Q --enhancement-quality 1,2,3,4" in said
    twins = [fixed[1.0], make("twin", fixed[1.0])]
    said = fail("reproduce", "fig22", *given(twins), "-o", tmp_path)
    assert "fig22 compares side rates, and the base layers of both 'scalable+base1 fine' and 'twin fine' have" in said
    said = fail("reproduce", "fig22", *given([fixed[1.0], make("other", fixed[3.0], codec="x")]), "-o", tmp_path)
    assert "fig22 compares side rates alone, and the codec of 'scalable+base1 fine' is tiny.thumbnail" in said
    said = fail("reproduce", "fig22", *given([fixed[1.0]]), "-o", tmp_path)
    assert "fig22 needs results with enhancement" in said and "there is 'scalable+base1 fine' with" in said
    said = fail("reproduce", "fig22", *given([measured["single"]]), "-o", tmp_path)
    assert "fig22 needs results with enhancement" in said and "there is 'single' on maps val" in said


def test_the_tradeoff_has_both_tasks_and_what_is_left_for_the_fine_picture(
    fixed: dict[float, Path], measured: dict[str, Path], named: Path, run: Any, tmp_path: Path
) -> None:
    run("reproduce", "sec6.1", *given([measured["scalable"], named, *fixed.values()]), "-o", tmp_path)
    text = (tmp_path / "sec6.1.md").read_text()
    assert "| 0.18 | 53 % | 75 % | 0.17 | 0.57 |" in text
    for path in (measured["scalable"], named):
        result = read_result(path)
        task, metric = ("segmentation", "miou") if path != named else ("classification", "top1")
        for point in result.points:
            assert f"{point.base_bpp:.4f} | {point.tasks[task][metric]:.2f} %" in text
    for path in fixed.values():
        assert f"{read_result(path).points[0].base_bpp:.4f}, maps val" in text
    words = words_of(tmp_path / "sec6.1.svg")
    assert "scalable, maps" in words and "scalable, named" in words and "paper: SICMH, ImageNet" in words


def test_the_fine_picture_of_a_tradeoff_is_read_from_its_curve_at_the_whole_rate(
    fixed: dict[float, Path], named: Path, measured: dict[str, Path], run: Any, tmp_path: Path
) -> None:
    """Points (0.3, 30), (0.55, 35), (1.55, 45) in bits per pixel and dB, of which 0.25 are the base layer's."""
    result = json.loads(fixed[1.0].read_text())
    result["data"]["sizes"] = {"40x40": len(result["pictures"])}
    for picture in result["pictures"]:
        picture["width"] = picture["height"] = 40
    for index, (size, psnr) in enumerate(((60, 30.0), (110, 35.0), (310, 45.0))):
        for picture in result["pictures"]:
            coded = picture["points"][index]
            coded["base_bytes"], coded["bytes"], coded["tasks"]["fine"]["psnr"] = 50, size, psnr
        point = result["points"][index]
        point["base_bpp"], point["bpp"], point["tasks"]["fine"]["psnr"] = 0.25, 8 * size / 40**2, psnr
    path = tmp_path / "points.json"
    path.write_text(json.dumps(result))
    run("reproduce", "sec6.1", *given([measured["scalable"], named, path]), "-o", tmp_path)
    # 0.35 lies a fifth of the way from 0.3 to 0.55, and 0.75 a fifth of that from 0.55 to 1.55.
    assert "| 0.10 | 31.00 dB | 0.50 | 37.00 dB |" in (tmp_path / "sec6.1.md").read_text()


def test_a_tradeoff_of_one_task_or_of_two_systems_is_refused(
    measured: dict[str, Path], named: Path, make: Make, fail: Any, tmp_path: Path
) -> None:
    said = fail("reproduce", "sec6.1", *given([measured["single"], named]), "-o", tmp_path)
    assert "sec6.1 needs results of one system on road scenes and on pictures with classes" in said
    assert "'single' has segmentation alone; 'scalable' has classification alone" in said
    twice = [measured["scalable"], make("scalable", "scalable", data="camvid"), named]
    said = fail("reproduce", "sec6.1", *given(twice), "-o", tmp_path)
    assert "there are two of 'scalable' for segmentation: on maps val" in said
    both = [measured["scalable"], named]
    renamed = [make("renamed", path) for path in both]
    said = fail("reproduce", "sec6.1", *given([*both, *renamed]), "-o", tmp_path)
    assert "sec6.1 compares systems, and 'scalable' and 'renamed' are one system under two names" in said


def test_without_results_each_figure_says_what_it_needs(fail: Any, tmp_path: Path) -> None:
    for name, figure in paper().figures.items():
        if figure.kind in ("curves", "tradeoff", "clean"):
            assert f"{name} needs {figure.needs}" in fail("reproduce", name, "-o", tmp_path)
