"""Everything about words: learn, merge, count and initialise; coverage; files."""

from babelclip.lexicon.coverage import Coverage, measure_coverage
from babelclip.lexicon.kind import Wish
from babelclip.lexicon.kinds import learn_vocabulary
from babelclip.lexicon.lexicon import Lexicon
from babelclip.lexicon.merge import Growth, merge_vocabularies
from babelclip.lexicon.multilingual import MultilingualLexicon, read_multilingual
from babelclip.lexicon.rows import INITIALISERS
from babelclip.lexicon.tokens import Tokens, tokenise
from babelclip.lexicon.vocabulary import Snapshot, Vocabulary

__all__ = [
    "INITIALISERS", "Coverage", "Growth", "Lexicon", "MultilingualLexicon", "Snapshot", "Tokens", "Vocabulary",
    "Wish", "learn_vocabulary", "measure_coverage", "merge_vocabularies", "read_multilingual", "tokenise",
]  # fmt: skip
