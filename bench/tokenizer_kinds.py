"""What growing a lexicon brings by the kind of tokenizer: tokens a word before and after, and the time it takes.

    python bench/tokenizer_kinds.py ../shared/data/parallel --out bench/results/tokenizers.json   # 15 minutes, 1 core
    python bench/tokenizer_kinds.py DATA --languages de,th --bases unigram                        # a part of it
    python bench/tokenizer_kinds.py DATA --bases "" --tokenizer gemma=FOLDER/tokenizer.json       # a base of your own

DATA holds ``en-xx.tsv.gz``: a header, then an English text and one of the language a line. The base tokenizers are
learnt by the library's trainers from the English sides: 16,000 tokens each. Each language is learnt alone: 10,000
tokens from all of its texts but the last 1,000. On those, tokens a word are counted: with the base tokenizer
(``before``), with the grown one (``after``), and with the language's own vocabulary and no other (``alone``). A word is
what stands between white space. ``lost`` are texts in which something is unknown, percent; ``seconds`` of processor
time are what it takes to learn 10,000 tokens from 30,000 texts, half of them German, half French, and to put them
behind the old ones.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from babelclip.files import write_whole
from babelclip.lexicon import Snapshot, learn_vocabulary, merge_vocabularies
from babelclip.lexicon.kinds import build_tokenizer, kind_of, read_vocabulary

HELD_OUT, ASKED, BASE = 1_000, 10_000, 16_000
TIMED = ("de", "fr")
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]
Texts = Sequence[str]


def read(file: Path, column: int) -> list[str]:
    """Texts of one side of a file."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t")[column] for line in lines][1:]


def byte_level(texts: Texts) -> Tokenizer:
    """As CLIP's."""
    made = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*SPECIALS, *letters, *(letter + "</w>" for letter in letters)]
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=BASE, special_tokens=symbols, end_of_word_suffix="</w>", show_progress=False),
    )
    return only_these_special(made)


def wordpiece(texts: Texts) -> Tokenizer:
    """As BERT's, with accents."""
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))  # noqa: S106
    made.normalizer = normalizers.BertNormalizer(strip_accents=False)
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=BASE, special_tokens=SPECIALS, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def unigram(texts: Texts) -> Tokenizer:
    """As XLM-R's and SigLIP's."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=BASE, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False  # noqa: S106
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    return made


def byte_fallback(texts: Texts) -> Tokenizer:
    """As Gemma's."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=BASE, special_tokens=[*SPECIALS, *letters], show_progress=False)
    made.train_from_iterator(texts, trainer)
    return only_these_special(made)


def only_these_special(learnt: Tokenizer) -> Tokenizer:
    """Letters that the trainer was given first are no special tokens."""
    content = json.loads(learnt.to_str())
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in SPECIALS]
    return Tokenizer.from_str(json.dumps(content))


BASES = {"byte-level": byte_level, "wordpiece": wordpiece, "unigram": unigram, "byte-fallback": byte_fallback}


def per_word(tokenizer: Tokenizer, texts: Texts) -> float:
    """Mean number of tokens a word."""
    cut = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return sum(len(one.ids) for one in cut) / sum(len(text.split()) for text in texts)


def lost(tokenizer: Tokenizer, texts: Texts, unknown: int | None) -> float:
    """Texts with something unknown in them, percent."""
    cut = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return 100 * sum(unknown in one.ids for one in cut) / len(texts)


def measure(base: Tokenizer, texts: Texts) -> dict[str, float]:
    """Figures of one language."""
    old, train, test = read_vocabulary(base), texts[:-HELD_OUT], texts[-HELD_OUT:]
    unknown = json.loads(base.to_str())["model"].get("unk_token") or "<unk>"
    before, start = build_tokenizer(base, old), time.process_time()
    new = learn_vocabulary(train, base, ASKED, old)
    grown = merge_vocabularies(old, new)
    after, seconds = build_tokenizer(base, grown.vocabulary), time.process_time() - start
    # The language alone: specials and whatever the kind falls back on, then its own vocabulary.
    specials = sum(token in SPECIALS or token.startswith("<0x") for token in old.tokens)
    bare = old.first(Snapshot(specials, 0))
    alone = build_tokenizer(base, merge_vocabularies(bare, learn_vocabulary(train, base, ASKED)).vocabulary)
    number = base.token_to_id(unknown)
    return {
        "texts": len(train), "before": per_word(before, test), "alone": per_word(alone, test),
        "after": per_word(after, test), "new_tokens": grown.new_tokens, "seconds": seconds,
        "lost_before": lost(before, test, number), "lost_after": lost(after, test, number),
    }  # fmt: skip


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--languages", help="tags with commas between; all by default")
    parser.add_argument("--bases", default=",".join(BASES))
    parser.add_argument("--tokenizer", action="append", default=[], help="NAME=FILE of a base tokenizer")
    asked = parser.parse_args()
    files = {file.name[3:-7]: file for file in sorted(asked.data.glob("en-*.tsv.gz"))}
    tags = asked.languages.split(",") if asked.languages else list(files)
    english = sorted({text for file in files.values() for text in read(file, 0)[:-HELD_OUT]})
    bases = {name: BASES[name](english) for name in filter(None, asked.bases.split(","))}
    bases |= {name: Tokenizer.from_file(file) for name, file in (one.split("=", 1) for one in asked.tokenizer)}
    results: dict[str, Any] = {"asked": ASKED, "held_out": HELD_OUT, "english": len(english), "bases": {}}
    timed = [text for tag in TIMED if tag in files for text in read(files[tag], 1)[:15_000]]
    print("| base | tokens | languages | before | alone | after | lost before | lost after | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, base in bases.items():
        found = {tag: measure(base, read(files[tag], 1)) for tag in tags}
        start = time.process_time()
        build_tokenizer(
            base, merge_vocabularies(read_vocabulary(base), learn_vocabulary(timed, base, ASKED)).vocabulary
        )
        seconds, tokens = time.process_time() - start, base.get_vocab_size(with_added_tokens=True)
        results["bases"][name] = {
            "kind": kind_of(base).name, "tokens": tokens, "timed_texts": len(timed), "seconds": seconds,
            "languages": found,
        }  # fmt: skip
        row = [mean(one[key] for one in found.values()) for key in ("before", "alone", "after")]
        row += [mean(one[key] for one in found.values()) for key in ("lost_before", "lost_after")]
        line = " | ".join(f"{value:.2f}" for value in row)
        print(f"| {name} | {tokens:,} | {len(found)} | {line} | {seconds:.1f} |", flush=True)
    if asked.out:
        write_whole(asked.out, (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
