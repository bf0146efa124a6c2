"""Every Python block of the documentation runs: a page is one program, its blocks in order, warnings are errors.

A block that cannot run says why on the line before it: `<!-- not run: reason -->`. One that needs more than ssm-zoo
brings names the packages, `<!-- needs: lightning -->`, and runs where they are installed (`nox -s parity`).
"""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^ *(```+|~~~+) *([\w-]*)(.*)$")
NOTE = re.compile(r"^<!-- (not run|needs): (\S.*) -->$")


def blocks(text):
    """Yield (line number, language, code lines, note) of each block; a note is ("not run" or "needs", what) or None."""
    lines = text.splitlines()
    opened = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if opened is None and fence:
            note = NOTE.match(lines[number - 1]) if number else None
            opened = (number + 1, fence[1], fence[2], note.groups() if note else None)
        elif opened and line.strip() == opened[1]:
            start, _, language, note = opened
            yield start, language, lines[start:number], note
            opened = None
    assert opened is None, f"the block that opens at line {opened and opened[0]} is never closed"


def program(text, needs=None):
    """Return the page as Python source, each line at the number it has in the page, everything else blank.

    Blocks that need packages are part of it if these are the `needs`.
    """
    source = [""] * len(text.splitlines())
    for start, language, code, note in blocks(text):
        if language == "python" and (note is None or note == ("needs", needs)):
            source[start : start + len(code)] = code
    return "\n".join(source)


def needs_of(text):
    """Return what blocks of a page need, each as it is written there."""
    return sorted({note[1] for *_, note in blocks(text) if note and note[0] == "needs"})


def run(page, folder, needs=None):
    code = program(page.read_text(encoding="utf-8"), needs)
    script = f"exec(compile({code!r}, {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    warnings = "error" if needs is None else "default"  # those of other packages are not ours to mend
    command = [sys.executable, "-W", warnings, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def over(pages):
    return pytest.mark.parametrize("page", pages, ids=[page.relative_to(ROOT).as_posix() for page in pages])


@over([page for page in PAGES if program(page.read_text(encoding="utf-8")).strip()])
def test_the_python_of_a_page_runs(page, tmp_path):
    result = run(page, tmp_path)

    assert result.returncode == 0, result.stderr


NEEDY = [(page, needs) for page in PAGES for needs in needs_of(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "needs"), NEEDY, ids=[f"{page.stem}-{needs}" for page, needs in NEEDY])
def test_python_that_needs_other_packages_runs_where_they_are(page, needs, tmp_path):
    absent = [package for package in needs.split(", ") if find_spec(package) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed: nox -s parity")

    result = run(page, tmp_path, needs)

    assert result.returncode == 0, result.stderr


@over(PAGES)
def test_a_page_hides_no_python_from_these_tests(page):
    text = page.read_text(encoding="utf-8")
    languages = [language for _, language, _, _ in blocks(text)]

    assert not {"py", "python3", "pycon", "Python", ""} & set(languages), "write ```python, or name another language"
    assert text.count("```python") + text.count("~~~python") == languages.count("python")


def test_a_failing_block_is_reported_at_its_line_in_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n", encoding="utf-8")

    result = run(page, tmp_path)

    assert result.returncode == 1
    assert "page.md" in result.stderr
    assert "line 10" in result.stderr


def test_only_a_reason_keeps_a_block_from_running():
    silent = "<!-- not run: -->\n```python\n1 / 0\n```\n"
    marked = "<!-- not run: it needs an hour -->\n```python\n1 / 0\n```\n"

    assert "1 / 0" in program(silent)
    assert "1 / 0" not in program(marked)


def test_a_block_that_needs_packages_runs_with_them_only():
    text = "```python\nx = 1\n```\n<!-- needs: lightning -->\n```python\nx = 2\n```\n"

    assert needs_of(text) == ["lightning"]
    assert "x = 2" not in program(text)
    assert "x = 2" not in program(text, "transformers, accelerate")
    assert program(text, "lightning").split("\n") == ["", "x = 1", "", "", "", "x = 2", ""]


def exported(module):
    """Return the names in `__all__` of a module or package folder, or else its public functions and classes."""
    path = module.replace(".", "/")
    files = [*ROOT.glob(f"packages/*/src/{path}/__init__.py"), *ROOT.glob(f"packages/*/src/{path}.py")]
    body = ast.parse(files[0].read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return set(ast.literal_eval(node.value))
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in names if not name.startswith("_")}


def public_packages():
    """Return the dotted names of the package folders, no part of them private."""
    sources = ROOT.glob("packages/*/src")
    folders = [file.parent.relative_to(source).parts for source in sources for file in source.rglob("__init__.py")]
    return sorted(".".join(parts) for parts in folders if not any(part.startswith("_") for part in parts))


@pytest.mark.parametrize("package", public_packages())
def test_what_is_public_is_in_the_reference(package):
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    names = set().union(*(exported(module) for module in documented))

    assert exported(package) - names - {"__version__"} == set()
