"""Masked diffusion models that learn their decoding order.

    import numpy as np
    import ordo

    ids = np.load("ids.npy")  # (n, length), whole numbers
    model = ordo.fit(ids, steps=2000)
    print(model.order())
    print(model.likelihood(ids[:256]))
    model.save("my_model")
    print(ordo.load("my_model").sample(4).tokens)

What takes seconds to import is imported when it is first used.
"""

from typing import TYPE_CHECKING

from ordo.lazy import lazily

if TYPE_CHECKING:
    from ordo.data import SequenceData
    from ordo.denoisers import wrap
    from ordo.fitting import fit
    from ordo.likelihood import LikelihoodReport, likelihood_report, nelbo
    from ordo.samplers import Sampler, sample
    from ordo.saved import OrderedModel
    from ordo.saved import open_model as load

__version__ = "0.2.0"
__all__ = [
    "LikelihoodReport", "OrderedModel", "Sampler", "SequenceData", "fit", "likelihood_report",
    "load", "nelbo", "sample", "wrap",
]  # fmt: skip
__getattr__ = lazily(
    __name__,
    {
        "LikelihoodReport": "ordo.likelihood",
        "OrderedModel": "ordo.saved",
        "Sampler": "ordo.samplers",
        "SequenceData": "ordo.data",
        "fit": "ordo.fitting",
        "likelihood_report": "ordo.likelihood",
        "load": "ordo.saved:open_model",
        "nelbo": "ordo.likelihood",
        "sample": "ordo.samplers",
        "wrap": "ordo.denoisers",
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
