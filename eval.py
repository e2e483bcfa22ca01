"""``ordo eval`` of this checkout: likelihoods, samples and pictures of a checkpoint.

python eval.py checkpoint=outputs/NAME/TIME split=test
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
from ordo.commands import start

if __name__ == "__main__":
    start("eval")
