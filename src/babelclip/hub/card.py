"""A hub's card: README.md with the front matter that hubs read, for an exported folder or packs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from babelclip import __version__
from babelclip.encoders.hub import HubName
from babelclip.evaluation import Results
from babelclip.export.card import language_table, score_table
from babelclip.hub.cargo import Cargo
from babelclip.languages import NATIVE, language_name

LICENCES = (
    "afl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mit", "mpl-2.0", "odbl", "odc-by", "openrail", "pddl", "unlicense",
)  # fmt: skip
"""Names of licences that hubs know; any other is ``other`` with a name of its own."""
LIBRARIES = {
    "transformers": "transformers", "sentence-transformers": "sentence-transformers", "open_clip": "open_clip",
    "onnx": "onnx", "pack": "babelclip",
}  # fmt: skip
FEATURES = ("sentence-transformers",)
NAMED = {"img": "text to image", "txt": "image to text"}
MEASURED = tuple(f"{side}_r{k}" for side in NAMED for k in (1, 5, 10))


def write_hub_card(cargo: Cargo, repository: str, *, licence: str = "", results: Results | None = None) -> str:
    """Return README.md with its front matter.

    Args:
        cargo: what is uploaded.
        repository: ``owner/name``.
        licence: of all that is uploaded; by default what the packs say.
        results: a run whose scores on these languages are listed too.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(**_front(cargo, repository, licence, results))
    return f"---\n{data.to_yaml(line_break=None)}\n---\n\n{_body(cargo, repository)}"


def what_is_missing(cargo: Cargo, licence: str, results: Results | None) -> list[str]:
    """Return what a reader of the card would look for and not find."""
    cards = {card.language: card for card in cargo.cards}
    learnt = [tag for tag in cargo.languages if tag != NATIVE]
    without = {
        "licence": [tag for tag in learnt if not licence and not (tag in cards and cards[tag].licence)],
        "data that it was learnt from": [tag for tag in learnt if not (tag in cards and cards[tag].data.name)],
        "scores": [tag for tag in learnt if not (tag in cards and cards[tag].metrics) and results is None],
    }
    found = [f"{what} of {', '.join(tags)}" for what, tags in without.items() if tags]
    if HubName.read(cargo.base) is None:
        found.append(f"a hub id of the base model, which is called {cargo.base!r} here")
    return found


def _front(cargo: Cargo, repository: str, licence: str, results: Results | None) -> dict[str, Any]:
    """The front matter, in the words of hubs."""
    base = HubName.read(cargo.base)
    said = [licence] if licence else list(dict.fromkeys(card.licence for card in cargo.cards))
    front: dict[str, Any] = {
        "language": list(dict.fromkeys(tag.split("-")[0] for tag in cargo.languages)),
        "library_name": LIBRARIES[cargo.kind],
        "pipeline_tag": "feature-extraction" if cargo.kind in FEATURES else "zero-shot-image-classification",
        "tags": ["clip", "babelclip", "multilingual", "image-text-retrieval"],
    }
    if base is not None:
        front |= {
            "base_model": base.repository,
            "base_model_relation": "adapter" if cargo.kind == "pack" else "finetune",
        }
    if len(said) == 1 and said[0].lower() in LICENCES:
        front["license"] = said[0].lower()
    elif any(said):
        name = re.sub(r"[^a-z0-9.]+", "-", said[0].lower()).strip("-") if len(said) == 1 else "several"
        front |= {"license": "other", "license_name": name}
    found = _measured(cargo, results)
    if found:
        front |= {"model_name": repository.split("/")[1], "eval_results": found, "metrics": ["recall"]}
    return front


def _measured(cargo: Cargo, results: Results | None) -> list[Any]:
    """Recalls in percent, as packs and a results file say."""
    found = [
        (one.data or "held-out captions", card.language, one.scores, "")
        for card in cargo.cards for one in card.metrics
    ]  # fmt: skip
    for run in () if results is None else results.runs:
        for place, tag in enumerate(run.order):
            if tag in cargo.languages:
                scores = {metric: matrix[-1][place] for metric, matrix in run.scores.items()}
                found.append((run.gallery, tag, scores, f", {run.method} seed {run.seed}"))
    return [one for data, tag, scores, how in found for one in _entries(data, tag, scores, how)]


def _entries(data: str, tag: str, scores: dict[str, float], how: str) -> list[Any]:
    from huggingface_hub import EvalResult

    name = " ".join(data.split())
    return [
        EvalResult(
            task_type="image-text-retrieval", task_name="Retrieval of images and texts",
            dataset_type=re.sub(r"[^\w.-]+", "-", name).strip("-").lower() or "captions",
            dataset_name=f"{name} ({tag})", dataset_config=tag, metric_type="recall",
            metric_name=f"{NAMED[metric.split('_')[0]]} recall@{metric.split('_r')[1]}, percent{how}",
            metric_value=round(scores[metric], 2),
        )
        for metric in MEASURED if metric in scores
    ]  # fmt: skip


def _body(cargo: Cargo, repository: str) -> str:
    """What people read."""
    if not cargo.body:
        return _of_packs(cargo, repository)
    before, heading, after = cargo.body.partition("## How to load\n")
    return "\n".join([before + "## From the hub", "", *_from_hub(cargo, repository), "", heading + after])


def _from_hub(cargo: Cargo, repository: str) -> list[str]:
    """A few lines of Python for the tool that the folder is for."""
    tag = next((tag for tag in cargo.languages if tag != NATIVE), NATIVE)
    place, top = cargo.folders[tag], cargo.whole
    fetch = f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{repository}")'
    hub = f'"hf-hub:{repository}"' if top else f'f"local-dir:{{folder}}/{place}"'
    inside = "" if top else f', subfolder="{place}"'
    lines = {
        "transformers": "from transformers import AutoModel, AutoProcessor\n\n"
        f'model = AutoModel.from_pretrained("{repository}"{inside})\n'
        f'processor = AutoProcessor.from_pretrained("{repository}"{inside}, backend="pil")',
        "sentence-transformers": "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{repository}")' if top
        else f'{fetch}\nmodel = SentenceTransformer(folder + "/{place}")  # from sentence_transformers',
        "open_clip": ("import open_clip\n\n" if top else f"import open_clip\n{fetch}\n")
        + f"name = {hub}\nmodel, prepare = open_clip.create_model_from_pretrained(name)\n"
        "tokenizer = open_clip.get_tokenizer(name)\ntokenizer.clean_fn = str",
        "onnx": f"{fetch}  # then the program below, in that folder",
    }  # fmt: skip
    which = "All languages are in one." if top else f"Each language is a folder of its own; here {tag}."
    return [which, "", "```python", lines[cargo.kind], "```"]


def _of_packs(cargo: Cargo, repository: str) -> str:
    """The card of packs."""
    names, cards = [language_name(tag) for tag in cargo.languages], {card.language: card for card in cargo.cards}
    files: Sequence[str] = list(cargo.folders.values())
    several = f"my-{repository.split('/')[1]}"
    lines = [
        f"# {', '.join(names)} for {cargo.base}", "",
        f"Language packs of babelclip {__version__}: each teaches the model "
        f"{cargo.base} one language. English texts and all pictures keep the base model's vectors, bit for bit.", "",
        f"- Languages: {', '.join(cargo.languages)}; with English, which the base model brings",
        f"- Base model: {cargo.base}, fingerprint {cargo.fingerprint}; it is not in this repository",
        f"- Files: {', '.join(f'`{file}`' for file in files)}; safetensors and JSON, no code", "",
        "## Languages", "", *language_table(cargo.languages, cards, shared=False), *score_table(cards), "",
        "## How to load", "", "```", f"babelclip pull {repository} --out {several}",
        f"babelclip pack install {several}/{files[0]} --into my      # --base: where the base model lies",
        "babelclip search --help; babelclip serve --help", "```", "",
        "```python", "import babelclip", "", 'model = babelclip.Polyglot.load("my")',
        f'model.encode_texts(["..."], language="{cargo.languages[0]}")', "```", "",
        "For transformers, sentence-transformers, open_clip and onnxruntime: `babelclip export --model my --to TOOL "
        "--out OUT`; packs with modules of `mla` or `ptuning` stay with babelclip.", "",
        "## Limitations", "",
        "- A pack is for this very base model: another fingerprint is refused.",
        "- Texts are in the pack's language; English goes through the base model.",
        "- The licence of the base model holds too.", "",
    ]  # fmt: skip
    return "\n".join(lines)
