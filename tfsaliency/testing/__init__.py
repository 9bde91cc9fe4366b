"""Checks for a method of your own, and for a model of your own."""

from tfsaliency.testing.of_explainers import check_explainer, explainer_checks
from tfsaliency.testing.of_models import check_model, model_checks
from tfsaliency.testing.record import Check, CheckFailed, Outcome, Record

__all__ = [
    "Check",
    "CheckFailed",
    "Outcome",
    "Record",
    "check_explainer",
    "check_model",
    "explainer_checks",
    "model_checks",
]
