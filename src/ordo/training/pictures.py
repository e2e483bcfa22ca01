"""Pictures and samples of a model in training, on their way to the run folder and to loggers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ordo import plots
from ordo.batch import Batch
from ordo.data.module import Rows
from ordo.denoisers.cost import nll_of_set
from ordo.likelihood.orders import as_schedule, order_loss
from ordo.likelihood.report import mean_and_error
from ordo.objectives.prefix import cut
from ordo.order import OrderDraw, uniform_law
from ordo.randomness import seeded_generator
from ordo.schedules import AveragedSchedule, Schedule, SchedulePart

# Tokens behind a picture of losses: a moment's work beside the validation itself.
TOKENS = 16384
ROWS = (8, 64)  # the least and the most validation sequences
SET_ROWS = (32, 256)  # for a bidirectional denoiser, which scores one number of tokens in a row
BINS = 16
AVERAGED = 256  # sequences over which a law that depends on the tokens is averaged for a picture
CURVES = 128  # positions drawn as curves; of more, evenly spaced ones


def log_picture(loggers: Sequence[Any], name: str, figure: Figure, step: int, file: Path) -> None:
    """Saves a picture as ``file`` (PNG), and hands the file to TensorBoard and W&B."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plots.save(figure, file)
    for logger in loggers:
        add_image = getattr(getattr(logger, "experiment", None), "add_image", None)
        if hasattr(logger, "log_image"):  # W&B
            logger.log_image(name, [str(file)], step=step)
        elif add_image is not None:  # TensorBoard
            with Image.open(file) as picture:
                add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")


def log_samples(
    loggers: Sequence[Any], name: str, texts: Sequence[str], ranks: Sequence[str], step: int
) -> None:
    """Texts and the ranks of their tokens: a table in W&B, code blocks in TensorBoard."""
    for logger in loggers:
        add_text = getattr(getattr(logger, "experiment", None), "add_text", None)
        if hasattr(logger, "log_text"):  # W&B
            logger.log_text(
                name,
                columns=["text", "rank"],
                data=[list(pair) for pair in zip(texts, ranks, strict=True)],
                step=step,
            )
        elif add_text is not None:  # TensorBoard
            blocks = [
                f"    {text!r}\n    rank {rank}" for text, rank in zip(texts, ranks, strict=True)
            ]
            add_text(name, "\n\n---\n\n".join(blocks), step)


def rank_text(rank: Tensor) -> str:
    """Ranks as text, from 1; a dash for a given token.

    Args:
        rank: (length,), from 0; -1 for a given token.
    """
    return " ".join(str(value + 1) if value >= 0 else "-" for value in rank.tolist())


def plotted_schedule(schedule: Schedule, rows: Rows) -> Schedule | AveragedSchedule:
    """The schedule to plot; a schedule that depends on the tokens is averaged over some rows."""
    if not schedule.depends_on_tokens:
        return schedule
    some = min(AVERAGED, len(rows))
    picked = torch.linspace(0, len(rows) - 1, some, dtype=torch.float64).round().long()
    return AveragedSchedule(schedule, rows.batch(picked).to(schedule.device))


def plotted_part(
    schedule: Schedule, rows: Any
) -> tuple[Schedule | AveragedSchedule | SchedulePart, Tensor | None]:
    """The schedule to plot, and the positions that it covers.

    These are the decoded positions if every row is given the same others; else the schedule is
    whole, see ``plotted_schedule``, and the positions are None.

    Args:
        rows: ``Rows``; where nothing is to be averaged, the rows of data of your own too.
    """
    whole: Any = plotted_schedule(schedule, rows)
    positions = rows.decoded_positions() if isinstance(rows, Rows) else None
    if positions is None or not hasattr(whole.law(), "part"):  # a law of one's own
        return whole, None
    return SchedulePart(whole, positions), positions


@torch.no_grad()
def sampled_loss_by_revealed(
    denoiser: Any, schedule: Any, batch: Batch, generator: torch.Generator, bins: int
) -> tuple[Tensor, Tensor]:
    """Loss of the next token against the number revealed before, of a bidirectional denoiser.

    One call, under the law's orders. Every row of the batch has one number of revealed tokens, and
    these numbers are spread evenly.

    Returns mean number revealed and mean loss (nats) of ``bins`` groups of rows: (bins,), float64,
    on the CPU.
    """
    rows, device = len(batch.tokens), batch.tokens.device
    order = batch.decoded_first(schedule.law(batch).sample(rows, generator))
    turn = torch.randperm(rows, generator=generator, device=device)  # which row has which number
    score = torch.zeros(order.shape, dtype=torch.float64, device=device)
    prefix = cut(OrderDraw(order, score, True), batch, (turn + 0.5) / rows)
    next_token = (order.argsort(1) == prefix.n_revealed[:, None]) & prefix.masked
    z = batch.tokens.masked_fill(prefix.masked, denoiser.mask_id)
    cost = nll_of_set(denoiser, z, batch.tokens, next_token, batch.present).sum(1)
    k = prefix.n_revealed - prefix.n_given
    groups = k.argsort(stable=True).tensor_split(min(bins, rows))
    numbers = torch.stack([k[g].double().mean() for g in groups])
    return numbers.cpu(), torch.stack([cost[g].mean() for g in groups]).cpu()


def loss_picture(module: Any, batch: Batch) -> Figure:
    """Loss of the next token by number revealed, on some validation sequences.

    Under uniformly random orders and under the model's own law.
    """
    denoiser = module.denoiser
    length, device = batch.tokens.shape[1], batch.tokens.device
    least, most = ROWS if denoiser.order_causal else SET_ROWS
    rows = min(most, max(least, TOKENS // length))
    batch = batch.rows(slice(rows))
    schedules = {"uniform": as_schedule(uniform_law(length, device)), "own": module.schedule}
    if denoiser.order_causal:
        curves = {}
        for name, schedule in schedules.items():
            generator = seeded_generator(device, module.seed, 0, -8)
            orders = schedule.law(batch).sample(len(batch.tokens), generator)
            curve = mean_and_error(order_loss(denoiser, batch, orders).by_revealed)
            reached = sum(value == value for value in curve["nats"])
            curves[name] = (curve["nats"][:reached], curve["standard_error"][:reached])
        return plots.loss_by_revealed(curves)
    points = {}
    many = batch.rows(torch.arange(rows, device=device) % len(batch.tokens))
    for name, schedule in schedules.items():
        generator = seeded_generator(device, module.seed, 0, -8)
        points[name] = sampled_loss_by_revealed(
            denoiser, schedule, many, generator, min(BINS, rows // 4)
        )
    ylabel = "loss of the next token (nats)"
    return plots.training_curves(points, "tokens revealed", ylabel, from_zero=True)


@torch.no_grad()
def schedule_picture(
    schedule: Schedule | AveragedSchedule | SchedulePart,
    device: torch.device,
    labels: Sequence[str] | None,
) -> Figure:
    """alpha_l(t) of every position, or of evenly spaced positions where there are many."""
    t = torch.from_numpy(plots.schedule_times()).to(device)
    alpha = schedule.alpha(t).cpu()
    length = alpha.shape[1]
    drawn = list(range(0, length, -(-length // CURVES)))
    if len(drawn) < length and labels is None:
        labels = [str(i) for i in range(length)]
    names = None if labels is None else [labels[i] for i in drawn]
    return plots.schedule_curves(t.cpu(), alpha[:, drawn], names)


@torch.no_grad()
def order_picture(
    schedule: Schedule | AveragedSchedule | SchedulePart,
    generator: torch.Generator,
    labels: Sequence[str] | None,
) -> Figure:
    """P(rank | position) of the schedule's order law, from 2000 draws."""
    orders = schedule.law().sample(2000, generator)
    return plots.order_heatmap(plots.rank_probability(orders.cpu().numpy()), labels)
