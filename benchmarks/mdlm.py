"""The training step of MDLM (Sahoo et al. 2406.07524), which the study ``steps`` measures against.

It does what the published repository does, in our own lines: AdaLN blocks with a conditioning
vector even where time is not used, logits of all positions over a vocabulary that includes the
mask, the SUBS parameterisation by in-place substitution, float32 log-probabilities, log-linear
noise, AdamW, and an EMA of every parameter in a loop.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordo.denoisers.layers import rotary_table, rotate

CONDITION = 128
IMPOSSIBLE = -1_000_000.0


class AdaLNBlock(nn.Module):
    """Pre-norm attention and MLP, shifted, scaled and gated by the condition."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        wide, gelu = nn.Linear(width, 4 * width), nn.GELU(approximate="tanh")
        self.mlp = nn.Sequential(wide, gelu, nn.Linear(4 * width, width))
        self.modulation = nn.Linear(CONDITION, 6 * width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, condition: Tensor) -> Tensor:
        parts = self.modulation(condition)[:, None].chunk(6, dim=-1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        y = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + gate1 * self.out(y.transpose(1, 2).flatten(2))
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class MDLM(nn.Module):
    """The denoiser: logits (batch, length, vocab + 1), the mask being a class."""

    def __init__(self, vocab: int, length: int, width: int, heads: int, layers: int):
        super().__init__()
        self.mask = vocab
        self.token = nn.Embedding(vocab + 1, width)
        embed, again = nn.Linear(256, CONDITION), nn.Linear(CONDITION, CONDITION)
        self.time = nn.Sequential(embed, nn.SiLU(), again)
        blocks = [AdaLNBlock(width, heads) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, bias=False)
        self.modulation = nn.Linear(CONDITION, 2 * width)
        self.head = nn.Linear(width, vocab + 1)
        cos, sin = rotary_table(length, width // heads)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        for block in blocks:  # away from zero, so that gradients flow as later in training
            nn.init.normal_(block.modulation.weight, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        sigma = torch.zeros(len(z), device=z.device)  # time_conditioning=False feeds zeros
        frequency = -math.log(10_000) * torch.arange(128, device=z.device) / 128
        angle = sigma[:, None] * frequency.exp()
        condition = F.silu(self.time(torch.cat([angle.cos(), angle.sin()], dim=-1)))
        x = self.token(z)
        for block in self.blocks:
            x = block(x, self.cos, self.sin, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return self.head(self.norm(x) * (1 + scale) + shift)

    def log_prob(self, z: Tensor) -> Tensor:
        """SUBS: the mask has no probability, and revealed tokens keep theirs."""
        logits = self(z).float()
        logits[..., self.mask] += IMPOSSIBLE
        log_p = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
        revealed = z != self.mask
        log_p[revealed] = IMPOSSIBLE
        log_p[revealed, z[revealed]] = 0
        return log_p


def make_step(
    net: MDLM, tokens: Tensor, ema: bool, autocast: Callable[[], AbstractContextManager[object]]
) -> Callable[[], None]:
    """One step on tokens (batch, length): noise, loss, backward pass, AdamW.

    ``ema``: also the moving average of every parameter.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    shadow = [p.detach().clone() for p in net.parameters()]
    n, device = len(tokens), tokens.device

    def step() -> None:
        optimizer.zero_grad()
        u = torch.rand(n, device=device) / n + torch.arange(n, device=device) / n
        t = u * (1 - 1e-3) + 1e-3
        masked = torch.rand(tokens.shape, device=device) < t[:, None]
        z = torch.where(masked, net.mask, tokens)
        with autocast():
            log_p = net.log_prob(z).gather(-1, tokens[..., None])[..., 0]
        (-(log_p / t[:, None]).mean()).backward()
        optimizer.step()
        if ema:
            with torch.no_grad():
                for average, p in zip(shadow, net.parameters(), strict=True):
                    average.sub_((1 - 0.9999) * (average - p))

    return step
