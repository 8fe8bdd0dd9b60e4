"""What makes two pairs the same: digests of pictures and texts.

Texts are compared after Unicode compatibility composition, case folding and with single spaces.
Punctuation counts: "-5" and "5" are different answers.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from r1reward.files import sha256_file
from r1reward.types import PreferencePair

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a pair: its pictures' bytes, its question, and its question with both responses.

    `texts` is the same for both orders of the responses; `flipped` is different for them.
    """

    picture: bytes
    question: bytes
    texts: bytes
    flipped: bool


def normalise(text: str) -> str:
    """A text without what does not count in comparisons."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fingerprint(pair: PreferencePair) -> Fingerprint:
    """Digests of a pair. A picture that cannot be read is an OSError, a lone surrogate a UnicodeError."""
    question = normalise(pair.question)
    responses = [normalise(response) for response in pair.responses]
    preferred, other = responses if pair.preferred == 1 else responses[::-1]
    pictures = [_picture_digest(path) for path in (*pair.images, *pair.frames)]
    return Fingerprint(
        picture=pictures[0] if len(pictures) == 1 else digest(*pictures),
        question=digest(question),
        texts=digest(question, *sorted(responses)),
        flipped=preferred > other,
    )


def digest(*parts: str | bytes) -> bytes:
    """Digest of texts or bytes, each with its length, so that no two lists of parts run together."""
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8))
        whole.update(data)
    return whole.digest()


def _picture_digest(path: str) -> bytes:
    stat = os.stat(path)
    return _digest_of_version(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_version(path: str, size: int, changed: int) -> bytes:
    # Rows about one picture often stand together; the cache saves reading it again.
    return bytes.fromhex(sha256_file(path))[:DIGEST_BYTES]
