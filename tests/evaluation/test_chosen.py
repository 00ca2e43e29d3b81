"""Which base layers have one rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError, SpecError
from icm_core.interfaces import TaskKind
from icm_evaluation.chosen import adapter_of, groups_of, side_rate
from icm_evaluation.curves import curves_of
from icm_evaluation.kinds import Kinds
from icm_evaluation.papers import Curves, Paper, Wanted, paper
from icm_evaluation.results import Result


def fixed(name: str, *base: int) -> Result:
    """Fine pictures over base layers of so many bytes, of 100 pixels."""
    sizes = [(1000 + 100 * number, own) for number, own in enumerate(base)]
    own = pictured("a", sizes, of_pictures([30.0 + number for number in range(len(base))]), 10, 10, fixed=2)
    return made(name, [own], whole=("seen",), kind="segmentation")


def test_a_side_rate_is_the_lowest_and_the_highest_of_the_base_layer() -> None:
    (curve,) = (curve for curve in curves_of(fixed("one", 104, 100, 103)) if curve.metric == "psnr")
    assert side_rate(curve) == (pytest.approx(8.0), pytest.approx(8.32))


def test_a_side_rate_is_that_of_the_points_of_the_curve() -> None:
    (curve,) = (curve for curve in curves_of(fixed("one", 104, 100, 109)) if curve.metric == "psnr")
    assert side_rate(replace(curve, settings=curve.settings[:2])) == (pytest.approx(8.0), pytest.approx(8.32))


@pytest.mark.parametrize(
    ("one", "other"), [((100, 104), (200, 209)), ((1000, 1049), (1103, 1103)), ((1000, 1050), (2000, 2100))]
)
def test_base_layers_that_differ_by_a_twentieth_or_less_stay(one: tuple[int, int], other: tuple[int, int]) -> None:
    wanted = paper().figures["fig22"]
    assert isinstance(wanted, Curves)
    results = [fixed("one", *one), fixed("other", *other)]
    (curves,) = groups_of("fig22", wanted, results, {}).values()
    assert [curve.label for curve in curves] == ["one", "other"]


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ((100, 106), (200, 200), r"compares side rates that stay, and the base layer of 'one' has 8 to 8\.48 bpp"),
        ((1000, 1052), (2000, 2000), r"the base layer of 'one' has 80 to 84\.2 bpp"),
        ((100, 100), (104, 104), r"the base layers of both 'one' and 'other' have 8 bpp"),
        ((104, 104), (100, 100), r"the base layers of both 'one' and 'other' have 8 bpp"),
    ],
)
def test_base_layers_that_move_or_are_alike_are_refused(
    one: tuple[int, int], other: tuple[int, int], says: str
) -> None:
    wanted = paper().figures["fig22"]
    assert isinstance(wanted, Curves)
    with pytest.raises(InputError, match=says):
        groups_of("fig22", wanted, [fixed("one", *one), fixed("other", *other)], {})


def shows(size: tuple[int, int] | None = None, **of: Any) -> Curves:
    """A figure of PSNR."""
    about = {"data": "pictures", "metric": "psnr", "differ": "system", "share": (), **of}
    return Curves(
        kind="curves", title="t", paper_data="theirs", needs="results", size=size, of=Wanted.model_validate(about)
    )


def test_sizes_are_those_of_figures_that_compare_systems() -> None:
    figures = {
        "a": shows((20, 40)), "b": shows((30, 40), differ="adapter"), "c": shows(), "d": shows((30, 60)),
        "e": shows((20, 40), metric="miou"),
    }  # fmt: skip
    found = Paper(source="s", figures=figures).sizes
    assert found == {"psnr": {(20, 40): "a", (30, 60): "d"}, "miou": {(20, 40): "e"}}


def of_size(name: str, width: int, height: int, **more: Any) -> Result:
    sizes = [(size + len(name), size) for size in (50, 70)]
    return made(name, [pictured("a", sizes, of_pictures((30, 33)), width, height)], **more)


def shown(wanted: Curves, *results: Result, sizes: Any = None) -> dict[str, list[str]]:
    found = groups_of("fig9", wanted, results, sizes or {})
    return {data: [curve.label for curve in curves] for data, curves in found.items()}


def test_curves_of_whole_files_are_shown_beside_others_unless_they_alone_are_wanted() -> None:
    fine, coarse = of_size("fine", 40, 20, whole=("seen",)), of_size("coarse", 40, 20, codec="other")
    assert [*shown(shows(), fine, coarse).values()] == [["fine", "coarse"]]
    assert [*shown(shows(whole=True), fine, coarse).values()] == [["fine"]]


def test_results_at_the_papers_size_are_shown_alone() -> None:
    flat, tall = of_size("flat", 40, 20), of_size("tall", 20, 40)
    assert shown(shows((20, 40)), flat, tall) == {"made val, 1 pictures of 40x20": ["flat"]}
    assert shown(shows((40, 20)), flat, tall) == {"made val, 1 pictures of 20x40": ["tall"]}
    # Others stand in their place, but those that another figure is about.
    assert shown(shows((30, 60)), flat, tall, sizes={(20, 40): "fig8"}) == {"made val, 1 pictures of 20x40": ["tall"]}
    with pytest.raises(InputError, match="fig9 shows pictures of 30x60, and 'flat' was measured on 20x40, which fig8"):
        shown(shows((30, 60)), flat, sizes={(20, 40): "fig8"})


@pytest.mark.parametrize(
    ("share", "more", "says"),
    [
        ("search", {"effort": 8}, "the search of 'one' is of 0 steps, that of 'other' of 8 steps"),
        ("codec", {"codec": "other.codec"}, r"the codec of 'one' is made\.codec, that of 'other' other\.codec"),
    ],
)
def test_what_curves_should_share_is_told(share: str, more: dict[str, Any], says: str) -> None:
    one, other = of_size("one", 40, 20), of_size("other", 40, 20, **more)
    assert [*shown(shows(), one, other).values()] == [["one", "other"]]
    with pytest.raises(InputError, match=says):
        shown(shows(share=(share,)), one, other)


def test_a_figure_says_whose_classes_its_data_has() -> None:
    one = of_size("one", 40, 20, params={"classes": "cityscapes"})
    assert [*shown(shows(), one)] == ["made (cityscapes) val, 1 pictures of 40x20"]


def test_a_curve_leaves_out_points_without_its_figure_with_their_settings_and_rates() -> None:
    own = pictured("a", [(1000, 100), (1100, 110), (1200, 120)], of_pictures([30.0, 31.0, 32.0]), 10, 10)
    result = made("one", [own], whole=("seen",))
    result.points[1].tasks["seen"]["psnr"] = None
    (curve,) = (curve for curve in curves_of(result) if curve.metric == "psnr")
    assert curve.settings == ((1.0, None), (3.0, None))
    assert curve.rates == (pytest.approx(80.0), pytest.approx(96.0)) and curve.values == (30.0, 32.0)


def of_keys(name: str, keys: str, **more: Any) -> Result:
    """Pictures of 40x20; systems differ in their bytes."""
    sizes = [(size + len(name), size) for size in (50, 70)]
    return made(name, [pictured(key, sizes, of_pictures((30, 33)), 40, 20) for key in keys], **more)


class Nothing(Kinds):
    """Where no kind is installed."""

    def get(self, name: str, where: str = "") -> TaskKind:
        raise SpecError(f"{where}unknown kind {name!r}")


def test_figures_of_common_pictures_are_made_by_the_kinds_that_are_given() -> None:
    one, other = of_keys("one", "ab"), of_keys("other", "bcd")
    assert shown(shows(), one, other) == {"made val, 1 of 2 pictures of 40x20": ["one", "other"]}
    apart = groups_of("fig9", shows(), [one, other], {}, Nothing())
    assert {data: [curve.label for curve in curves] for data, curves in apart.items()} == {
        "made val, 2 pictures of 40x20": ["one"], "made val, 3 pictures of 40x20": ["other"],
    }  # fmt: skip


def test_pictures_of_other_sizes_and_other_pictures_are_figures_of_their_own() -> None:
    flat, tall = of_size("flat", 40, 20), of_size("tall", 20, 40)
    assert [*shown(shows(), flat, tall).values()] == [["flat"], ["tall"]]
    test = of_keys("test", "a", split="test")
    assert [*shown(shows(), of_keys("val", "a"), test).values()] == [["val"], ["test"]]
    # In two folders that are described alike.
    three = of_keys("one", "ab"), of_keys("other", "cd"), of_keys("third", "ef")
    assert [*shown(shows(), *three).values()] == [["one"], ["other"], ["third"]]


def test_an_adapter_is_that_of_the_curves_own_task() -> None:
    (curve,) = (curve for curve in curves_of(of_size("one", 40, 20)) if curve.metric == "psnr")
    assert adapter_of(curve) == "adapter.seen"


def two_tasks(name: str, **more: Any) -> Result:
    """One picture twice, as tasks a and b."""
    tallies = [{"a": own["seen"], "b": own["seen"]} for own in of_pictures((30, 33))]
    rows = [pictured("p", [(50 + len(name), 50), (70, 70)], tallies, 40, 20)]
    return made(name, rows, dict.fromkeys("ab", "reconstruction"), **more)


def test_two_tasks_of_one_result_are_two_curves_and_two_results_of_one_system_are_refused() -> None:
    assert [*shown(shows(), two_tasks("one")).values()] == [["one a", "one b"]]
    with pytest.raises(InputError, match=r"fig9 compares systems, and two results on made val, .* are of 'one'"):
        shown(shows(), two_tasks("one"), two_tasks("one"))


def test_only_the_adapters_that_a_figure_is_about_are_shown() -> None:
    assert [*shown(shows(adapters=("adapter.b",)), two_tasks("one")).values()] == [["one b"]]
    assert [*shown(shows(differ="adapter", adapters=("adapter.b", "adapter.a")), two_tasks("one")).values()] == [
        ["one a", "one b"]
    ]


@pytest.mark.parametrize("at", [1, 2])
def test_every_curve_shares_what_the_first_one_has(at: int) -> None:
    results = [of_size("x" * (1 + n), 40, 20, **({"codec": "other.codec"} if n == at else {})) for n in range(3)]
    with pytest.raises(InputError, match=rf"the codec of 'x' is made\.codec, that of '{'x' * (1 + at)}' other\.codec"):
        shown(shows(share=("codec",)), *results)


FLAT, TALL = "made val, 1 pictures of 40x20", "made val, 1 pictures of 20x40"


@pytest.mark.parametrize(
    ("more", "results", "says"),
    [
        ({}, [of_size("flat", 40, 20)], "needs results; there is 'flat' alone"),
        (
            {},
            [of_size("flat", 40, 20), of_size("tall", 20, 40)],
            f"compares systems on one picture size: 'flat' was measured on {FLAT}, 'tall' on {TALL}",
        ),
        (
            {},
            [of_size("flat", 40, 20), made("tall", of_size("tall", 20, 40).pictures, name="far")],
            f"compares systems on one data set: 'flat' was measured on {FLAT}, 'tall' on far val, 1 pictures of 20x40",
        ),
        (
            {},
            [of_keys("one", "a"), of_keys("other", "b")],
            f"compares systems on one data set: 'one' was measured on {FLAT}, 'other' on {FLAT}",
        ),
        (
            {"differ": "adapter"},
            [of_size("flat", 40, 20), of_size("tall", 20, 40, split="test")],
            f"compares adapters on one data set: 'flat' was measured on {FLAT}, "
            "'tall' on made test, 1 pictures of 20x40",
        ),
        (
            {"differ": "adapter", "lines": 3},
            [of_size("flat", 40, 20), of_size("tall", 20, 40)],
            "needs results; there is 'flat' with adapter.seen, 'tall' with adapter.seen alone",
        ),
        (
            {"differ": "side rate", "data": "segmentation"},
            [fixed("one", 1049, 1000)],
            "needs results; there is 'one' with 80 bpp alone",
        ),
    ],
)
def test_why_there_are_too_few_lines_is_told(more: dict[str, Any], results: list[Result], says: str) -> None:
    with pytest.raises(InputError) as error:
        shown(shows(**{"lines": 2, **more}), *results)
    assert str(error.value) == f"fig9 {says}"


def test_what_there_is_instead_is_told_each_once_and_four_at_most() -> None:
    def told(*names: str) -> str:
        with pytest.raises(InputError) as error:
            shown(shows(metric="miou"), *(of_size(name, 40, 20) for name in names))
        return str(error.value)

    assert told() == "fig9 needs results; there are no results"
    four = f"fig9 needs results; there is 'a' on {FLAT}, 'b' on {FLAT}, 'c' on {FLAT}, 'd' on {FLAT}"
    assert told(*"abcda") == four and told(*"abcde") == f"{four} and more"
