"""Writes the golden files: a toy pipeline, its weights, files that it coded, and what they decode to.

    python tests/golden/make.py [--force]

They are kept for ever: every later version has to decode these very bytes to these very integers. So nothing is
overwritten without ``--force``, and what is new goes into files of another name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icm_core import Pipeline, build, build_registry, load, parse_spec
from icm_core.coding import to_fixed
from icm_core.pipeline.weights import save

FOLDER = Path(__file__).parent
SPEC = {
    "icm": 1,
    "name": "golden",
    "description": "toy widths with random weights; its files must decode to the same integers for ever",
    "codec": {
        "use": "sicmh.hyperprior",
        "params": {
            "width": 8,
            "h1_channels": 16,
            "h2_channels": 4,
            "groups": 4,
            "context_channels": 8,
            "qualities": 3,
        },
    },
    "tasks": {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}},
    "enhancement": {"use": "sicmh.residual", "over": "coarse", "params": {"qualities": 3}},
    "weights": "golden.safetensors",
}
# name: height, width, quality, with enhancement
PICTURES = {
    "pixel": (1, 1, 1.0, True),
    "strip": (7, 100, 2.5, True),
    "block": (64, 64, 1.0625, True),
    "odd": (65, 130, 3.0, True),
    "base": (90, 33, 2.0, False),
}


def picture(height: int, width: int) -> Tensor:
    """A smooth picture, (3, height, width) in [0, 1]."""
    rows, columns = torch.arange(height)[:, None] / 17, torch.arange(width)[None, :] / 23
    waves = [torch.sin(rows * (1 + c / 3) + c) * torch.cos(columns * 2 - c * rows / 5) for c in range(3)]
    return torch.stack(waves) / 2 + 0.5


def random_pipeline(spec: dict[str, Any] = SPEC, seed: int = 2024) -> Pipeline:
    """Weights from a seed, such that symbols, means and scales are all varied."""
    torch.manual_seed(seed)
    pipeline = build(parse_spec(spec), build_registry()).requires_grad_(False)
    for name, parameter in pipeline.named_parameters():
        if "cahcm" in name and name.endswith(".4.weight"):
            parameter.normal_(std=0.1)  # a trained context model says something
        elif name.endswith("prediction.7.weight"):
            parameter.mul_(3)
        elif name.endswith("prediction.7.bias"):
            parameter[len(parameter) // 2 :].sub_(2)  # scales so small that some symbols escape
        elif name.endswith("log2_gain"):
            parameter.add_(torch.rand(parameter.shape) - 0.5)
        elif name == "codec.encoder_h2.6.weight":
            parameter.mul_(8)
        elif name == "enhancement.encoder_r.6.weight":
            parameter.mul_(4)
        elif name.startswith("codec.density.biases"):
            parameter.mul_(0.1)
    pipeline.codec.freeze_tables()
    assert pipeline.enhancement is not None
    pipeline.enhancement.freeze_tables()
    return pipeline


def digest(values: Tensor) -> str:
    """SHA-256 of fixed-point numbers as big-endian int64, in row-major order."""
    return hashlib.sha256(to_fixed(values).contiguous().numpy().astype(">i8").tobytes()).hexdigest()


def decoded(pipeline: Pipeline, blob: bytes, enhancement: bool) -> dict[str, str]:
    """Digests of the integers that a file holds: h1 and h2, and y_r where there is an enhancement."""
    latents: list[Tensor] = []
    assert pipeline.enhancement is not None
    decoder_r = pipeline.enhancement.get_submodule("decoder_r")
    hook = decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
    side = pipeline.decode(blob, ["fine"] if enhancement else ["coarse"]).side
    hook.remove()
    found = {"h1": digest(side.levels[0]), "h2": digest(side.levels[1])}
    return found | ({"y_r": digest(latents[0])} if enhancement else {})


def main() -> None:
    """Write all files, or refuse."""
    parser = argparse.ArgumentParser(description="write the golden files")
    parser.add_argument("--force", action="store_true", help="overwrite them, which breaks the promise that they keep")
    if not parser.parse_args().force and list(FOLDER.glob("*.icm")):
        sys.exit("the golden files exist and are kept for ever; --force overwrites them")
    (FOLDER / "golden.json").write_text(json.dumps(SPEC, indent=2) + "\n")
    save(random_pipeline(), {FOLDER / "golden.safetensors": [""]})
    pipeline = load(FOLDER / "golden.json", device="cpu")
    hashes = {}
    for name, (height, width, quality, enhancement) in PICTURES.items():
        blob = pipeline.encode(picture(height, width), quality, enhancement=enhancement)
        (FOLDER / f"{name}.icm").write_bytes(blob)
        hashes[name] = {
            "height": height,
            "width": width,
            "quality": quality,
            "sha256": decoded(pipeline, blob, enhancement),
        }
        print(f"{name}.icm: {len(blob)} bytes, {8 * len(blob) / math.prod((height, width)):.2f} bpp")
    (FOLDER / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n")


if __name__ == "__main__":
    main()
