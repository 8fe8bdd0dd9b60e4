"""A key is shown nowhere, in whatever form a server repeats it."""

from __future__ import annotations

import base64
import html
import re

# A shorter one may be an ordinary word ("EMPTY"), which answers must keep.
MIN_SECRET_CHARACTERS = 8
MASK = b"***"


class KeyMask:
    """Replaces a key in what a server sent.

    Found as it is, with any of its signs escaped as in JSON, HTML or an address (also twice), and in
    base64, where it may stand behind a user's name as in the header of basic authentication.
    """

    def __init__(self, key: str) -> None:
        self._is_secret = len(key) >= MIN_SECRET_CHARACTERS
        texts = [key, *_in_base64(key)]
        self._forms = re.compile(b"|".join(map(_any_form, texts)))
        # Every form of a text holds its longest run of letters and digits, which is found much sooner.
        self._signs = [max(re.findall(r"[A-Za-z0-9]*", text), key=len).encode() for text in texts]

    def in_error(self, body: bytes) -> bytes:
        """What a server says about a request, without the key."""
        found = any(run in body for run in self._signs)
        return self._forms.sub(MASK, body) if found else body

    def in_answer(self, body: bytes) -> bytes:
        """A model's answer, without the key where that cannot be a word of the answer."""
        return self.in_error(body) if self._is_secret else body


def _any_form(text: str) -> bytes:
    return b"".join(_any_sign(sign) for sign in text)


def _any_sign(sign: str) -> bytes:
    """A pattern of a sign and of its escaped forms; letters and digits are escaped by nobody.

    All repetitions are bounded, so that no body takes more than linear time.
    """
    if sign.isalnum():
        return sign.encode()
    code = ord(sign)
    forms = [
        rf"\\{{0,4}}{re.escape(sign)}",
        rf"\\{{1,4}}u(?i:{code:04x})",
        rf"%(?:25){{0,2}}(?i:{code:02x})",
        rf"&(?:amp;)?#0{{0,4}}{code};",
        rf"&(?:amp;)?#[xX]0{{0,4}}(?i:{code:x});",
        re.escape(html.escape(sign)),
    ]
    return f"(?:{'|'.join(forms)})".encode()


def _in_base64(key: str) -> list[str]:
    """What stays the same of the key in base64 whatever stands before and behind it, for both alphabets."""
    found: list[str] = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + key.encode()).decode()
        core = whole[-(-8 * before // 6) : 8 * (before + len(key)) // 6]
        if len(core) >= MIN_SECRET_CHARACTERS:
            found += [core, core.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))
