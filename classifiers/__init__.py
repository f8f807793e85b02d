"""Rubrics and the classifiers that judge under them. Import through `nla_eval.judging.classify`, which discovers this room."""
