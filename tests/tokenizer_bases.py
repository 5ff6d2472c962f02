"""Little base tokenizers of every kind, and texts of 36 languages: real names where there are some, else made up."""

from __future__ import annotations

import json
import random
import struct

import emoji
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LATIN = "abcdefghijklmnoprstuvwyz"
LETTERS = {
    "cs": LATIN + "áčďéěíňóřšťúůýž", "da": LATIN + "æøå", "fi": LATIN + "äö", "fil": LATIN + "ñ", "hr": LATIN + "čćđšž",
    "hu": LATIN + "áéíóöőúüű", "mi": "aeghikmnoprtuwāēīōū", "nl": LATIN + "ëï", "no": LATIN + "æøå",
    "pl": LATIN + "ąćęłńóśźż", "quz": LATIN + "ñ'", "ro": LATIN + "ăâîșț", "sv": LATIN + "åäö", "sw": LATIN,
    "vi": LATIN + "ăâđêôơưạảấầẩẫậ", "el": "αβγδεζηθικλμνξοπρσςτυφχψωάέή", "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "he": "אבגדהוזחטיכלמנסעפצקרשת", "hi": "अआइकखगचजटडतदनपबमयरलवशसहािीुूेो", "bn": "অআইকখগচজটডতদনপবমযরলশসহািীুে",
    "te": "అఆఇకఖగచజటడతదనపబమయరలవశసహాిీుూెే", "th": "กขคงจชซญดตถทนบปพฟมยรลวสหอาิีุูเแโ",
}  # fmt: skip
REAL = ["ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh"]
LANGUAGES36 = sorted([*LETTERS, *REAL, "en"])


def names(language: str, count: int = 200) -> list[str]:
    """Names of pictograms in the built-in data, spread over all of them."""
    emoji.config.load_language(language)
    found = [data[language].strip(":").replace("_", " ") for data in emoji.EMOJI_DATA.values() if language in data]
    found = list(dict.fromkeys(found))
    return found[:: max(1, len(found) // count)][:count]


def texts_of(language: str, count: int = 200) -> list[str]:
    """Texts of one of the 36 languages; Thai ones have no spaces."""
    if language == "en" or language in REAL:
        return names(language, count)
    chance = random.Random(language)
    words = ["".join(chance.choices(LETTERS[language], k=chance.randint(2, 7))) for _ in range(80)]
    between = "" if language == "th" else " "
    return [between.join(chance.choices(words, k=chance.randint(1, 5))) for _ in range(count)]


def charsmap() -> bytes:
    """A normaliser as SentencePiece compiles it, which knows one rule: "~" becomes "-"."""
    units = [0] * 512
    units[0x7E] = 0x7E | 1 << 8 | 0x180 << 10  # the label, that a leaf follows, and where: 0x7e ^ 0x180
    units[0x7E ^ 0x180] = 0  # where its text begins
    return struct.pack("<I", 4 * len(units)) + struct.pack("<512I", *units) + b"-\0"


def byte_level() -> Tokenizer:
    """As GPT-2's and CLIP's."""
    made = Tokenizer(models.BPE(unk_token="<|end|>"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|start|>", "<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(names("en", 2000), trainer)
    return made


def wordpiece() -> Tokenizer:
    """As BERT's."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(strip_accents=False)
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    made.train_from_iterator(names("en", 2000), trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def unigram() -> Tokenizer:
    """As XLM-R's: a compiled normaliser, and a token behind the pieces."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap()), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=specials, unk_token="<unk>", show_progress=False)
    made.train_from_iterator(names("en", 2000), trainer)
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return made


def byte_fallback() -> Tokenizer:
    """As Gemma's: the normaliser marks spaces, nothing splits the text, and one added token is not special."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=[*specials, "<turn>", *bytes_], show_progress=False)
    learner.train_from_iterator(names("en", 2000), trainer)
    model = json.loads(learner.to_str())["model"]
    made = Tokenizer(
        models.BPE(model["vocab"], [tuple(pair) for pair in model["merges"]], unk_token="<unk>", fuse_unk=True,
                   byte_fallback=True)
    )  # fmt: skip
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(specials)
    made.add_tokens([AddedToken("<turn>", normalized=False)])
    return made


BASES = {"byte-level": byte_level, "wordpiece": wordpiece, "unigram": unigram, "byte-fallback": byte_fallback}
ENDS = {
    "byte-level": ("<|start|>", "<|end|>"), "wordpiece": ("[CLS]", "[SEP]"), "unigram": ("<s>", "</s>"),
    "byte-fallback": ("<bos>", "<eos>"),
}  # fmt: skip
UNKNOWN = {"wordpiece": "[UNK]", "unigram": "<unk>", "byte-fallback": "<unk>"}
