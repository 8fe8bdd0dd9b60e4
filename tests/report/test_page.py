"""The page: everything is in it, nothing is loaded, nothing runs."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from r1reward.files import write_json
from r1reward.pipeline.verify import compare_files
from r1reward.report.layout import page, take_apart
from r1reward.report.render import FIGURES, TABLES, render


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("page") / "synthetic"
    (root / "records").mkdir(parents=True)
    manifest = {
        "finished": "2026-01-02T03:04:05+00:00",
        "wall_seconds": 120.0,
        "git": {"commit": "0123456789abcdef"},
        "device": {"cores": 2, "processor": "<b>x</b>", "accelerators": []},
        "seeds": [0, 1],
    }
    write_json(root / "manifests" / "01_x.json", manifest)
    unpacked = manifest | {"git": {"commit": None, "modified": None}, "executed": "0" * 64}
    write_json(root / "manifests" / "03_z.json", unpacked)
    write_json(root / "manifests" / "02_y.attempt.json", {"lock": {}, "outcome": "was cut short"})
    render(root)
    return (root / "index.html").read_text()


def test_all_tables_and_figures_of_the_paper_are_there(drawn):
    printed = sorted(name for name in TABLES if name.startswith("table_"))
    assert printed == [f"table_{number:02d}" for number in range(1, 14)]
    wanted = [*FIGURES, *TABLES]
    assert [name for name in wanted if f'id="{name}"' not in drawn] == []


def test_nothing_is_loaded_and_nothing_runs(drawn):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found = []

        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "iframe", "object")
            self.found += [value or "" for name, value in attrs if name in ("src", "href")]
            assert not [name for name, _ in attrs if name.startswith("on")]

    reader = Reader()
    reader.feed(drawn)
    allowed = ("#", "data:image/svg+xml;base64,", "notebooks/")
    assert reader.found and all(value.startswith(allowed) for value in reader.found)
    assert "url(" not in re.sub(r'src="data:[^"]*"', "", drawn)


def test_texts_are_escaped(drawn, tmp_path):
    assert "<b>x</b>" not in drawn and "&lt;b&gt;x&lt;/b&gt;" in drawn
    frame = pd.DataFrame([{"model": "<script>", "source": "measured"}])
    frame.attrs = {"caption": "<i>", "notes": ["<u>"]}
    claim = {"name": "n", "section": "1", "quote": "<q>", "statistic": "<s>", "direction": "above 0",
             "measured": None, "low": None, "high": None, "detectable": None, "printed": None,
             "verdict": "not run", "note": "<n>"}  # fmt: skip
    text = page(tmp_path, {"table_01": frame}, [claim], figures=[], profile="<p>")
    for mark in ("script", "i", "u", "q", "s", "n"):
        assert f"<{mark}>" not in text and f"&lt;{mark}&gt;" in text


def test_the_page_is_compared_with_its_figures(drawn, tmp_path):
    text, figures = take_apart(drawn)
    assert len(figures) == len(FIGURES) and all(figure.startswith(b"<?xml") for figure in figures)
    assert "base64" not in text
    committed, changed = tmp_path / "a.html", tmp_path / "b.html"
    committed.write_text(drawn)
    encoded = base64.b64encode(figures[0]).decode()
    other = base64.b64encode(figures[0].replace(b"</svg>", b"<g/></svg>")).decode()
    for text, difference in ((drawn, False), (drawn.replace("Claims", "claims"), True),
                             (drawn.replace(encoded, other), True)):  # fmt: skip
        changed.write_text(text)
        assert bool(compare_files(committed, changed)) is difference
    dated = base64.b64encode(figures[0].replace(b"</svg>", b"<!-- made elsewhere --></svg>")).decode()
    changed.write_text(drawn.replace(encoded, dated))
    assert compare_files(committed, changed) == ""


def test_where_it_comes_from_is_told_of_a_copy_without_git_too(drawn):
    assert "<td>0123456789</td>" in drawn and "<td>no git checkout</td>" in drawn
    assert '<a href="notebooks/03_z.ipynb">03_z</a>' in drawn and "01_x.ipynb" not in drawn
