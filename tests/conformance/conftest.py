"""Little trees, one in the layout of each data set."""

from __future__ import annotations

import io
import json
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


def _annotated() -> dict[str, object]:
    """COCO's annotations of pictures of 6x4: one has a polygon and points, one a crowd in run lengths, one nothing."""
    images = [{"id": 7 - n, "file_name": f"{n}.png", "width": 6, "height": 4} for n in range(3)]
    crowd = {"size": [4, 6], "counts": [5, 2, 2, 2, 13]}
    points = [1, 1, 2, 3.5, 2, 1, 0, 0, 0]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 1, 3, 2.5], "area": 6.5, "iscrowd": 0,
         "segmentation": [[1, 1, 4, 1, 4, 3.5, 1, 3.5]], "keypoints": points, "num_keypoints": 2},
        {"id": 2, "image_id": 6, "category_id": 3, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 1,
         "segmentation": crowd},
    ]  # fmt: skip
    names = ["nose", "left_eye", "right_eye"]
    categories = [{"id": 9, "name": "person", "keypoints": names}, {"id": 3, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _things(name: str, difficult: int) -> bytes:
    """An annotation of VOC for a picture of 6x4."""
    box = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>6</xmax><ymax>3</ymax></bndbox>"
    thing = f"<object><name>{name}</name><difficult>{difficult}</difficult>{box}</object>"
    return f"<annotation><size><width>6</width><height>4</height></size>{thing}</annotation>".encode()


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
        _write(root / "voc", {f"JPEGImages/{name}.jpg": _png(n), f"Annotations/{name}.xml": _things("dog", n)})
        _write(root / "voc", {f"SegmentationClass/{name}.png": _map([0, 12, 20, 255])})
        _write(root / "pairs", {f"train/{name}.png": _png(n), f"train_labels/{name}.png": _map([n, 2, 255])})
        _write(root / "nyu", {f"train/{name}.png": _png(n), f"train_depth/{name}.png": _map([0, 3, 255])})
    for sets in ("Main", "Segmentation"):
        _write(root / "voc", {f"ImageSets/{sets}/train.txt": b"b\na\n"})
    _write(root / "coco", {f"train2017/{n}.png": _png(n) for n in range(3)})
    for file in ("instances", "person_keypoints"):
        data = json.dumps(_annotated()).encode()
        _write(root / "coco", {f"annotations/{file}_train2017.json": data})
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
