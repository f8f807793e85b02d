"""The commands of `nla-eval`, one module each. Each takes a request, prints lines and writes files."""
