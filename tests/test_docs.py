"""Every Python block of the documentation runs: a page is one program, its blocks in order, warnings are errors.

A block that cannot run says why on the line before it: `<!-- not run: reason -->`.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^ *(```+|~~~+) *([\w-]*)(.*)$")
NOT_RUN = re.compile(r"^<!-- not run: (\S.*) -->$")


def blocks(text):
    """Yield (line number, language, code lines, reason not to run or None) of each fenced block."""
    lines = text.splitlines()
    opened = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if opened is None and fence:
            reason = NOT_RUN.match(lines[number - 1]) if number else None
            opened = (number + 1, fence[1], fence[2], reason[1] if reason else None)
        elif opened and line.strip() == opened[1]:
            start, _, language, reason = opened
            yield start, language, lines[start:number], reason
            opened = None
    assert opened is None, f"the block that opens at line {opened and opened[0]} is never closed"


def program(text):
    """Return the page as Python source, each line at the number it has in the page, everything else blank."""
    source = [""] * len(text.splitlines())
    for start, language, code, reason in blocks(text):
        if language == "python" and reason is None:
            source[start : start + len(code)] = code
    return "\n".join(source)


def run(page, folder):
    code = program(page.read_text(encoding="utf-8"))
    script = f"exec(compile({code!r}, {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def over(pages):
    return pytest.mark.parametrize("page", pages, ids=[page.relative_to(ROOT).as_posix() for page in pages])


@over([page for page in PAGES if program(page.read_text(encoding="utf-8")).strip()])
def test_the_python_of_a_page_runs(page, tmp_path):
    result = run(page, tmp_path)

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
