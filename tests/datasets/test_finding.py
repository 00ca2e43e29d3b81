"""Data sets by name, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

import icm_datasets
from icm_core import InputError, Registry, SpecError, build_registry
from icm_core.plugins.datasets import find_dataset, open_dataset
from icm_core.plugins.lookup import look_up

LAB = """
import torch
from icm_core import hookimpl
from icm_core.interfaces import DataSet, Sample

class Noise(DataSet):
    name = "lab.{name}"
    kind = "pictures"
    def __len__(self):
        return 3
    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)
        return Sample(str(number), torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8), None)

@hookimpl
def icm_datasets():
    return [Noise]
"""


def install(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A distribution as pip would leave it beside the data sets that ship."""
    info = folder / f"{name}-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(f"[icm.plugins]\nlab = {name}\n")
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    return build_registry(path=[str(folder)], extra={"datasets": icm_datasets})


def test_full_and_short_names(registry: Registry) -> None:
    assert find_dataset("datasets.camvid", registry) is find_dataset("camvid", registry) is icm_datasets.CamVid


def test_all_that_ship_are_usable(registry: Registry) -> None:
    rows = [row for row in registry.status() if row["kind"] == "data set"]
    names = ["camvid", "cityscapes", "coco", "folders", "imagenet", "nyu", "pairs", "pictures", "voc", "webdataset"]
    assert {row["name"] for row in rows} == {
        *(f"datasets.{name}" for name in names),
        "datasets.webdataset_maps",
        "datasets.webdataset_pictures",
    }
    assert {row["status"] for row in rows} == {"ok"}


def test_every_parameter_is_described(registry: Registry) -> None:
    fields = [
        (name, field, info.description)
        for name in registry.datasets.names
        for field, info in registry.datasets.get(name).Params.model_fields.items()
    ]
    assert len(fields) == 12 + 4 + 1 + 8 + 2 + 1 + 2  # size of all twelve; coco, folders, pairs, voc, webdataset, _maps
    assert [(name, field) for name, field, description in fields if not description] == []


@pytest.mark.parametrize("name", ["camvit", "datasets.camvit"])
def test_an_unknown_name_gets_the_nearest(registry: Registry, name: str) -> None:
    nearest = name.replace("camvit", "camvid")
    with pytest.raises(InputError, match=f"unknown data set '{name}'; did you mean '{nearest}'\\? known: "):
        find_dataset(name, registry)


@pytest.mark.parametrize("text", ["camvid", "camvid:", ":/data", ""])
def test_a_data_set_is_a_name_and_a_folder(registry: Registry, text: str) -> None:
    with pytest.raises(InputError, match=f"NAME:FOLDER, such as camvid:/data/camvid, and not as '{text}'"):
        open_dataset(text, "val", registry)


def test_the_home_folder_is_filled_in(registry: Registry, tmp_path: Path, picture, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture(tmp_path / "some/a.png")
    assert open_dataset("pictures:~/some", "all", registry)[0].key == "a"


def test_an_unknown_parameter_names_the_known(registry: Registry) -> None:
    with pytest.raises(SpecError, match=r"unknown field 'sise' in stages\[0\]\.data\.params; did you mean 'size'\?"):
        look_up("datasets.cityscapes", {"sise": "256x512"}, registry.datasets, "stages[0].data")


def test_an_unknown_parameter_is_told_before_the_folder_is_looked_at(registry: Registry) -> None:
    with pytest.raises(
        InputError, match=r"^unknown field 'sise' in datasets\.cityscapes\.params; did you mean 'size'\?"
    ):
        open_dataset("cityscapes:/no/such/folder", "val", registry, {"sise": "256x512"})


def test_every_data_set_that_ships_can_be_resized(registry: Registry) -> None:
    fields = [registry.datasets.get(name).Params.model_fields["size"] for name in registry.datasets.names]
    (description,) = {field.description for field in fields}
    assert "shorter side" in str(description)


def test_a_data_set_of_another_package(tmp_path: Path, monkeypatch) -> None:
    registry = install(tmp_path, "icm_lab_noise", LAB.format(name="noise"), monkeypatch)
    data = open_dataset("noise:anywhere", "train", registry)
    assert len(data) == 3 and data[2].picture.shape == (3, 8, 8) and data.split == "train"
    row = next(row for row in registry.status() if row["name"] == "lab.noise")
    assert (row["distribution"], row["version"], row["status"]) == ("icm-lab-noise", "0.3", "ok")


def test_the_example_of_the_page_works(tmp_path: Path, monkeypatch) -> None:
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    source = page.rpartition("```python\n")[2].partition("```")[0]
    data = open_dataset("noise:any", "train", install(tmp_path, "mylab", source, monkeypatch))
    assert data.name == "mylab.noise" and len(data) == 100 and data[1].key == "train/1"


def test_a_short_name_that_two_packages_use(tmp_path: Path, monkeypatch) -> None:
    registry = install(tmp_path, "icm_lab_twin", LAB.format(name="camvid"), monkeypatch)
    with pytest.raises(InputError, match=r"several data sets are called 'camvid': datasets\.camvid, lab\.camvid"):
        find_dataset("camvid", registry)
    assert find_dataset("lab.camvid", registry).name == "lab.camvid"


def test_a_package_that_fails_is_named_where_its_data_set_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    registry = install(tmp_path, "icm_lab_broken", "import no_such_module", monkeypatch)
    for name in ("noise", "lab.noise"):
        with pytest.raises(InputError, match=r"icm-lab-broken 0\.3 .* could not be loaded \(.*no_such_module"):
            find_dataset(name, registry)


def test_what_a_foreign_data_set_raises_becomes_one_sentence(tmp_path: Path, monkeypatch) -> None:
    source = LAB.format(name="noise").replace(
        "    def __len__", "    def __init__(self, *_):\n        open('/no/such')\n    def __len__"
    )
    registry = install(tmp_path, "icm_lab_raising", source, monkeypatch)
    with pytest.raises(InputError, match=r"noise:anywhere: .*No such file"):
        open_dataset("noise:anywhere", "train", registry)
