"""The pictures of a record, each with a caption that says how to read it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ordo import plots
from ordo.report.page import Picture
from ordo.report.record import Record, curve
from ordo.samplers import best_sizes, factorisation_kl


def order_pictures(record: Record) -> list[Picture]:
    """The law over decoding orders: rank of every position, schedules, precedence, and how it came about in training."""
    values, labels, edges, out = record.values, record.order_labels, record.order_edges, []
    if "orders" in values:
        out.append(
            Picture(
                "order",
                plots.order_heatmap(plots.rank_probability(values["orders"]), labels),
                "How probable each rank is for every position, in orders drawn from the law. One bright cell a row: the position always "
                "comes at that rank. An even row: it may come at any time. The dot is the mean.",
            )
        )
    if "alpha" in values:
        out.append(
            Picture(
                "schedule",
                plots.schedule_curves(values["t"], values["alpha"], labels),
                "Noise schedules: how probably each position is still clean at time t. Decoding runs from t = 1 to t = 0: the "
                "uppermost curve belongs to the position that is decoded first. If all coincide, every order is equally probable.",
            )
        )
    if record.order and len(record.order["step"]) > 1:
        entropy = record.order["entropy"]
        out.append(
            Picture(
                "order_over_training",
                plots.order_over_training(
                    record.order["step"],
                    record.order["expected_rank"],
                    None if np.isnan(entropy).any() else entropy,
                    labels,
                ),
                "How the order formed: mean rank of every position at each training step. Below, the entropy of the order law: the "
                "dashed line is that of uniformly random orders, 0 that of a single order.",
            )
        )
    if "precedence" in values and len(values["precedence"]) > 1:
        known = "" if edges is None else " Marked are the pairs that a good order is known to keep."
        out.append(
            Picture(
                "precedence",
                plots.precedence_matrix(values["precedence"], labels, edges),
                f"How probably the position of the row is decoded before the position of the column.{known}",
            )
        )
    return out


def likelihood_pictures(record: Record) -> list[Picture]:
    """Loss by number revealed, by position, of many orders; and the best step sizes."""
    report, values, out = record.report, record.values, []
    curves = {
        name: (c["nats"], c["standard_error"]) for name, c in report["loss_by_revealed"].items()
    }
    equal = (
        len(report["loss_by_revealed"]["own"]["nats"]) == report["length"]
    )  # all sequences have as many tokens to decode
    area = (
        "The area below a curve is the NELBO under that law. "
        if equal
        else "Every point is a mean over the sequences that get so far. "
    )
    out.append(
        Picture(
            "loss_by_revealed",
            plots.loss_by_revealed({f"{name} orders": pair for name, pair in curves.items()}),
            f"Loss of the next token against the number of tokens that stand already. {area}"
            "Where the model's own orders lie below uniform ones, its order makes the next token easier to say.",
        )
    )
    if "order_nll_own" in values:
        uniform, own, many = (
            values["order_nll_uniform"],
            values["order_nll_own"],
            report["order_nll"],
        )
        out.append(
            Picture(
                "order_nll",
                plots.order_nll_violin(
                    {"uniform": uniform, "own law": own}, many["marks"], "nats per sequence"
                ),
                f"Mean -log p of the same {many['sequences']} sequences in {len(uniform)} uniformly random orders, and in {len(own)} of "
                "the model's own law. The taller a violin, the more the order matters; the further apart the two, the more the law is "
                "worth.",
                wide=True,
            )
        )
    for law, words in (("uniform", "uniformly random orders"), ("own", "the model's own orders")):
        key = f"{law}_position_revealed_nats"
        if key in values:
            out.append(
                Picture(
                    f"loss_heatmap_{law}",
                    plots.loss_heatmap(
                        values[key], record.labels, "nats", values[f"{law}_position_revealed_edges"]
                    ),
                    f"Loss of every position by the number of tokens that stand already, in {words}. Hatched, if anything: never seen.",
                )
            )
    profile = torch.tensor(
        [x for x in report["loss_by_revealed"]["uniform"]["nats"] if x is not None],
        dtype=torch.float64,
    )
    length = len(profile)
    if equal and 4 <= length <= 1024 and bool(torch.isfinite(profile).all()):
        calls = sorted(
            {max(2, length // 16), max(2, length // 8), max(2, length // 4), max(2, length // 2)}
        )
        sizes = {k: best_sizes(profile, k) for k in calls}
        kl = {k: factorisation_kl(profile, s) for k, s in sizes.items()}
        if (
            min(kl.values()) < 0
        ):  # the loss grows as tokens are revealed, or is too noisy: no prediction
            return out
        out.append(
            Picture(
                "step_sizes",
                plots.step_sizes(profile, [sizes[k] for k in calls]),
                "If several tokens are decoded at once, in random orders: the best sizes of the steps for some numbers of denoiser calls, "
                f"and what they are predicted to cost ({', '.join(f'{k} calls {kl[k]:.2f}' for k in calls)} nats per sequence).",
            )
        )
    return out


def training_pictures(record: Record) -> list[Picture]:
    """Loss and validation against training, and the signal in the schedule's gradient."""
    out = []
    series = {
        "training, own law": curve(record.metrics, "train/bits_per_token"),
        "validation, own law": curve(record.metrics, "val/bits_per_token"),
    }
    length = record.report["length"]
    for name, key in (
        ("validation, uniform orders", "val/nelbo_uniform"),
        ("validation, exact, one order", "val/mode"),
    ):
        steps, nats = curve(record.metrics, key)
        series[name] = steps, nats / (length * math.log(2))
    series = {name: pair for name, pair in series.items() if len(pair[0])}
    if series:
        out.append(
            Picture(
                "training",
                plots.training_curves(series, "optimiser steps", "bits per token"),
                "Training, and validation on the first sequences of the split (trainer.limit_val_batches), not those of the table above. "
                "Where the exact curve of one order lies below the NELBO, drawing orders at random costs that much.",
            )
        )
    signal: dict[str, Any] = record.signal
    if len(signal.get("step", [])) > 1:
        out.append(
            Picture(
                "gradient_signal",
                plots.gradient_signal(
                    signal["step"], signal["variance"], signal["signal_to_noise"]
                ),
                "Variance of the schedule's gradient, and its signal-to-noise ratio: about 1 where there is noise alone, 2 where "
                "there is as much signal.",
            )
        )
    return out
