"""Codes pictures where PyTorch does not fit: onnxruntime, NumPy and the range coder.

::

    camera = Camera("exported/sicmh-small")
    blob = camera.encode(pixels, quality=2)     # pixels: (H, W, 3) uint8
"""

from icm_camera.camera import Camera

__all__ = ["Camera"]
