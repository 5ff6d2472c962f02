"""Everything about words: learn, merge, count and initialise; coverage; files."""

from babelclip.lexicon.bpe import Vocabulary, learn_bpe
from babelclip.lexicon.coverage import Coverage, measure_coverage
from babelclip.lexicon.lexicon import Lexicon, Snapshot
from babelclip.lexicon.merge import Growth, merge_vocabularies
from babelclip.lexicon.multilingual import MultilingualLexicon, read_multilingual
from babelclip.lexicon.rows import INITIALISERS
from babelclip.lexicon.tokens import Tokens, tokenise

__all__ = [
    "INITIALISERS", "Coverage", "Growth", "Lexicon", "MultilingualLexicon", "Snapshot", "Tokens", "Vocabulary",
    "learn_bpe", "measure_coverage", "merge_vocabularies", "read_multilingual", "tokenise",
]  # fmt: skip
