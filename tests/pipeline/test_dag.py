import ast
import json

import pytest

from r1reward.files import write_atomic
from r1reward.pipeline.dag import code_cells, imported_files, parse_cells, uses_seeds

START = "run = start('01_make', profile=profile, seed=seed)\n"


@pytest.mark.parametrize(
    ("code", "seeds"),
    [
        ("print(run.profile.rl.epochs)", False),
        ("train(run.profile.rl, seed=run.seed)", True),
        ("for seed in run.seeds: print(seed)", True),
        ("build(run)", True),
        ("other = run", True),
        ("print(profile)", False),
    ],
)
def test_whether_the_seeds_matter(code, seeds):
    assert uses_seeds(ast.parse(START + code)) == seeds


def test_cells_with_lines_for_ipython_are_read(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["not code"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import r1reward.types"]},
        {"cell_type": "code", "source": "!ls\nx = 1"},
    ]
    file = write_atomic(tmp_path / "n.ipynb", json.dumps({"cells": cells}))
    assert code_cells(file) == ["%matplotlib inline\nimport r1reward.types", "!ls\nx = 1"]
    assert [type(node) for node in parse_cells(code_cells(file)).body] == [ast.Import, ast.Assign]


def test_imported_files_follows_every_kind_of_import(tmp_path):
    modules = {
        "__init__.py": "",
        "config.py": "from r1reward import unused",
        "unused.py": "",
        "late.py": "",
        "sub/__init__.py": "from .inner import thing",
        "sub/inner.py": "from ..other import x\nfrom . import sibling",
        "sub/sibling.py": "def f():\n    import r1reward.late",
        "sub/text.txt": "data",
        "sub/alone.py": "",
        "other.py": "import numpy, r1reward.config",
        "readme.txt": "not data of an imported sub-package",
    }
    for name, content in modules.items():
        write_atomic(tmp_path / name, content)
    found = imported_files(ast.parse("from r1reward.sub import inner as i"), tmp_path)
    assert set(found) == {
        "r1reward", "r1reward.sub", "r1reward.sub.inner", "r1reward.sub.sibling", "r1reward.other",
        "r1reward.late", "sub/text.txt",
    }  # fmt: skip
    assert set(imported_files(ast.parse("import r1reward.other"), tmp_path)) == {"r1reward", "r1reward.other"}


def test_prompts_count_as_code_of_what_imports_them():
    found = imported_files(ast.parse("import r1reward.prompts"))
    assert {"r1reward.prompts", "prompts/judge_paper.txt"} <= set(found)
