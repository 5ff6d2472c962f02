"""Named data sets: where they come from, what they hold, how they are read; and benchmark runs over them."""

from babelclip.benchmarks.base import Dataset, Place, pair_english
from babelclip.benchmarks.check import Checked, check_dataset
from babelclip.benchmarks.crossmodal3600 import CROSSMODAL3600
from babelclip.benchmarks.flickr8k import FLICKR8K
from babelclip.benchmarks.folder import FOLDER
from babelclip.benchmarks.mscoco1k import MSCOCO_ML
from babelclip.benchmarks.mscoco36 import MSCOCO36
from babelclip.benchmarks.msrvtt import MSRVTT, MSRVTT_1KA
from babelclip.benchmarks.msvd import MSVD
from babelclip.benchmarks.multi30k import MULTI30K, MULTI30K_TASK1
from babelclip.benchmarks.pictograms import PICTOGRAMS
from babelclip.benchmarks.vatex import VATEX
from babelclip.benchmarks.xtd10 import XTD10
from babelclip.registry import Registry

DATASETS: Registry[Dataset] = Registry(
    "data set",
    {
        dataset.name: dataset
        for dataset in (
            FOLDER,
            FLICKR8K,
            PICTOGRAMS,
            CROSSMODAL3600,
            MSCOCO36,
            MULTI30K,
            MULTI30K_TASK1,
            MSCOCO_ML,
            XTD10,
            MSRVTT,
            MSRVTT_1KA,
            VATEX,
            MSVD,
        )
    },
)

__all__ = ["DATASETS", "Checked", "Dataset", "Place", "check_dataset", "pair_english"]
