"""Downstream benchmarks: files, answers read, rules by hand, and the columns of Table 11."""

import base64
import csv
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.benchmarks import DOWNSTREAM_COLUMNS, units_of
from r1reward.config import load_profile
from r1reward.downstream import grading
from r1reward.downstream.grading import claim_share, score_answers, scripted_points
from r1reward.downstream.vlm_benchmarks import (
    BENCHMARKS,
    read_first_letter,
    read_option,
    read_rows,
    read_yes_or_no,
)
from r1reward.engines import EngineError
from r1reward.files import read_json, read_jsonl
from r1reward.mini.world.downstream import write_downstream
from r1reward.report.records import Records
from r1reward.report.render import TABLES
from r1reward.types import Completion


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_downstream(folder, prompts=5, lessons=5, questions=24, seed=3)
    return folder / "benchmarks"


def rows_of(world, name, tmp_path):
    return read_rows(world / f"{name}.tsv", style="mini", cache=tmp_path).kept


def right_answer(row):
    fields = row.fields
    return fields.get("answer") or fields.get("gpt4_ans") or fields["claude3_sonnet"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_reference_answers_score_full(world, tmp_path, name):
    rows = rows_of(world, name, tmp_path)
    columns = units_of(score_answers(BENCHMARKS[name], rows, list(map(right_answer, rows)), folder=world))
    assert columns and set(columns) <= set(DOWNSTREAM_COLUMNS)
    # The other model's own answer never beats itself.
    wanted = 0.0 if name == "WildVision" else 1.0
    assert all(set(units.values()) == {wanted} for units in columns.values())


def test_all_ten_columns_come_from_the_seven_files(world, tmp_path):
    found = {column for one in BENCHMARKS.values() for row in rows_of(world, one.name, tmp_path)
             for column in one.units(row.fields)}  # fmt: skip
    assert found == set(DOWNSTREAM_COLUMNS)


def test_mmbench_counts_a_question_that_is_right_in_every_rotation(world, tmp_path):
    benchmark = BENCHMARKS["MMBench_DEV_EN_V11"]
    rows = rows_of(world, benchmark.name, tmp_path)
    assert len(rows) == 4 * 24 and len({row.question.images for row in rows}) == 24
    answers = list(map(right_answer, rows))
    answers[0] = "none of them"
    units = units_of(score_answers(benchmark, rows, answers, folder=world))["mmbench_v1_1"]
    assert len(units) == 24 and sum(units.values()) == 23
    always_a = units_of(score_answers(benchmark, rows, ["A"] * len(rows), folder=world))["mmbench_v1_1"]
    assert sum(always_a.values()) == 0


def test_a_unit_is_worth_its_worst_row_of_a_draw_and_the_mean_over_draws():
    points = {0: (1.0, 0.0), 1: (0.0, 1.0), 2: (1.0, 1.0), 3: (0.5, 1.0)}
    rows = [{"points": value, "draw": draw} for draw, values in points.items() for value in values]
    assert units_of([row | {"units": {"mmstar": "a"}} for row in rows]) == {"mmstar": {"a": 1.5 / 4}}


def test_hallusion_groups_by_figure_and_by_question(world, tmp_path):
    benchmark = BENCHMARKS["HallusionBench"]
    rows = rows_of(world, benchmark.name, tmp_path)
    answers = list(map(right_answer, rows))
    answers[0] = {"Yes": "No", "No": "Yes"}[answers[0]]
    found = units_of(score_answers(benchmark, rows, answers, folder=world))
    assert {column: (len(units), sum(units.values())) for column, units in found.items()} == {
        "hallucination_bench_aacc": (24, 23),
        "hallucination_bench_facc": (8, 7),
        "hallucination_bench_qacc": (12, 11),
    }


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B . the circle is blue .", "B"),
        ("the circle is blue . B .", "B"),
        ("the circle is blue .", "B"),
        ("A or B", ""),
        ("red or blue", ""),
        ("The answer", ""),
        ("", ""),
    ],
)
def test_options(text, letter):
    assert read_option(text, {"A": "red", "B": "blue", "C": "dark green"}, style="mini") == letter


def test_first_letter():
    options = {"A": "red", "B": "blue"}
    said = ("C", "the E", "it is blue", "x", "")
    assert [read_first_letter(text, options, style="mini") for text in said] == ["C", "E", "B", "", ""]


def test_a_row_may_point_to_the_picture_of_another(tmp_path, world):
    with (world / "HallusionBench.tsv").open() as stream:
        csv.field_size_limit(sys.maxsize)
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert rows[1]["image"] == rows[0]["index"] and len(base64.b64decode(rows[0]["image"])) > 100


def test_the_options_of_mme_realworld_stand_in_one_column(tmp_path, world):
    row = next(iter(rows_of(world, "MME-RealWorld-Lite", tmp_path)))
    assert set(row.options) == set("ABCDE") and " E : " in row.question.text
    assert row.fields["multi-choice options"].startswith("['(A) ")


def test_mme_realworld_is_asked_in_its_own_layout(tmp_path, world):
    """VLMEvalKit's `MMERealWorld.build_prompt`, white space included."""
    with (world / "MMStar.tsv").open() as stream:
        image = next(csv.DictReader(stream, delimiter="\t"))["image"]
    listed = ["(A) Bob's car", '(B) a "red" one', "(C) 3", "(D) none, ['(E)']", "(E) I cannot tell"]
    path = tmp_path / "MME-RealWorld-Lite.tsv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(["index", "image", "question", "multi-choice options", "answer", "hint", "category"])
        writer.writerow(["7", image, "Which car is it?", str(listed), "B", "no part of it", "Reasoning/x"])
    (row,) = read_rows(path, style="vlmevalkit", cache=tmp_path).kept
    assert row.question.text == (
        'Which car is it? The choices are listed below:\n(A) Bob\'s car\n(B) a "red" one\n(C) 3\n'
        "(D) none, ['(E)']\n(E) I cannot tell\nSelect the best answer to the above multiple-choice question "
        "based on the image. Respond with only the letter (A, B, C, D, or E) of the correct option. \n"
        "The best answer is:"
    )
    assert row.options == dict(zip("ABCDE", [one[4:] for one in listed], strict=True))


@pytest.mark.parametrize("listed", ["(A) one (B) two", "['one']", "[1]", "3", "__import__('os')", "[" * 9999])
def test_options_that_are_no_list_of_letters_are_a_fault_of_the_row(tmp_path, listed):
    path = tmp_path / "MME-RealWorld-Lite.tsv"
    picture = base64.b64encode(b"x" * 99).decode()
    path.write_text(f"index\timage\tquestion\tmulti-choice options\n1\t{picture}\twhat ?\t{listed}\n")
    with pytest.raises(ValueError, match=r"MME-RealWorld-Lite.tsv, row 1"):
        read_rows(path, style="mini", cache=tmp_path)


def test_a_hint_is_part_of_the_question(tmp_path, world):
    with (world / "MMStar.tsv").open() as stream:
        image = next(csv.DictReader(stream, delimiter="\t"))["image"]
    path = tmp_path / "MMStar.tsv"
    path.write_text(f"index\timage\tquestion\thint\tA\tB\tanswer\n1\t{image}\twhich ?\tlook\tx\ty\tA\n")
    (row,) = read_rows(path, style="vlmevalkit", cache=tmp_path).kept
    end = "Please select the correct answer from the options above. \n"
    assert row.question.text == f"Hint: look\nQuestion: which ?\nOptions:\nA. x\nB. y\n{end}"
    path.write_text(path.read_text().replace("\ty\tA\n", "\ty\t\n"))
    with pytest.raises(ValueError, match=r"row 1.*'answer' is missing"):
        read_rows(path, style="vlmevalkit", cache=tmp_path)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("1\t\twhat ?", "field 'image' is missing"),
        ("1\t7\twhat ?", "image '7' is no row before this one"),
        ("1\t" + "?" * 80 + "\twhat ?", "not base64"),
    ],
)
def test_a_faulty_row_is_named(tmp_path, row, fault):
    path = tmp_path / "MMStar.tsv"
    path.write_text(f"index\timage\tquestion\n{row}\n")
    with pytest.raises(ValueError, match=f"MMStar.tsv, row 1.*{fault}"):
        read_rows(path, style="mini", cache=tmp_path)


@pytest.mark.parametrize(
    ("task", "subjects", "values", "text", "share"),
    [
        ("colours_3", ["ring", "star", "cross"], ["red", "blue", "green"],
         "the ring is red , the star is blue and the cross is black .", 2 / 3),
        ("colours_3", ["ring", "star", "cross"], ["red", "blue", "green"], "the ring is red .", 1 / 3),
        ("describe", ["ring", "star"], ["red", "blue"], "i see a blue star and a red ring .", 1.0),
        ("describe", ["ring", "star"], ["red", "blue"], "i see a red star and a red ring .", 0.5),
        ("describe", ["ring", "star"], ["red", "blue"], "i see a red ring , a blue star , a x y and a z u .",
         0.5),
        ("sum", ["sum"], ["7"], "the sum is 7 .", 1.0),
        ("sum", ["sum"], ["7"], "i do not know", 0.0),
    ],
)  # fmt: skip
def test_the_share_of_right_claims(task, subjects, values, text, share):
    truth = {"task": task, "subjects": subjects, "values": values}
    assert claim_share(truth, text) == pytest.approx(share)


def test_llava_wild_is_relative_to_the_reference(world, tmp_path):
    rows = rows_of(world, "LLaVABench", tmp_path)
    assert scripted_points("LLaVABench", rows, [""] * len(rows), folder=world) == pytest.approx(
        [0.1] * len(rows)
    )


def test_a_row_without_a_unit_is_a_faulty_row(tmp_path, world, caplog):
    """The column of categories is missing, or one names no part of MME-RealWorld-Lite."""
    with (world / "MMStar.tsv").open() as stream:
        image = next(csv.DictReader(stream, delimiter="\t"))["image"]
    path = tmp_path / "MME-RealWorld-Lite.tsv"
    rows = [f"{index}\t{image}\twhich ?\tA\tx\ty" for index in (1, 2)]
    head = "index\timage\tquestion\tanswer\tA\tB"
    path.write_text(f"{head}\tcategory\n{rows[0]}\tPerception/x\n{rows[1]}\tTaste\n")
    (row,) = read_rows(path, style="vlmevalkit", cache=tmp_path).kept
    assert row.fields["index"] == "1" and "row 2: category 'Taste'" in caplog.text
    path.write_text("\n".join([head, *rows]))
    with pytest.raises(ValueError, match="row 1: field 'category' is missing"):
        read_rows(path, style="vlmevalkit", cache=tmp_path)


def test_a_faulty_row_costs_itself_and_the_table_says_so(world, tmp_path, monkeypatch, caplog):
    """From the file to the note below Table 11; a row that cannot be asked is worth nothing."""
    lines = (world / "MMStar.tsv").read_bytes().splitlines(keepends=True)
    count = len(lines) - 1
    lines[1] = lines[1].rpartition(b"\t")[0].replace(b"\t", b"\t\xff", 2) + b"\tx\n"
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "MMStar.tsv").write_bytes(b"".join(lines))

    class Engine:
        def generate(self, requests, sampling, *, progress=None):
            if any(request.origin.endswith("row 3") for request in requests):
                raise EngineError("a picture of 4000 x 20")
            return [(Completion("A", (1,), (0.0,), "stop"),) * sampling.samples for _ in requests]

    monkeypatch.setattr(grading, "load_engine", lambda *_: Engine())
    monkeypatch.setattr(grading, "identify", lambda *_: "policy")
    run = tmp_path / "run"
    record = run / "records/downstream/start/seed_0"
    asked = {"profile": load_profile("smoke"), "work": tmp_path / "work", "record": record}
    grading.evaluate_policy("policy", folder, **asked)
    found = read_jsonl(record / "MMStar.jsonl")
    said = f"1 of {count} rows left out: not UTF-8 1"
    assert len(found) == count - 1 and {line["left_out"] for line in found} == {said}
    (silent,) = [line for line in found if "not_asked" in line]
    assert silent["points"] == 0.0 and "MMStar.tsv, row 1: not UTF-8" in caplog.text
    notes = TABLES["table_11"](Records.of_run(run)).attrs["notes"]
    assert f"MMStar: {said}." in notes


OFFICIAL = read_json(Path(__file__).parent / "official_answers.json")
# The scorers' words for an answer that counts as wrong whatever the reference is.
NOTHING = {"Z": "", "Unknown": ""}


def test_options_are_read_as_vlmevalkit_reads_them() -> None:
    said = [read_option(text, OFFICIAL["options"][options]) for text, options, _ in OFFICIAL["option"]]
    assert said == [NOTHING.get(value, value) for *_, value in OFFICIAL["option"]]


def test_letters_are_read_as_mme_realworld_reads_them() -> None:
    said = [read_first_letter(text, {}) for text, _ in OFFICIAL["letter"]]
    assert said == [value for _, value in OFFICIAL["letter"]]


def test_yes_and_no_are_read_as_vlmevalkit_reads_them() -> None:
    said = [read_yes_or_no(text) for text, _ in OFFICIAL["yes_or_no"]]
    assert said == [NOTHING.get(value, value) for _, value in OFFICIAL["yes_or_no"]]


FRUIT = {"A": "apple", "B": "pear", "C": "plum"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The correct answer is **B**. The car in the middle is blue and it turns left here.", "B"),
        ("The answer is B, because the pear lies in the bowl on the table.", "B"),
        ("Z red", ""),
        ("Cannot determine the answer A", ""),
        ("Cannot determine the answer, it may be an apple", ""),
        ("an apple", "A"),
        ("apple or pear", ""),
    ],
)
def test_sentences_and_refusals(text: str, letter: str) -> None:
    assert read_option(text, FRUIT) == letter


@given(st.text(), st.dictionaries(st.sampled_from("ABCDE"), st.text(min_size=1), min_size=1))
def test_no_text_breaks_a_reader(text: str, options: dict[str, str]) -> None:
    for style in ("mini", "vlmevalkit"):
        assert read_option(text, options, style=style) in {"", *options}
        assert read_first_letter(text, options, style=style) in {"", *"ABCDE"}
    assert read_yes_or_no(text) in {"", "Yes", "No"}
