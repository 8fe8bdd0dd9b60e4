"""Pictures and text as one turn of a chat, as OpenAI-compatible servers take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1reward.engines import EngineError, PictureError
from r1reward.pictures import Budget, PictureFault, common_form, data_uri, short_name
from r1reward.texts import is_unicode, plain_text


def user_turn(
    text: str, pictures: Sequence[str | Path], *, origin: str = "", budget: Budget | None = None
) -> list[dict[str, Any]]:
    """One user message: the pictures in order, then the text with control tokens broken up.

    A server reads `<|im_end|>` in a text as the token, with which a response could end the question and
    speak for the judge. Raises PictureError, see `data_url`, and EngineError for a text that is not Unicode.
    """
    if not is_unicode(text):
        raise EngineError(f"the prompt of {origin or 'a request'} is not valid Unicode")
    urls = [data_url(path, origin=origin, budget=budget) for path in pictures]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": plain_text(text)}]}]


def data_url(path: str | Path, *, origin: str = "", budget: Budget | None = None) -> str:
    """A picture as a data URL that shows what an engine here sees, see `common_form`.

    With a budget a server spends as many visual tokens on it as an engine here, however large its own is.
    Raises PictureError, which names file and origin, if it is missing or corrupt.
    """
    try:
        data, kind = common_form(path, budget=budget)
    except PictureFault as fault:
        raise PictureError(f"picture {short_name(path)} ({origin}) {fault}") from fault
    return data_uri(data, kind)
