"""Definition, gradient and Hessian of a loss as Unicode and LaTeX."""

from __future__ import annotations

from typing import Any

import sympy

from derivations.composition import Composition, Definition
from derivations.derivation import Derivation
from derivations.statement import Statement, Terms


def texts(expression: sympy.Expr) -> dict[str, str]:
    return {
        "unicode": sympy.pretty(expression, use_unicode=True, wrap_line=False),
        "latex": sympy.latex(expression),
    }


def definition(statement: Statement | Composition) -> dict[str, str]:
    return texts(statement.textbook)


def header_texts(statement: Statement | Composition) -> dict[str, Any]:
    """Gradient and curvature by argument, and before them what they build on."""
    parts: dict[str, Any] = {}
    if isinstance(statement, Composition):
        parts["where"] = [texts(_line(d)) for d in statement.where]
    for part in ("gradient", "curvature"):
        parts[part] = {
            name: texts(expression) for name, expression in _derivatives(statement, part)
        }  # fmt: skip
    return parts


def _derivatives(statement: Statement | Composition, part: str) -> list[tuple[str, sympy.Expr]]:
    if isinstance(statement, Composition):
        return list(statement.gradient.items()) if part == "gradient" else []
    derivatives: dict[str, Terms] = dict(getattr(statement, part))
    return [(name, sympy.Add(*terms)) for name, terms in derivatives.items()]


def _line(definition: Definition) -> sympy.Basic:
    return sympy.Eq(definition.left, definition.expression, evaluate=False)


def show(derivation: Derivation) -> str:
    """What ``python -m derivations show`` prints."""
    statements = {"": derivation.statement, **derivation.variants}
    blocks = [f"{derivation.statement.loss}: {derivation.statement.title}"]
    blocks += [f"  {source}" for source in derivation.statement.source]
    for variant, statement in statements.items():
        if variant:
            blocks.append(f"\n[{variant}]")
        blocks.append(_block("definition", statement.textbook))
        if isinstance(statement, Composition):
            blocks += [_block(f"where {d.symbol}", _line(d)) for d in statement.where]
        for part, letter in (("gradient", "∂L/∂"), ("curvature", "∂²L/∂²")):
            for name, expression in _derivatives(statement, part):
                blocks.append(_block(f"{part}: {letter}{name}", expression))
    for name, convention in derivation.conventions.items():
        blocks.append(f"\nconvention {name}: {convention.sentence}")
    return "\n".join(blocks)


def _block(title: str, expression: sympy.Expr) -> str:
    written = texts(expression)
    return f"\n{title}\n\n{written['unicode']}\n\n  {written['latex']}"
