"""Definition, gradient and Hessian of a loss as Unicode and LaTeX."""

from __future__ import annotations

from typing import Any

import sympy

from derivations.derivation import Derivation
from derivations.statement import Statement, Terms


def texts(expression: sympy.Expr) -> dict[str, str]:
    return {
        "unicode": sympy.pretty(expression, use_unicode=True, wrap_line=False),
        "latex": sympy.latex(expression),
    }


def definition(statement: Statement) -> dict[str, str]:
    return texts(statement.textbook)


def header_texts(statement: Statement) -> dict[str, Any]:
    """Gradient and curvature by argument."""
    parts: dict[str, Any] = {}
    for part in ("gradient", "curvature"):
        derivatives: dict[str, Terms] = dict(getattr(statement, part))
        parts[part] = {name: texts(sympy.Add(*terms)) for name, terms in derivatives.items()}
    return parts


def show(derivation: Derivation) -> str:
    """What ``python -m derivations show`` prints."""
    statements = {"": derivation.statement, **derivation.variants}
    blocks = [f"{derivation.statement.loss}: {derivation.statement.title}"]
    blocks += [f"  {source}" for source in derivation.statement.source]
    for variant, statement in statements.items():
        if variant:
            blocks.append(f"\n[{variant}]")
        blocks.append(_block("definition", statement.textbook))
        for part, letter in (("gradient", "∂L/∂"), ("curvature", "∂²L/∂²")):
            for name, terms in getattr(statement, part).items():
                blocks.append(_block(f"{part}: {letter}{name}", sympy.Add(*terms)))
    for name, convention in derivation.conventions.items():
        blocks.append(f"\nconvention {name}: {convention.sentence}")
    return "\n".join(blocks)


def _block(title: str, expression: sympy.Expr) -> str:
    written = texts(expression)
    return f"\n{title}\n\n{written['unicode']}\n\n  {written['latex']}"
