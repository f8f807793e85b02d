"""Rubrics and the classifiers that judge under them. `nla_eval.judging.classify` discovers this room."""
