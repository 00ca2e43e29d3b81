"""Rates and results of a pipeline on CamVid val and Imagenette val, from files that were really written.

    python benchmarks/evaluate.py --data DIR --json benchmarks/results/sicmh-small.json [--part camvid] [--limit N]

``DIR`` holds ``camvid`` and ``imagenette224``. Every picture is encoded to bytes and everything is decoded from
those bytes; bpp is the whole file over the original pixels. The clean figure is the same head on the clean
picture. JPEG is Pillow's, 4:2:0, optimised, at the highest quality that is not larger than the file.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import icm_core
from icm_core.container import read
from icm_core.demo.compare import jpeg_within, psnr
from icm_core.images import open_picture, to_picture, to_tensor
from icm_core.pipeline import Pipeline
from icm_core.types import Features
from icm_tasks.pretrained import load_efficientnet_lite0

IGNORE = 11


def clean(pipe: Pipeline, task: str, picture: Image.Image) -> torch.Tensor:
    """A head's output on the picture itself."""
    x = to_tensor(picture)
    with torch.inference_mode():
        return pipe.task(task).head(Features({"image": x}, (x.shape[-2], x.shape[-1])))


def estimate(pipe: Pipeline, picture: Image.Image, quality: float) -> float:
    """Bits of h1 and h2 by the float model."""
    with torch.inference_mode():
        return float(pipe.codec(to_tensor(picture), torch.tensor([quality])).total_bits)


def confusion(labels: np.ndarray, found: torch.Tensor, classes: int) -> np.ndarray:
    """(K, K) counts, rows are the truth."""
    seen = found.argmax(1)[0].numpy()
    counted = labels != IGNORE
    return np.bincount(classes * labels[counted] + seen[counted], minlength=classes**2).reshape(classes, classes)


def miou(matrix: np.ndarray) -> float:
    """Mean intersection over union in percent, of the classes that occur."""
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return float(100 * np.mean(hits[union > 0] / union[union > 0]))


def camvid(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Segmentation, coarse and fine pictures over CamVid val."""
    paths = sorted((root / "camvid/val").iterdir())[:limit]
    classes = len(pipe.task("segmentation").head.labels)
    clean_matrix = np.zeros((classes, classes), dtype=np.int64)
    matrices = {q: np.zeros((classes, classes), dtype=np.int64) for q in qualities}
    rows: dict[float, list[dict[str, float]]] = {q: [] for q in qualities}
    for n, path in enumerate(paths):
        picture = open_picture(path)
        pixels = picture.width * picture.height
        with Image.open(root / "camvid/valannot" / f"{path.stem}.png") as annotation:
            labels = np.asarray(annotation, dtype=np.int64)
        clean_matrix += confusion(labels, clean(pipe, "segmentation", picture), classes)
        for q in qualities:
            start = time.perf_counter()
            blob = pipe.encode(picture, quality=q)
            middle = time.perf_counter()
            out = pipe.decode(blob, tasks=["segmentation", "coarse", "fine"])
            end = time.perf_counter()
            file = read(blob)
            matrices[q] += confusion(labels, out["segmentation"].output, classes)
            jpeg = jpeg_within(picture, len(blob))
            rows[q].append(
                {
                    "bytes": len(blob),
                    "base_bytes": file.base_bytes,
                    "bpp": 8 * len(blob) / pixels,
                    "base_bpp": 8 * file.base_bytes / pixels,
                    "base_payload_bits": 8 * len(file.base.payload),
                    "estimated_bits": estimate(pipe, picture, q),
                    "coarse_psnr": psnr(picture, to_picture(out["coarse"].output)),
                    "fine_psnr": psnr(picture, to_picture(out["fine"].output)),
                    "jpeg_psnr": jpeg.psnr if jpeg else float("nan"),
                    "jpeg_bpp": 8 * jpeg.bytes / pixels if jpeg else float("nan"),
                    "encode_seconds": middle - start,
                    "decode_seconds": end - middle,
                }
            )
        print(f"camvid {n + 1}/{len(paths)}", file=sys.stderr, flush=True)
    points = []
    for q in qualities:
        mean = {key: float(np.nanmean([row[key] for row in rows[q]])) for key in rows[q][0]}
        without = sum(np.isnan(row["jpeg_psnr"]) for row in rows[q])
        points.append({"quality": q, "miou": miou(matrices[q]), "jpeg_impossible": int(without), **mean})
    size = f"{picture.width}x{picture.height}"
    return {
        "data": "CamVid val",
        "pictures": len(paths),
        "size": size,
        "clean_miou": miou(clean_matrix),
        "points": points,
    }


def imagenette(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Classification (1000-way) over every n-th picture of Imagenette val, so that each class has its share."""
    paths = sorted((root / "imagenette224/val").rglob("*.*"))
    paths = paths[:: max(1, len(paths) // limit)][:limit] if limit else paths
    head = pipe.task("classification").head
    number = {synset: i for i, synset in enumerate(head.synsets)}

    def hit(output: torch.Tensor, path: Path) -> tuple[bool, bool]:
        top = output[0].topk(5).indices.tolist()
        return top[0] == number[path.parent.name], number[path.parent.name] in top

    untuned = copy.deepcopy(pipe)
    load_efficientnet_lite0(untuned.task("classification").head.net)
    cleans, firsts, hits, bpps = [], [], {q: [] for q in qualities}, {q: [] for q in qualities}
    for n, path in enumerate(paths):
        picture = open_picture(path)
        cleans.append(hit(clean(pipe, "classification", picture), path))
        firsts.append(hit(clean(untuned, "classification", picture), path))
        for q in qualities:
            blob = pipe.encode(picture, quality=q, enhancement=False)
            bpps[q].append(8 * len(blob) / picture.width / picture.height)
            hits[q].append(hit(pipe.decode(blob, tasks=["classification"])["classification"].output, path))
        if n % 50 == 49:
            print(f"imagenette {n + 1}/{len(paths)}", file=sys.stderr, flush=True)
    points = [
        {"quality": q, "base_bpp": float(np.mean(bpps[q])), "top1": share(hits[q], 0), "top5": share(hits[q], 1)}
        for q in qualities
    ]
    size = f"{picture.width}x{picture.height}"
    return {
        "data": "Imagenette val, 1000-way",
        "pictures": len(paths),
        "size": size,
        "clean_top1": share(cleans, 0),
        "clean_top5": share(cleans, 1),
        "untuned_top1": share(firsts, 0),
        "untuned_top5": share(firsts, 1),
        "points": points,
    }


def share(pairs: list[tuple[bool, bool]], which: int) -> float:
    """Percent of hits."""
    return float(100 * np.mean([pair[which] for pair in pairs]))


def exactness(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Streams written with 1 thread, bf16, channels last, read with 2 threads, fp32: how many differ in h1 or h2."""
    paths = sorted((root / "camvid/val").iterdir())[: limit or 50]
    different = 0
    for n, path in enumerate(paths):
        picture = open_picture(path)
        for q in qualities:
            torch.set_num_threads(1)
            pipe.to(memory_format=torch.channels_last)
            quality = icm_core.Quality.of(q)
            x = to_tensor(picture).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                (payload,), one = pipe.codec.encode_with_side(x, quality)
            torch.set_num_threads(2)
            pipe.to(memory_format=torch.contiguous_format)
            try:
                with torch.inference_mode():
                    two = pipe.codec.decode([payload], one.size, quality)
                different += any(not torch.equal(a, b) for a, b in zip(one.levels, two.levels, strict=True))
            except icm_core.BitstreamError:
                different += 1
        print(f"exactness {n + 1}/{len(paths)}", file=sys.stderr, flush=True)
    size = f"{picture.width}x{picture.height}"
    files = len(paths) * len(qualities)
    return {"data": "CamVid val", "pictures": len(paths), "size": size, "files": files, "different": different}


def speed(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Seconds from a picture to base-layer bytes, and from bytes to a label map; medians after a first, untimed one."""
    paths = sorted((root / "camvid/val").iterdir())[: (limit or 10) + 1]
    times: dict[float, list[tuple[float, float]]] = {q: [] for q in qualities}
    for path in paths:
        picture = open_picture(path)
        for q in qualities:
            start = time.perf_counter()
            blob = pipe.encode(picture, quality=q, enhancement=False)
            middle = time.perf_counter()
            pipe.decode(blob, tasks=["segmentation"])
            times[q].append((middle - start, time.perf_counter() - middle))
    points = [
        {
            "quality": q,
            "encode_seconds": float(np.median(np.array(times[q][1:])[:, 0])),
            "decode_seconds": float(np.median(np.array(times[q][1:])[:, 1])),
        }
        for q in qualities
    ]
    size = f"{picture.width}x{picture.height}"
    return {"data": "CamVid val", "pictures": len(paths) - 1, "size": size, "points": points}


PARTS = {"camvid": camvid, "imagenette": imagenette, "exactness": exactness, "speed": speed}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--limit", type=int)
    parser.add_argument("-q", "--qualities", default="1,2,3,4")
    return parser.parse_args()


def main() -> None:
    """Measure the parts and write each into the JSON as soon as it is done."""
    options = arguments()
    pipe = icm_core.load(options.model)
    qualities = [float(q) for q in options.qualities.split(",")]
    for part in options.part or list(PARTS):
        result = PARTS[part](pipe, options.data, qualities, options.limit)
        result["device"] = f"{platform.machine()} CPU, {torch.get_num_threads()} threads, float32"
        result["versions"] = {"icm": icm_core.__version__, "torch": torch.__version__}
        result["weights"] = pipe.base_fingerprint.hex()
        limit = f" --limit {options.limit}" if options.limit else ""
        result["command"] = f"python benchmarks/evaluate.py --data DIR --json OUT --part {part}{limit}"
        stored = json.loads(options.json.read_text()) if options.json.exists() else {}
        stored[part] = result
        options.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
