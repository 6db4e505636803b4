"""The network: Whisper's architecture (Radford et al., 2022), scaled down to ten digits.

Parameter names are whisper.cpp's, so exporting is a loop over the state dictionary. Two heads on
the encoder serve training only: which digit, and the how-manieth, each 20 ms frame belongs to.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EOT, SOT, NOT = 10, 11, 12  # end of transcript, start of transcript, no timestamps
TOKENS = 13
FRAME_S = 0.02  # one encoder position
MAX_DIGITS = 12


@dataclass(frozen=True)
class Config:
    """Sizes. Widths are multiples of 32, as quantised ggml rows must be."""

    width: int = 128
    heads: int = 4
    encoder_layers: int = 3
    decoder_layers: int = 2
    audio_context: int = 512  # encoder positions: 10.24 s
    text_context: int = 16  # positions that are trained; the ggml file repeats the last up to 64


def gelu(x: Tensor) -> Tensor:
    """ggml computes GELU by its tanh approximation."""
    return F.gelu(x, approximate="tanh")


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed encoder positions, [length, channels]."""
    step = math.log(10_000) / (channels // 2 - 1)
    angle = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2))[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Attention(nn.Module):
    """Multi-head attention; keys carry no bias, as in Whisper."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, causal: bool, weights: bool) -> tuple[Tensor, Tensor | None]:
        def split(y: Tensor) -> Tensor:
            return y.view(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(source)), split(self.value(source))
        if len(k) < len(q):  # many strings under one clip
            k, v = (y.expand(len(q), -1, -1, -1) for y in (k, v))
        if weights:
            w = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
            y = w @ v
        else:
            w, y = None, F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(x.shape)), w


class Block(nn.Module):
    """A pre-norm transformer block, with cross-attention in the decoder."""

    def __init__(self, width: int, heads: int, cross: bool) -> None:
        super().__init__()
        self.attn, self.attn_ln = Attention(width, heads), nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads) if cross else None
        self.cross_attn_ln = nn.LayerNorm(width) if cross else None
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, source: Tensor | None, weights: bool) -> tuple[Tensor, Tensor | None]:
        y = self.attn_ln(x)
        x = x + self.attn(y, y, causal=source is not None, weights=False)[0]
        w = None
        if source is not None:
            y, w = self.cross_attn(self.cross_attn_ln(x), source, causal=False, weights=weights)
            x = x + y
        return x + self.mlp(self.mlp_ln(x)), w


BEFORE, AFTER = "before", "after"
# Where the heads of each encoder layer look at first, in positions of 20 ms. The last layer also
# counts the digits, for which two heads look at all that came before, and at all that follows.
FIRST_LOOK = [(-3, -1, 1, 3), (-8, -3, 3, 8), (-12, 12, BEFORE, AFTER)]


@torch.no_grad()
def start_looking(attention: Attention, looks: tuple[int | str, ...], sharpness: float = 1.4) -> None:
    """Starts head i out as a soft look at the position `looks[i]` further on, or to one side.

    A shift in time is a rotation of each pair of sinusoidal positions, so a query that is the
    rotated position matches the key that is the plain one; a quarter turn of slow pairs prefers
    one side of the present. A small transformer takes long to find out that sounds are made of
    what is nearby; started so, it learns like a convolutional network.
    """
    width = attention.query.weight.shape[1]
    half, rows = width // 2, width // attention.heads
    i = torch.arange(rows // 2)
    for head, look in enumerate(looks):
        # Periods of 0.1 to 5 s to find a place, 0.8 to 24 s to find a side.
        low, high = (0, 0.41) if isinstance(look, int) else (0.2, 0.57)
        channel = torch.linspace(low * half, high * half, rows // 2).round().long()
        speed = torch.exp(-math.log(10_000) / (half - 1) * channel)
        quarter = torch.full_like(speed, math.pi / 2)
        phase = speed * look if isinstance(look, int) else -quarter if look == BEFORE else quarter
        turn, plain = torch.zeros(rows, width), torch.zeros(rows, width)
        plain[i, channel] = plain[i + rows // 2, channel + half] = 1
        turn[i, channel] = turn[i + rows // 2, channel + half] = torch.cos(phase)
        turn[i, channel + half] = torch.sin(phase)
        turn[i + rows // 2, channel] = -torch.sin(phase)
        of_head = slice(head * rows, (head + 1) * rows)
        for linear, pattern in ((attention.query, turn), (attention.key, plain)):
            linear.weight[of_head] = sharpness * pattern + 0.3 * linear.weight[of_head]
        attention.query.bias[of_head] = 0


class Encoder(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(80, cfg.width, 3, padding=1)
        self.conv2 = nn.Conv1d(cfg.width, cfg.width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(cfg.audio_context, cfg.width))
        self.blocks = nn.ModuleList(Block(cfg.width, cfg.heads, False) for _ in range(cfg.encoder_layers))
        self.ln_post = nn.LayerNorm(cfg.width)
        with torch.no_grad():  # else the positions, of amplitude 1, drown what is heard at first
            self.conv1.weight *= 3
            self.conv2.weight *= 4
        for block, looks in zip(self.blocks, FIRST_LOOK):
            start_looking(block.attn, looks)

    def forward(self, mel: Tensor) -> Tensor:
        """[batch, 80, 2 n] log-mel -> [batch, n, width]."""
        x = gelu(self.conv2(gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x, _ = block(x, None, False)
        return self.ln_post(x)


class Decoder(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(TOKENS, cfg.width)
        self.positional_embedding = nn.Parameter(torch.randn(cfg.text_context, cfg.width) * 0.05)
        self.blocks = nn.ModuleList(Block(cfg.width, cfg.heads, True) for _ in range(cfg.decoder_layers))
        self.ln = nn.LayerNorm(cfg.width)
        nn.init.normal_(self.token_embedding.weight, std=0.05)

    def forward(self, tokens: Tensor, audio: Tensor, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """[batch, k] tokens -> [batch, k, 13] logits, and the last layer's cross-attention."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        w = None
        for i, block in enumerate(self.blocks):
            x, w = block(x, audio, weights and i + 1 == len(self.blocks))
        return self.ln(x) @ self.token_embedding.weight.T, w


class DigitsModel(nn.Module):
    """Encoder, decoder and the training-only heads."""

    def __init__(self, cfg: Config = Config()) -> None:
        super().__init__()
        self.cfg = cfg
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg)
        self.frame_digit = nn.Linear(cfg.width, 11)  # 10: none
        self.frame_ordinal = nn.Linear(cfg.width, MAX_DIGITS + 1)  # the last: none
        self.reserve_dimension()

    def reserve_dimension(self) -> None:
        """Holds the last feature of the last layer norm at 1.

        The 51,851 token rows of a ggml file that are not trained get a large negative weight there
        and zero elsewhere, which puts them out of reach. Called after every optimiser step.
        """
        with torch.no_grad():
            self.decoder.ln.weight[-1] = 0
            self.decoder.ln.bias[-1] = 1

    @torch.no_grad()
    def greedy(self, mel: Tensor) -> list[list[int]]:
        """Transcribes [batch, 80, 1024] mels as the service does: digits or end, token by token."""
        return self.transcribe(self.encoder(mel))

    @torch.no_grad()
    def transcribe(self, audio: Tensor) -> list[list[int]]:
        """The same, from the encoder's output."""
        tokens = torch.tensor([[SOT, NOT]]).repeat(len(audio), 1)
        ended = torch.zeros(len(audio), dtype=torch.bool)
        for _ in range(MAX_DIGITS):
            logits = self.decoder(tokens, audio)[0][:, -1, : EOT + 1]
            best = logits.argmax(-1).masked_fill(ended, EOT)
            ended |= best == EOT
            tokens = torch.cat([tokens, best[:, None]], dim=1)
            if ended.all():
                break
        return [[t for t in row if t < EOT] for row in tokens[:, 2:].tolist()]


def save(model: DigitsModel, path, **extra) -> None:
    """Writes a checkpoint so that an interruption leaves the previous one in place."""
    part = path.with_suffix(".part")
    torch.save({"config": asdict(model.cfg), "model": model.state_dict(), **extra}, part)
    part.replace(path)


def load(path) -> tuple[DigitsModel, dict]:
    """Reads a checkpoint: the model, and what was saved beside it."""
    blob = torch.load(path, weights_only=True)
    model = DigitsModel(Config(**blob.pop("config")))
    model.load_state_dict(blob.pop("model"))
    return model.eval(), blob
