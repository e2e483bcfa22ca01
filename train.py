"""Train a masked diffusion model that learns its decoding order.

    python train.py                                   the quickstart: embedded text, no network
    python train.py experiment=nae_learned_order      any configs/experiment/*.yaml
    python train.py experiment=text8_learned_order_cpu data.path=FILE seed=1 steps=1200
    python train.py resume=outputs/NAME/TIME          go on after a kill, with the same settings
    python train.py -m seed=0,1,2 output=outputs/A    a sweep, a folder a job; its table: python scripts/collect.py outputs/A

Every setting is in configs/; `python train.py --help` lists the choices, `--cfg job` prints what would run.
"""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from ordo.training.build import first_line
from ordo.training.errors import USER_ERRORS, fail
from ordo.training.run import comparison, report_table, train
from ordo.training.sweep import check_launcher, job_folder


@hydra.main(config_path="configs", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float | None:
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    if sweep:
        config.output = str(job_folder())
        config.resume = config.resume or "auto"  # a job that a cluster stopped and starts again goes on
    console = Console()
    try:
        result = train(config)
        reports = {}
        if config.compare is not None:
            other = train(comparison(config))
            if other.report is not None:
                reports[str(config.compare.label)] = other.report
        if result.report is not None:
            reports[str(config.compare.own_label) if config.compare is not None else "model"] = result.report
            console.print(report_table(reports, f"{config.name}: {config.report.split} data, mean ± standard error"))
            console.print(f"report, pictures and checkpoints: {config.output}", soft_wrap=True)
    except USER_ERRORS as error:
        if not sweep:
            fail(error)
        print(f"error: {first_line(error)}", file=sys.stderr)  # now: Hydra goes on with the other jobs and then tells of the first error
        raise CompactHydraException(f"error: {first_line(error)}") from None
    return None if result.report is None else result.report.estimates["own_nelbo"].nats


if __name__ == "__main__":
    check_launcher(sys.argv[1:])
    main()
