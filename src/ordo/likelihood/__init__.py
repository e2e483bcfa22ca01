"""Likelihoods of a denoiser under a schedule or an order law: estimates, bounds, exact values."""

from ordo.likelihood.exact import ExactLikelihood, enumerate_orders, subset_likelihood
from ordo.likelihood.many_orders import ManyOrders, many_orders
from ordo.likelihood.orders import (
    OrderLoss,
    importance_bound,
    joint_log_prob,
    nelbo,
    order_log_prob,
    order_loss,
    time_space_nelbo,
)
from ordo.likelihood.report import Effort, Estimate, LikelihoodReport, likelihood_report
from ordo.likelihood.rules import sampler_log_prob
from ordo.likelihood.steps import importance_in_steps, nelbo_in_steps, steps_log_prob

__all__ = [
    "Effort", "Estimate", "ExactLikelihood", "LikelihoodReport", "ManyOrders", "OrderLoss",
    "enumerate_orders", "importance_bound", "importance_in_steps", "joint_log_prob",
    "likelihood_report", "many_orders", "nelbo", "nelbo_in_steps", "order_log_prob",
    "order_loss", "sampler_log_prob", "steps_log_prob", "subset_likelihood", "time_space_nelbo",
]  # fmt: skip
