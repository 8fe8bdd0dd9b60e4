"""What a loader left out and why, row by row (`quarantine.jsonl`)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal, TextIO

from r1reward.files import RefusedRow

__all__ = ["DroppedRow", "Kind", "Quarantine", "RefusedRow"]

Kind = Literal["dropped", "refused"]
MAX_DETAIL = 300


class DroppedRow(Exception):
    """A sound row that makes no preference pair, such as a tie; the message is the reason."""


class Quarantine:
    """Collects rows that make no preference pair (dropped) and rows that break the schema (refused).

    Rows are written to `path` as they come, if there is one; `counts` holds numbers by source, kind and
    reason. A row is noted once, however often its file is read. Use it as a context manager.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.counts: dict[str, dict[Kind, Counter[str]]] = defaultdict(
            lambda: {"dropped": Counter(), "refused": Counter()}
        )
        self._noted: set[tuple[str, str]] = set()
        self._stream: TextIO | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("w", encoding="utf-8")

    def add(self, kind: Kind, source: str, origin: str, reason: str, detail: str = "") -> None:
        """Note one row; `origin` names file and row, `detail` says more than the reason that is counted."""
        if (source, origin) in self._noted:
            return
        self._noted.add((source, origin))
        self.counts[source][kind][reason] += 1
        if self._stream:
            if len(detail) > MAX_DETAIL:
                detail = f"{detail[:MAX_DETAIL]}… ({len(detail)} characters)"
            row = {"source": source, "kind": kind, "origin": origin, "reason": reason, "detail": detail}
            # Escaped to ASCII: the name of a file may be no valid Unicode.
            self._stream.write(json.dumps(row) + "\n")

    def total(self, source: str, kind: Kind) -> int:
        """How many rows of a source were dropped or refused."""
        return self.counts[source][kind].total()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()
