"""The paper's figures as they are drawn: files, titles, notes, and whose numbers stand where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from icm_made import made, of_pictures, pictured
from PIL import Image

from icm_core import build_registry
from icm_core.errors import InputError
from icm_evaluation.gallery import Cell, Shot, Step
from icm_evaluation.papers import AccountOf, Clean, Curves, Pictures, Stated, Wanted, find_figures, paper
from icm_evaluation.reproduce import Material, draw, overview
from icm_evaluation.results import Result

Drawn = dict[str, Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Figures by the names of their files, which are not written."""
    found: Drawn = {}
    monkeypatch.setattr("icm_evaluation.reproduce.write_plot", lambda path, figure: found.update({path.name: figure}))
    return found


def material(*results: Result, **more: Any) -> Material:
    return Material(results, cast(Any, None), "the source", **more)


def text_of(words: str) -> str:
    return " ".join(words.split())


def title(figure: Any) -> str:
    return text_of(figure.get_suptitle())


def note(figure: Any) -> str:
    return text_of(figure.get_supxlabel())


def labels(figure: Any) -> list[str]:
    """What the lines of the only panel are called, in order."""
    (axes,) = figure.axes
    return [line.get_label() for line in axes.get_lines()]


def shows(points: Sequence[Stated] = (), contradictions: Sequence[str] = (), **of: Any) -> Curves:
    """A figure of PSNR."""
    about = {"data": "pictures", "metric": "psnr", "differ": "system", "share": (), **of}
    return Curves(
        kind="curves",
        title="A title",
        paper_data="streets",
        needs="results",
        claims="It is so.",
        contradictions=tuple(contradictions),
        of=Wanted.model_validate(about),
        points=tuple(points),
    )


CLEAN = {"seen": {"psnr": 50.0, "ms_ssim": None}}


def of(name: str, width: int = 40, height: int = 20, **more: Any) -> Result:
    sizes = [(size + len(name), size) for size in (50, 70)]
    return made(name, [pictured("a", sizes, of_pictures((30, 33)), width, height, clean=CLEAN)], **more)


def test_each_data_set_is_a_figure_of_its_own_numbered_from_the_second_on(drawn: Drawn, tmp_path: Path) -> None:
    results = [of("one"), of("two", 20, 40), of("three", 20, 20), of("more")]
    paths = draw("fig6.1", shows(), material(*results), tmp_path)
    names = [f"fig6.1{number}{suffix}" for number in ("", "-2", "-3") for suffix in (".png", ".svg")]
    assert [path.name for path in paths] == [*drawn] == names and {path.parent for path in paths} == {tmp_path}
    for number, size, systems in (("", "40x20", ["one", "more"]), ("-2", "20x40", ["two"]), ("-3", "20x20", ["three"])):
        figure = drawn[f"fig6.1{number}.svg"]
        assert title(figure) == f"A title: made val, 1 pictures of {size}, in place of the paper's streets"
        assert labels(figure) == [*systems, "clean pictures"]
        assert note(figure) == "It is so. the source."
    assert drawn["fig6.1.png"].axes[0].get_ylabel() == "PSNR in dB"


def test_where_whole_files_are_wanted_there_is_no_level_of_clean_pictures(drawn: Drawn, tmp_path: Path) -> None:
    draw("fig9", shows(whole=True), material(of("one", whole=("seen",)), of("coarse")), tmp_path)
    assert labels(drawn["fig9.svg"]) == ["one"]


@pytest.mark.parametrize("derived", ["", "40 % of B's"])
def test_a_note_says_what_the_marks_are_and_which_follow_from_shares(
    drawn: Drawn, tmp_path: Path, derived: str
) -> None:
    points = [
        Stated(label="paper: A", bpp=0.1, value=30, derived=derived),
        Stated(label="paper: B", bpp=0.25, value=31, relation="~"),
    ]
    draw("fig9", shows(points, ["Not so.", "Nor so."]), material(of("one")), tmp_path)
    shares = f"Of shares in the text: A 0.1 bpp, {derived}. " if derived else ""
    assert note(drawn["fig9.png"]) == (
        f"Hollow marks: the paper's own points, on its own data. {shares}"
        "It is so. Within the paper: Not so. Nor so. the source."
    )
    (axes,) = drawn["fig9.png"].axes
    marks = {line.get_label(): (*line.get_xdata(), *line.get_ydata()) for line in axes.get_lines()}
    assert (marks["paper: A"], marks["paper: B"]) == ((0.1, 30), (0.25, 31))
    assert [text.get_text() for text in axes.texts] == ["30", "about 31"]


def two_tasks(name: str) -> Result:
    """One picture twice, as tasks a and b."""
    tallies = [{"a": own["seen"], "b": own["seen"]} for own in of_pictures((30, 33))]
    return made(name, [pictured("p", [(50, 50), (70, 70)], tallies)], dict.fromkeys("ab", "reconstruction"))


def test_adapters_are_named_each_with_its_own_colour_and_those_that_are_missing_are_told(
    drawn: Drawn, tmp_path: Path
) -> None:
    wanted = shows(differ="adapter", adapters=("adapter.a", "adapter.x", "adapter.b", "adapter.y"))
    draw("fig9", wanted, material(two_tasks("one")), tmp_path)
    assert labels(drawn["fig9.svg"]) == ["one a (adapter.a)", "one b (adapter.b)"]
    assert len({line.get_color() for line in drawn["fig9.svg"].axes[0].get_lines()}) == 2
    assert note(drawn["fig9.svg"]) == "Not measured here: adapter.x, adapter.y. It is so. the source."


def test_side_rates_are_those_of_the_lowest_point(drawn: Drawn, tmp_path: Path) -> None:
    def fixed(name: str, low: int, high: int) -> Result:
        row = pictured("a", [(3000, high), (3100, low)], of_pictures((30, 33)), 10, 10, fixed=2)
        return made(name, [row], whole=("seen",))

    draw("fig9", shows(differ="side rate"), material(fixed("one", 1000, 1049), fixed("two", 2000, 2000)), tmp_path)
    assert labels(drawn["fig9.svg"]) == ["one, base 80 bpp", "two, base 160 bpp"]


def test_a_figure_of_curves_takes_the_sizes_that_other_figures_of_its_metric_are_about(tmp_path: Path) -> None:
    wanted = shows().model_copy(update={"size": (60, 30)})
    with pytest.raises(InputError, match=r"^fig9 shows pictures of 60x30, and 'one' was measured on 20x40, which fig8"):
        draw("fig9", wanted, material(of("one"), sizes={"psnr": {(20, 40): "fig8"}, "miou": {}}), tmp_path)


def heads(**heads: float) -> Clean:
    return Clean(
        kind="clean",
        title="Heads",
        paper_data="streets",
        needs="results of heads",
        contradictions=("Not so.", "Nor so."),
        heads={f"head.{name}": value for name, value in heads.items()},
    )


def of_head(system: str, right: int, *names: str, kind: str = "segmentation", **more: Any) -> Result:
    """So many of ten pixels are right of each of two classes on the clean picture, by every one of some heads."""
    tally = {"confusion": [right, 10 - right, 10 - right, right]}
    if kind == "classification":
        tally = {"top1": True, "top5": True}  # type: ignore[dict-item]
    row = pictured("a", [(50, 10)], [dict.fromkeys(names, tally)], 10, 10, clean=dict.fromkeys(names, tally))
    return made(system, [row], dict.fromkeys(names, kind), **more)


def test_heads_stand_beside_the_papers_on_the_data_that_all_were_measured_on(tmp_path: Path) -> None:
    """Of 9 right ones in each 10, 9 of 11 pixels that are or were called so; of 8, 8 of 12."""
    results = [
        of_head("far", 10, "x", name="far"),
        of_head("one", 9, "x", "other"),
        of_head("two", 8, "y", params={"classes": "cars"}, name="elsewhere"),
        of_head("three", 8, "y"),
        of_head("words", 8, "z", kind="classification"),
    ]
    (path,) = draw("table9", heads(x=60.5, y=70, z=80), material(*results), tmp_path / "deep" / "down")
    assert path == tmp_path / "deep" / "down" / "table9.md"
    assert path.read_text() == (
        "# Heads\n\n"
        "| head | paper, streets | here | system | data here |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| head.x | 60.50 % | 81.82 % | one | made val, 1 pictures of 10x10 |\n"
        "| head.y | 70.00 % | 66.67 % | three | made val, 1 pictures of 10x10 |"
        "\n\nNot measured here: head.z."
        "\n\nNot so.\n\nNor so.\n\nPaper: the source.\n"
    )


def test_heads_on_data_sets_of_their_own_are_refused_by_the_first_of_each(tmp_path: Path) -> None:
    results = [of_head("a", 9, "y", name="far"), of_head("b", 9, "x"), of_head("c", 9, "x", name="near")]
    with pytest.raises(InputError) as error:
        draw("table9", heads(x=60, y=70), material(*results), tmp_path)
    assert str(error.value) == (
        "table9 compares heads on one data set: head.x was measured on made val, 1 pictures of 10x10, head.y on far "
        "val, 1 pictures of 10x10"
    )
    with pytest.raises(InputError, match=r"^table9 needs results of heads$"):
        draw("table9", heads(z=60), material(*results), tmp_path)


def pictures(tasks: str, picture: int) -> Pictures:
    return Pictures(
        kind="pictures", title="Pictures", paper_data="streets", needs="models", limits=(0.5, 0.1), picture=picture,
        tasks=tasks, claims="It is so.",
    )  # fmt: skip


def square(colour: str) -> Image.Image:
    return Image.new("RGB", (4, 3), colour)


@pytest.mark.parametrize(("tasks", "base_only"), [("segmentation", True), ("reconstruction", False)])
@pytest.mark.parametrize(("picture", "number"), [(0, 0), (1, 2), (3, 7), (6, 5)])
def test_a_figure_of_pictures_has_one_of_four_of_the_data_set_and_the_answers_of_its_kind(
    drawn: Drawn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: str,
    base_only: bool,
    picture: int,
    number: int,
) -> None:
    asked: list[Any] = []
    cells = [
        Cell("one: map", "segmentation", square("red"), "quality 1"),
        Cell("one: fine", "reconstruction", square("blue"), "quality 1, 30 dB"),
        Cell("two", "", None, "cannot be so small"),
    ]

    def shoot(*given: Any, **more: Any) -> Shot:
        asked.append((given, more["base_only"]))
        return Shot(
            "p", square("black"), square("white"), [Step("few", 9, 0.1, cells), Step("many", 99, 1.1, cells[:1])]
        )

    monkeypatch.setattr("icm_evaluation.reproduce.shoot", shoot)
    pipes, data = [SimpleNamespace(name="one")], range(10)
    own = material(pipes=pipes, data=data, data_name="drawn")
    (path,) = draw("fig9", pictures(tasks, picture), own, tmp_path)
    assert asked == [((pipes, data, number, (0.5, 0.1)), base_only)]
    figure = drawn[path.name]
    assert path == tmp_path / "fig9.png" and note(figure) == "It is so. the source."
    assert title(figure) == "Pictures: drawn, p, 4x3, in place of the paper's streets"
    first = ["original", *(["annotation"] if base_only else [])]
    answer = "one: map few: quality 1" if base_only else "one: fine few: quality 1, 30 dB"
    again = ["one: map many: quality 1"] if base_only else []
    shown = [text_of(ax.get_title()) for ax in figure.axes]
    assert [text for text in shown if text] == [*first, answer, "two few: cannot be so small", *first, *again]


@pytest.mark.parametrize("missing", ["pipes", "data"])
def test_pictures_need_models_and_data(tmp_path: Path, missing: str) -> None:
    given = {"pipes": [SimpleNamespace(name="one")], "data": range(10)}
    given.pop(missing)
    with pytest.raises(InputError, match=r"^fig9 needs models$"):
        draw("fig9", pictures("segmentation", 0), material(**given), tmp_path)


def test_costs_are_those_of_the_models_that_are_given_else_of_the_papers(tmp_path: Path) -> None:
    registry = build_registry()
    picture = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}
    for codec in ("jpeg", "webp"):
        spec = {"icm": 1, "name": codec, "codec": {"use": f"baselines.{codec}"}, "tasks": {"picture": picture}}
        (tmp_path / f"{codec}.json").write_text(json.dumps(spec))
    wanted = AccountOf(
        kind="account",
        title="Costs",
        paper_data="",
        needs="",
        claims="So much.",
        size=(64, 96),
        models=(str(tmp_path / "webp.json"),),
    )
    for models, name in (([str(tmp_path / "jpeg.json")], "jpeg"), ([], "webp")):
        (path,) = draw("costs", wanted, Material((), registry, "the source", models), tmp_path)
        nothing = f"{name} has no networks but the heads, so it has nothing to share."
        assert path.read_text() == f"# Costs\n\n{nothing}\n\nIn the paper: So much.\n\nPaper: the source.\n"
    (path,) = draw("costs", wanted, Material((), registry, "the source", ["scalable"]), tmp_path)
    assert "scalable, pictures of 96x64\n\n| modules |" in path.read_text()


def test_an_overview_has_name_title_and_what_is_needed() -> None:
    assert overview({"fig9": shows(), "table9": heads(x=1)}) == [
        ("fig9", "A title", "results"), ("table9", "Heads", "results of heads"),
    ]  # fmt: skip


def test_figures_are_found_in_the_order_of_their_names_and_all_wherever_it_stands() -> None:
    table = paper()
    assert [*find_figures(["fig13", "fig11"], table)] == ["fig13", "fig11"]
    assert find_figures(["fig13", "all"], table) == table.figures == find_figures(["all", "fig13"], table)
    with pytest.raises(InputError, match="unknown figure 'fig1'"):
        find_figures(["all", "fig1"], table)
