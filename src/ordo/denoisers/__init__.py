"""Denoisers: networks that know tokens and orders, and nothing of schedules."""

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.language_models.hugging_face import MaskedLM
from ordo.denoisers.language_models.pretrained import PretrainedDenoiser
from ordo.denoisers.oracle import ChainOracle, TableOracle
from ordo.denoisers.order_causal import OrderCausalTransformer
from ordo.denoisers.protocol import Denoiser, Session, batch_for
from ordo.denoisers.sets import SetDenoiser, begin_session
from ordo.denoisers.table import OrderCausalTableTransformer, TableTransformer
from ordo.denoisers.wrapped import Wrapped, wrap

__all__ = [
    "BidirectionalTransformer",
    "ChainOracle",
    "Denoiser",
    "MaskedLM",
    "OrderCausalTableTransformer",
    "OrderCausalTransformer",
    "PretrainedDenoiser",
    "Session",
    "SetDenoiser",
    "TableOracle",
    "TableTransformer",
    "Wrapped",
    "batch_for",
    "begin_session",
    "wrap",
]
