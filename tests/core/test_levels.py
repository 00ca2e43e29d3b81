"""What a level of side information is known to look like before there is one."""

from __future__ import annotations

from icm_core.types import Level, SideInfoLayout


def test_a_level_has_a_position_for_so_many_pixels_or_one_for_the_whole_picture() -> None:
    assert Level(8, 16).at(64, 96) == (4, 6)
    assert Level(3, 1).at(64, 96) == (64, 96)
    assert Level(10, 0).at(64, 96) == (1, 1)


def test_pictures_are_padded_for_the_coarsest_level_that_has_positions() -> None:
    assert SideInfoLayout((Level(8, 16), Level(4, 64), Level(10, 0)), 8).alignment == 64
    assert SideInfoLayout((Level(10, 0),), 8).alignment == 1
