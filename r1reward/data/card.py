"""The data card of a build: what it was made of, what was left out and why, as JSON and for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "source": "Source",
    "hub_id": "Hub",
    "licence": "Licence",
    "expected": "Expected",
    "read": "Read",
    "dropped": "Dropped",
    "refused": "Refused",
    "duplicates": "Duplicates",
    "overlap": "In benchmark",
    "sampled": "Sampled",
    "weight": "Weight",
    "positions": "Prefer 1 / 2",
}
SHARED_NOTE = (
    "VL-RewardBench is drawn from data sets of this mix: 864 of its 1,250 items come from POVID (448), "
    "RLAIF-V (233), WildVision (173) and VL-Feedback (10)."
)


def render_card(card: Mapping[str, Any]) -> str:
    """The card as markdown: settings, one row a source, and the reasons behind each sum."""
    pool, benchmark = card["pool"], card["benchmark"]
    lines = [
        "# Data card",
        "",
        f"{card['pairs']:,} preference pairs; response 1 is preferred in {card['positions']['1']:,}, "
        f"response 2 in {card['positions']['2']:,}. Seed {card['seed']}. SHA-256 `{card['sha256']}`.",
        "",
        "MM-RLHF, and what is not in Table 2, is taken whole. "
        f"{pool['sampled']:,} of {pool['usable']:,} usable pairs are drawn from the other sources together, "
        "each as likely as any other. Positions are balanced within each source.",
        "",
        *_table(card["sources"]),
        "",
        "## What was left out",
        "",
        *_reasons(card["sources"]),
        "",
        "Of pairs that are there twice the one read first stays. *exact*: same picture bytes, question and "
        "responses. *reversed*: the same, but the other response is the chosen one.",
        "",
        "## Overlap with benchmarks",
        "",
        f"Compared with {benchmark['pairs']:,} benchmark pairs before sampling. Setting: {card['overlap']}. "
        "*pair*: same picture bytes, question and answers (removed if the setting says remove). *texts*: "
        "same question and answers with other picture bytes. *question*: same picture and question with "
        "other answers.",
        "",
        SHARED_NOTE,
    ]
    if benchmark["shared_sources"]:
        shared = ", ".join(f"{name} {count:,}" for name, count in benchmark["shared_sources"].items())
        lines += ["", f"Of the benchmark compared here, by the ids of its items: {shared}."]
    if "targets" in card:
        found = ", ".join(f"{count:,} {name}" for name, count in card["targets"].items())
        lines += ["", "## Targets of the cold start", ""]
        lines += [f"Annotators' answers that name the preferred response: {found}. *normalised*: white space"]
        lines += [
            "around the blocks was taken out. *refused*: without reasoning, or not in the format that RL"
        ]
        lines += ["rewards; no example is made of it."]
    return "\n".join(lines) + "\n"


def _table(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [[_cell(name, key, counts) for key in COLUMNS] for name, counts in sources.items()]
    return [_line(list(COLUMNS.values())), _line(["---"] * len(COLUMNS)), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(name: str, key: str, counts: Mapping[str, Any]) -> str:
    if key == "source":
        return name
    if key == "positions":
        return " / ".join(f"{count:,}" for count in counts[key].values())
    value = sum(counts[key].values()) if isinstance(counts[key], Mapping) else counts[key]
    if key == "weight":
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _reasons(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"- {name}, {kind}: {reason}, {count:,}"
        for name, counts in sources.items()
        for kind in ("dropped", "refused", "duplicates", "overlap")
        for reason, count in counts[kind].items()
    ] or ["- nothing"]
