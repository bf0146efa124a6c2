"""benchmarks/README.md names every file that measures something, and every result that is kept."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"


def test_every_file_is_named():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")

    passing = {"latest.json", "gpu.json"}  # written by sessions, not kept
    files = [*FOLDER.glob("*.py"), *(file for file in FOLDER.glob("results/*.json") if file.name not in passing)]

    assert [file.name for file in files if f"`{file.name}`" not in text] == []
