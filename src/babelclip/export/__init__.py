"""What was learnt, in the formats of others."""

from babelclip.export.folder import TARGETS, export_model
from babelclip.export.onnx_tower import OnnxTower, with_onnx
from babelclip.export.pack_files import PACK, export_packs
from babelclip.export.scores import SCORES, export_scores

__all__ = ["PACK", "SCORES", "TARGETS", "OnnxTower", "export_model", "export_packs", "export_scores", "with_onnx"]
