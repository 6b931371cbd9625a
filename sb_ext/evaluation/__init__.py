"""What a trained model is worth: metrics, self-evaluation, reports."""

from sb_ext.evaluation.self_evaluation import SelfEvaluation

__all__ = ["SelfEvaluation"]
