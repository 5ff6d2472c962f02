"""Learn a multilingual WordPiece vocabulary from plain text, in the format of ``transformers``.

    python recipes/multilingual_wordpiece.py --out build/wordpiece --texts en-de.tsv.gz --texts en-zh.tsv.gz

Every column of a table is taken as text of some language. Case and accents are kept, Chinese characters stand alone, as
in M-BERT (``bert-base-multilingual-cased``), which is the better choice where it can be had: it brings word embeddings,
this vocabulary starts from random rows (``--lexicon build/wordpiece --lexicon-width 256``). Take texts of no test set.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def learn(files: list[Path], vocab_size: int) -> Tokenizer:
    """Return a tokenizer of at most ``vocab_size`` tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(read_texts(files), trainer)
    return tokenizer


def read_texts(files: list[Path]) -> Iterator[str]:
    """Yield the cells of tab-separated tables, without their headers."""
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield from line.rstrip("\n").split("\t")


def main() -> None:
    """Read the command line, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, action="append", required=True, help=".tsv or .tsv.gz; repeatable")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocab-size", type=int, default=30_000)
    options = parser.parse_args()
    tokenizer = learn(options.texts, options.vocab_size)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip
    whole.save_pretrained(options.out)
    print(f"{tokenizer.get_vocab_size():,} tokens from {len(options.texts)} files, written to {options.out}")


if __name__ == "__main__":
    main()
