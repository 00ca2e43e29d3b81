"""Which base layers have one rate."""

from __future__ import annotations

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_evaluation.chosen import groups_of, side_rate
from icm_evaluation.curves import curves_of
from icm_evaluation.papers import Curves, paper
from icm_evaluation.results import Result


def fixed(name: str, *base: int) -> Result:
    """Fine pictures over base layers of so many bytes, of 100 pixels."""
    sizes = [(1000 + 100 * number, own) for number, own in enumerate(base)]
    own = pictured("a", sizes, of_pictures([30.0 + number for number in range(len(base))]), 10, 10, fixed=2)
    return made(name, [own], whole=("seen",), kind="segmentation")


def test_a_side_rate_is_the_lowest_and_the_highest_of_the_base_layer() -> None:
    (curve,) = (curve for curve in curves_of(fixed("one", 104, 100, 103)) if curve.metric == "psnr")
    assert side_rate(curve) == (pytest.approx(8.0), pytest.approx(8.32))


@pytest.mark.parametrize(("one", "other"), [((100, 104), (200, 209)), ((1000, 1049), (1103, 1103))])
def test_base_layers_that_differ_by_less_than_a_twentieth_stay(one: tuple[int, int], other: tuple[int, int]) -> None:
    wanted = paper().figures["fig22"]
    assert isinstance(wanted, Curves)
    results = [fixed("one", *one), fixed("other", *other)]
    (curves,) = groups_of("fig22", wanted, results, {}).values()
    assert [curve.label for curve in curves] == ["one", "other"]


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ((100, 106), (200, 200), r"compares side rates that stay, and the base layer of 'one' has 8 to 8\.48 bpp"),
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
