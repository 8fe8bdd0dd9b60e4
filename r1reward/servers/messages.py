"""Pictures and text as one turn of a chat, as OpenAI-compatible servers take them."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from r1reward.engines.base import PictureError

SENT_AS_THEY_ARE = ("PNG", "JPEG", "WEBP", "GIF")
_CONTROL = re.compile(r"<(?=\|[^|<>\s]*\|>)")


def user_turn(text: str, pictures: Sequence[str | Path], *, origin: str = "") -> list[dict[str, Any]]:
    """One user message: the pictures in order, then the text with control tokens broken up.

    A server reads `<|im_end|>` in a text as the token, with which a response could end the question and
    speak for the judge. Raises PictureError, see `data_url`.
    """
    images = [{"type": "image_url", "image_url": {"url": data_url(path, origin=origin)}} for path in pictures]
    return [{"role": "user", "content": [*images, {"type": "text", "text": _CONTROL.sub("< ", text)}]}]


def data_url(path: str | Path, *, origin: str = "") -> str:
    """A picture as a data URL: the file itself if every server reads its format, else as PNG.

    Raises PictureError, which names file and origin, if it is missing or corrupt.
    """
    try:
        data = Path(path).read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            kind = picture.format
            if kind not in SENT_AS_THEY_ARE:
                buffer = io.BytesIO()
                picture.convert("RGB").save(buffer, kind := "PNG")
                data = buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"picture {path} ({origin}) cannot be sent: {error}") from error
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
