"""What a loader left out and why, row by row (`quarantine.jsonl`)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal, TextIO

Kind = Literal["dropped", "refused"]


class Quarantine:
    """Collects rows that make no preference pair (dropped) and rows that break the schema (refused).

    Rows are written to `path` as they come, if there is one; `counts` holds numbers by source, kind and
    reason. Use it as a context manager.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.counts: dict[str, dict[Kind, Counter[str]]] = defaultdict(
            lambda: {"dropped": Counter(), "refused": Counter()}
        )
        self._stream: TextIO | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("w", encoding="utf-8")

    def add(self, kind: Kind, source: str, origin: str, reason: str, detail: str = "") -> None:
        """Note one row; `origin` names file and row, `detail` says more than the reason that is counted."""
        self.counts[source][kind][reason] += 1
        if self._stream:
            row = {"source": source, "kind": kind, "origin": origin, "reason": reason, "detail": detail}
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()
