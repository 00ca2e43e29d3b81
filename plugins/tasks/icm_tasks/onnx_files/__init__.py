"""Networks from ONNX files as task heads."""

from icm_tasks.onnx_files.head import Onnx, OnnxParams

__all__ = ["Onnx", "OnnxParams"]
