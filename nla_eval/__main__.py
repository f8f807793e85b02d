"""`python -m nla_eval` is `nla-eval`."""

from .commands.cli import main

main()
