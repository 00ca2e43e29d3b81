"""Results whose every number a test chooses, as `icm evaluate` would have written them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icm_evaluation.figure_info import FigureInfo, earlier_figures
from icm_evaluation.results import Coded, Data, PictureRow, Result, TaskInfo
from icm_evaluation.summary import points_of

Sizes = tuple[int, int]
"""Bytes of the whole file and of its base layer."""


def pictured(
    key: str,
    sizes: Sequence[Sizes],
    tallies: Sequence[Mapping[str, Any]],
    width: int = 40,
    height: int = 20,
    **more: Any,
) -> PictureRow:
    """A picture at quality 1, 2, ..., or, with ``fixed``, at that of the base layer and enhancements of 1, 2, ...

    Args:
        key: its name.
        sizes: at each quality.
        tallies: by task, at each quality.
        width, height: in pixels.
        more: ``clean``, tallies of the clean picture; ``fixed``; ``seconds``, of encoding and decoding.
    """
    fixed, (encode, decode) = more.get("fixed"), more.get("seconds", (0.25, 0.5))
    points = [
        Coded(
            quality=number if fixed is None else fixed,
            enhancement_quality=None if fixed is None else number,
            bytes=whole,
            base_bytes=base,
            payload_bytes=whole - 10,
            encode_seconds=encode,
            decode_seconds=decode,
            tasks=dict(tally),
        )
        for number, ((whole, base), tally) in enumerate(zip(sizes, tallies, strict=True), 1)
    ]
    return PictureRow(key=key, width=width, height=height, clean=more.get("clean", {}), points=points)


def of_pictures(psnr: Sequence[float]) -> list[dict[str, Any]]:
    """Tallies of a decoded picture ``seen``."""
    return [{"seen": {"psnr": value, "ms_ssim": None}} for value in psnr]


def made(system: str, rows: Sequence[PictureRow], kinds: Mapping[str, str] | None = None, **more: Any) -> Result:
    """A result.

    Args:
        system: its name.
        rows: the pictures.
        kinds: of the tasks; without, ``seen`` is a picture.
        more: fields of the result and of its data; ``whole``, the tasks that need the whole file.
    """
    kinds, whole = kinds or {"seen": "reconstruction"}, more.pop("whole", ())
    tasks = {
        name: TaskInfo(kind=kind, head=f"head.{name}", adapter=f"adapter.{name}", whole=name in whole, figures=figures)
        for name, kind in kinds.items()
        for figures in [{key: FigureInfo.model_validate(about) for key, about in earlier_figures()[kind].items()}]
    }
    sizes: dict[str, int] = {}
    for one in rows:
        size = f"{one.width}x{one.height}"
        sizes[size] = sizes.get(size, 0) + 1
    about = {name: more.pop(name) for name in [*more] if name in Data.model_fields}
    data: dict[str, Any] = {"name": "made", "params": {}, "kind": "pictures", "split": "val", "labels": []}
    data |= {"pictures": len(rows), "of": len(rows), "sizes": sizes, **about}
    fields: dict[str, Any] = {
        "codec": "made.codec",
        "counted": "file",
        "weights": f"weights of {system}",
        "skipped": {},
        "versions": {"torch": "2"},
        "device": "cpu",
        "precision": "fp32",
        "workers": 1,
        "command": "icm evaluate",
        **more,
    }
    return Result(
        icm_evaluation=1,
        system=system,
        data=Data.model_validate(data),
        tasks=tasks,
        points=points_of(rows, tasks, fields["counted"]),
        pictures=list(rows),
        **fields,
    )
