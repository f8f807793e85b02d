"""The entry point. What takes no option is answered without the parser, whose start takes longer than the answer."""

from __future__ import annotations

import os
import sys

from ..errors import NlaEvalError


def main() -> None:
    """Run the command that was typed. `nla-eval suite list` is answered here; all else, and every error, by `cli`."""
    if sys.argv[1:] == ["suite", "list"]:
        from .suite_list import run_list

        try:
            run_list()
            sys.stdout.flush()
            return
        except NlaEvalError:
            pass  # `cli` meets it again and tells it as it tells all errors
        except BrokenPipeError:  # `| head`: nothing is left to flush to
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
    from .cli import main as parsed

    parsed()
