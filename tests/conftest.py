"""Shared by all tests: one thread, deterministic, a tiny bank of random networks and schedules."""

import itertools
import os

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")  # read once a process, so no test can change it

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def all_orders():
    """Callable: length -> every order, (length!, length)."""
    return lambda length: torch.tensor(list(itertools.permutations(range(length))))
