"""``python -m derivations prove | generate [--check] [LOSS ...] | show LOSS``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from derivations.derivation import LOSSES, load
from derivations.generate import check, generate
from derivations.show import show


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m derivations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prove = commands.add_parser("prove", help="prove every formula equal to its textbook")
    make = commands.add_parser("generate", help="write refloss/oracles/<loss>.jsonl")
    make.add_argument("--check", action="store_true", help="compare instead, bit for bit")
    for command in (prove, make):
        command.add_argument("loss", nargs="*", choices=[*LOSSES, []], help="default: all")
    view = commands.add_parser("show", help="print definition, gradient and Hessian")
    view.add_argument("loss", choices=LOSSES)
    options = parser.parse_args(arguments)
    if options.command == "show":
        print(show(load(options.loss)))
        return 0
    losses = tuple(options.loss) or LOSSES
    if options.command == "prove":
        # imported here: proving needs refloss.losses, which making oracles must never see
        return int(importlib.import_module("derivations.prove").prove(losses))
    return check(losses) if options.check else generate(losses)


if __name__ == "__main__":
    sys.exit(main())
