"""What is scored again and again is cut and read once, and scores as if it were not."""

from dataclasses import replace
from itertools import pairwise

import babelclip
from babelclip.acquirers import Learnt
from babelclip.continual.held_out import HeldOut
from babelclip.encoders import encode_tokens
from babelclip.evaluation import retrieval_scores
from babelclip.lexicon import kinds, tokens


class Counted:
    """Vectors that count how often they are read one after the other."""

    def __init__(self, vectors):
        self.vectors, self.reads = vectors, 0

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, places):
        self.reads += isinstance(places, slice)
        return self.vectors[places]


def test_a_task_builds_one_tokenizer_and_cuts_and_reads_its_validation_once(tiny, examples, quick, monkeypatch):
    built, cut, de = [], [], examples["de"]
    images = Counted(de.images)
    real = kinds.build_tokenizer, tokens.is_utf8
    monkeypatch.setattr("babelclip.lexicon.lexicon.build_tokenizer", lambda *given: built.append(1) or real[0](*given))
    monkeypatch.setattr("babelclip.lexicon.tokens.is_utf8", lambda text: cut.append(text) or real[1](text))
    held_out = replace(de, texts=[f"{text} " for text in de.texts], images=images)
    babelclip.Student(tiny).learn("de", de, method="cll", settings=replace(quick, epochs=4), validation=held_out)
    assert len(built) == 1
    assert sorted(cut) == sorted(de.texts + held_out.texts)
    assert images.reads == 1


def test_scores_are_those_of_texts_cut_anew_whatever_the_lexicon(tiny, examples, quick):
    student, de = babelclip.Student(tiny), examples["de"]
    held_out = HeldOut(tiny, de)
    before, first = student.learnt, held_out.score(student.learnt)
    student.learn("de", de, settings=replace(quick, epochs=8))
    moved = Learnt(student.lexicon.with_table(student.lexicon.table * 1.5))
    found = []
    for learnt in (before, student.learnt, moved):
        lexicon = learnt.lexicon
        vectors = encode_tokens(tiny, lexicon.table, lexicon.encode(de.texts))
        found.append(retrieval_scores(vectors, de.images[:], de.owner))
        assert held_out.score(learnt) == student.evaluate(de, learnt=learnt) == found[-1]
    assert found[0] == first
    assert all(one != other for one, other in pairwise(found))
