"""Train a masked diffusion model that learns its decoding order.

    ordo train                                   the quickstart: embedded text, no network
    ordo train experiment=nae_learned_order      any src/ordo/configs/experiment/*.yaml
    ordo train experiment=text8_learned_order_cpu data.path=FILE seed=1 steps=1200
    ordo train resume=outputs/NAME/TIME          go on after a kill, with the same settings
    ordo train -m seed=0,1,2 output=outputs/A    a sweep, with a folder for each job;
                                                      its table: ordo collect outputs/A

Every setting is in src/ordo/configs/. `ordo train --help` lists the choices; `--cfg job` prints
what would run.
"""

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from ordo.commands import start
from ordo.errors import ConfigError
from ordo.interrupt import Stopped, number_of
from ordo.likelihood import LikelihoodReport
from ordo.objectives.base import is_learned
from ordo.progress import note
from ordo.runs.compare import comparison, report_both
from ordo.runs.entry import job, running
from ordo.runs.evaluation import report_table, result_line
from ordo.runs.names import label, own_folder
from ordo.runs.run import Result, check_run, check_writable, train
from ordo.runs.sweep import job_folder


def go_on(folder: str) -> str:
    """The command that goes on with a run that was stopped, in the folder of the run or sweep."""
    left_out = ("output", "resume", "overwrite")
    same = [text for text in sys.argv[1:] if text.partition("=")[0] not in left_out]
    called = running.called or ("ordo", "train")  # in a job of a cluster no command runs
    return shlex.join([*called, *same, f"output={folder}", "resume=auto"])


def train_all(config: DictConfig) -> tuple[Result, dict[str, LikelihoodReport], bool]:
    """Trains the run, and its ``compare`` partner where there is one.

    Returns what the run left, the reports by name with the partner's first, and whether both were
    scored on the same sequences.
    """
    if config.compare is None:
        result = train(config)
        done = result.evaluation
        return result, {} if done is None else {"model": done.report}, False
    tell = note if config.trainer.get("enable_progress_bar", True) else (lambda line: None)
    label = str(config.compare.label)
    tell("1 of 2: this run")
    result = train(config)
    learned = is_learned(result.module.schedule)
    own = str(config.compare.own_label) if learned else "this run"
    tell(f"2 of 2: {label}, to compare with")
    other = train(comparison(config))
    one, two = result.evaluation, other.evaluation
    if one is None or two is None:
        return result, {} if one is None else {own: one.report}, False
    if config.report.get("page", True):
        report_both(config, (one, result.data), own, (two, other.data))
    return result, {label: two.report, own: one.report}, one.scored == two.scored


def show_result(config: DictConfig, reports: dict[str, LikelihoodReport], paired: bool) -> None:
    """Prints the table of likelihoods, or one line of it with ``quiet=true``."""
    console, split = Console(), f"{config.report.split} data"
    if config.quiet:
        line = result_line(reports, f"{config.label}, {split}", config.output)
        console.print(line, soft_wrap=True)
        return
    title = f"{config.name}: {split}, mean ± standard error"
    console.print(report_table(reports, title, paired))
    page = config.report.get("page", True)
    look = f"to look at: {config.output}/report.html; " if page else f"{config.output}: "
    console.print(f"{look}pictures, samples, checkpoints", soft_wrap=True)


def main(config: DictConfig) -> float | None:
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    with job(config.quiet, sweep):
        check_run(config)
        if config.label == config.name:
            config.label = label(config, HydraConfig.get().overrides.task)
        if sweep:
            if config.overwrite:
                raise ConfigError(
                    "overwrite=true is for a single run: delete the sweep's folder, "
                    "or name another output=FOLDER"
                )
            config.output = str(job_folder())
            # A job that a cluster stopped and starts again goes on.
            config.resume = config.resume or "auto"
        check_writable(Path(config.output))
        with own_folder(config) if rank_zero_only.rank == 0 else nullcontext():
            try:
                result, reports, paired = train_all(config)
            except KeyboardInterrupt as stop:
                again = go_on(HydraConfig.get().sweep.dir if sweep else config.output)
                raise Stopped(
                    f"{str(stop) or 'interrupted'}; to go on: {again}", number_of(stop)
                ) from None
        if reports:
            show_result(config, reports, paired)
    return None if result.report is None else result.report.estimates["own_nelbo"].nats


if __name__ == "__main__":  # another process of trainer=ddp
    start("train")
