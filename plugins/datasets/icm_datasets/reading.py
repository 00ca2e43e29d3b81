"""Pictures and maps from files, as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from icm_core.errors import InputError
from icm_core.files import read_file
from icm_core.pictures import open_picture, read_class_map, read_grey_map


def picture_tensor(picture: Image.Image) -> Tensor:
    """An RGB picture as (3, H, W) uint8."""
    return torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def read_rgb(path: Path) -> Tensor:
    """A picture as (3, H, W) uint8, RGB; `InputError` names the file if it cannot be read."""
    return picture_tensor(open_picture(path))


def read_map(path: Path) -> Tensor:
    """A class map as (H, W) uint8; `InputError` names the file if it cannot be read or is none."""
    return read_class_map(read_file(path), str(path))


def read_map_of(picture: Tensor, of_picture: Path, path: Path, classes: int, ignore: int | None) -> Tensor:
    """The class map of a picture, (H, W) uint8.

    Args:
        picture: (3, H, W).
        of_picture: its file.
        path: the class map's.
        classes: how many there are, 0 where that is not known.
        ignore: the value that counts nowhere.

    Raises:
        InputError: it cannot be read, has another size, or holds a value that is neither a class nor `ignore`.
    """
    class_map = read_map(path)
    check_same_size(picture, class_map, of_picture, path)
    if classes:
        check_classes(class_map, classes, ignore, path)
    return class_map


def read_steps_of(picture: Tensor, of_picture: Path, path: Path) -> Tensor:
    """The values of a picture's map of distances, (H, W) int32: whole numbers of 8 or 16 bits.

    Raises:
        InputError: it cannot be read, has another size, or is no such map.
    """
    steps = read_grey_map(read_file(path), str(path))
    check_same_size(picture, steps, of_picture, path)
    return steps


def check_same_size(picture: Tensor, class_map: Tensor, of_picture: object, of_map: object) -> None:
    """Raise `InputError` naming both files if a picture (3, H, W) and its map (H, W) differ in size."""
    if picture.shape[-2:] != class_map.shape:
        height, width = class_map.shape
        raise InputError(
            f"{of_map} has {width}x{height} pixels and its picture {of_picture} "
            f"{picture.shape[-1]}x{picture.shape[-2]}; they must be the same"
        )


def check_classes(class_map: Tensor, classes: int, ignore: int | None, name: object) -> None:
    """Raise `InputError` naming the file if a class map holds a value that is neither a class nor `ignore`."""
    values = class_map if ignore is None else class_map[class_map != ignore]
    if values.numel() and (highest := int(values.max())) >= classes:
        ignored = "" if ignore is None else f" and {ignore}, which is ignored"
        raise InputError(f"{name} holds the value {highest}; the classes are 0 to {classes - 1}{ignored}")
