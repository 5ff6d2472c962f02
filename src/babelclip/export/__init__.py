"""What was learnt, in the formats of others."""

from babelclip.export.folder import TARGETS, export_model
from babelclip.export.onnx_tower import OnnxTower, with_onnx

__all__ = ["TARGETS", "OnnxTower", "export_model", "with_onnx"]
