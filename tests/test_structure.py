"""The direction of the arrows: who may import whom.

formula <- losses <- dispatch -> kernels, and evaluation between them;
the audit reads oracles, accuracy and public functions;
nothing in refloss knows the derivations, and what makes oracles does not know the losses.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("refloss", "derivations")
    for path in sorted((ROOT / package).rglob("*.py"))
}

# Each module (a pattern) and what it may import of the project. The first that fits counts.
ALLOWED = {
    r"refloss\.formula\b.*": r"refloss\.formula\b.*",
    r"refloss\.accuracy": r"$",
    r"refloss\.suggestion": r"$",
    r"refloss\._version": r"$",
    r"refloss\.arguments": r"refloss\.kernels\.threads",
    r"refloss\.kernels\.threads": r"$",
    r"refloss\.kernels\b.*": r"refloss\.(formula|kernels)\b.*",
    r"refloss\.blocks": r"refloss\.(formula\b.*|arguments|evaluation)",
    r"refloss\.evaluation": (
        r"refloss\.(formula\b.*|arguments|blocks|fused|vectorised|kernels\b.*)"
    ),
    r"refloss\.vectors": r"refloss\.(formula\b.*|blocks|evaluation)",
    r"refloss\.quantities": r"refloss\.(formula\b.*|blocks|evaluation|kernels\.named)",
    r"refloss\.calls": r"refloss\.(evaluation|quantities|kernels\.named|formula\b.*)",
    r"refloss\.(fused|vectorised)": (
        r"refloss\.(arguments|calls|evaluation|quantities|kernels\b.*|formula\b.*)"
    ),
    r"refloss\.(similarity|triplets)": (
        r"refloss\.(arguments|evaluation|vectors|formula\b.*|kernels\b.*)"
    ),
    r"refloss\.dispatch": (
        r"refloss\.(arguments|blocks|evaluation|similarity|triplets|vectors|formula\b.*|kernels\b.*)"
    ),
    r"refloss\.repeated": r"refloss\.(arguments|evaluation|quantities|vectorised|kernels\b.*)",
    r"refloss\.loss": r"refloss\.(arguments|blocks|evaluation|dispatch|repeated)",
    r"refloss\.losses\b.*": (
        r"refloss\.(arguments|blocks|dispatch|evaluation|loss|similarity|triplets|formula\b.*|losses\b.*)"
    ),
    r"refloss\.oracles\b.*": r"refloss\.(accuracy|oracles\b.*)",
    r"refloss\.audit\.ahead": r"refloss\.(audit\b.*|kernels\.(cache|threads))",
    r"refloss\.audit\b.*": r"refloss(\.(accuracy|oracles\b.*|audit\b.*|suggestion|_version))?",
    r"refloss\.parity\b.*": (
        r"refloss(\.(accuracy|loss|oracles\b.*|audit\b.*|parity\b.*|suggestion|_version))?"
    ),
    r"refloss\.testing": r"refloss\.(audit\b.*|oracles|parity\b.*|suggestion)",
    r"refloss\.catalogue": (
        r"refloss\.(oracles|suggestion|_version|kernels\.(directory|cuda\.available))"
    ),
    r"refloss\.__main__": r"refloss\.(audit\b.*|parity\b.*|catalogue|oracles|suggestion|_version)",
    r"refloss": r"refloss\.(_version|losses\b.*|kernels\.(threads|cuda\.available))",
}

# What makes the oracles: the command, and the script of each loss that it loads by name
MAKERS = [
    "derivations.generate",
    *(f"derivations.{path.stem}" for path in sorted((ROOT / "refloss/oracles").glob("*.jsonl"))),
]


def imports(name: str, path: Path) -> set[str]:
    """What a module imports of the project, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            module = node.module or ""
            for alias in node.names:
                longer = f"{module}.{alias.name}"
                found.add(longer if longer in FILES else module)
    return {one for one in found if one.partition(".")[0] in ("refloss", "derivations")}


IMPORTS = {name: imports(name, path) for name, path in FILES.items()}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("refloss")])
def test_refloss_imports_in_one_direction(name: str) -> None:
    allowed = next(allowed for pattern, allowed in ALLOWED.items() if re.fullmatch(pattern, name))
    wrong = {one for one in IMPORTS[name] if not re.fullmatch(allowed, one)}
    assert not wrong, f"{name} may import {allowed}, not {sorted(wrong)}"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("refloss.losses.")])
def test_a_loss_holds_no_kernel(name: str) -> None:
    """No loop over arrays and no number system: losses neither import Numba nor the kernels."""
    text = FILES[name].read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from)\s+(numba|math|scipy|refloss\.kernels)", text, re.M)


@pytest.mark.parametrize("name", MAKERS)
def test_what_makes_oracles_knows_no_working_formula(name: str) -> None:
    reached, seen = {name}, set[str]()
    while reached:
        module = reached.pop()
        seen.add(module)
        reached |= IMPORTS[module] - seen
        wrong = {one for one in IMPORTS[module] if one.startswith("refloss")}
        assert not wrong, f"{name} reaches {sorted(wrong)} by way of {module}"


def test_the_same_stem_in_three_rooms() -> None:
    losses = {path.stem for path in (ROOT / "refloss/losses").glob("*.py")} - {"__init__"}
    oracles = {path.stem for path in (ROOT / "refloss/oracles").glob("*.jsonl")}
    derivations = {path.stem for path in (ROOT / "derivations").glob("*.py")}
    assert losses == oracles
    assert losses <= derivations


@pytest.mark.parametrize("name", FILES)
def test_no_folder_of_leftovers(name: str) -> None:
    assert not {"utils", "common", "helpers", "core", "misc"} & set(name.split("."))
