"""The shipped weights on real pictures, where the shared data are: against computations of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import icm_core
from icm_core.jpeg import psnr
from icm_core.pictures import to_picture
from icm_evaluation.measure import file_name
from icm_evaluation.options import Options
from icm_evaluation.run import evaluate

DATA = Path(os.environ.get("ICM_DATA", Path(__file__).parents[3] / "shared/data"))
IGNORED = 11


def miou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    scores = []
    for number in range(11):
        inside = sum(int(((seen == number) & (true == number)).sum()) for true, seen in pairs)
        around = sum(int((((seen == number) | (true == number)) & (true != IGNORED)).sum()) for true, seen in pairs)
        scores += [inside / around] if around else []
    return 100 * float(np.mean(scores))


@pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason="CamVid is not here; ICM_DATA names the folder it is in")
def test_road_scenes_are_measured_as_numpy_measures_them(tmp_path) -> None:
    options = Options("sicmh-small", f"camvid:{DATA / 'camvid'}", qualities=(2.0,), limit=2, workers=1, device="cpu",
                      keep=tmp_path / "files")  # fmt: skip
    result = evaluate(options, tmp_path / "result.json")
    pipe = icm_core.load("sicmh-small", device="cpu")
    pairs, coarse, fine, sizes = [], [], [], []
    for row in result.pictures:
        file = tmp_path / "files" / file_name(row.key, 2)
        sizes.append(file.stat().st_size)
        (picture,) = (DATA / "camvid/val").glob(f"{Path(row.key).name}.*")
        with Image.open(picture) as image, Image.open(DATA / f"camvid/valannot/{picture.stem}.png") as annotation:
            original, true = image.convert("RGB"), np.asarray(annotation)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        out = pipe.decode(file.read_bytes())
        torch.set_num_threads(threads)
        pairs.append((true, out["segmentation"].output[0].argmax(0).numpy()))
        coarse.append(psnr(original, to_picture(out["coarse"].output)))
        fine.append(psnr(original, to_picture(out["fine"].output)))
    (point,) = result.points
    assert point.bpp == pytest.approx(8 * np.mean(sizes) / (480 * 360), rel=1e-12)
    assert point.tasks["segmentation"]["miou"] == pytest.approx(miou(pairs), rel=1e-6)
    assert point.tasks["segmentation"]["clean"] > point.tasks["segmentation"]["miou"]
    assert point.tasks["coarse"]["psnr"] == pytest.approx(np.mean(coarse), abs=1e-5)
    assert point.tasks["fine"]["psnr"] == pytest.approx(np.mean(fine), abs=1e-5)


def test_the_file_of_a_codec_of_its_own_is_what_counts(tmp_path) -> None:
    rows = np.linspace(0, 255, 96)[:, None, None]
    (tmp_path / "val").mkdir()
    picture = Image.fromarray(np.broadcast_to(rows, (96, 120, 3)).astype(np.uint8))
    picture.save(tmp_path / "val/a.png")
    options = Options("jpeg-camvid", f"pictures:{tmp_path}", qualities=(3.0,), workers=1, device="cpu", keep=tmp_path)
    result = evaluate(options, tmp_path / "result.json")
    (row,) = result.pictures
    whole = (tmp_path / file_name(row.key, 3)).read_bytes()
    jpeg = whole[whole.index(b"\xff\xd8\xff") :]
    assert result.counted == "payload"
    assert row.points[0].bytes == len(whole) == len(jpeg) + 22
    assert result.points[0].bpp == 8 * len(jpeg) / (96 * 120)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    with Image.open(tmp_path / "a.jpg") as image:
        assert result.points[0].tasks["picture"]["psnr"] == pytest.approx(psnr(picture, image.convert("RGB")), abs=1e-5)
