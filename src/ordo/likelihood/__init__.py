"""Likelihoods of a denoiser under an order law: estimates, bounds and exact values."""

from ordo.likelihood.content import (
    content_importance_bound,
    content_nelbo,
    content_order_log_prob,
    content_subset_likelihood,
)
from ordo.likelihood.exact import ExactLikelihood, enumerate_orders, subset_likelihood
from ordo.likelihood.many_orders import ManyOrders, many_orders
from ordo.likelihood.orders import (
    OrderLoss,
    importance_bound,
    loss_by_rank,
    nelbo,
    order_log_prob,
    order_loss,
    time_space_nelbo,
)
from ordo.likelihood.report import Estimate, LikelihoodReport, likelihood_report
from ordo.likelihood.rules import sampler_log_prob

__all__ = [
    "Estimate", "ExactLikelihood", "LikelihoodReport", "ManyOrders", "OrderLoss", "content_importance_bound", "content_nelbo",
    "content_order_log_prob", "content_subset_likelihood", "enumerate_orders", "importance_bound", "likelihood_report", "loss_by_rank",
    "many_orders", "nelbo", "order_log_prob", "order_loss", "sampler_log_prob", "subset_likelihood", "time_space_nelbo",
]  # fmt: skip
