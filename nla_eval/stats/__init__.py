"""Estimators, one per file: pure functions on plain values, each with its source. No torch, Inspect or file access."""

from .abbott import abbott, abbott_paired
from .anyk import KPoint, any_of_k, implied_any_of_k, k_curve
from .auroc import auroc, auroc_by_cluster, auroc_shared_clusters
from .balance import nearest_pairs, pooled_deviation, standardised_difference
from .bootstrap import arm_difference, cluster_mean, cluster_ratio, paired_difference
from .bounds import Bounds, rate_bounds, unverbalized_bounds
from .contrast import Contrast, SignFlip, item_means, sign_flip, within_items
from .holm import holm
from .interval import Estimate, Resampling
from .pairs import PairTable, mcnemar_exact, n_given_not_v, pair_table, unverbalized
from .permutation import PermutationTest, permutation_test
from .wilson import wilson
from .zero import rule_of_three, units_needed, upper_bound

__all__ = [
    "Bounds",
    "Contrast",
    "Estimate",
    "KPoint",
    "PairTable",
    "PermutationTest",
    "Resampling",
    "SignFlip",
    "abbott",
    "abbott_paired",
    "any_of_k",
    "arm_difference",
    "auroc",
    "auroc_by_cluster",
    "auroc_shared_clusters",
    "cluster_mean",
    "cluster_ratio",
    "holm",
    "implied_any_of_k",
    "item_means",
    "k_curve",
    "mcnemar_exact",
    "n_given_not_v",
    "nearest_pairs",
    "pair_table",
    "paired_difference",
    "permutation_test",
    "pooled_deviation",
    "rate_bounds",
    "rule_of_three",
    "sign_flip",
    "standardised_difference",
    "units_needed",
    "unverbalized",
    "unverbalized_bounds",
    "upper_bound",
    "wilson",
    "within_items",
]
