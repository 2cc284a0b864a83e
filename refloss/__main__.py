"""The command line: ``refloss`` and ``python -m refloss``.

Only the parser is here, and argparse is all it imports, so that ``--help`` is quick; every command
has its own module.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from refloss._version import __version__

__all__ = ["main"]

EPILOG = """\
exit status of audit: 0 fine; 1 findings at or above --fail-on; 2 usage; 5 nothing to audit
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

    commands.add_parser("list", help="list the losses")

    show = commands.add_parser(
        "show", help="show what a loss is: definition, gradient, curvature, sources, conventions"
    )
    show.add_argument("loss", metavar="LOSS")
    show.add_argument("--latex", action="store_true", help="formulas as LaTeX")

    commands.add_parser("show-versions", help="show the versions a bug report needs")
    return top


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
    from refloss import catalogue

    if options.command == "list":
        return catalogue.list_losses()
    if options.command == "show":
        return catalogue.show(options.loss, latex=options.latex)
    return catalogue.show_versions()


if __name__ == "__main__":
    sys.exit(main())
