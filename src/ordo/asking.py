"""What a trained model can be asked for: samples, likelihoods, its order of decoding, a report."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ordo.batch import Batch, as_ids
from ordo.data import SequenceData
from ordo.data.decoding import Decoding
from ordo.data.ids import as_array, checked_ids
from ordo.denoisers import Denoiser
from ordo.errors import ConfigError
from ordo.likelihood import Effort, LikelihoodReport, likelihood_report
from ordo.progress import SamplingMeter, track
from ordo.report.order import DecodingOrder, decoding_order
from ordo.runs.settings import CONFIGS, Measures
from ordo.samplers import Sampler, Trace, sample_batches
from ordo.schedules import AveragedSchedule
from ordo.settings import check_arguments

if TYPE_CHECKING:
    from ordo.fitting import Fitted

BATCH = 256  # sequences a call


def report_settings() -> dict[str, Any]:
    """The settings of a report and their defaults: ``report`` of src/ordo/configs/train.yaml."""
    whole: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "train.yaml"))
    names = set(inspect.signature(Measures).parameters)
    return {name: value for name, value in whole["report"].items() if name in names}


class Asking(nn.Module):
    """A denoiser and its schedule, which answer. Answers are on the CPU, and depend on the seed
    alone; the model is in evaluation mode for them.

    Attributes:
        fitted: what ``ordo.fit`` knows of the training; None for a model that was loaded.
    """

    denoiser: Denoiser
    schedule: Any
    decoding: Decoding
    fitted: Fitted | None = None

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    def batch_of(self, tokens: Any) -> Batch:
        """Sequences as a batch on the model's device: integer tensor, array or list of rows, (n,
        length), or a ``Batch``. Raises DataError, TypeError or ValueError.
        """
        if isinstance(tokens, list):
            tokens = checked_ids(as_array(tokens, "tokens"), "tokens")
        return Batch.of(tokens).to(self.device)

    @torch.no_grad()
    def sample(
        self,
        n: int | None = None,
        sampler: Sampler | None = None,
        seed: int = 0,
        given: Any = None,
        known: Any = None,
        lengths: Any = None,
        history: bool | int = False,
        batch_size: int = BATCH,
        progress: bool = False,
    ) -> Trace:
        """Draws sequences, see ``ordo.samplers.sample``; rows do not depend on ``batch_size``.

        Args:
            n: number of sequences; may be left out where ``given`` has rows.
            sampler: None: one token a call, in orders of the model's own law.
            given: tokens (n, length), or (length,) for all n sequences alike.
            known: positions that keep their given token, of the shape of ``given``, bool. None: the
                positions at which ``given`` is not the mask, ``vocab_size``.
            lengths, history: as of ``ordo.samplers.sample``.

        Raises ValueError or TypeError for shapes that do not agree, tokens out of range, and rules
        that do not go together.
        """
        if given is not None:
            given = as_array(given, "given") if isinstance(given, list) else given
            given = as_ids(given, "given")
            if known is None:
                known = given != self.denoiser.mask_id
            known = torch.as_tensor(known)
            if given.ndim == 1:
                given, known = (x.expand(1 if n is None else n, -1) for x in (given, known))
            n = len(given) if n is None else n
        if n is None:
            raise ValueError("say how many sequences: sample(n)")
        self.eval()
        with SamplingMeter("sampling") as meter:
            watch: dict[str, Any] = {"on_step": meter.step} if progress else {}
            return sample_batches(
                self.denoiser,
                sampler or Sampler(),
                n,
                batch_size,
                meter.batches if progress else iter,
                schedule=self.schedule,
                seed=seed,
                given=given,
                known=known,
                lengths=lengths,
                history=history,
                **watch,
            )

    def likelihood(
        self,
        tokens: Any,
        effort: Effort | None = None,
        progress: bool = False,
        calls: int | None = None,
    ) -> LikelihoodReport:
        """The four likelihoods of sequences (n, length), see ``ordo.likelihood.likelihood_report``.

        Args:
            tokens: as of ``batch_of``.
            effort: what it may cost.
            calls: K: likelihoods of decoding in K denoiser calls. None: those that the schedule is
                made for, or else one token a call.

        Raises DataError, TypeError or ValueError for tokens that do not fit the model.
        """
        self.eval()
        return likelihood_report(
            self.denoiser,
            self.schedule,
            self.batch_of(tokens),
            effort,
            unit=self.decoding.unit,
            calls=calls or self.schedule.calls,
            entropy=None if self.fitted is None else self.fitted.data.entropy,
            progress=track if progress else None,
        )

    @torch.no_grad()
    def order(self, tokens: Any = None) -> DecodingOrder:
        """In which order the model decodes: the law's most probable order, and mean ranks.

        Args:
            tokens: for a law that depends on the tokens, which is averaged over these sequences,
                as of ``batch_of``; None: over validation sequences, where ``ordo.fit`` knows some.

        Raises ConfigError where such a law is given no tokens.
        """
        self.eval()
        schedule = self.schedule
        if schedule.depends_on_tokens:
            if tokens is None and self.fitted is not None:
                rows = self.fitted.data.val_set
                tokens = rows.batch(torch.arange(min(BATCH, len(rows))))
            if tokens is None:
                raise ConfigError("this model's law depends on the tokens: give order(tokens)")
            schedule = AveragedSchedule(schedule, self.batch_of(tokens))
        learned = next(iter(self.schedule.parameters()), None) is not None
        return decoding_order(schedule.law(), learned, self.decoding.layout.get("names"))

    def report(self, folder: str | Path, tokens: Any = None, **settings: Any) -> Path:
        """Writes ``report.html``, its pictures, and the numbers that it shows into a folder.

        Args:
            tokens: sequences to score, as of ``batch_of``; None: the validation sequences of
                ``ordo.fit``.
            settings: of ``report`` in src/ordo/configs/train.yaml: sequences, draws,
                importance_draws, exact_sequences, orders, samples, metrics, picture_formats,
                batch_size, seed, and without tokens split ("val" or "test").

        Returns the path of report.html. Raises ConfigError where nothing is there to score,
        SettingError for unknown settings and values; DataError or ValueError for tokens that do not
        fit the model.
        """
        from ordo.runs.evaluation import examine, save_evaluation, save_report_page
        from ordo.runs.provenance import provenance
        from ordo.training.module import OrderDiffusion

        chosen = report_settings() | settings
        check_arguments(Measures, chosen)
        if tokens is not None and "split" in settings:
            raise ConfigError("split is of the data of ordo.fit: leave it out beside tokens")
        if tokens is not None:
            data = self._rows(tokens)
        elif self.fitted is not None:
            data = self.fitted.data
        else:
            raise ConfigError("a loaded model has no data of its own: give report(folder, tokens)")
        self.eval()
        module = OrderDiffusion(self.denoiser, self.schedule).to(self.device).eval()
        options: DictConfig = OmegaConf.create(chosen)
        done = examine(module, data, options, progress=False)
        where = Path(folder)
        about: dict[str, Any] = {
            "parameters": sum(p.numel() for p in self.parameters()),
            "trained_with": {"name": where.absolute().name},
            "provenance": provenance(self.device) | {"data": data.describe()},
        }
        if self.fitted is not None:
            about |= self.fitted.about()
        save_evaluation(done, module, data, where, **about)
        run = None if self.fitted is None else self.fitted.folder
        save_report_page(done, data, where, run)
        return where / "report.html"

    def _rows(self, tokens: Any) -> SequenceData:
        """Sequences as data of a report."""
        batch = self.batch_of(tokens)
        if not batch.whole:
            raise ConfigError("report takes bare tokens, without given positions and padding")
        size = self.denoiser.vocab_size
        data = SequenceData.of(batch.tokens, batch.tokens, vocab_size=size)
        if self.decoding.table is None and (self.decoding.states or self.decoding.task):
            data.decode = self.decoding  # type: ignore[method-assign]
        return data
