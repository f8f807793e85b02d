"""Rubrics and the classifiers that judge under them. Import through `nla_eval.classify`, which discovers this room."""
