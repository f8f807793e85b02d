"""`make bench`: measures how fast this machine captures, verbalizes and reconstructs, against a named alternative.

Both sides of a comparison run in turns in one process, on the same inputs, dtype and threads. Figures are medians."""
