"""External codecs over CamVid val: every point coded to bytes and those bytes decoded, compared with a reference.

    python benchmarks/codecs.py --data DIR --json OUT.json [--codec jpeg ...] [--check REFERENCE.json]

DIR holds ``camvid/val``. Every fifth picture is taken, its top left 480x352 pixels. bpp is the codec's own file over
these pixels; PSNR (RGB) and MS-SSIM are means over pictures. ``--check`` prints the differences to a reference of the
same form (``codecs.<name>.points[]`` with ``q``, ``bpp``, ``psnr``) and fails above 0.05 dB or 1 % of bpp.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

import icm_core
from icm_baselines import EXTERNAL
from icm_baselines.external import ExternalCodec
from icm_core.files import write_atomically
from icm_core.pictures import open_picture, to_tensor
from icm_core.quality import Quality

STEP, HEIGHT, WIDTH = 5, 352, 480
MOST_DECIBELS, MOST_PERCENT = 0.05, 1.0
CODECS = {codec.name.partition(".")[2]: codec for codec in EXTERNAL}
REFERENCE = {
    "jpeg": "jpeg420",
    "jpeg2000": "jpeg2000",
    "webp": "webp",
    "avif": "avif444",
    "jpegxl": "jxl",
    "hevc": "hevc_x265_444",
    "vvc": "vvc_vvenc420_medium",
    "bpg": "bpg444",
}
"""Names that the reference has for our codecs at their defaults."""


def pictures(root: Path, limit: int | None) -> dict[str, torch.Tensor]:
    """Name -> (1, 3, 352, 480) in [0, 1]."""
    folder = root / "camvid/val"
    paths = sorted(folder.iterdir())[::STEP][:limit] if folder.is_dir() else []
    if not paths:
        raise SystemExit(f"no pictures: {folder} should hold those of CamVid val, and --limit be at least 1")
    return {path.stem: to_tensor(open_picture(path))[..., :HEIGHT, :WIDTH] for path in paths}


def measure(codec: ExternalCodec, number: int, found: dict[str, torch.Tensor]) -> dict[str, float]:
    """One point: means over the pictures at one of the codec's settings."""
    quality = Quality.of(number)
    bits, psnrs, similarities = [], [], []
    for x in found.values():
        payloads = codec.encode(x, quality)
        y = codec.decode(payloads, (HEIGHT, WIDTH), quality).levels[0]
        bits.append(8 * len(payloads[0]) / (HEIGHT * WIDTH))
        psnrs.append(-10 * float((x - y).square().mean().log10()))
        similarities.append(float(ms_ssim(y, x, data_range=1.0)))
    count = len(found)
    return {
        "q": codec.setting(quality),
        "bpp": round(sum(bits) / count, 5),
        "psnr": round(sum(psnrs) / count, 4),
        "ms_ssim": round(sum(similarities) / count, 6),
    }


def check(result: dict[str, Any], reference: dict[str, Any]) -> bool:
    """Print the differences; whether all are small enough."""
    good = True
    print(f"{'codec':10} {'q':>6} {'bpp':>9} {'off':>8} {'PSNR':>9} {'off':>10}")
    for name, own in result["codecs"].items():
        theirs = {point["q"]: point for point in reference["codecs"][REFERENCE[name]]["points"]}
        for point in own["points"]:
            other = theirs.get(point["q"])
            if other is None:
                print(f"{name:10} {point['q']:6g}  is not in the reference")
                continue
            percent = 100 * (point["bpp"] / other["bpp"] - 1)
            decibels = point["psnr"] - other["psnr"]
            fits = abs(percent) <= MOST_PERCENT and abs(decibels) <= MOST_DECIBELS
            good &= fits
            numbers = f"{point['bpp']:9.5f} {percent:+7.2f}% {point['psnr']:9.4f} {decibels:+7.3f} dB"
            print(f"{name:10} {point['q']:6g} {numbers}" + ("" if fits else "  <- too far"))
    return good


def versions() -> dict[str, str]:
    """Of whatever codes here."""
    found = {"icm": icm_core.__version__, "python": platform.python_version()}
    for package in ("pillow", "pillow-jxl-plugin", "imageio-ffmpeg", "numpy", "torchmetrics"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--codec", choices=CODECS, action="append", help="may be repeated; all by default")
    parser.add_argument("-q", "--qualities", help="numbers of settings such as 1,3; all by default")
    parser.add_argument("--limit", type=int, help="only so many pictures; such results do not compare")
    parser.add_argument("--check", type=Path, metavar="REFERENCE.json")
    return parser.parse_args()


def main() -> int:
    """Measure codec by codec, each point written as soon as it is there; points that are there already stay."""
    options = arguments()
    found = pictures(options.data, options.limit)
    result = json.loads(options.json.read_text()) if options.json.exists() else {"codecs": {}}
    if result.get("data", {}).get("count", len(found)) != len(found):
        raise SystemExit(f"{options.json} has means over another number of pictures; write to another file")
    result["data"] = {
        "pictures": f"CamVid val, every {STEP}th of the sorted list, top left {WIDTH}x{HEIGHT}",
        "count": len(found),
        "bpp": "the codec's own file over the picture's pixels",
        "command": "python benchmarks/codecs.py --data DIR --json OUT.json",
    }
    for name in options.codec or CODECS:
        cls = CODECS[name]
        codec = cls(cls.Params())
        assert isinstance(codec, ExternalCodec)
        numbers = range(1, int(codec.quality_range[1]) + 1)
        chosen = [int(q) for q in options.qualities.split(",")] if options.qualities else list(numbers)
        entry = result["codecs"].get(name, {"points": []})
        entry |= {"use": cls.name, "params": codec.params.model_dump(mode="json"), "versions": versions()}
        for number in chosen:
            if any(point["q"] == codec.setting(Quality.of(number)) for point in entry["points"]):
                continue
            try:
                point = measure(codec, number, found)
            except icm_core.InputError as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
                break
            print(name, point, file=sys.stderr, flush=True)
            entry["points"] = sorted([*entry["points"], point], key=lambda one: one["bpp"])
            result["codecs"][name] = entry
            write_atomically(options.json, json.dumps(result, indent=1).encode() + b"\n")
    if options.check is None:
        return 0
    return 0 if check(result, json.loads(options.check.read_text())) else 1


if __name__ == "__main__":
    sys.exit(main())
