"""Train a masked diffusion model that learns its decoding order.

    python train.py                                   the quickstart: embedded text, no network
    python train.py experiment=nae_learned_order      any configs/experiment/*.yaml
    python train.py experiment=text8_learned_order_cpu data.path=FILE seed=1 steps=1200
    python train.py resume=outputs/NAME/TIME          go on after a kill, with the same settings
    python train.py -m seed=0,1,2 output=outputs/A    a sweep, a folder a job; its table: python scripts/collect.py outputs/A

Every setting is in configs/; `python train.py --help` lists the choices, `--cfg job` prints what would run.
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from rich.console import Console

from ordo.objectives.base import is_learned
from ordo.progress import note
from ordo.runs.build import ConfigError
from ordo.runs.entry import command, job
from ordo.runs.evaluation import report_table, result_line
from ordo.runs.names import label, own_folder
from ordo.runs.run import check_run, check_writable, comparison, report_both, train
from ordo.runs.sweep import check_launcher, job_folder
from ordo.training.interrupt import Stopped, number_of

CONFIG = Path(__file__).resolve().parent / "configs" / "train.yaml"


def go_on(folder: str) -> str:
    """The command that goes on with a run that was stopped, in the folder of the run or sweep."""
    same = [
        argument
        for argument in sys.argv[1:]
        if argument.partition("=")[0] not in ("output", "resume", "overwrite")
    ]
    return shlex.join(["python", sys.argv[0], *same, f"output={folder}", "resume=auto"])


@hydra.main(config_path="configs", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float | None:
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    console = Console()
    with job(config.quiet, sweep):
        check_run(config)
        if config.label == config.name:
            config.label = label(config, HydraConfig.get().overrides.task)
        if sweep:
            if config.overwrite:
                raise ConfigError(
                    "overwrite=true is for a single run: delete the sweep's folder, or name another output=FOLDER"
                )
            config.output = str(job_folder())
            config.resume = (
                config.resume or "auto"
            )  # a job that a cluster stopped and starts again goes on
        check_writable(Path(config.output))
        with own_folder(config) if rank_zero_only.rank == 0 else nullcontext():
            try:
                reports, own, paired = {}, "model", False
                if config.compare is None:
                    result = train(config)
                else:
                    tell = (
                        note
                        if config.trainer.get("enable_progress_bar", True)
                        else (lambda line: None)
                    )
                    tell("1 of 2: this run")
                    result = train(config)
                    own = (
                        str(config.compare.own_label)
                        if is_learned(result.module.schedule)
                        else "this run"
                    )
                    tell(f"2 of 2: {config.compare.label}, to compare with")
                    other = train(comparison(config))
                    if result.evaluation is not None and other.report is not None:
                        if config.report.get("page", True):
                            report_both(config, result, own, other)
                        reports = {
                            str(config.compare.label): other.report,
                            own: result.report,
                        }  # the baseline first
                        paired = (
                            other.evaluation is not None
                            and other.evaluation.scored == result.evaluation.scored
                        )
            except KeyboardInterrupt as stop:
                again = go_on(HydraConfig.get().sweep.dir if sweep else config.output)
                raise Stopped(
                    f"{str(stop) or 'interrupted'}; to go on: {again}", number_of(stop)
                ) from None
        if result.report is not None:
            reports = reports or {own: result.report}
            if config.quiet:
                console.print(
                    result_line(
                        reports, f"{config.label}, {config.report.split} data", config.output
                    ),
                    soft_wrap=True,
                )
            else:
                console.print(
                    report_table(
                        reports,
                        f"{config.name}: {config.report.split} data, mean ± standard error",
                        paired,
                    )
                )
                look = (
                    f"to look at: {config.output}/report.html; "
                    if config.report.get("page", True)
                    else f"{config.output}: "
                )
                console.print(f"{look}pictures, samples, checkpoints", soft_wrap=True)
    return None if result.report is None else result.report.estimates["own_nelbo"].nats


if __name__ == "__main__":
    check_launcher(sys.argv[1:])
    command(main, CONFIG)
