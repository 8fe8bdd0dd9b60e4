"""Every request to a server: what came of it and what it cost. Counts go on after a crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from r1reward.files import append_jsonl, read_jsonl
from r1reward.servers.replies import Fault, Reply

ANSWERED = "answered"


class RequestLog:
    """Counts requests by outcome. With a path each becomes one JSON line at once.

    Lines of earlier processes are counted, too. A power cut may lose the last counts, which is no reason
    to wait for the disk at every request; answers are kept elsewhere. Safe for threads.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.outcomes: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._lock = Lock()
        if path and path.exists():
            for row in read_jsonl(path, drop_partial=True):
                self._count(row)

    def add(self, outcome: Reply | Fault, *, about: Mapping[str, Any], retries: int, last: bool) -> None:
        """Count one request. `about` names it; `last` marks a fault after which it is given up."""
        row: dict[str, Any] = {**about, "retries": retries}
        if isinstance(outcome, Reply):
            tokens = {"prompt_tokens": outcome.prompt_tokens, "completion_tokens": outcome.completion_tokens}
            row |= {"outcome": ANSWERED, **tokens}
        else:
            row |= {"outcome": outcome.kind, "given_up": last, "detail": outcome.detail}
        with self._lock:
            if self.path:
                append_jsonl(self.path, row, durable=False)
            self._count(row)

    def record(self, *, price_input: float = 0.0, price_output: float = 0.0) -> dict[str, Any]:
        """Requests, faults by kind, tokens and their cost; prices are US dollars for a million tokens."""
        with self._lock:
            outcomes, tokens = Counter(self.outcomes), Counter(self.tokens)
        faults = {kind: count for kind, count in sorted(outcomes.items()) if kind != ANSWERED}
        names = ("prompt_tokens", "completion_tokens", "answers_without_tokens", "failed_attempts")
        cost = tokens["prompt_tokens"] * price_input + tokens["completion_tokens"] * price_output
        return {
            "requests": outcomes.total(),
            "answers": outcomes[ANSWERED],
            "faults": faults,
            **{name: tokens[name] for name in names},
            "dollars": round(cost / 1e6, 6),
        }

    def _count(self, row: dict[str, Any]) -> None:
        self.outcomes[row["outcome"]] += 1
        self.tokens["failed_attempts"] += row.get("given_up", False)
        if row["outcome"] == ANSWERED:
            counts = {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
            self.tokens["answers_without_tokens"] += None in counts.values()
            self.tokens.update({name: count or 0 for name, count in counts.items()})
