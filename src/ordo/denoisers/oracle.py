"""Denoisers that are exactly right: the posteriors of laws small or simple enough to compute them.
For proofs about samplers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.denoisers.sets import SetDenoiser


class TableOracle(SetDenoiser):
    """The posterior of a law given by all its sequences: p(x_l | x_S), float64.

    Args: sequences (m, length) int64, each once; log_prob (m,) nats; vocab_size. Raises ValueError
    unless probabilities sum to 1.
    """

    weights: Tensor
    one_hot: Tensor

    def __init__(self, sequences: Tensor, log_prob: Tensor, vocab_size: int):
        super().__init__()
        p = log_prob.double().exp()
        if abs(p.sum().item() - 1) > 1e-9:
            raise ValueError(
                f"the probabilities of all sequences must sum to 1, not {p.sum().item()}"
            )
        self.vocab_size = self.mask_id = vocab_size
        self.length = sequences.shape[1]
        self.register_buffer("weights", p)
        self.register_buffer(
            "one_hot", torch.nn.functional.one_hot(sequences, vocab_size).double(), persistent=False
        )

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer; log-probabilities. What is revealed must be possible:
        elsewhere NaN.
        """
        out = []
        for some in tokens.split(8192):  # (rows, m) at a time
            shown = torch.nn.functional.one_hot(some, self.vocab_size + 1)[
                ..., : self.vocab_size
            ].double()
            agree = (
                shown.flatten(1) @ self.one_hot.flatten(1).T
            )  # positions at which a sequence agrees with what is revealed
            fits = self.weights * (agree == (some != self.mask_id).sum(1, keepdim=True))
            out.append((fits / fits.sum(1, keepdim=True)) @ self.one_hot.flatten(1))
        log_p = torch.cat(out).view(len(tokens), self.length, self.vocab_size).log()
        return log_p if where is None else log_p[where]


class ChainOracle(SetDenoiser):
    """The posterior of a hidden Markov model, by forward and backward messages: p(x_l | x_S),
    float64; O(length states^2) a row.

    Args: length; start (states,), transition (states, states) and emission (states, vocab),
    probabilities by row. A Markov chain is the model whose emission is the identity. Raises
    ValueError for rows that do not sum to 1.
    """

    start: Tensor
    transition: Tensor
    emission: Tensor

    def __init__(self, length: int, start: Tensor, transition: Tensor, emission: Tensor):
        super().__init__()
        for name, p in (("start", start), ("transition", transition), ("emission", emission)):
            if not torch.allclose(p.double().sum(-1), torch.ones((), dtype=torch.float64)):
                raise ValueError(f"{name} must sum to 1 by row")
            self.register_buffer(name, p.double())
        self.length = length
        self.vocab_size = self.mask_id = emission.shape[1]

    @classmethod
    def of_chain(cls, length: int, vocab_size: int, flip: float) -> ChainOracle:
        """That of ``ordo.data.MarkovChain``."""
        same = torch.eye(vocab_size, dtype=torch.float64)
        transition = same * (1 - flip) + (1 - same) * flip / (vocab_size - 1)
        return cls(
            length, torch.full((vocab_size,), 1 / vocab_size, dtype=torch.float64), transition, same
        )

    def messages(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tokens (batch, length) -> p(state_l | revealed before l), p(revealed after l | state_l)
        up to a factor, both (batch, length, states), and log p(revealed) (batch,).
        """
        seen = torch.cat([self.emission, torch.ones_like(self.emission[:, :1])], 1).T[
            tokens
        ]  # (batch, length, states)
        forward, log_p = [], torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
        ahead = self.start.expand(len(tokens), -1)
        for position in range(self.length):
            forward.append(ahead)
            joint = ahead * seen[:, position]
            total = joint.sum(1, keepdim=True)
            log_p = log_p + total[:, 0].log()
            ahead = (joint / total) @ self.transition
        backward = [torch.ones_like(ahead)]
        for position in range(self.length - 1, 0, -1):
            back = (backward[-1] * seen[:, position]) @ self.transition.T
            backward.append(back / back.sum(1, keepdim=True))
        return torch.stack(forward, 1), torch.stack(backward[::-1], 1), log_p

    def log_law(self, tokens: Tensor) -> Tensor:
        """log p(x) (batch,) of tokens (batch, length), marginal over what is masked."""
        return self.messages(tokens)[2]

    def forward(
        self, tokens: Tensor, where: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """As BidirectionalTransformer; log-probabilities, of each position given the other revealed
        ones.
        """
        forward, backward, _ = self.messages(tokens)
        state = forward * backward
        p = (state / state.sum(-1, keepdim=True)) @ self.emission
        return p.log() if where is None else p[where].log()
