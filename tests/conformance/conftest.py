"""Little trees, one in the layout of each data set."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SYNSETS = ("n01440764", "n01443537")  # classes 0 and 1


def _png(number: int, height: int = 4, width: int = 6) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return _encoded(pixels)


def _map(values: list[int], height: int = 4, width: int = 6) -> bytes:
    return _encoded(np.resize(np.array(values, np.uint8), (height, width)))


def _encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _shard(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tree for each data set, named like it without the plugin's name."""
    root = tmp_path_factory.mktemp("trees")
    _write(root / "pictures", {f"train/{name}.png": _png(n) for n, name in enumerate(["b", "inner/a", "c"])})
    _write(root / "folders", {f"train/{name}/{n}.png": _png(n) for n, name in enumerate(["dog", "cat", "dog"])})
    answers = "ImageId,PredictionString\n" + "".join(f"v{n},{name} 0 0 4 4\n" for n, name in enumerate(SYNSETS))
    _write(root / "imagenet", {f"val/v{n}.png": _png(n) for n in range(len(SYNSETS))})
    _write(root / "imagenet", {"LOC_val_solution.csv": answers.encode()})
    for n, name in enumerate(["b", "a"]):
        _write(root / "camvid", {f"train/{name}.png": _png(n), f"trainannot/{name}.png": _map([n, 3, 10, 11])})
        scene = f"ulm/ulm_00000{n}_000019"
        picture, class_map = _png(n, 256, 512), _map([7, 8, 0, 33], 256, 512)
        _write(root / "cityscapes/leftImg8bit/train", {f"{scene}_leftImg8bit.png": picture})
        _write(root / "cityscapes/gtFine/train", {f"{scene}_gtFine_labelIds.png": class_map})
    for shard in range(2):
        keys = [f"{2 * shard + n:06d}" for n in range(2)]
        targets = {
            "webdataset": {f"{key}.cls": str(int(key) % 2).encode() for key in keys},
            "webdataset_maps": {f"{key}.seg.png": _map([0, 1, 255]) for key in keys},
            "webdataset_pictures": {},
        }
        for name, its in targets.items():
            members = {f"{key}.png": _png(int(key)) for key in keys} | its
            _write(root / name, {f"train-{shard:06d}.tar": _shard(dict(sorted(members.items())))})
    return root
