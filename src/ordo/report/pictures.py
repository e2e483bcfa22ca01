"""The pictures of a record, each with a caption that says how to read it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from ordo import plots
from ordo.report.optimisation import optimisation_pictures
from ordo.report.page import Picture
from ordo.report.record import Record, curve
from ordo.report.words import Words, words_of
from ordo.samplers import best_sizes, factorisation_kl


def told(picture: Picture, words: Words) -> Picture:
    """The picture with the nouns of the data in its caption and at its axes."""
    words.relabel(picture.figure)
    return replace(picture, caption=words(picture.caption))


def order_pictures(record: Record) -> list[Picture]:
    """The law of decoding orders: ranks, schedules, precedence, and how the order formed.

    There are none of a law that is fixed: a sentence says as much.
    """
    if record.fixed_law:
        return []
    values, labels, edges, out = record.values, record.order_labels, record.order_edges, []
    board = record.report.get("board")
    if board is not None and "expected_rank" in values:
        decoded = record.report.get("decoded")
        figure = plots.rank_board(
            values["expected_rank"]
            if decoded is None
            else on_board(values["expected_rank"], decoded, len(record.labels or ())),
            board["columns"],
            board["box"],
        )
        caption = (
            "The mean rank of every position where it lies on the board: dark comes early, yellow "
            "late. Equal colours: the law prefers none."
        )
        out.append(Picture("order", figure, caption))
    elif "orders" in values:
        figure = plots.order_heatmap(plots.rank_probability(values["orders"]), labels)
        caption = (
            "How probable each rank is for every position, in orders drawn from the law. One "
            "black field a line: the position always comes at that rank. An even line: the "
            "position may come at any time. The dot is the mean."
        )
        out.append(Picture("order", figure, caption))
    if "alpha" in values:
        figure = plots.schedule_curves(values["t"], values["alpha"], labels)
        caption = (
            "Noise schedules: how probably each position is still clean at time t. Decoding runs "
            "from t = 1 to t = 0: the uppermost curve belongs to the position that is decoded "
            "first. If all coincide, every order is equally probable."
        )
        out.append(Picture("schedule", figure, caption))
    if record.order and len(record.order["step"]) > 1:
        steps, ranks, entropy = (record.order[k] for k in ("step", "expected_rank", "entropy"))
        known = None if np.isnan(entropy).any() else entropy
        figure = plots.order_over_training(steps, ranks, known, labels)
        caption = (
            "How the order formed: mean rank of every position at each training step, dark for "
            "early, yellow for late. Below, the entropy of the order law: the dashed line is that "
            "of uniformly random orders, 0 that of a single order."
        )
        out.append(Picture("order_over_training", figure, caption))
    if "precedence" in values and len(values["precedence"]) > 1:
        figure = plots.precedence_matrix(values["precedence"], labels, edges)
        caption = (
            "How probably the position named at the left is decoded before the position named "
            "below: dark where it nearly always is, yellow where it comes after, white where "
            "either may come first."
        )
        if edges is not None:
            caption += " Marked are the pairs that a good order is known to keep."
        out.append(Picture("precedence", figure, caption))
    return [told(picture, words_of(record.report["unit"])) for picture in out]


def on_board(expected_rank: np.ndarray, decoded: list[int], cells: int) -> np.ndarray:
    """Ranks of the decoded cells at their places among all cells; NaN where a cell is given."""
    board = np.full(cells, np.nan)
    board[decoded] = expected_rank
    return board


def likelihood_pictures(record: Record) -> list[Picture]:
    """Loss by number revealed, by position, of many orders; and the best step sizes."""
    report, values, out = record.report, record.values, []
    curves = report["loss_by_revealed"]
    # Then all sequences have as many tokens to decode.
    equal = len(curves["own"]["nats"]) == report["length"]
    figure = plots.loss_by_revealed(
        {f"{name} orders": (c["nats"], c["standard_error"]) for name, c in curves.items()}
    )
    area = (
        "The area below a curve is the NELBO under that law."
        if equal
        else "Every point is a mean over the sequences that get so far."
    )
    caption = (
        f"Loss of the next token against the number of tokens that stand already. {area} Where the "
        "model's own orders lie below uniform ones, its order makes the next token easier to say."
    )
    out.append(Picture("loss_by_revealed", figure, caption))
    if "order_nll_own" in values:
        uniform, own = values["order_nll_uniform"], values["order_nll_own"]
        many = report["order_nll"]
        laws = {"uniform": uniform, "own law": own}
        figure = plots.order_nll_violin(laws, many["marks"], "nats per sequence")
        caption = (
            f"Mean -log p of the same {many['sequences']} sequences in {len(uniform)} uniformly "
            f"random orders, and in {len(own)} of the model's own law. The taller a violin, the "
            "more the order matters; the further apart the two, the more the law is worth."
        )
        out.append(Picture("order_nll", figure, caption, wide=True))
    for law, words in (("uniform", "uniformly random orders"), ("own", "the model's own orders")):
        key = f"{law}_position_revealed_nats"
        if key in values:
            edges = values[f"{law}_position_revealed_edges"]
            figure = plots.loss_heatmap(values[key], record.labels, "nats", edges)
            caption = (
                "Loss of every position by the number of tokens that stand already, in "
                f"{words}. Hatched, if anything: never seen."
            )
            out.append(Picture(f"loss_heatmap_{law}", figure, caption))
    out += _step_sizes(curves["uniform"]["nats"]) if equal else []
    return [told(picture, words_of(report["unit"])) for picture in out]


def _step_sizes(nats: list[float | None]) -> list[Picture]:
    """The picture of the best step sizes, where losses by number revealed allow a prediction."""
    profile = torch.tensor([x for x in nats if x is not None], dtype=torch.float64)
    length = len(profile)
    if not 4 <= length <= 1024 or not bool(torch.isfinite(profile).all()):
        return []
    calls = sorted({max(2, length // part) for part in (16, 8, 4, 2)})
    sizes = [best_sizes(profile, k) for k in calls]
    lost = [factorisation_kl(profile, steps) for steps in sizes]
    if min(lost) < 0:  # the loss grows as tokens are revealed, or is too noisy: no prediction
        return []
    costs = ", ".join(f"{k} calls {kl:.2f}" for k, kl in zip(calls, lost, strict=True))
    caption = (
        "If several tokens are decoded at once, in random orders: the best sizes of the steps for "
        f"some numbers of denoiser calls, and what they are predicted to cost ({costs} nats per "
        "sequence)."
    )
    return [Picture("step_sizes", plots.step_sizes(profile, sizes), caption)]


def training_pictures(record: Record) -> list[Picture]:
    """Loss and validation against training, and the signal in the schedule's gradient."""
    out = []
    series = {
        "training, own law": curve(record.metrics, "train/bits_per_token"),
        "validation, own law": curve(record.metrics, "val/bits_per_token"),
    }
    for name, key in (
        ("validation, uniform orders", "val/nelbo_uniform"),
        ("validation, exact, one order", "val/mode"),
    ):
        steps, nats = curve(record.metrics, key)
        series[name] = steps, nats / (record.report["length"] * math.log(2))
    series = {name: pair for name, pair in series.items() if len(pair[0])}
    if series:
        figure = plots.training_curves(series, "optimiser steps", "bits per token")
        caption = (
            "Training, and validation on the first sequences of the split "
            "(trainer.limit_val_batches), not those of the table above. Where the exact curve of "
            "one order lies below the NELBO, drawing orders at random costs that much."
        )
        out.append(Picture("training", figure, caption))
    out += optimisation_pictures(record)
    signal = record.signal
    if len(signal.get("step", ())) > 1:
        columns = (signal[key] for key in ("step", "variance", "signal_to_noise"))
        caption = (
            "Variance of the schedule's gradient, and its signal-to-noise ratio: about 1 where "
            "there is noise alone, 2 where there is as much signal."
        )
        out.append(Picture("gradient_signal", plots.gradient_signal(*columns), caption))
    return [told(picture, words_of(record.report["unit"])) for picture in out]
