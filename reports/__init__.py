"""The reports room: from a tally to one self-contained HTML file. Imports only `nla_eval`; computes no statistic."""
