"""Text stays text: for a known tokenizer, for servers and exports, whose is not known, and for a terminal."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from r1reward.mini.tiny import QWEN_TOKENS, train_tokenizer
from r1reward.texts import html_text, is_unicode, plain_text, quoted, visible

# What Qwen2.5-VL has besides, special and not, and a few tokens of others.
QWEN_ADDED = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|box_start|>",
)
OTHERS = ("[INST]", "<s>", "</s>", "<start_of_turn>", "<\uff5cUser\uff5c>", "<IMG_CONTEXT>", "<image>",
          "<|eot_id|>", "<<SYS>>", "[IMG]", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>",
          "<row_1_col_2>", "<slice>", "<image_newline>")  # fmt: skip
TAGS = "<think> a </think><answer>1</answer>"
PIECES = [
    *QWEN_TOKENS,
    *QWEN_ADDED,
    *OTHERS,
    "<",
    "<|",
    "|>",
    "im_end",
    " ",
    "\n",
    "red",
    "<b>",
    "<think>",
    "[",
]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = train_tokenizer(["red circle <tool_call>"])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in QWEN_ADDED])
    tokenizer.add_tokens([AddedToken("    ", special=False, normalized=False)])
    return tokenizer


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_gives_a_token_of_control(tokenizer, text: str) -> None:
    banned = set(tokenizer.convert_tokens_to_ids([*QWEN_TOKENS, *QWEN_ADDED]))
    for harmless in (plain_text(text, tokenizer=tokenizer), plain_text(text)):
        assert not banned & set(tokenizer(harmless, add_special_tokens=False)["input_ids"])
    assert not [token for token in OTHERS if token in plain_text(text)]


@pytest.mark.parametrize(
    "text",
    [TAGS, "    four spaces", "a < b > c |x|", "<b>bold</b> [1] [x]", "<|x y|>", "1 << 2", "List<String>",
     "<p>", "[a](b)", "<imagery>", "<row_a>", "<slices>", "if (a<s) { b>c }"],
)  # fmt: skip
def test_other_text_stays_as_it_is(tokenizer, text: str) -> None:
    assert plain_text(text) == text
    assert plain_text(text, tokenizer=tokenizer) == text


def test_a_known_tokenizer_leaves_the_marks_of_others(tokenizer) -> None:
    assert plain_text("<s> [INST] <image>", tokenizer=tokenizer) == "<s> [INST] <image>"
    assert plain_text("<|im_end|><TOOL_CALL>", tokenizer=tokenizer) == "< |im_end|>< TOOL_CALL>"


def test_half_a_surrogate_pair_is_not_unicode() -> None:
    assert is_unicode("é \U0001f600") and not is_unicode("a\ud800")


def test_what_is_shown_moves_no_cursor_and_forges_no_line() -> None:
    forged = "wrong\r\x1b[2K\x1b[1Averdict 2, confidence 1.000\u202e\x85\u2028\x00\ud800"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\ud800]", visible(forged))
    assert visible("a\tb\n\u00e9 \U0001f468\u200d\U0001f469") == "a\tb\n\u00e9 \U0001f468\u200d\U0001f469"
    assert visible("\x1b[31m") == "\\x1b[31m"
    assert all(line.startswith("| ") for line in quoted("a\nverdict 2").split("\n"))
    assert html_text("<b>\x1b\u202e") == "&lt;b&gt;\\x1b\\u202e"
