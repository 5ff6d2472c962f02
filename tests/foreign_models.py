"""Tiny models of other families than CLIP, and their tokenizers; random weights."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AltCLIPConfig,
    AltCLIPModel,
    BertConfig,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
)

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
SIDE = {"image_size": 16, "patch_size": 8}
WORDS = ["a", "red", "square", "##s", "quadrat"]


def wordpiece():
    """As BERT has it: lower-cased, [CLS] text [SEP]."""
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), vocabulary, strict=False))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=52, **names)


def unigram(*more):
    """As SigLIP's and Gemma's, with bytes as a fallback; one special token, at the end."""
    in_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["<pad>", "</s>", "<unk>", *more, "▁", "▁a", "▁red", "▁square", *in_bytes]
    made = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], 2, byte_fallback=True))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def make_siglip():
    text = {**SIZES, "vocab_size": 263, "bos_token_id": 1, "eos_token_id": 1}
    return SiglipModel(SiglipConfig(text_config=text, vision_config={**SIZES, **SIDE})), unigram()


def make_siglip2():
    text = {**SIZES, "vocab_size": 266, "bos_token_id": 1, "eos_token_id": 1}
    vision = {**SIZES, "num_patches": 4, "patch_size": 8}
    return Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)), unigram("<eos>", "<bos>", "<mask>")


def make_chinese():
    text = {**SIZES, "vocab_size": 9}
    config = ChineseCLIPConfig(text_config=text, vision_config={**SIZES, **SIDE}, projection_dim=24)
    return ChineseCLIPModel(config), wordpiece()


def make_alt():
    text = {**SIZES, "vocab_size": 263, "project_dim": 24}
    config = AltCLIPConfig(text_config=text, vision_config={**SIZES, **SIDE}, projection_dim=24)
    return AltCLIPModel(config), unigram()


def make_two():
    halves = ViTConfig(**SIZES, **SIDE), BertConfig(**SIZES, vocab_size=9)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(*halves, projection_dim=24)
    return VisionTextDualEncoderModel(config), wordpiece()


FOREIGN = {
    "siglip": (make_siglip, "Unigram", 64, 32, {"pad": 0}, False),
    "siglip2": (make_siglip2, "Unigram", 64, 32, {"pad": 0}, False),
    "chinese_clip": (make_chinese, "WordPiece", 512, 24, {"cls": 2}, False),
    "altclip": (make_alt, "Unigram", 512, 24, {"bos": 0}, False),
    "vision-text-dual-encoder": (make_two, "WordPiece", 512, 24, {}, False),
}
