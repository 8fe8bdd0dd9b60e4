"""Numbers of the README and of docs/results.md, each computed again from the published results of mini."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1reward.report.claims import LATER_NOTE, named_differences
from r1reward.report.paper import paper_table
from r1reward.report.records import Records

SAMPLED = "sampled, temperature 1"
TRAINED = ("sft", "sft_continued", "reinforce_pp", "stable_reinforce", "scalar", "critique")


class Results:
    """The published tables and claims."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims = {one["name"]: one for one in json.loads((folder / "claims.json").read_text())}

    def row(self, table: str, **cells: str) -> dict[str, str]:
        """The one row of this run with these cells; a dagger does not matter."""
        found = [row for row in self.rows(table) if cells.items() <= row.items()]
        assert len(found) == 1, (table, cells, len(found))
        return found[0]

    def rows(self, table: str) -> list[dict[str, str]]:
        """The rows of this run, without daggers."""
        with (self.folder / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
            rows = [{k: v.replace("†", "") for k, v in row.items()} for row in csv.DictReader(file)]
        return [row for row in rows if row.get("source") != "paper"]

    def cell(self, table: str, column: str = "overall_acc", **cells: str) -> str:
        """A cell with one decimal."""
        return f"{float(self.row(table, **cells)[column]):.1f}"

    def blanked(self, model: str) -> float:
        """Accuracy in percent with the picture blanked, over all seeds and both orders."""
        runs = Records.of_run(self.folder).bench(model, "blank_greedy")
        assert runs is not None
        return 100 * float(runs.correct.mean())

    def claim(self, name: str, digits: int = 1) -> str:
        """For example "-1.4 [-2.8, 0.0]"."""
        return interval(*(self.claims[name][part] for part in ("measured", "low", "high")), digits=digits)

    def difference(self, table: str = "extra_paired_differences", **cells: str) -> str:
        row = self.row(table, **cells)
        return interval(*(float(row[f"difference{end}"]) for end in ("", "_low", "_high")))


def interval(*numbers: float, digits: int = 1) -> str:
    middle, low, high = (f"{number:.{digits}f}".replace("-0.0", "0.0") for number in numbers)
    return f"{middle} [{low}, {high}]"


def signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def judges(results: Results) -> list[str]:
    """The rows of the table of differences."""
    found = []
    titles = {"StableReinforce": "StableReinforce", "REINFORCE++": "Reinforce++"}
    titles["control: SFT continued for the time RL took"] = "SFT continued (control)"
    for title, name in titles.items():
        cells = [
            f"{results.cell('table_03', model=name, decoding=mode)}, "
            + signed(results.difference(model=name, minus="Only Long-CoT SFT", decoding=mode))
            for mode in ("greedy", SAMPLED)
        ]
        found.append(f"| {title} | {cells[0]} | {cells[1]} |")
    sft = [results.cell("table_03", model="Only Long-CoT SFT", decoding=mode) for mode in ("greedy", SAMPLED)]
    found.append(f"| long-CoT cold start (SFT) | {sft[0]} | {sft[1]} |")
    for title, name in (("reward model with a scalar head", "Reward model with a scalar head"),
                        ("critique, then score", "Critique, then score")):  # fmt: skip
        found.append(f"| {title} | {results.cell('table_03', model=name)} | |")
    return found


def headline(results: Results) -> list[str]:
    """The rows of the table with the paper's numbers."""
    # The baselines of Table 5 have the names of its trained models.
    rows = [*paper_table(3).to_dict("records"), *paper_table(5).to_dict("records")[2:]]
    printed = {row["model"]: row["overall_acc"] for row in rows}
    both = ("greedy", SAMPLED)
    lines = []
    for title, name, theirs, modes in (
        ("reward model with a scalar head", "Reward model with a scalar head", "Reward Model", ("scores",)),
        ("critique, then score (MM-RLHF-Reward)", "Critique, then score", "MM-RLHF-Reward", ("scores",)),
        ("long-CoT cold start (SFT)", "Only Long-CoT SFT", "Only Long-Cot SFT", both),
        ("SFT continued for the time RL took", "SFT continued (control)", "", both),
        ("Reinforce++", "Reinforce++", "Reinforce++", both),
        ("**StableReinforce (R1-Reward)**", "StableReinforce", "StableReinforce", both),
        ("StableReinforce, 15 votes", "Voting@15, StableReinforce", "Voting@15", (SAMPLED,)),
    ):
        value = {"Collapse": "collapses", "": "not printed"}.get(cell := printed.get(theirs, ""))
        value = value or f"{float(cell):.1f}"
        cells = [f"**{value}**" if title.startswith("**") else value]
        for mode in both:
            shown = "scores" if modes == ("scores",) and mode == "greedy" else mode
            cells.append(results.cell("table_03", model=name, decoding=shown) if shown in modes else "")
        lines.append(" ".join(f"| {title} | {' | '.join(cells)} |".split()))
    return lines


def sharpening(results: Results) -> list[str]:
    greedy = {"decoding": "greedy"}
    places = [
        f"{float(results.row('extra_judge_behaviour', model=model, **greedy)[column]):.0f}"
        for model in ("StableReinforce", "Only Long-CoT SFT")
        for column in ("accuracy_first", "accuracy_second")
    ]
    rl, sft = (
        f"{places[0]} % where the better response is first and in {places[1]} %",
        " and ".join(places[2:]),
    )
    return [
        f"by {results.claim('rl_above_continued_sft_sampled')} points",
        f"behind those of further SFT ({results.claim('rl_above_continued_sft')})",
        f"right in {rl} where it is second (SFT {sft})",
    ]


def algorithms(results: Results) -> list[str]:
    pair = {"model": "StableReinforce", "minus": "Reinforce++"}
    both = [results.difference(**pair, decoding=mode) for mode in ("greedy", SAMPLED)]
    acted = re.findall(
        r"\d+ of \d+ steps", results.row("table_05", model="StableReinforce", decoding="greedy")["acted"]
    )
    return [f"({both[0]} greedy, {both[1]} sampled", f"filter acted in {acted[0]}"]


def weights(results: Results) -> list[str]:
    """In which of the weights and decodings the interval leaves the paper's drop out."""
    printed = {
        row["consistency_weight"]: float(row["overall_acc"]) for row in paper_table(7).to_dict("records")
    }
    inside = []
    for weight in ("1.00", "0.10", "external", "0.00"):
        for mode in ("greedy", SAMPLED):
            row = results.row("table_07", consistency_weight=weight, decoding=mode)
            if (
                float(row["difference_low"])
                <= printed[weight] - printed["0.50"]
                <= float(row["difference_high"])
            ):
                inside.append(f"weight {float(weight):g} {mode.partition(',')[0]}")
    return [f"the intervals exclude the paper's drops, but for {' and '.join(inside)})"]


def opinions(results: Results) -> list[str]:
    """How many differences to other judges of consistency have an interval without 0; one is shown."""
    rows = [row for table in ("table_13", "extra_full_grid") for row in results.rows(table)
            if row["difference_low"] and "judge" in row.get("judge", row.get("variant", "")).lower()
            and row.get("judge") != "Any judge"]  # fmt: skip
    found = [row for row in rows if float(row["difference_low"]) > 0 or float(row["difference_high"]) < 0]
    (shown,) = (interval(*(float(row[f"difference{end}"]) for end in ("", "_low", "_high"))) for row in found)
    return [f"({len(found)} of {len(rows)} differences has an interval without 0, {shown}, as chance"]


def votes(results: Results) -> list[str]:
    name = "StableReinforce: {}".format
    one, all_, stopped, exchanged, greedy = (
        results.row("table_12", model=name(way))
        for way in (
            "One sampled answer",
            "Voting@16",
            "Early Stopping",
            "Voting@16, half exchanged",
            "One greedy answer",
        )
    )
    at = {key: f"{float(row['overall_acc']) + 1e-9:.1f}" for key, row in
          {"all": all_, "exchanged": exchanged, "greedy": greedy}.items()}  # fmt: skip
    assert abs(float(one["overall_acc"]) - 86.7) < 0.06, "the pool's own answers"
    return [
        f"to {at['all']}",
        f"{float(stopped['answers']):.1f} answers",
        f"One greedy answer has {at['greedy']}",
        f"fifteen votes gain {results.claim('voting_improves')} points on one sampled answer",
        f"and {results.claim('voting_improves_on_greedy')} on a greedy one",
        f"is above that ({at['exchanged']})",
    ]


def others(results: Results) -> list[str]:
    weak = results.claims["weaker_annotator"]
    low, middle, high = sorted(-round(weak[part]) for part in ("low", "measured", "high"))
    lost = named_differences()["slight"]
    share = float(results.row("table_10", annotator="weak (model)")["right_at_once"])
    blank = [results.blanked(model) for model in TRAINED]
    swiss = results.row("extra_tournaments", tournament="Swiss", rounds="4")
    best = [f"{float(swiss[f'same_best{end}']):.0f}" for end in ("", "_low", "_high")]
    return [
        f"{middle} [{low}, {high}] points, where the paper's 7B annotator lost {lost:.1f}",
        f"right at once in {share:.0f} % of pairs",
        f"every trained judge falls to {min(blank):.0f} to {max(blank):.0f} %",
        f"in {best[0]} % [{best[1]}, {best[2]}] for {swiss['share_of_full']} % of the comparisons",
    ]


def downstream(results: Results) -> list[str]:
    gained = re.findall(r"(\d+) of 10", results.claims["downstream_everywhere_sampled"]["note"])[0]
    sampled, greedy = results.claim("downstream_gain_sampled"), results.claim("downstream_gain")
    words = {"8": "eight", "9": "nine", "10": "all"}
    points, bounds = sampled.split(" ", 1)
    return [
        f"{words[gained]} of ten benchmark columns and the mean by {points} points {bounds}",
        f"({greedy})",
    ]


def verdicts(results: Results) -> list[str]:
    counts = Counter(claim["verdict"] for claim in results.claims.values())
    later = sum(
        LATER_NOTE in claim["note"] and claim["verdict"] == "holds" for claim in results.claims.values()
    )
    assert later == 1
    return [
        f"Of {len(results.claims)} checks of the paper's sentences {counts['holds']} hold (one was added",
        f"{counts['does not hold']} do not, {counts['undecided']} are undecided",
        f"{counts['not testable']} cannot be tested here and one needs people",
    ]


@pytest.mark.parametrize(
    "sentences",
    [judges, headline, sharpening, algorithms, weights, opinions, votes, others, downstream, verdicts],
)
def test_sentences_follow_the_results(repository: Path, sentences: Callable[[Results], list[str]]) -> None:
    documents = (repository / "README.md", repository / "docs/results.md")
    text: Any = " ".join(" ".join(file.read_text(encoding="utf-8") for file in documents).split())
    found = sentences(Results(repository / "results" / "mini"))
    assert [sentence for sentence in found if sentence not in text] == []
