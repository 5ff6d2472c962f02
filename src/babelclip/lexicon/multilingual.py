"""A ready vocabulary of many languages beside the base model's own English: MLA's non-native words (papers 1.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from babelclip.encoders.frame import Frame
from babelclip.encoders.headers import weight_files
from babelclip.encoders.hub import HubName, fetch_model
from babelclip.errors import ModelError, SettingError, UnknownNameError
from babelclip.lexicon.kind import Wish
from babelclip.lexicon.lexicon import Lexicon
from babelclip.lexicon.merge import Growth
from babelclip.lexicon.plain import as_plain_text
from babelclip.lexicon.vocabulary import Vocabulary


@dataclass
class MultilingualLexicon(Lexicon):
    """Words of a multilingual tokenizer (WordPiece, BPE, Unigram), with rows of any width.

    Nothing is ever appended, so no language cuts another's texts differently. English never passes through it: its
    texts keep the tokenizer and the rows of the base model, bit for bit.

    Attributes:
        native: the base model's own words.
    """

    native: Lexicon = field(kw_only=True)

    @classmethod
    def from_tokenizer(
        cls, tokenizer: Tokenizer, table: Tensor, *, bos: int, eos: int, native: Lexicon
    ) -> MultilingualLexicon:
        """Start from a tokenizer and the rows of its tokens.

        Args:
            tokenizer: of any kind that the library ``tokenizers`` knows.
            table: (V, width) rows; more rows than tokens are cut.
            bos: id of the token that starts a text, ``[CLS]``.
            eos: id of the token that ends it, ``[SEP]``; also padding.
            native: the base model's own lexicon.

        Raises:
            ModelError: tokens have no row, or ids have gaps.
        """
        tokenizer = as_plain_text(Tokenizer.from_str(tokenizer.to_str()), (bos, eos))
        count = tokenizer.get_vocab_size(with_added_tokens=True)
        by_id = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
        gap = next((number for number in range(count) if number not in by_id), None)
        if gap is not None:
            raise ModelError(
                f"the multilingual tokenizer has {count} tokens, but none with the id {gap}",
                fix="Use a tokenizer whose ids have no gaps.",
            )
        if len(table) < count:
            raise ModelError(
                f"the multilingual tokenizer has {count} tokens, but the table has {len(table)} rows",
                fix="Tokenizer and rows must come from the same model.",
            )
        vocabulary = Vocabulary(tuple(by_id[number] for number in range(count)), ())
        uses = torch.ones(count, dtype=torch.int64)
        length, padded = native.frame.max_length, native.frame.padding is not None
        frame = Frame(bos, eos, length, padding=eos if padded else None)
        return cls(tokenizer, vocabulary, table[:count].float().clone(), uses, frame, complete=True, native=native)

    @property
    def fingerprint(self) -> str:
        """Sha256 over tokenizer and rows, shortened."""
        digest = hashlib.sha256(self.base_tokenizer.to_str().encode())
        digest.update(self.table.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def tokenizer(self, language: str | None = None) -> Tokenizer:
        """Return the tokenizer, which is the same for every language.

        Raises:
            UnknownNameError: the language has not been learnt.
        """
        if language is not None and language not in self.snapshots:
            raise UnknownNameError("learnt language", language, self.snapshots)
        return self.base_tokenizer

    def complete_with(
        self, texts: Iterable[str], wish: Wish, *, initialiser: str, generator: torch.Generator
    ) -> Growth:
        """Refuse: nothing can be appended.

        Raises:
            SettingError: always.
        """
        raise SettingError("a multilingual lexicon cannot grow", fix="Leave the method oracle out, or the lexicon.")


def read_multilingual(source: Path | str, native: Lexicon, *, width: int | None = None) -> MultilingualLexicon:
    """Read tokenizer and word embeddings of a multilingual language model, such as M-BERT.

    Args:
        source: a folder in the format of ``transformers``, or a hub id, ``owner/name`` or ``owner/name@revision``. Only
            the word embeddings of the model are kept, read from safetensors alone.
        native: the base model's own lexicon.
        width: start from random rows of this width instead, N(0, 0.02^2), always the same; also where a folder has no
            weights: then the default is the width of the base model's rows.

    Raises:
        ModelError: it cannot be read, or has no token to start or to end a text.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = Path(source)
    if not folder.is_dir():
        name = HubName.read(str(source))
        if name is None:
            raise ModelError(
                f"there is no folder {str(source)!r}",
                fix="Give a folder with tokenizer.json, or a hub id (owner/name).",
            )
        folder = fetch_model(name, pictures=False)
    try:
        if not (folder / "tokenizer_config.json").is_file():
            whole: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        else:
            whole = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        rows = None if width or not _has_weights(folder) else _word_embeddings(folder)
    except ModelError:
        raise
    except Exception as error:  # the libraries raise plain exceptions for damaged files
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"cannot read the multilingual lexicon {str(source)!r}: {reason}",
            fix="Give a folder with tokenizer.json, config.json and model.safetensors, or a hub id within reach.",
        ) from error
    tokenizer: Tokenizer = whole.backend_tokenizer
    bos, eos = (_special(whole, tokenizer, names) for names in _SPECIALS)
    if bos is None or eos is None:
        missing = _SPECIALS[0 if bos is None else 1]
        raise ModelError(
            f"the multilingual tokenizer {str(source)!r} has none of the tokens {', '.join(missing)}",
            fix="Use one that marks where a text starts and ends, such as that of M-BERT or XLM-R.",
        )
    if rows is None:
        chance = torch.Generator().manual_seed(0)
        size = tokenizer.get_vocab_size(with_added_tokens=True), width or native.table.shape[1]
        rows = torch.empty(size).normal_(0.0, 0.02, generator=chance)
    return MultilingualLexicon.from_tokenizer(tokenizer, rows, bos=bos, eos=eos, native=native)


_SPECIALS = (("cls_token", "bos_token", "[CLS]", "<s>"), ("sep_token", "eos_token", "[SEP]", "</s>"))
"""Where the tokens that start and end a text are looked for: attributes of the tokenizer, then tokens."""


def _special(whole: Any, tokenizer: Tokenizer, names: Sequence[str]) -> int | None:
    """The id of the first of these tokens that there is."""
    contents = [getattr(whole, name, None) if name.endswith("_token") else name for name in names]
    ids = [tokenizer.token_to_id(content) for content in contents if content]
    return next((one for one in ids if one is not None), None)


def _has_weights(folder: Path) -> bool:
    """Whether a model lies beside the tokenizer.

    Raises:
        ModelError: it is pickled, or a part of it is missing.
    """
    some = any(folder.glob("*.safetensors*")) or any(folder.glob("*.bin"))
    return some and bool(weight_files(folder))


def _word_embeddings(folder: Path) -> Tensor:
    """The word embeddings of a language model, without its positions and norms."""
    from transformers import AutoModel

    from babelclip.encoders.encoder import without_progress_bar

    with without_progress_bar():
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
    rows: Tensor = model.get_input_embeddings().weight.detach()
    return rows
