"""One module for each command of `nla-eval`: requests in, terminal lines and files out."""
