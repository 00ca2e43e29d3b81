"""Whatever a user calls a picture, as the batch of one that networks read."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from icm_core.container import check_size
from icm_core.errors import InputError
from icm_core.images import to_tensor


def as_batch(image: Image.Image | Tensor) -> Tensor:
    """A picture as (1, 3, H, W) float32 in [0, 1], on the device it is on.

    Args:
        image: a PIL picture of any mode, or a tensor (3, H, W) or (1, 3, H, W), either uint8 or floats in [0, 1].

    Raises:
        InputError: it is something else, has a side that a file cannot hold, or values outside [0, 1].
    """
    if isinstance(image, Image.Image):
        check_size(image.height, image.width)
        try:
            return to_tensor(image)
        except OSError as error:  # Pillow reads the pixels only now
            raise InputError(f"the picture is cut or damaged: {error}") from error
    if not isinstance(image, Tensor):
        raise InputError(f"a picture is a PIL image or a tensor, not {type(image).__name__}")
    shape = tuple(image.shape)
    if image.dim() == 3:
        image = image.unsqueeze(0)
    if image.dim() != 4 or image.shape[:2] != (1, 3):
        raise InputError(f"a picture's tensor has the shape (3, H, W) or (1, 3, H, W), not {shape}")
    check_size(image.shape[2], image.shape[3])
    if image.dtype == torch.uint8:
        return image.float() / 255
    if not image.is_floating_point():
        raise InputError(f"a picture's tensor is of uint8 or of floats in [0, 1], not of {image.dtype}")
    image = image.detach().float()
    low, high = (float(value) for value in image.aminmax())
    if not (low >= 0 and high <= 1):  # false for NaN as well
        raise InputError(f"a picture's floats lie in [0, 1]; this one's go from {low:g} to {high:g}")
    return image
