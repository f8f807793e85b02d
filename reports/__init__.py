"""The reports room: writes a tally as one self-contained HTML file. It imports only `nla_eval` and computes no
statistic."""
