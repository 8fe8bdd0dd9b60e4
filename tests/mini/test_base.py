"""The shipped base checkpoint: size, classes, tokenizer."""

import r1reward.torchvision_ops  # noqa: F401

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from r1reward.mini import base_folder
from r1reward.mini.tiny import QWEN_TOKENS, TAGS
from r1reward.prompts import judge_template

PROCESSOR = AutoProcessor.from_pretrained(base_folder())


def test_the_checkpoint_is_small_and_safe():
    files = [path for path in base_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12 * 2**20
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".jinja", ".safetensors"}


def test_it_loads_with_the_plain_classes():
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(base_folder())
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 5e6
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@given(st.text())
def test_any_text_is_encoded_and_decoded(text):
    tokenizer = PROCESSOR.tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("token", [*QWEN_TOKENS, *TAGS])
def test_special_tokens_and_tags_are_one_piece(token):
    assert len(PROCESSOR.tokenizer(token, add_special_tokens=False)["input_ids"]) == 1


def test_sizes_of_tokenizer_and_mini_prompt():
    assert len(PROCESSOR.tokenizer) <= 2000
    own = judge_template("mini")
    for name in ("question", "response_1", "response_2"):
        own = own.replace(f"{{{name}}}", "")
    assert len(PROCESSOR.tokenizer(own)["input_ids"]) <= 40
