"""What makes two pairs the same: digests of pictures and texts, and word shingles for nearly equal texts.

Texts are compared after Unicode compatibility composition, case folding and with single spaces.
Punctuation counts: "-5" and "5" are different answers.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from r1reward.files import sha256_file
from r1reward.types import PreferencePair

DIGEST_BYTES = 16
WORDS_A_SHINGLE = 3
# One band is enough for a closer look. Of pairs that share 90 % (95 %) of their shingles, 0.4 % (0.002 %)
# have no band in common; of those that share half, 4 % have one.
BANDS, HASHES_A_BAND = 10, 8
_WORD = re.compile(r"\w+|[^\w\s]")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]


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


def shingles(text: str) -> Hashes:
    """Sorted hashes of all runs of three words or signs in a text; of the whole text if it is shorter."""
    words = [crc32(word.encode("utf-8")) for word in _WORD.findall(normalise(text))]
    words += [0] * (WORDS_A_SHINGLE - len(words))
    hashes = np.array(words, dtype=np.uint64)
    runs = _mix(_mix(_mix(hashes[:-2]) + hashes[1:-1]) + hashes[2:])
    return np.unique(runs)


def jaccard(one: Hashes, other: Hashes) -> float:
    """Shared elements of two sorted sets over all of them."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def bands(fields: tuple[Hashes, Hashes, Hashes], picture: bytes) -> list[int]:
    """Band keys (signed 64 bits) of the MinHash of all fields together, for one picture.

    A shingle counts apart in each field. So the union of all fields has at least the lowest similarity
    of a single field, and who asks for a similarity in every field misses nothing by asking the union.
    """
    union = np.concatenate([_mix(field ^ mark) for field, mark in zip(fields, _FIELD_MARKS, strict=True)])
    signature = ((union[:, None] * _FACTORS) >> np.uint64(32)).min(axis=0).reshape(BANDS, HASHES_A_BAND)
    keys = (signature * _FACTORS.reshape(BANDS, HASHES_A_BAND)).sum(axis=1, dtype=np.uint64)
    keys += np.uint64(int.from_bytes(picture[:8]))
    return _mix(keys).view(np.int64).tolist()


def _mix(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64: every bit of a value decides every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# Odd factors of the hash functions, fixed for ever: the same data has the same near-duplicates.
_FIELD_MARKS = _mix(np.arange(1, 4, dtype=np.uint64))
_FACTORS = _mix(np.arange(1, BANDS * HASHES_A_BAND + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)
