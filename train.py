"""``ordo train`` of this checkout: trains a masked diffusion model that learns its decoding order.

python train.py                                   the quickstart: embedded text, no network
python train.py experiment=nae_learned_order      any src/ordo/configs/experiment/*.yaml
python train.py --help                            every choice
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
from ordo.commands import start

if __name__ == "__main__":
    start("train")
