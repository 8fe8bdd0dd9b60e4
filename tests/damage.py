"""One damaged row: every place in it, and what may stand there instead."""

import copy
import io
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from PIL import Image

DELETE = object()
VALUES: list[Any] = [DELETE, None, True, 5, -1.5, float("nan"), float("inf"), 10**30, "", " ", "\0", "\ud800"]
PATHS = ["../a.png", "/etc/passwd", "C:\\a.png", "a/../../a.png", "\\\\host\\a.png", "a.png/"]
NESTED: list[Any] = [[], {}, [[]], [None], [{}], {"a": None}, {"bytes": "text"}]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def garbage(*more: Any) -> st.SearchStrategy[Any]:
    """Values of every type that no row should hold, and `more` of them."""
    return st.one_of(
        st.sampled_from([*VALUES, *PATHS, *NESTED, "data:;base64,AAAA", *more]),
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )


def draw_damaged(data: st.DataObject, row: dict[str, Any], values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A copy of the row with another value in one place, or without it."""
    place = data.draw(st.sampled_from(sorted(_places(row), key=repr)))
    return _damaged(row, place, data.draw(values))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from _places(part, (*path, key))


def _damaged(row: dict[str, Any], place: Sequence[Any], value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    holder: Any = row
    for key in place[:-1]:
        holder = holder[key]
    if value is DELETE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return row
