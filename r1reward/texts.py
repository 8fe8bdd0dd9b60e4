"""What a user, a data file or a model wrote, made harmless for a tokenizer, a file and a terminal.

A tokenizer reads some texts as tokens of control wherever they stand: `<|im_end|>` in a response ends the
question, and what follows speaks for somebody else; `<|image_pad|>` stands for a picture that is not there.
Prompts, training targets, exports and requests to servers all pass through `plain_text`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

# The tags of the judge's own answers; some tokenizers have them as added tokens.
TAGS = frozenset({"<think>", "</think>", "<answer>", "</answer>"})
# Where the tokenizer is not known: the control tokens of Qwen, Llama, Mistral, Gemma, DeepSeek, InternVL,
# SmolVLM and MiniCPM, and the placeholders of LLaMA-Factory, LLaVA and ms-swift. The bar may be DeepSeek's,
# which is a wide one.
_NAMES = (
    "tool_call", "tool_response", "tools?", "image", "video", "audio", "img", "ref", "ref-object", "box",
    "bbox", "quad", "s", "bos", "eos", "pad", "unk", "mask", "cls", "sep", "start_of_turn", "end_of_turn",
    "start_of_image", "end_of_image", "image_soft_token", "image_placeholder", "img_context", "sop", "eop",
    "eod", "file_sep", "repo_name", "fim_(?:prefix|middle|suffix|pad)", "im_(?:start|end|patch)",
    "im_(?:start|end|patch)_token", "vi_start", "vi_end", "(?:image|vision)_pad", "end_of_utterance",
    "fake_token_around_image", "global-img", r"row_\d+_col_\d+", "image_newline", "slice", "im_id",
)  # fmt: skip
_BRACKETED = (
    "inst", "img", "img_break", "img_end", "tool_calls", "tool_results", "tool_content", "available_tools",
    "system_prompt", "pad", "unk", "cls", "sep", "mask", "gmask", "smask",
)  # fmt: skip
_ANY_TOKENIZER = re.compile(
    r"<(?=[|\uff5c][^|\uff5c<>\s]*[|\uff5c]>)"
    rf"|<(?=/?(?:{'|'.join(_NAMES)})>)"
    rf"|\[(?=/?(?:{'|'.join(_BRACKETED)})\])"
    r"|<(?=</?sys>>)",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[<\[|\uff5c].*[>\]|\uff5c]", re.DOTALL)
# Line breaks and tabs stay; these overwrite, hide or turn round what stands beside them.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def plain_text(text: str, *, tokenizer: Any = None) -> str:
    """The text with a space inside everything that `tokenizer` would read as a token of control.

    These are its special tokens and those of its added tokens that look like marks (`<tool_call>`); the
    judge's tags `<think>` and `<answer>` stay. Without a tokenizer, which nobody has for a server or an
    export, they are the control tokens of common families. Any other text stays as it is.
    """
    if tokenizer is None:
        return _ANY_TOKENIZER.sub(r"\g<0> ", text)
    pattern = _pattern_of(_control_tokens(tokenizer))
    return pattern.sub(r"\1 ", text) if pattern else text


def _control_tokens(tokenizer: Any) -> frozenset[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marks = {str(token) for token in added if token.special or _MARKUP.fullmatch(str(token))}
    return frozenset(marks.union(tokenizer.all_special_tokens) - TAGS)


@cache
def _pattern_of(tokens: frozenset[str]) -> re.Pattern[str] | None:
    """Finds the first character of each token, also where two of them overlap."""
    known: Iterable[str] = sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)
    inner = "|".join(map(re.escape, known))
    return re.compile(rf"(?=(?:{inner}))(.)", re.DOTALL | re.IGNORECASE) if inner else None


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8; half a surrogate pair, which JSON may hold, cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def visible(text: str) -> str:
    """The text for a terminal or a page: control characters are spelled out (`\\x1b`).

    They could move the cursor, hide what was written or turn round its direction. Line breaks and tabs stay.
    """
    return "".join(character if _is_seen(character) else _spelled(character) for character in text)


def html_text(text: str) -> str:
    """`visible`, escaped for a page."""
    return html.escape(visible(text))


def quoted(text: str) -> str:
    """`visible`, each line behind a bar, so that no line can be taken for one of this program."""
    return "\n".join(f"| {line}" for line in visible(text).split("\n"))


def _is_seen(character: str) -> bool:
    return character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in _UNSEEN


def _spelled(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
