"""A video is shown as a picture is: code that looks at the pictures of a pair looks at its frames, too."""

import ast
from collections.abc import Iterator
from pathlib import Path

# Files whose functions see pictures alone, and why.
PICTURES_ALONE = {
    "engines/vllm.py": "its limit is one of pictures; frames are one video",
    "downstream/questions.py": "a question has no video",
    "downstream/tournament.py": "a question has no video",
    "mini/annotator.py": "the truth of the mini world is found by the name of a picture",
    "judge/widget.py": "its field for pictures",
}


def readers(package: Path, attribute: str) -> Iterator[str]:
    """Functions that read an attribute of this name, as `file: function`."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                read = (one for one in ast.walk(node) if isinstance(one, ast.Attribute))
                if any(one.attr == attribute for one in read):
                    yield f"{path.relative_to(package).as_posix()}: {node.name}"


def test_who_looks_at_pictures_looks_at_frames(repository: Path) -> None:
    package = repository / "r1reward"
    images, frames = (set(readers(package, name)) for name in ("images", "frames"))
    assert len(images & frames) > 10
    blind = {function for function in images - frames if function.partition(":")[0] not in PICTURES_ALONE}
    assert not blind
