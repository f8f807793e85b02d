"""Estimators, one per file: pure functions on plain values, each with its source. No torch, no Inspect, no files."""

from .abbott import abbott, abbott_paired
from .anyk import KPoint, any_of_k, implied_any_of_k, k_curve
from .auroc import auroc, auroc_by_cluster, auroc_shared_clusters
from .balance import nearest_pairs, pooled_deviation, standardised_difference
from .benjamini_hochberg import benjamini_hochberg
from .bootstrap import arm_difference, cluster_mean, cluster_ratio
from .bounds import Bounds, rate_bounds, unverbalized_bounds
from .certificate import Certificate, HeldOut, beta_binomial_bound, certify, certify_threshold, families_needed
from .clustered_pairs import ClusteredPairs, clustered_pairs
from .common_arms import Arm, CommonComparison, compare_at_common_k
from .common_k import allocate, common_k, count_shares, expected_any_of_k
from .contrast import Contrast, SignFlip, item_means, sign_flip, within_items
from .corrected import corrected_fraction
from .effective import EffectiveShare, design_effect, effective_share, kish_families
from .first_aware import FirstAware, first_aware
from .holm import holm
from .interval import Estimate, Resampling
from .jeffreys import jeffreys
from .kappa import cohens_kappa, gwets_ac1
from .paired import paired_difference
from .pairs import PairTable, mcnemar_exact, n_given_not_v, pair_table, unverbalized
from .perfect import perfect_auroc, perfect_rate
from .permutation import PermutationTest, permutation_test
from .power import Design, Detectable, power_between, power_of, smallest_rate, transcripts_needed
from .rogan_gladen import Calibration, label_split, rogan_gladen
from .stratified import Stratum, WeightedFraction, weighted_fraction, weighted_fraction_mean
from .transcript_calibration import TranscriptFlags, corrected_prevalence
from .two_way import two_way_mean
from .variance import VarianceSplit, variance_split
from .wilson import wilson
from .zero import rule_of_three, units_needed, upper_bound

__all__ = [
    "Arm",
    "Bounds",
    "Calibration",
    "Certificate",
    "ClusteredPairs",
    "CommonComparison",
    "Contrast",
    "Design",
    "Detectable",
    "EffectiveShare",
    "Estimate",
    "FirstAware",
    "HeldOut",
    "KPoint",
    "PairTable",
    "PermutationTest",
    "Resampling",
    "SignFlip",
    "Stratum",
    "TranscriptFlags",
    "VarianceSplit",
    "WeightedFraction",
    "abbott",
    "abbott_paired",
    "allocate",
    "any_of_k",
    "arm_difference",
    "auroc",
    "auroc_by_cluster",
    "auroc_shared_clusters",
    "benjamini_hochberg",
    "beta_binomial_bound",
    "certify",
    "certify_threshold",
    "cluster_mean",
    "cluster_ratio",
    "clustered_pairs",
    "cohens_kappa",
    "common_k",
    "compare_at_common_k",
    "corrected_fraction",
    "corrected_prevalence",
    "count_shares",
    "design_effect",
    "effective_share",
    "expected_any_of_k",
    "families_needed",
    "first_aware",
    "gwets_ac1",
    "holm",
    "implied_any_of_k",
    "item_means",
    "jeffreys",
    "k_curve",
    "kish_families",
    "label_split",
    "mcnemar_exact",
    "n_given_not_v",
    "nearest_pairs",
    "pair_table",
    "paired_difference",
    "perfect_auroc",
    "perfect_rate",
    "permutation_test",
    "pooled_deviation",
    "power_between",
    "power_of",
    "rate_bounds",
    "rogan_gladen",
    "rule_of_three",
    "sign_flip",
    "smallest_rate",
    "standardised_difference",
    "transcripts_needed",
    "two_way_mean",
    "units_needed",
    "unverbalized",
    "unverbalized_bounds",
    "upper_bound",
    "variance_split",
    "weighted_fraction",
    "weighted_fraction_mean",
    "wilson",
    "within_items",
]
