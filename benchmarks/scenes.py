"""The pipeline `sicmh-scenes`: more tasks behind the files of `sicmh-small`, trained, shipped, and measured.

    python benchmarks/scenes.py train --data DIR -o RUN [--resume]
    python benchmarks/scenes.py ship RUN
    python benchmarks/scenes.py measure --data DIR [--limit N] [--only NAME,...]
    python benchmarks/scenes.py picture PHOTO -o docs/scenes.png

DIR holds ``cityscapes256``, ``cityscapes1024``, ``nyu``, ``coco``, ``imagenet1000`` and ``weights/yolox_nano.onnx``.
``train`` runs ``benchmarks/scenes/recipe.json``. ``ship`` writes spec, weights and the detector's file beside those of
`sicmh-small`. ``measure`` writes a result for each data set and system to ``benchmarks/results/scenes``: ours, the same
networks behind JPEG, WebP, HEVC and VVC, and YOLOX-nano as it is behind our fine picture. ``picture`` draws what one
base layer says, task beside task.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import icm_core
from icm_core import build, build_registry
from icm_core.files import write_atomically
from icm_core.kinds import captioned
from icm_core.pictures import open_picture
from icm_core.pipeline.told import told
from icm_core.pipeline.weights import read_tensors, save
from icm_core.spec.extends import compose
from icm_tasks.onnx_files import Onnx
from icm_tasks.onnx_files.writing import write

HERE = Path(__file__).parent / "scenes"
RESULTS = Path(__file__).parent / "results/scenes"
SPECS = Path(__file__).parents[1] / "plugins/sicmh/icm_sicmh/specs"
NAME, DETECTOR = "sicmh-scenes", "yolox_nano.onnx"
TASKS = ("streets", "depth", "boxes")
CODECS = {"jpeg": "1,2,3,4,5", "webp": "1,2,3,4,5", "hevc": "1,2,3,4", "vvc": "1,2,3,4"}
"""Other codecs, and which of their settings are measured, from the fewest bits on."""

DATA: dict[str, dict[str, Any]] = {
    "coco": {"data": "coco:{data}/coco", "task": "boxes"},
    "nyu": {"data": "nyu:{data}/nyu", "task": "depth"},
    "cityscapes": {
        "data": "pairs:{data}/cityscapes256",
        "task": "streets",
        "params": {"maps": "{split}_labels", "classes": "cityscapes"},
    },
}


def train(data: Path, run: Path, resume: bool) -> None:
    """Copy what the recipe names into the folder above the run's, and train."""
    home = run.parent
    home.mkdir(parents=True, exist_ok=True)
    for file in ("recipe.json", f"{NAME}.json"):
        shutil.copyfile(HERE / file, home / file)
    shutil.copyfile(data / "weights" / DETECTOR, home / DETECTOR)
    icm("train", home / "recipe.json", "--data", data, "-o", run, *(["--resume"] if resume else []))


def ship(run: Path) -> None:
    """Spec, weights and the detector's file from a finished run."""
    registry = build_registry()
    trained = compose(run / "pipeline.json", registry).spec
    pipe = build(trained, registry)
    pipe.load_state_dict(read_tensors(run / "behind/weights.safetensors"))
    head = pipe.task("boxes").head
    assert isinstance(head, Onnx)
    detector, weights = f"{NAME}.boxes.onnx", f"{NAME}.tasks.safetensors"
    write(head, SPECS / detector)
    data = json.loads((HERE / f"{NAME}.json").read_text())
    params = data["tasks"]["boxes"]["head"]["params"]
    params["file"] = detector
    del params["trained"]
    data["weights"] = weights
    write_atomically(SPECS / f"{NAME}.json", (json.dumps(data, indent=2) + "\n").encode())
    prefixes = ["tasks.streets.", "tasks.depth."]
    save(pipe, {SPECS / weights: prefixes}, partly=True)


def measure(data: Path, limit: int | None, only: list[str], home: Path) -> None:
    """Every system on every data set; the detector of others is used from a folder of no account."""
    for name, how in DATA.items():
        systems: dict[str, tuple[str | Path, str]] = {NAME: (NAME, "1,2,3,4")}
        if name == "coco":
            systems["yolox-untouched"] = (untouched(data, home), "1,2,3,4")
        systems |= {codec: (HERE / f"{codec}-scenes.json", qualities) for codec, qualities in CODECS.items()}
        for system, (spec, qualities) in systems.items():
            if only and system not in only and name not in only:
                continue
            (RESULTS / name).mkdir(parents=True, exist_ok=True)
            options = ["--data-params", json.dumps(how["params"])] if "params" in how else []
            options += ["--limit", str(limit)] if limit else []
            options += ["--tasks", "boxes_coarse,boxes_fine" if system == "yolox-untouched" else how["task"]]
            place = how["data"].format(data=data)
            icm(
                "evaluate",
                spec,
                "--data",
                place,
                "-q",
                qualities,
                *options,
                "--json",
                RESULTS / name / f"{system}.json",
            )


def untouched(data: Path, folder: Path) -> Path:
    """A spec that puts the detector as it is behind the fine picture, and the coarse one."""
    shutil.copyfile(data / "weights" / DETECTOR, folder / DETECTOR)
    head = json.loads((HERE / f"{NAME}.json").read_text())["tasks"]["boxes"]["head"]
    del head["params"]["trained"]
    tasks = {
        f"boxes_{of}": {"adapter": {"use": "core.decoded_picture", "params": {"of": of}}, "head": head}
        for of in ("coarse", "fine")
    }
    spec = {"icm": 1, "name": "yolox-untouched", "extends": "sicmh-small", "tasks": tasks}
    path = folder / "yolox-untouched.json"
    write_atomically(path, json.dumps(spec).encode())
    return path


def picture(photo: Path, output: Path, quality: float) -> None:
    """What one base layer and its enhancement say, side by side."""
    small, pipe = icm_core.load("sicmh-small", device="cpu"), icm_core.load(NAME, device="cpu")
    blob = small.encode(open_picture(photo), quality=quality)
    with torch.inference_mode():
        found = told(pipe, decoded := pipe.decode(blob), draw=True)
    tiles = [captioned(open_picture(photo), ["the photograph"])]
    for name, one in found.items():
        shown = one.drawing if one.drawing is not None else one.picture
        if shown is not None:
            layers = "whole file" if name == "fine" else "base layer"
            tiles.append(captioned(shown, [f"{name}, {layers}"]))
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    columns = 4
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, ((number % columns) * width, (number // columns) * height))
    sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS).save(output, optimize=True)
    print(f"{output}: {len(blob)} bytes, {len(decoded)} answers")


def icm(*args: object) -> None:
    subprocess.run([sys.executable, "-m", "icm_core", *map(str, args)], check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("-o", "--output", type=Path, required=True)
    one.add_argument("--resume", action="store_true")
    one = commands.add_parser("ship")
    one.add_argument("run", type=Path)
    one = commands.add_parser("measure")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--limit", type=int)
    one.add_argument("--only", default="")
    one = commands.add_parser("picture")
    one.add_argument("photo", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True)
    one.add_argument("-q", "--quality", type=float, default=3.0)
    given = parser.parse_args()
    if given.command == "train":
        train(given.data.resolve(), given.output, given.resume)
    elif given.command == "ship":
        ship(given.run)
    elif given.command == "measure":
        with tempfile.TemporaryDirectory() as home:
            only = [part for part in given.only.split(",") if part]
            measure(given.data.resolve(), given.limit, only, Path(home))
    else:
        picture(given.photo, given.output, given.quality)


if __name__ == "__main__":
    main()
