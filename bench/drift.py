"""How much of the forgetting is tokenisation drift: score each language with today's tokenizer and its own snapshot.

python bench/drift.py report/model report/data     # after `babelclip demo`; half a minute on 2 cores
"""

from __future__ import annotations

import sys
from pathlib import Path

import babelclip
from babelclip.evaluation import retrieval_scores

if __name__ == "__main__":
    model, data = sys.argv[1:]
    student = babelclip.load(model)
    for language in student.languages:
        test = student.examples(language, Path(data) / f"{language}.test.tsv")
        newest, snapshot = (student.lexicon.encode(test.texts, tag) for tag in (None, language))
        cut_anew = 100 * sum(a != b for a, b in zip(newest, snapshot, strict=True)) / len(newest)
        scores = [
            retrieval_scores(student.encode_texts(test.texts, language=tag), test.images[:], test.owner)["img_r10"]
            for tag in (None, language)
        ]
        print(
            f"{language}: img_r10 {scores[0]:.1f} with the newest tokenizer, {scores[1]:.1f} with its snapshot; "
            f"{cut_anew:.1f} % of the texts cut differently"
        )
