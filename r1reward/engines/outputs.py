"""Token ids as completions, in one way for all engines that see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1reward.types import Completion


def read_completion(
    tokenizer: Any, ids: Sequence[int], log_probs: Sequence[float], *, ended: bool
) -> Completion:
    """The completion of some tokens; with `ended` the last one ends the answer and is not in its text."""
    text = tokenizer.decode(
        list(ids[:-1] if ended else ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    tokens = tuple(token or "" for token in tokenizer.convert_ids_to_tokens(list(ids)))
    return Completion(text, tuple(ids), tuple(log_probs), "stop" if ended else "length", tokens)
