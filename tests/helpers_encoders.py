"""Tiny encoders of random weights, made on the spot: a CLIP and a T5 with tokenizers of a few words."""

from pathlib import Path

import pytest
import torch

WORDS = [
    "a",
    "an",
    "the",
    "red",
    "blue",
    "small",
    "large",
    "circle",
    "square",
    "cross",
    "left",
    "of",
    "grey",
    "0",
    "10",
    "20",
    "30",
    "40",
    "50",
    "60",
    "70",
    "80",
    "90",
    "100",
    "110",
]
SIDE = 16  # pixels that the CLIP sees


def tokenizer(folder: Path, begin: str | None, most: int) -> int:
    """Written into a folder; returns how many tokens there are."""
    library, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    special = ["<pad>", *([begin] if begin else []), "</s>", "<unk>"]
    vocab = {word: k for k, word in enumerate([*special, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [(word, vocab[word]) for word in (begin, "</s>") if word]
    whole = f"{begin} $A </s>" if begin else "$A </s>"
    made.post_processor = tokenizers.processors.TemplateProcessing(single=whole, special_tokens=ends)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": begin}
    library.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=most, **names).save_pretrained(
        folder
    )
    return len(vocab)


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    library = pytest.importorskip("transformers")
    count = tokenizer(folder, "<s>", 12)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": count, "max_position_embeddings": 12, "projection_dim": 8}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {**sizes, "image_size": SIDE, "patch_size": 8, "projection_dim": 8}
    torch.manual_seed(seed)
    config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    net = library.CLIPModel(config)
    with torch.no_grad():
        for weight in net.parameters():  # they start so small that all texts are one
            weight.add_(0.2 * torch.randn_like(weight))
        net.logit_scale.fill_(2.0)
    net.save_pretrained(folder)
    return folder


def tiny_t5(folder: Path, seed: int = 0) -> Path:
    library = pytest.importorskip("transformers")
    count = tokenizer(folder, None, 512)
    torch.manual_seed(seed)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    library.T5EncoderModel(library.T5Config(vocab_size=count, **sizes, **ids)).save_pretrained(folder)
    return folder
