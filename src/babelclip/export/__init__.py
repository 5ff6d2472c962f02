"""What was learnt, in the formats of others."""

from babelclip.export.onnx_tower import OnnxTower, with_onnx

__all__ = ["OnnxTower", "with_onnx"]
