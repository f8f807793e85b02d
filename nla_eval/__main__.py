"""`python -m nla_eval` is `nla-eval`."""

from .commands.door import main

main()
