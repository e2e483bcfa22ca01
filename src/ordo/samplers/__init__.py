"""Samplers: decode masked sequences by an order."""

from ordo.samplers.by_order import sample_by_order

__all__ = ["sample_by_order"]
