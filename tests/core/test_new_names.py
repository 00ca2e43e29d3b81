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


GAUSSIAN, GRID = "mylab_view/gaussian.py", "mylab_view/grid.py"


@pytest.mark.parametrize(
    ("component", "kind", "helpers", "spec"),
    [
        ("adapter", None, [], True),
        ("codec", None, [GAUSSIAN], True),
        ("enhancement", None, [GAUSSIAN], True),
        ("kind", None, [], False),
        ("head", "classification", [], True),
        ("head", "segmentation", [], True),
        ("head", "reconstruction", [], True),
        ("head", "regression", [], True),
        ("head", "detection", [GRID], True),
        ("head", "instances", [GRID], True),
        ("head", "keypoints", [GRID], True),
        ("head", "depth", [], True),
        ("head", "embedding", [], True),
        ("dataset", "classification", [], False),
        ("dataset", "instances", [], False),
        ("dataset", "pictures", [], False),
    ],
)
def test_a_package_has_the_modules_that_it_needs_and_no_others(
    component: str, kind: str | None, helpers: list[str], spec: bool
) -> None:
    files = package_files(component, "mylab.view", kind)
    assert sorted(files) == sorted(
        [
            "pyproject.toml",
            "README.md",
            "mylab_view/__init__.py",
            "mylab_view/view.py",
            "tests/test_view.py",
            *helpers,
            *(["mylab_view/mylab-view.json"] if spec else []),
        ]
    )
    assert ("icm_specs" in files["mylab_view/__init__.py"]) == ("icm check" in files["README.md"]) == spec
    assert (f", of kind {kind}." in files["README.md"]) == (kind is not None)


@pytest.mark.parametrize(
    ("component", "hook", "contract", "case", "asked"),
    [
        ("adapter", "icm_adapters", "SideInfoAdapter", 'AdapterCase(View, {"width": 8})', ("segmentation", "", True)),
        (
            "codec",
            "icm_codecs",
            "Codec",
            'CodecCase(View, {"width": 8, "h1_channels": 8, "h2_channels": 4})',
            ("coarse", "codec", True),
        ),
        (
            "enhancement",
            "icm_enhancements",
            "Enhancement",
            'EnhancementCase(View, {"width": 8, "channels": 8})',
            ("fine", "enhancement", False),
        ),
        ("head", "icm_heads", "TaskHead", 'HeadCase(View, {"classes": 3, "width": 8})', ("view", "", True)),
        ("dataset", "icm_datasets", "DataSet", "DataSetCase(View, root=ROOT)", None),
        ("kind", "icm_kinds", "TaskKind", "KindCase(View, wrong=WRONG)", None),
    ],
)
def test_a_package_provides_its_component_and_tests_it_by_its_case(
    component: str, hook: str, contract: str, case: str, asked: tuple[str, str, bool] | None
) -> None:
    files = package_files(component, "mylab.view")
    assert f"def {hook}() -> list[type[{contract}]]:" in files["mylab_view/__init__.py"]
    tests = files["tests/test_view.py"]
    assert f"@parametrize_with_checks([{case}])" in tests
    assert ("icm_core.load" in tests) == (asked is not None)
    if asked is not None:
        task, freeze, base = asked
        assert f'pipe.decode(blob, tasks=["{task}"])["{task}"]' in tests
        assert [line.strip() for line in tests.splitlines() if "freeze" in line] == (
            [f"pipe.{freeze}.freeze_tables()"] if freeze else []
        )
        assert ("enhancement=False" in tests) == base


def test_a_component_of_another_kind_says_so_everywhere() -> None:
    files = package_files("head", "mylab.view", "depth")
    assert 'kind: ClassVar[str] = "depth"' in files["mylab_view/view.py"]
    assert '"params": {"unit": "m"}' in files["mylab_view/mylab-view.json"]
    assert 'HeadCase(View, {"width": 8})' in files["tests/test_view.py"]
    made = package_files("dataset", "mylab.view", "depth")
    assert "train_depth" in made["tests/test_view.py"] and "train_depth" not in "".join(
        package_files("dataset", "mylab.view").values()
    )
    assert package_files("dataset", "mylab.view") == package_files("dataset", "mylab.view", "classification")
