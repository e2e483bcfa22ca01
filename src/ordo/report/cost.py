"""What every likelihood of a report cost, in passes of the network."""

from __future__ import annotations

from ordo.files import Json

PASS = (
    "The network reads one sequence once, with some of its tokens masked. The cost of a likelihood "
    "is counted in passes for each sequence."
)


def passes(
    settings: Json, length: int, decoded: float, order_causal: bool, depends_on_tokens: bool
) -> dict[str, int]:
    """Passes of each likelihood for one sequence.

    An order-causal denoiser scores a whole order in one pass. A bidirectional one needs a pass for
    every position, or for every step of a model that decodes in K calls. Decoding by a law that
    depends on the tokens takes any denoiser a pass for every decoded position.

    Args:
        settings: of a ``LikelihoodReport``: draws, importance_draws, calls.
        length: positions of a sequence.
        decoded: those of them that are decoded, on average.
        depends_on_tokens: whether the model's order law does.
    """
    order = 1 if order_causal else settings.get("calls") or length
    return {
        "uniform_nelbo": settings["draws"],
        "own_nelbo": settings["draws"],
        "mode_exact": round(decoded) if depends_on_tokens else order,
        "importance": settings["importance_draws"] * order,
    }


def cost_in_words(report: Json, key: str) -> str:
    """The cost of a likelihood, such as ``16 passes, 16 orders``; empty where a report lacks it."""
    number = report.get("passes", {}).get(key)
    if number is None:
        return ""
    orders = {"mode_exact": 1, "importance": report["settings"]["importance_draws"]}.get(key)
    told = f"{number:,} pass{'es' * (number != 1)}"
    if orders is None:
        return told
    return f"{told}: {orders} order{'s' * (orders != 1)}"
