"""``icm info``: what a file says about itself, without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from icm_core.bitstream.about import LayerRow, layer_rows
from icm_core.bitstream.container import MAX_PIXELS, VERSION, read
from icm_core.cli.batch import for_each, leave
from icm_core.cli.console import print_json, print_table
from icm_core.cli.inputs import CODED, expand
from icm_core.cli.options import AsJson, MaxPixels
from icm_core.cli.remembered import Found, remembered
from icm_core.files import read_file
from icm_core.pipeline.shipped import Shipped, writer_of

NAME = "info"
EXAMPLE = "Example: icm info photo.icm --json"


class Info(TypedDict):
    """The JSON of one file; ``overhead_bytes`` and the layers' bytes add up to ``bytes`` unless it was cut."""

    file: str
    version: int
    pipeline: str | None
    fingerprint: str
    height: int
    width: int
    quality: float
    bytes: int
    bpp: float
    overhead_bytes: int
    layers: list[LayerRow]
    truncated: bool


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of .icm files.")],
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: AsJson = False,
) -> None:
    """Show a file's picture size, quality, pipeline and layers.

    With --json, one file prints one object, several files print an array. The pipeline is null if no installed one
    wrote the file.
    """
    paths = expand(files, CODED)
    pipelines = [
        Shipped(row["name"], row["extends"], frozenset(row["bases"]), frozenset(row["enhancements"]))
        for row in remembered("pipelines", _pipelines)
    ]

    def work(path: Path) -> Info:
        blob = read_file(path)
        container = read(blob, max_pixels=max_pixels)
        return Info(
            file=str(path),
            version=VERSION,
            pipeline=writer_of(container, pipelines),
            fingerprint=container.base.fingerprint.hex(),
            height=container.height,
            width=container.width,
            quality=container.quality.value,
            bytes=len(blob),
            bpp=8 * len(blob) / (container.height * container.width),
            overhead_bytes=container.overhead,
            layers=layer_rows(container),
            truncated=container.truncated,
        )

    rows, failures = for_each(paths, work, "reading")
    if as_json:
        print_json([*rows, *failures] if len(paths) > 1 else next(iter([*rows, *failures])))
    else:
        print_table(
            ("file", "pipeline", ">size", ">quality", ">bytes", ">bpp", ">overhead", "layers"),
            [
                (
                    row["file"],
                    row["pipeline"] or f"unknown ({row['fingerprint']})",
                    f"{row['width']}x{row['height']}",
                    " + ".join(dict.fromkeys(f"{layer['quality']:g}" for layer in row["layers"])),
                    row["bytes"],
                    f"{row['bpp']:.4f}",
                    row["overhead_bytes"],
                    ", ".join(f"{layer['kind']} {layer['bytes']}" for layer in row["layers"])
                    + (", cut" if row["truncated"] else ""),
                )
                for row in rows
            ],
        )
    leave(failures)


def _pipelines() -> Found:
    from icm_core.pipeline.identify import Fingerprints
    from icm_core.plugins.registry import build_registry

    registry = build_registry()
    looked = Fingerprints(registry).looked
    rows = [
        {"name": one.name, "extends": one.extends, "bases": sorted(one.bases), "enhancements": sorted(one.enhancements)}
        for one in looked.shipped
    ]
    return Found(rows, looked.whole and registry.sound, looked.files)
