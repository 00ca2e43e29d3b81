"""Names of new packages, of what is in them, and what they may not be written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_core import InputError
from icm_core.scaffold import make_package, package_files


def test_a_name_of_several_parts_gives_package_module_and_class() -> None:
    files = package_files("adapter", "mylab.wide_view.of_cars")
    module = "mylab_wide_view_of_cars/wide_view_of_cars.py"
    assert {*files} == {
        "pyproject.toml",
        "README.md",
        "mylab_wide_view_of_cars/__init__.py",
        module,
        "mylab_wide_view_of_cars/mylab-wide-view-of-cars.json",
        "tests/test_wide_view_of_cars.py",
    }
    assert "class WideViewOfCars(SideInfoAdapter):" in files[module]
    assert 'name: ClassVar[str] = "mylab.wide_view.of_cars"' in files[module]
    assert all(text.endswith("\n") for text in files.values())


@pytest.mark.parametrize("name", ["mylab.class", "mylab.tests", "mylab.grid", "lambda.view", "gaussian.view"])
def test_a_name_that_is_no_modules_is_refused(name: str) -> None:
    word = next(part for part in name.split(".") if part not in ("mylab", "view"))
    with pytest.raises(InputError, match=f"'{word}' cannot be the name of its module; choose another"):
        package_files("head", name)


def test_a_name_has_64_characters_at_most() -> None:
    longest = "mylab." + 58 * "x"
    assert package_files("head", longest)
    with pytest.raises(InputError, match="at most 64 characters"):
        package_files("head", longest + "x")


@pytest.mark.parametrize("there", ["README.md", "mylab_view/view.py"])
@pytest.mark.parametrize("link", [False, True])
def test_one_file_that_is_there_keeps_all_from_being_written(tmp_path: Path, there: str, link: bool) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    if link:
        (tmp_path / there).symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / there).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"exists already, and nothing was written; choose another folder with -o"):
        make_package("adapter", "mylab.view", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_has_a_kind_is_given_one() -> None:
    with pytest.raises(InputError, match="--kind is '', and only a head or a dataset has a kind"):
        package_files("codec", "mylab.view", "")
    assert 'kind: ClassVar[str] = "classification"' in package_files("head", "mylab.view")["mylab_view/view.py"]
