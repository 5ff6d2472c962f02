"""Measure a model with mteb: a wrapper that gives each language of a task to its own pack.

python examples/mteb_wrapper.py MODEL DATA LANGUAGE ...   # MODEL: a folder of packs; DATA: LANGUAGE.test.tsv, pictures

Needs `pip install mteb` (2.x). On its own tasks:
mteb.evaluate(PolyglotEncoder("my"), mteb.get_tasks(tasks=["XM3600T2IRetrieval"]))
"""

# %% Imports
import sys
from pathlib import Path
from typing import Any

import mteb
import torch
from datasets import Dataset, Image
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from babelclip import Polyglot, read_captions
from babelclip.languages import LANGUAGES, language_part

# mteb names languages by ISO 639-3 and script; babelclip by BCP-47, which takes two letters where there are two.
TAGS = {
    "ara": "ar", "ben": "bn", "ces": "cs", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "fas": "fa", "fin": "fi",
    "fra": "fr", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko",
    "mri": "mi", "nld": "nl", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swa": "sw",
    "swe": "sv", "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh",
}  # fmt: skip


# %% The wrapper. mteb asks for vectors of batches; which subset they belong to says the language of their texts.
class PolyglotEncoder(AbsEncoder):
    """A base model with packs, as an encoder of mteb."""

    def __init__(self, model_name: str, revision: str | None = None, *, device: str | None = None, **_: Any) -> None:
        """Load a folder of packs, one pack, or a base model."""
        self.model = Polyglot.load(model_name, device=device)
        about = {"name": f"babelclip/{Path(model_name).name}", "revision": self.model.encoder.fingerprint[:12],
                 "modalities": ["text", "image"], "similarity_fn_name": ScoringFunction.COSINE}  # fmt: skip
        self.mteb_model_meta = ModelMeta.create_empty(about)

    def language_of(self, task_metadata: TaskMetadata, hf_subset: str) -> str | None:
        """Return the pack for a subset of a task; None where no installed language is named: it is found out."""
        codes = task_metadata.hf_subsets_to_langscripts.get(hf_subset, [])
        names = [hf_subset, *(TAGS.get(code.split("-")[0], code.split("-")[0]) for code in codes)]
        return next((tag for name in names for tag in self.model.languages if name in (tag, language_part(tag))), None)

    def encode(self, inputs: Any, *, task_metadata: TaskMetadata, hf_subset: str, **_: Any) -> torch.Tensor:
        """Return (N, dim) vectors of texts, of pictures, or the sums of both where a row has both."""
        language, encoder, found = self.language_of(task_metadata, hf_subset), self.model.encoder, []
        for batch in inputs:
            parts = [self.model.encode_texts(batch["text"], language=language)] if "text" in batch else []
            pictures = [picture.convert("RGB") for picture in batch.get("image", []) if picture is not None]
            parts += [encoder.encode_pixels(encoder.prepare(pictures))] if pictures else []
            found.append(torch.stack(parts).sum(0))
        return torch.cat(found)


# %% A task of one's own: find the picture of a text, in several languages, from caption files.
class Captions(AbsTaskRetrieval):
    """Text-to-image retrieval on ``LANGUAGE.test.tsv`` in a folder."""

    metadata = TaskMetadata(
        name="Captions", description="Captions of one's own.", reference=None, type="Any2AnyRetrieval",
        dataset={"path": "local", "revision": "1"}, category="t2i", modalities=["text", "image"],
        eval_splits=["test"], eval_langs={tag: [f"{code}-{LANGUAGES[tag][1]}"] for code, tag in TAGS.items()},
        main_score="ndcg_at_10", license=None, bibtex_citation="",
    )  # fmt: skip
    folder: Path

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Make queries of the texts and a corpus of the pictures, language by language."""
        self.dataset = {}
        for tag in self.hf_subsets:
            captions = read_captions(self.folder / f"{tag}.test.tsv", tag).captions
            files = sorted({str(one.image) for one in captions})
            queries = Dataset.from_dict(
                {"id": [f"q{i}" for i in range(len(captions))], "text": [o.text for o in captions]}
            )
            corpus = Dataset.from_dict({"id": files, "image": files}).cast_column("image", Image())
            relevant = {f"q{i}": {str(one.image): 1} for i, one in enumerate(captions)}
            split = RetrievalSplitData(queries=queries, corpus=corpus, relevant_docs=relevant, top_ranked=None)
            self.dataset[tag] = {"test": split}
        self.data_loaded = True


# %% Run it.
if __name__ == "__main__":
    model, data, *tags = sys.argv[1:]
    task = Captions()
    task.folder, task.hf_subsets = Path(data), tags
    result = mteb.evaluate(PolyglotEncoder(model), task, cache=None, show_progress_bar=False)
    for row in result.task_results[0].scores["test"]:
        print(f"{row['hf_subset']}: nDCG@10 {row['ndcg_at_10']:.4f}, found first {100 * row['recall_at_1']:.2f} %")
