"""Samplers: decode masked sequences by an order."""

from ordo.samplers.by_order import Samples, sample_by_order, sample_many

__all__ = ["Samples", "sample_by_order", "sample_many"]
