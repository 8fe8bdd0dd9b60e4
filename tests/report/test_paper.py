import csv
import os
import re
from pathlib import Path

import pytest

from r1reward.report import paper
from r1reward.report.paper import NUM_TABLES, PAPER_FOLDER, paper_table, paper_values

VL_GROUPS = ["general", "hallucination", "reasoning"]
RELEASED_GROUP_SIZES = {"general": 484, "hallucination": 448, "reasoning": 318}
MM_RLHF_SIZES = {"mcq": 42, "long": 37, "short": 34, "safety": 32, "video": 25}


@pytest.fixture(scope="module")
def paper_text() -> str:
    name = os.environ.get("R1REWARD_PAPER", "")
    if not name or not Path(name).is_file():
        pytest.skip("R1REWARD_PAPER names no file with the paper's text")
    text = Path(name).read_text(encoding="utf-8")
    return text.replace("<u>", "").replace("</u>", "").replace("`", "")


def table_block(text: str, number: int) -> list[str]:
    """The tab-separated lines printed below a table's caption."""
    lines = text[text.index(f"Table {number}:") :].split("\n")
    start = next(i for i, line in enumerate(lines) if "\t" in line)
    end = next(i for i in range(start, len(lines)) if "\t" not in lines[i])
    return [re.sub(r"\t+", "\t", line).strip("\t") for line in lines[start:end]]


def printed_line(row: dict[str, str]) -> str:
    """A row of our file as the paper prints it: the citation behind the name, a merged cell once."""
    cells = {key: value for key, value in row.items() if key != "group"}
    name = "dataset" if "dataset" in cells else "model"
    if cells.pop("reference", ""):
        cells[name] += " " + row["reference"]
    values = list(cells.values())
    if "Collapse" in values:
        values = values[: values.index("Collapse") + 1]
    return "\t".join(value for value in values if value)


@pytest.mark.parametrize("number", range(3, NUM_TABLES + 1))
def test_every_cell_is_the_paper_s(paper_text: str, number: int) -> None:
    printed = table_block(paper_text, number)
    rows = paper_table(number).to_dict("records")
    header_lines = 2 if number in (4, 5, 6, 7, 10, 11, 12) else 1
    expected, group = [], ""
    for row in rows:
        if row.get("group", "") != group:
            group = row["group"]
            expected.append(group)
        expected.append(printed_line(row))
    assert printed[header_lines:] == expected


def test_table_2_is_the_paper_s_two_halves(paper_text: str) -> None:
    rows = [printed_line(row) for row in paper_table(2).to_dict("records")]
    assert table_block(paper_text, 2)[1:] == [
        f"{left}\t{right}" for left, right in zip(rows[:4], rows[4:], strict=True)
    ]


def test_table_1_is_the_paper_s(paper_text: str) -> None:
    start = paper_text.index("Table 1:")
    block = paper_text[start : paper_text.index("$$L^{\\text{StableReinforce}}", start)]
    assert [line for line in block.split("\n")[1:] if line.strip()] == list(paper_table(1)["line"])


def test_every_quote_is_in_the_paper(paper_text: str) -> None:
    text = " ".join(paper_text.split())
    missing = [
        value.name
        for value in paper_values().values()
        if " ".join(value.quote.replace("`", "").split()) not in text
    ]
    assert missing == []


def test_every_quote_holds_its_value() -> None:
    assert [value.name for value in paper_values().values() if value.printed not in value.quote] == []


def test_values_read_back_from_what_is_printed() -> None:
    for value in paper_values().values():
        numbers = [
            float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", value.printed.replace(",", ""))
        ]
        if (
            isinstance(value.value, (int, float))
            and "10^" not in value.printed
            and value.name not in IN_OTHER_UNITS
        ):
            assert value.value in numbers, value.name


IN_OTHER_UNITS = {
    "training_samples",
    "ixc_training_samples",
    "noisy_judge_flip_rate",
    "random_judge_rate",
    "advantage_limit",
    "early_stopping_repeats",
}


@pytest.mark.parametrize("number", range(1, NUM_TABLES + 1))
def test_files_are_rectangular(number: int) -> None:
    with (PAPER_FOLDER / f"table_{number:02d}.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(set(rows[0])) == len(rows[0])
    assert [
        cell for row in rows for cell in row if cell != cell.strip() or "<u>" in cell or "**" in cell
    ] == []


def test_sizes_of_the_tables() -> None:
    sizes = [len(paper_table(number)) for number in range(1, NUM_TABLES + 1)]
    assert sizes == [8, 8, 16, 15, 9, 4, 5, 14, 1, 2, 2, 4, 4]


def test_unknown_table_and_missing_folder_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="1 to 13"):
        paper_table(14)
    monkeypatch.setattr(paper, "PAPER_FOLDER", tmp_path)
    for read in (lambda: paper_table(3), paper_values):
        with pytest.raises(FileNotFoundError, match="what the paper prints comes with the repository"):
            read()


def test_table_2_sums_to_the_data_set() -> None:
    table = paper_table(2).set_index("dataset")
    original = table["original"].str.replace(",", "").astype(int)
    human = original[original.index.str.startswith("MM-RLHF")]
    assert list(table.loc[human.index, "sample"]) == list(table.loc[human.index, "original"])
    assert human.sum() == 105_740
    assert human.sum() + paper_values()["sampled_pairs"].value == 205_740
    assert original.sum() == 288_367


def test_table_3_r1_reward_is_whole_counts_of_the_release_s_grouping() -> None:
    row = paper_table(3).set_index("model").loc["R1-Reward"]
    counts = {"general": 309, "hallucination": 384, "reasoning": 206}
    for group, size in RELEASED_GROUP_SIZES.items():
        assert f"{100 * counts[group] / size:.2f}" == row[group]
    assert (sum(counts.values()), sum(RELEASED_GROUP_SIZES.values())) == (899, 1250)
    assert f"{100 * 899 / 1250:.2f}" == row["overall_acc"]


def test_table_3_macro_is_the_mean_of_the_groups_but_for_one_row() -> None:
    table = paper_table(3).set_index("model")
    difference = (table[VL_GROUPS].astype(float).mean(axis=1) - table["macro_acc"].astype(float)).abs()
    assert list(difference.index[difference > 0.08]) == ["LLaVA-Critic"]


def test_table_4_overall_is_the_mean_of_seven_columns() -> None:
    table = paper_table(4)
    columns = list(table.columns[5:])
    assert len(columns) == 7
    mean = table[columns].astype(float).mean(axis=1)
    assert ((mean - table["overall"].astype(float)).abs() <= 0.05 + 1e-9).all()


@pytest.mark.parametrize("model", ["R1-Reward", "Voting@15", "Claude-3.7-Sonnet", "IXC-2.5-Reward"])
def test_table_8_is_whole_counts(model: str) -> None:
    row = paper_table(8).set_index("model").loc[model]
    counts = {column: round(float(row[column]) * size / 100) for column, size in MM_RLHF_SIZES.items()}
    for column, size in MM_RLHF_SIZES.items():
        assert float(row[column]) == pytest.approx(100 * counts[column] / size, abs=0.011)
    assert f"{100 * sum(counts.values()) / 170:.2f}" == row["acc"]
    assert float(row["acc_plus"]) == pytest.approx(100 * round(float(row["acc_plus"]) * 0.46) / 46, abs=0.005)


def test_table_8_r1_reward_counts() -> None:
    row = paper_table(8).set_index("model").loc["R1-Reward"]
    counts = [round(float(row[column]) * size / 100) for column, size in MM_RLHF_SIZES.items()]
    assert counts == [34, 33, 28, 24, 18]
    assert f"{100 * 145 / 170:.1f}" == f"{paper_values()['mm_rlhf_voting_5'].value:.1f}"


def test_table_9_sums_to_one_hundred() -> None:
    row = paper_table(9).iloc[0]
    assert (
        sum(float(row[column].rstrip("%")) for column in ("win_percent", "loss_percent", "tie_percent"))
        == 100
    )
    assert float(row["win_percent"].rstrip("%")) == paper_values()["human_preference_share"].value


@pytest.mark.parametrize(("number", "rows"), [(7, [0, 1, 2, 3, 4]), (6, [1, 2]), (10, [1])])
def test_overall_is_the_group_mean_in_the_ablations(number: int, rows: list[int]) -> None:
    table = paper_table(number).iloc[rows]
    mean = table[VL_GROUPS].astype(float).mean(axis=1)
    assert ((mean - table["overall_acc"].astype(float)).abs() <= 0.0051).all()


def test_tables_agree_where_they_print_the_same_run() -> None:
    columns = [*VL_GROUPS, "overall_acc"]
    main = list(paper_table(3).set_index("model").loc["R1-Reward", columns])
    ablation = paper_table(5).set_index("model")
    assert list(ablation.loc["StableReinforce", columns]) == main
    assert list(paper_table(6).iloc[0][columns]) == main
    assert list(paper_table(6).iloc[3][columns]) == list(ablation.loc["wo pre-clip", columns])
    assert list(paper_table(10).iloc[0][columns]) == list(ablation.loc["Only Long-Cot SFT", columns])
    assert paper_table(12).loc[0, "macro_acc"] == paper_table(13).loc[0, "overall_acc"]


def test_gains_that_hold_are_relative() -> None:
    values = paper_values()
    assert round(100 * (71.92 / 65.80 - 1), 1) == values["vl_rewardbench_gain_over_ixc"].value
    assert round(100 * (82.2 / 71.9 - 1), 1) == values["multimodal_rewardbench_gain"].value
    assert round(64.80 - 62.56, 2) == values["weak_annotator_drop"].value
