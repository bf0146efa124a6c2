"""Which solver runs where, as a table that is made from declarations and nothing else.

`python -m ssm_gramians.testing FILE.md ...` writes it between the markers in each file.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .. import solvers
from ..backends import Backend, get_backend
from ..backends._registry import _BUILT_IN, _table

START = "<!-- support table: start, written by `python -m ssm_gramians.testing` -->"
END = "<!-- support table: end -->"


def support_table(backends: tuple[str, ...] | None = None) -> str:
    """Return two Markdown tables: what each solver takes and where it runs, and what each backend provides.

    Built-in backends are read from their source, so that those whose library is not installed here have their column
    too; others are loaded.

    Parameters
    ----------
    backends
        Names of backends; all that are built in or registered if None.
    """
    provided = {name: declared_words(name) for name in backends or sorted(_table())}
    rows = [
        ["solver", "equations", "`A`", "right-hand side", "`E`", "needs", *(f"`{name}`" for name in provided)],
        ["---"] * 6 + [":-:"] * len(provided),
    ]
    rows += [_row(solver, provided) for solver in _solvers()]
    words = [["backend", "provides"], ["---", "---"]]
    words += [[f"`{name}`", _code(found)] for name, found in provided.items()]
    return "\n\n".join("\n".join(f"| {' | '.join(row)} |" for row in table) for table in (rows, words))


def declared_words(name: str) -> frozenset[str]:
    """Return what a backend provides: by reading its source if it is built in, by loading it if not.

    What depends on the version of a library is read as for the newest.
    """
    if name not in _BUILT_IN:
        return get_backend(name).provides
    module, _, attribute = _BUILT_IN[name].target.partition(":")
    return _read_words(module, attribute)


def built_in_table() -> str:
    """Return the table of the built-in backends, the same on every machine."""
    return support_table(tuple(sorted(_BUILT_IN)))


def written(text: str, table: str) -> str:
    """Return the text with what stands between the markers replaced by the table."""
    return re.sub(f"(?s){re.escape(START)}.*?{re.escape(END)}", lambda _: f"{START}\n\n{table}\n\n{END}", text)


def _solvers() -> list[Any]:
    """Return the classes of solvers that the package exports, the one that chooses among them first."""
    found = [getattr(solvers, name) for name in solvers.__all__]
    real = [solver for solver in found if isinstance(getattr(solver, "needs", None), frozenset)]
    return sorted(real, key=lambda solver: (solver.__name__ != "Auto", solver.__name__))


def _row(solver: Any, provided: dict[str, frozenset[str]]) -> list[str]:
    forms = ", ".join(word.replace("gram", "`Gram`") for word in sorted(solver.right_sides))
    written_out = "dense" in solver.structures
    kinds = ", ".join(sorted(kind.replace("_", "-") for kind in solver.structures))
    mass = "as it is" if solver.descriptor else "divided by" if written_out else "–"
    cells = ["✓" if solver.needs <= words else "–" for words in provided.values()]
    equations = ", ".join(name.capitalize() for name in sorted(solver.equations))
    return [f"`{solver.__name__}`", equations, kinds, forms, mass, _code(solver.needs - {"array"}), *cells]


def _code(words: frozenset[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _read_words(module: str, attribute: str) -> frozenset[str]:
    """Evaluate the declaration `provides = ...` of a class without importing its module."""
    if (module, attribute) == (Backend.__module__, Backend.__name__):
        return Backend.provides
    spec = find_spec(module)
    assert spec is not None, f"{module} is not part of the package"
    assert spec.origin is not None, f"{module} has no source"
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == attribute)
    homes = {
        alias.name: resolve_name("." * node.level + (node.module or ""), module.rpartition(".")[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    homes |= {node.name: module for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "provides" and node.value:
            value = _NewestVersion().visit(node.value)
            names = {part.id for part in ast.walk(value) if isinstance(part, ast.Name)} & homes.keys()
            scope = {name: SimpleNamespace(provides=_read_words(homes[name], name)) for name in names}
            code = compile(ast.Expression(value), spec.origin, "eval")
            return eval(code, {"__builtins__": {"frozenset": frozenset}}, scope)
    base = getattr(found.bases[0], "id", "")
    return _read_words(homes[base], base)


class _NewestVersion(ast.NodeTransformer):
    """Take every condition on a library for met."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return node.body
