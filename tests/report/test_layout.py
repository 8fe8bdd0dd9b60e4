"""Tables as LaTeX: what stops a TeX is looked for in the text, and a TeX is asked where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from r1reward.report.layout import escape_latex, to_latex
from r1reward.report.records import Records
from r1reward.report.render import TABLES

HOSTILE = [r"[0] $\boxed{5}$", "*", "50% of $200 & more_#~^", r"\end{tabular}", "{", "|x| < 5", "中 ◐ †",
           "a\n\nb", "a\x00b", "½ ß é Ð", '"q" ``']  # fmt: skip
# Macros that `to_latex` writes; all else behind a backslash is an escaped character or the end of a row.
_MACROS = {"begin", "end", "centering", "footnotesize", "caption", "toprule", "midrule", "bottomrule", "par",
           "smallskip", "renewcommand", "thetable", "textbackslash", "textasciitilde", "textasciicircum",
           "textless", "textgreater", "textbar", "dagger", "ominus", "pm", "times", "leq", "geq", "alpha",
           "sigma", "ldots", "S", "endhead",
           "scriptsize", "setlength", "tabcolsep", "allowbreak"}  # fmt: skip
_MATH = {r"^\dagger", r"\ominus", r"\pm", r"\times", r"\leq", r"\geq", r"\alpha", r"\sigma", "-"}


def faults(tex: str) -> list[str]:
    """What does not compile in a table's LaTeX, or would print another number before its own."""
    found = [f"macro {name}" for name in set(re.findall(r"\\([a-zA-Z]+)", tex)) - _MACROS]
    plain = re.sub(r"\\[\\&%$#_{}]", "", tex)
    found += [f"math {inner}" for inner in re.findall(r"\$([^$]*)\$", plain) if inner not in _MATH]
    text = re.sub(r"\$[^$]*\$", "", plain)
    found += [f"bare {character}" for character in "%#_^~$|" if character in text]
    found += ["braces"] if text.count("{") != text.count("}") else []
    found += [f"character {c!r}" for c in text if c != "\n" and not (" " <= c <= "~" or c in "àäáéèöüßç½ÀÖÜ")]
    for part in tex.split(r"\begin{tabular}")[1:] + tex.split(r"\begin{longtable}")[1:]:
        kinds, body = re.match(r"\{((?:l|p\{\d+em\})+)\}(.*)", part, flags=re.DOTALL).groups()  # type: ignore[union-attr]
        body = body.split(r"\toprule")[1].split(r"\bottomrule")[0]
        rows = [row for row in re.sub(r"\\midrule|\\endhead", "", body).strip().splitlines() if row]
        found += [f"row {row}" for row in rows if row.startswith(("[", "*")) or not row.endswith(r" \\")]
        columns = len(re.findall(r"l|p\{\d+em\}", kinds))
        found += [f"cells {row}" for row in rows if len(re.findall(r"(?<!\\)&", row)) != columns - 1]
    return found + re.findall(r"\\caption\{Table \d+", tex)


def hostile_table() -> pd.DataFrame:
    frame = pd.DataFrame({text: HOSTILE for text in HOSTILE})
    frame.attrs = {"caption": f"Table 3. {' '.join(HOSTILE)}", "notes": HOSTILE}
    return frame


@pytest.fixture(scope="module")
def tables(records: Records) -> dict[str, pd.DataFrame]:
    return {name: make(records) for name, make in TABLES.items()}


def test_every_table_is_clean_latex(tables: dict[str, pd.DataFrame]) -> None:
    """What was not: a row that begins with [ after another one's end, a character without a letter."""
    written = {name: to_latex(frame) for name, frame in tables.items()}
    assert {name: found for name, tex in written.items() if (found := faults(tex))} == {}
    assert faults(to_latex(hostile_table()).replace("½", "[U+00BD]")) == []


def test_the_faults_are_seen() -> None:
    begin, end = "\\begin{tabular}{ll}\n\\toprule\na & b \\\\\n\\midrule\n", "\n\\bottomrule\n\\end{tabular}"
    for body in (r"[x] & y \\", r"50% & y \\", r"$x$ & y \\", r"{ & y \\", r"◐ & y \\", r"x & y & z \\",
                 r"|x| & y \\", r"\boxed & y \\", r"a_b & y \\"):  # fmt: skip
        assert faults(begin + body + end), body
    assert faults(begin + r"x & y \\" + end + r"\caption{Table 3. x}")
    assert faults(begin + r"{}[x] & 5\% \\" + end) == []


def test_the_papers_number_is_the_captions(tables: dict[str, pd.DataFrame]) -> None:
    tex = to_latex(tables["table_13"])
    assert r"\renewcommand{\thetable}{13}" in tex and r"\caption{The consistency judge" in tex
    assert "{landscape}" in tex and "{table*}" in to_latex(tables["table_02"])
    assert "thetable" not in to_latex(tables["extra_base_model"])


def test_what_has_no_letter_is_named() -> None:
    assert escape_latex("中\ud800é◐") == r"[U+4E2D][U+D800]é$\ominus$"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine")
def test_a_tex_sets_every_table(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    body = "\\clearpage\n".join(map(to_latex, [*tables.values(), hostile_table()]))
    head = "\\documentclass{article}\\usepackage{booktabs,longtable,pdflscape}\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{head}{body}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    wide = [float(points) for points in re.findall(rb"Overfull .hbox .([\d.]+)pt", done.stdout)]
    assert max(wide, default=0.0) < 20, "a table is wider than its page"


def test_a_table_wider_than_a_page_is_split_and_names_its_rows_in_each_part() -> None:
    frame = pd.DataFrame({"model": ["one", "other"], **{f"column_{n}": ["1.00"] * 2 for n in range(30)}})
    tex = to_latex(frame)
    parts = tex.split(r"\begin{longtable}")[1:]
    assert len(parts) > 1 and all("one & 1.00" in part and "other & 1.00" in part for part in parts)
    assert [tex.count(f"Column {n} ") for n in range(30)] == [1] * 30
    assert "(continued)" not in parts[0] and all("(continued)" in part for part in parts[1:])
