"""Tiny models of every family that can be taught, saved as their checkpoints are, with their kinds of tokenizers."""

import json

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AltCLIPConfig,
    AltCLIPModel,
    BertConfig,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
    ViTImageProcessorPil,
    XLMRobertaConfig,
)

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
SIDE = {"image_size": 16, "patch_size": 8}
TEXTS = [
    "a red square", "a", "a green field and a blue wall", "the brown wall", "white", "a yellow square on a field",
    "two black walls", "a pink square", "the wall is blue", "red",
]  # fmt: skip
SPECIALS = {
    "clip": ("<|startoftext|>", "<|endoftext|>", "<|endoftext|>", ["<|startoftext|>", "<|endoftext|>"]),
    "bert": ("[CLS]", "[SEP]", "[PAD]", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]),
    "xlm": ("<s>", "</s>", "<pad>", ["<s>", "<pad>", "</s>", "<unk>"]),
    "t5": ("", "</s>", "</s>", ["<pad>", "</s>", "<unk>"]),
    "late": ("<s>", "</s>", "<pad>", ["<pad>", "<unk>", "<mask>", "<s>", "</s>"]),
    "gemma": ("", "<eos>", "<pad>", ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]),
}
"""Start, end and padding of a style, and all its special tokens in the order of their ids."""


def dress(made, style, **more):
    """A tokenizer of transformers that puts a style's special tokens around its texts."""
    start, end, pad, specials = SPECIALS[style]
    around = [(token, made.token_to_id(token)) for token in (start, end) if token]
    template = " ".join(part for part in (start, "$A", end) if part)
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=around)
    names = {"bos_token": start, "eos_token": end, "pad_token": pad}
    if style == "bert":
        names = {"cls_token": start, "sep_token": end, "pad_token": pad}
    unknown = {"unk_token": next((token for token in specials if "unk" in token.lower()), end)}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        padding_side="right",
        **{name: token for name, token in (names | unknown).items() if token},
        **more,
    )


def byte_bpe(style):
    """As GPT-2's; CLIP's has its special tokens last."""
    first = [] if style == "clip" else SPECIALS[style][3]
    unknown = next((token for token in SPECIALS[style][3] if "unk" in token.lower()), SPECIALS[style][1])
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=300, special_tokens=first, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(TEXTS, learner)
    if not first:
        made.add_special_tokens(SPECIALS[style][3])
    content = json.loads(made.to_str())
    content["model"]["vocab"] |= {one["content"]: one["id"] for one in content["added_tokens"]}
    content["model"] |= {"unk_token": unknown, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    return dress(Tokenizer.from_str(json.dumps(content)), style)


def wordpiece(style):
    """As BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=SPECIALS[style][3], show_progress=False)
    )
    return dress(made, style, model_max_length=24)


def unigram(style):
    """As XLM-R's and, lower-cased, SigLIP's."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    learner = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=SPECIALS[style][3], unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(TEXTS, learner)
    return dress(made, style)


def gemma_bpe(style):
    """As Gemma's: no pre-tokenizer, spaces as ▁, bytes where a letter is not known."""
    specials, letters = SPECIALS[style][3], sorted({letter for text in TEXTS for letter in text.replace(" ", "▁")})
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁a", "re", "red", "▁s", "qu", "ll"]
    merges = [("▁", "a"), ("r", "e"), ("re", "d"), ("▁", "s"), ("q", "u"), ("l", "l")]
    made = Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, merges, byte_fallback=True, fuse_unk=True,
                   unk_token="<unk>")
    )  # fmt: skip
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(specials)
    return dress(made, style)


def vocabulary(tokenizer, spare=0):
    """The config of a text tower's vocabulary, and of its special tokens."""
    names = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {"vocab_size": len(tokenizer) + spare} | {name: one for name, one in names.items() if one is not None}


def make_clip(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer, spare=7), "max_position_embeddings": 20}
    config = CLIPConfig(text_config=text, vision_config={**SIZES, **SIDE}, projection_dim=24)
    return CLIPModel(config), clip_pictures()


def make_metaclip_2(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer), "max_position_embeddings": 20, "hidden_act": "gelu"}
    vision = {**SIZES, **SIDE, "hidden_act": "gelu"}
    config = MetaClip2Config(text_config=text, vision_config=vision, projection_dim=24)
    return MetaClip2Model(config), clip_pictures()


def make_siglip(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer, spare=5), "max_position_embeddings": 16, "projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config={**SIZES, **SIDE})
    return SiglipModel(config), SiglipImageProcessorPil(size={"height": 16, "width": 16})


def make_siglip2(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer), "max_position_embeddings": 16}
    vision = {**SIZES, "num_patches": 9, "patch_size": 8}
    config = Siglip2Config(text_config=text, vision_config=vision)
    return Siglip2Model(config), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=6)


def make_chinese(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer), "max_position_embeddings": 30}
    config = ChineseCLIPConfig(text_config=text, vision_config={**SIZES, **SIDE}, projection_dim=24)
    return ChineseCLIPModel(config), ChineseCLIPImageProcessorPil(
        size={"height": 16, "width": 16}, do_center_crop=False
    )


def make_alt(tokenizer):
    text = {**SIZES, **vocabulary(tokenizer), "max_position_embeddings": 30, "project_dim": 28}
    config = AltCLIPConfig(text_config=text, vision_config={**SIZES, **SIDE}, projection_dim=24)
    return AltCLIPModel(config), clip_pictures()


def make_two(text_config):
    def make(tokenizer):
        text = text_config(**SIZES, **vocabulary(tokenizer), max_position_embeddings=30)
        config = VisionTextDualEncoderConfig.from_vision_text_configs(
            ViTConfig(**SIZES, **SIDE), text, projection_dim=24
        )
        return VisionTextDualEncoderModel(config), ViTImageProcessorPil(size={"height": 16, "width": 16})

    return make


def clip_pictures():
    return CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})


MAKERS = {
    "clip": (make_clip, "clip", byte_bpe),
    "metaclip_2": (make_metaclip_2, "xlm", unigram),
    "siglip": (make_siglip, "t5", unigram),
    "siglip, Gemma's words": (make_siglip, "gemma", gemma_bpe),
    "siglip2": (make_siglip2, "gemma", gemma_bpe),
    "chinese_clip": (make_chinese, "bert", wordpiece),
    "altclip": (make_alt, "xlm", unigram),
    "two towers, BERT": (make_two(BertConfig), "bert", wordpiece),
    "two towers, RoBERTa": (make_two(RobertaConfig), "xlm", byte_bpe),
    "two towers, XLM-R": (make_two(XLMRobertaConfig), "xlm", unigram),
}
"""Model and picture preparation, style of special tokens, and the kind of tokenizer that its checkpoints have."""


def write_model(name, folder, *, tokenizer=None):
    """Save a model of a family with random weights, biases too; ``tokenizer``: another style and kind than its own."""
    make, style, kind = MAKERS[name]
    if tokenizer is not None:
        style, kind = tokenizer
    tokenizer = kind(style)
    torch.manual_seed(0)
    model, processor = make(tokenizer)
    for weights in model.parameters():
        weights.data += 0.05 * torch.randn_like(weights)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()


def write_open_clip(folder, **changes):
    """Save a CLIP in open_clip's format: ``changes`` of parts of its config, by ``text_cfg``, ``vision_cfg``, ..."""
    tokenizer = byte_bpe("clip")
    text = {"context_length": 20, "vocab_size": len(tokenizer), "width": 32, "heads": 2, "layers": 3}
    vision = {"image_size": 16, "layers": 3, "width": 48, "head_width": 16, "patch_size": 8}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    prepared = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "shortest"}
    parts = {"model_cfg": model, "text_cfg": text, "vision_cfg": vision, "preprocess_cfg": prepared}
    for part, values in changes.items():
        parts[part].update(values)
    content = {"model_cfg": model, "preprocess_cfg": prepared}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    weights = open_clip_weights(model)
    save_file(weights, folder / "open_clip_model.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str())
    return content, weights


def open_clip_weights(model):
    """Random weights under open_clip's names."""
    chance, text, vision = torch.Generator().manual_seed(4), model["text_cfg"], model["vision_cfg"]

    def some(*size):
        return torch.randn(size, generator=chance) * 0.2

    places = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    found = {
        "positional_embedding": some(text["context_length"], text["width"]),
        "text_projection": some(text["width"], model["embed_dim"]), "logit_scale": torch.tensor(3.0),
        "token_embedding.weight": some(text["vocab_size"], text["width"]),
        "visual.class_embedding": some(vision["width"]),
        "visual.positional_embedding": some(places, vision["width"]),
        "visual.proj": some(vision["width"], model["embed_dim"]),
        "visual.conv1.weight": some(vision["width"], 3, vision["patch_size"], vision["patch_size"]),
    }  # fmt: skip
    norms = {"ln_final": text["width"], "visual.ln_pre": vision["width"], "visual.ln_post": vision["width"]}
    for start, part in (("", text), ("visual.", vision)):
        width, inner = part["width"], int(part["width"] * part.get("mlp_ratio", 4))
        for layer in range(part["layers"]):
            place = f"{start}transformer.resblocks.{layer}"
            norms |= {f"{place}.ln_1": width, f"{place}.ln_2": width}
            found |= {
                f"{place}.attn.in_proj_weight": some(3 * width, width), f"{place}.attn.in_proj_bias": some(3 * width),
                f"{place}.attn.out_proj.weight": some(width, width), f"{place}.attn.out_proj.bias": some(width),
                f"{place}.mlp.c_fc.weight": some(inner, width), f"{place}.mlp.c_fc.bias": some(inner),
                f"{place}.mlp.c_proj.weight": some(width, inner), f"{place}.mlp.c_proj.bias": some(width),
            }  # fmt: skip
    for name, width in norms.items():
        found |= {f"{name}.weight": 1 + some(width), f"{name}.bias": some(width)}
    return found
