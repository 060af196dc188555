"""Scores of classifications pooled over all held-out clips and of reconstructed images; statistics of few subjects."""

from snnfer.metrics.classification import (
    confusion_matrix,
    per_class_f1,
    per_class_recall,
    top_k_accuracy,
    top_k_hits,
    uar,
    uf1,
)
from snnfer.metrics.reconstruction import reconstruction_scores
from snnfer.metrics.statistics import Interval, PairedTest, holm, paired_permutation_test, subject_bootstrap

__all__ = [
    "Interval",
    "PairedTest",
    "confusion_matrix",
    "holm",
    "paired_permutation_test",
    "per_class_f1",
    "per_class_recall",
    "reconstruction_scores",
    "subject_bootstrap",
    "top_k_accuracy",
    "top_k_hits",
    "uar",
    "uf1",
]
