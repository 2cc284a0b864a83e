"""The command line: ``refloss`` and ``python -m refloss``.

Only the parser is here, and argparse is all it imports, so that ``--help`` is quick; every command
has its own module.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from refloss._version import __version__

__all__ = ["main"]

EPILOG = """\
exit status of audit: 0 fine; 1 findings at or above --fail-on; 2 usage; 5 nothing to audit
"""

PARITY_EPILOG = """\
a side is one of
  numba, array:numpy, array:torch, array:cupy, array:strict   refloss's backends, by their arrays
  cuda, cuda:float32                                          its CUDA kernels
  torch@cpu, torch@cuda, jax@cpu, optax@cpu, sklearn@cpu ...  a framework on a device
  package.module:function, package.module:function@cuda       your own, with --loss

exit status of parity: 0 fine; 1 apart by more than the budget; 2 usage; 5 nothing to compare
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="refloss",
        description="Loss functions with known answers, and the audit of everybody else's.",
    )
    top.add_argument("--version", action="version", version=f"refloss {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    audit = commands.add_parser(
        "audit",
        help="judge frameworks, or your own function, against the certified answers",
        description="Judge implementations of losses against the certified answers: how many ulp "
        "they are off, where, and which line shows it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    audit.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="torch, optax, sklearn, scipy, pytorch_metric_learning, lightly, refloss, or your "
        "function as package.module:function (with --loss); without a target, every framework "
        "that is installed",
    )
    audit.add_argument(
        "--loss", action="append", metavar="GLOB", help="only these losses, e.g. '*cross_entropy*'"
    )
    audit.add_argument(
        "--dtype",
        action="append",
        metavar="DTYPE",
        help="float16, bfloat16, float32, float64 or all (default: float32 and float64)",
    )
    audit.add_argument("--region", action="append", metavar="GLOB", help="only these regions")
    audit.add_argument(
        "--max-ulp",
        type=float,
        metavar="N",
        help="an answer more than N ulp off loses digits; without --fail-on, that fails the audit",
    )
    audit.add_argument(
        "--fail-on",
        metavar="GRADE",
        help="exit with 1 on findings of this grade or a worse one: convention, loses-digits, "
        "rejects, wrong, crashed (default: wrong)",
    )
    audit.add_argument("--format", choices=("text", "json"), default="text")
    audit.add_argument("-o", "--output", metavar="FILE", help="write the report to a file")
    audit.add_argument(
        "--arrays",
        choices=("auto", "numpy", "torch", "jax"),
        default="auto",
        help="what your function takes (default: torch or jax if its module imports it, or numpy)",
    )
    audit.add_argument(
        "--reduction",
        choices=("auto", "none", "mean", "sum", "batchmean", "mean_nonzero"),
        default="auto",
        help="what your function returns if it has no reduction argument (default: none if it "
        "returns an array, otherwise the loss's default)",
    )

    _add_parity(commands)

    commands.add_parser("list", help="list the losses")

    show = commands.add_parser(
        "show", help="show what a loss is: definition, gradient, curvature, sources, conventions"
    )
    show.add_argument("loss", metavar="LOSS")
    show.add_argument("--latex", action="store_true", help="formulas as LaTeX")

    commands.add_parser("show-versions", help="show the versions a bug report needs")

    cache = commands.add_parser(
        "cache",
        help="show where compiled kernels are kept, or remove them",
        description="Show where compiled kernels are kept, and how much they take. "
        "REFLOSS_CACHE_DIR names another directory; REFLOSS_CACHE_DIR=off keeps none.",
    )
    cache.add_argument("--clear", action="store_true", help="remove them")
    return top


def _add_parity(commands: Any) -> None:
    parity = commands.add_parser(
        "parity",
        help="hold two backends, frameworks or functions against each other and the truth",
        description="Compare two implementations on every certified input: how many answers have "
        "the same bits, how many ulp the others are apart, which is nearer the truth, and which "
        "line shows it.",
        epilog=PARITY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parity.add_argument("first", metavar="A", help="a side: see below")
    parity.add_argument("second", metavar="B", help="the other side")
    parity.add_argument(
        "--loss", action="append", metavar="GLOB", help="only these losses, e.g. 'huber*'"
    )
    parity.add_argument(
        "--dtype",
        action="append",
        metavar="DTYPE",
        help="float16, bfloat16, float32, float64 or all (default: float32 and float64)",
    )
    parity.add_argument("--region", action="append", metavar="GLOB", help="only these regions")
    parity.add_argument(
        "--large", action="store_true", help="also the certified inputs of a million numbers"
    )
    parity.add_argument(
        "--max-ulp",
        type=float,
        metavar="N",
        help="how many ulp A and B may be apart (default: what the two sides promise, together)",
    )
    parity.add_argument(
        "--budgets",
        metavar="FILE",
        help='JSON, {"huber_loss": {"float32": 2}}: how many ulp; counts before --max-ulp',
    )
    parity.add_argument(
        "--repeat",
        type=int,
        nargs="?",
        const=100,
        metavar="N",
        help="ask each side the same N times (100 without a number): are the bits the same?",
    )
    parity.add_argument(
        "--layouts",
        action="store_true",
        help="ask each side with strided, transposed, offset, reversed and misaligned arrays: are "
        "the bits the same?",
    )
    parity.add_argument(
        "--size",
        metavar="BYTES",
        help="also compare each loss on drawn numbers, so many bytes in the first array: 64MB, 4GB",
    )
    parity.add_argument(
        "--worst",
        action="store_true",
        help="show the lines for the largest distance of every loss and dtype, not of all",
    )
    parity.add_argument("--format", choices=("text", "json", "junit"), default="text")
    parity.add_argument("-o", "--output", metavar="FILE", help="write the report to a file")
    parity.add_argument(
        "--arrays",
        choices=("auto", "numpy", "torch", "jax", "cupy"),
        default="auto",
        help="what your function takes (default: torch or jax if its module imports it, or numpy)",
    )
    parity.add_argument(
        "--reduction",
        choices=("auto", "none", "mean", "sum", "batchmean", "mean_nonzero"),
        default="auto",
        help="what your function returns if it has no reduction argument",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        status = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("refloss: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, head for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run(options: argparse.Namespace) -> int:
    if options.command == "audit":
        from refloss.audit.command import run

        return run(options)
    if options.command == "parity":
        from refloss.parity.command import run

        return run(options)
    from refloss import catalogue

    if options.command == "list":
        return catalogue.list_losses()
    if options.command == "show":
        return catalogue.show(options.loss, latex=options.latex)
    if options.command == "cache":
        return catalogue.cache(clear=options.clear)
    return catalogue.show_versions()


if __name__ == "__main__":
    sys.exit(main())
