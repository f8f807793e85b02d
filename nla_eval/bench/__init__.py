"""`make bench`: how fast this machine captures, verbalizes and reconstructs, each against a named alternative.

Both sides of a comparison run in one process on the same inputs, dtype and threads, in turns; figures are medians."""
