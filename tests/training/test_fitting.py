"""``ordo.fit``: data of any kind in, the best weights out, saved, loaded, resumed."""

import copy
import json
import os
import random
import signal
import tempfile

import numpy as np
import pandas as pd
import pytest
import tiny_runs
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ordo.data import NotAllEqual, TableData, TaskData, TextData
from ordo.data.module import SequenceData
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer, wrap
from ordo.errors import ConfigError
from ordo.fitting import fit
from ordo.likelihood import steps_log_prob
from ordo.likelihood.exact import enumerate_orders
from ordo.objectives import Dense
from ordo.runs import CheckpointError
from ordo.runs.plan import plan
from ordo.runs.stored import load_data
from ordo.samplers import ByScore, Sampler, sample
from ordo.saved import OrderedModel, is_on_hub, open_model
from ordo.schedules import FreeTable, Power, Schedule, StepTable
from ordo.settings import SettingError
from ordo.training import OrderDiffusion, TrainingDiverged

V, L = 5, 4
IDS = (torch.randint(V, (80, 1), generator=torch.Generator().manual_seed(0)) + torch.arange(L)) % V
QUIET = {"progress": False, "device": "cpu"}


def small(vocab_size=V, length=L, **more):
    torch.manual_seed(1)
    return OrderCausalTransformer(vocab_size, length, width=8, heads=2, layers=1, **more)


class Net(nn.Module):
    """A network of one's own, that knows nothing of ordo."""

    def __init__(self, width=8):
        super().__init__()
        self.token, self.place = nn.Embedding(V + 1, width), nn.Parameter(torch.zeros(L, width))
        self.out = nn.Linear(width, V + 1)

    def forward(self, ids):
        x = self.token(ids) + self.place
        return self.out(torch.tanh(x + x.mean(1, keepdim=True)))


class Shifted(Schedule):
    """A schedule of one's own, in closed form as Power has it."""

    def __init__(self):
        super().__init__(L)
        self.log_w = nn.Parameter(torch.zeros(L))

    def alpha(self, t):
        return 1 - self.spread(t) ** self.log_w.double().exp()


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_fit_save_load_sample(tmp_path):
    ids = np.random.default_rng(0).integers(5, size=(60, 6), dtype=np.int32)
    model = fit(ids, steps=6, **QUIET)
    model.save(tmp_path / "model")
    again = open_model(tmp_path / "model")
    trace, drawn = model.sample(4, seed=1), again.sample(4, seed=1)
    assert torch.equal(trace.tokens, drawn.tokens)
    assert torch.equal(trace.rank, drawn.rank)


def test_the_model_answers_as_the_functions_do():
    model = fit(IDS, denoiser=small(), steps=4, **QUIET)
    assert not model.training
    assert len(repr(model).splitlines()) == 1
    sampler = Sampler(where=ByScore("margin"))
    mine = sample(model.denoiser, sampler, 3, schedule=model.schedule, seed=2)
    assert torch.equal(model.sample(3, sampler, seed=2).tokens, mine.tokens)
    assert torch.equal(model.sample(3, sampler, seed=2, batch_size=2).tokens, mine.tokens)
    report = model.likelihood(IDS[:8])
    for ids in (IDS[:8].numpy().astype(np.uint8), IDS[:8].tolist()):
        assert model.likelihood(ids).estimates == report.estimates
    order = model.order()
    assert torch.equal(order.positions, model.schedule.law().mode())
    assert torch.equal(order.mean_rank, model.schedule.law().expected_rank())
    assert order.learned
    assert len(repr(order).splitlines()) < 15
    given = torch.full((L,), V)
    given[2] = 3
    filled = model.sample(5, given=given)
    assert (filled.tokens[:, 2] == 3).all()
    assert (filled.step[:, 2] == -1).all()
    assert (filled.step[:, :2] >= 0).all()


@pytest.mark.parametrize("table", [False, True])
def test_defaults_are_those_of_the_configurations(table, tmp_path):
    if table:
        frame = pd.DataFrame({"a": np.arange(80) % 7, "b": np.arange(80) / 3, "c": ["x", "y"] * 40})
        data = TableData(frame=frame)
        data.setup("fit")
        names = ["experiment=table_learned_order", "data.path=t.csv"]
    else:
        data, names = SequenceData.of(IDS), ["experiment=quickstart"]
    config = tiny_runs.composed(*names, "name=x", "output=x").copy()
    OmegaConf.set_struct(config, False)
    shape = ("length", "vocab_size", "vocab_sizes", "ordered", "coordinates", "given")
    config.shape = {name: getattr(data, name) for name in shape}
    wanted = OmegaConf.to_container(config, resolve=True)
    mine = plan(data, {}, tmp_path, wanted["steps"], 10, {}, 0)
    for name in ("denoiser", "schedule", "objective", "optimizer"):
        has, wants = (OmegaConf.to_container(OmegaConf.create(x[name])) for x in (mine, wanted))
        assert has == wants, name
    for objective, part in (("order", Power(L, FreeTable(L))), ("time", Shifted())):
        names = ["experiment=custom", f"objective={objective}", "output=x"]
        config = tiny_runs.composed(*names).copy()
        OmegaConf.set_struct(config, False)
        config.shape = {"length": data.length, "vocab_size": data.vocab_size}
        made = {"denoiser": wrap(Net(), V, L), "schedule": part}
        mine = plan(data, made, tmp_path, 10, 5, {}, 0)["objective"]
        assert mine == OmegaConf.to_container(config.objective, resolve=True)


def test_text_of_the_data_is_no_interpolation(tmp_path, monkeypatch):
    """What data say of themselves may come from a stranger's table."""
    monkeypatch.setenv("ORDO_SECRET", "shown")
    data = SequenceData.of(IDS)
    told = data.describe() | {"name": "${oc.env:ORDO_SECRET}"}
    monkeypatch.setattr(data, "describe", lambda: told)
    model = fit(data, denoiser=small(), steps=2, folder=tmp_path / "run", **QUIET)
    assert model.fitted.config["data"]["name"] == "${oc.env:ORDO_SECRET}"
    for name in ("config.yaml", "provenance.json"):
        assert "shown" not in (tmp_path / "run" / name).read_text()


def test_a_schedule_made_for_calls_says_how_it_is_trained():
    table = StepTable(L, 2)
    model = fit(IDS, denoiser=wrap(Net(), V, L), schedule=table, steps=3, **QUIET)
    report = model.likelihood(IDS[:8])
    assert "in at most 2 calls" in repr(report)
    steps = table.logits.argmax(-1)
    assert torch.allclose(
        report.values["mode_exact"], -steps_log_prob(model.denoiser, IDS[:8], steps)
    )
    with pytest.raises(
        ConfigError, match="made for 2 denoiser calls, and the objective trains for one"
    ):
        fit(IDS, denoiser=small(), schedule=StepTable(L, 2), objective=Dense(L), steps=3, **QUIET)


def test_a_network_and_a_schedule_of_ones_own(tmp_path):
    """Trained, saved honestly, and loaded into modules that are made by hand, by no file."""
    torch.manual_seed(0)
    net, schedule = Net(), Shifted()
    before = copy.deepcopy(net)
    model = fit(IDS, denoiser=net, schedule=schedule, steps=6, folder=tmp_path / "run", **QUIET)
    assert model.denoiser.module is net
    assert not same_weights(net, before)
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["denoiser"] == {"own": "Net", "vocab_size": V, "length": L}
    assert config["schedule"] == {"own": "Shifted", "length": L}
    for path in (tmp_path / "model", tmp_path / "run"):
        other, law = Net(), Shifted()
        again = open_model(path, denoiser=other, schedule=law)
        assert same_weights(other, net)
        assert same_weights(law, schedule)
        assert torch.equal(again.sample(5, seed=3).tokens, model.sample(5, seed=3).tokens)
        assert repr(again) == repr(model)
        with pytest.raises(CheckpointError, match=r"its denoiser is of a class of your own, Net,.*"
                           r"give it as denoiser="):  # fmt: skip
            open_model(path)
        with pytest.raises(CheckpointError, match=r"its schedule is .* Shifted"):
            open_model(path, denoiser=Net())
        wrong, law = Net(width=9), Shifted()
        before = copy.deepcopy(wrong)
        with pytest.raises(CheckpointError, match=r"tensor .* has shape|does not fit"):
            open_model(path, denoiser=wrong, schedule=law)
        assert same_weights(wrong, before)
        assert not law.log_w.any()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    other = Net()
    open_model(last, denoiser=other, schedule=Shifted())
    assert torch.equal(
        other.out.weight,
        torch.load(last, weights_only=True)["state_dict"]["denoiser.module.out.weight"],
    )
    with pytest.raises(ConfigError, match="its data came from Python, as RowsData"):
        load_data({"data": {"own": "RowsData"}}, last)
    with pytest.raises(CheckpointError, match="Linear fails on two rows"):
        open_model(tmp_path / "model", denoiser=nn.Linear(2, 2), schedule=Shifted())


def test_objects_of_ordo_are_described(tmp_path):
    """Given as objects, with what they were made of: no object is needed to load."""
    torch.manual_seed(0)
    parts = BidirectionalTransformer(V, L, 8, heads=2, layers=1), Power(L, FreeTable(L), bound=2.0)
    model = fit(IDS, denoiser=parts[0], schedule=parts[1], steps=3, **QUIET)
    assert model.denoiser is parts[0]
    model.save(tmp_path / "m")
    again = open_model(tmp_path / "m")
    assert again.schedule.bound == 2.0
    assert torch.equal(again.sample(5).tokens, model.sample(5).tokens)
    with pytest.raises(ConfigError, match="m exists"):
        model.save(tmp_path / "m")


def batches_of(kind):
    if kind == "loader":
        loader = DataLoader(TensorDataset(IDS), batch_size=10)
        return {"data": loader, "val": IDS[:9].numpy(), "vocab_size": V}
    data = {"list": IDS.tolist(), "set": TensorDataset(IDS), "array": IDS.numpy().astype(np.int16)}
    return {"data": data[kind], "batch_size": 10}


@pytest.mark.parametrize("kind", ["list", "set", "array", "loader"])
def test_kinds_of_data(kind):
    given = batches_of(kind)
    model = fit(given.pop("data"), steps=3, denoiser=small(), **given, **QUIET)
    data = model.fitted.data
    assert (data.length, data.vocab_size) == (L, V)
    rows = next(iter(data.train_dataloader()))
    assert rows.shape == (10, L)
    assert model.decode(torch.tensor([[0, 1, 2, V]])) == ["0 1 2 _"]


def test_a_table(tmp_path):
    frame = pd.DataFrame({"a": np.arange(80) % 7, "b": np.arange(80) / 3, "c": ["x", "y"] * 40})
    model = fit(TableData(frame=frame, batch_size=8), steps=2, folder=tmp_path / "run", **QUIET)
    assert set(model.order().labels) == {"a", "b", "c"}
    drawn = open_model(tmp_path / "run").decode(model.sample(3).tokens)
    assert list(drawn.columns) == ["a", "b", "c"]
    assert model.likelihood(model.fitted.data.val_set.tokens).unit == "column"


def test_data_modules_keep_their_meaning(tmp_path):
    path = tmp_path / "letters"
    path.write_text(tiny_runs.LETTERS)
    text = TextData(source="file", path=str(path), length=6, batch_size=8, limit_eval=8)
    model = fit(text, steps=2, folder=tmp_path / "run", **QUIET)
    assert open_model(tmp_path / "run").decode(text.val_set.tokens[:2]) == text.decode(
        text.val_set.tokens[:2]
    )
    task = TaskData(NotAllEqual(3, 3), batches_per_epoch=4, eval_size=8, batch_size=8)
    model = fit(task, steps=2, **QUIET)
    model.save(tmp_path / "task")
    tokens = task.val_set.tokens[:2]
    assert open_model(tmp_path / "task").decode(tokens) == task.decode(tokens)


class Stops(Dense):
    """The dense objective; kills the process before a training step."""

    at = None

    def forward(self, denoiser, schedule, batch, random):
        if self.training and random.step == Stops.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(denoiser, schedule, batch, random)


def test_resume_gives_the_same_numbers(tmp_path):
    def train(folder, **more):
        parts = {"denoiser": small(dropout=0.2), "objective": Stops(L), "schedule_lr": 0.1}
        return fit(
            IDS, steps=11, validate_every=4, ema=0.5, folder=tmp_path / folder, **parts,
            **more, **QUIET
        )  # fmt: skip

    whole = train("whole")
    child = os.fork()
    if child == 0:
        Stops.at = 7
        try:
            train("parts", resume=True)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with pytest.raises(ConfigError, match=r"holds a training already .* resume=True goes on"):
        train("parts")
    assert not (tmp_path / "parts" / "fitted").exists()
    resumed = train("parts", resume=True)
    assert same_weights(whole, resumed)
    assert resumed.fitted.steps == 11
    rows = [(tmp_path / name / "csv" / "metrics.csv").read_text() for name in ("whole", "parts")]
    assert rows[0] == rows[1]
    for name in ("whole", "parts"):
        assert same_weights(whole, open_model(tmp_path / name))
    assert same_weights(whole, train("whole", resume=True))  # nothing is left to train
    with pytest.raises(CheckpointError, match="holds a run of other settings"):
        train("whole", resume=True, seed=1)
    assert same_weights(whole, open_model(tmp_path / "whole")), "which is still there"
    assert not same_weights(whole, train("parts", overwrite=True, seed=1))


class Keeps(Dense):
    """The dense objective; keeps copies of the denoiser from before the steps."""

    def __init__(self, length):
        super().__init__(length)
        self.kept = {}

    def forward(self, denoiser, schedule, batch, random):
        if self.training:
            self.kept[random.step] = copy.deepcopy(denoiser)
        return super().forward(denoiser, schedule, batch, random)


def test_the_best_weights_and_an_early_stop():
    """Three sequences learned by heart, and others to be validated: the exact NELBO, by
    enumeration, of the weights that come back is the least of all validations.
    """
    kept = Keeps(L)
    uniform = Power(L, FreeTable(L).requires_grad_(False))
    val = torch.randint(V, (40, L), generator=torch.Generator().manual_seed(3))
    denoiser = small()
    model = fit(
        IDS[:3], val=val, vocab_size=V, denoiser=denoiser, schedule=uniform, objective=kept,
        lr=0.02, steps=200, validate_every=3, patience=4, warmup_steps=0, **QUIET
    )  # fmt: skip

    def exact(net):
        with torch.no_grad():
            return float(enumerate_orders(net.eval(), uniform.law(), val).nelbo.mean())

    nelbos = {step: exact(net) for step, net in kept.kept.items() if step and step % 3 == 0}
    best = min(nelbos, key=nelbos.get)
    assert same_weights(model.denoiser, kept.kept[best])
    assert exact(model.denoiser) == nelbos[best] < nelbos[max(nelbos)] - 0.1
    assert model.fitted.steps == best + 4 * 3 < 200
    assert model.denoiser is denoiser


def test_the_last_step_is_validated(tmp_path):
    fit(IDS, denoiser=small(), steps=7, validate_every=5, folder=tmp_path / "run", **QUIET)
    metrics = pd.read_csv(tmp_path / "run" / "csv" / "metrics.csv")
    assert metrics["step"][metrics["val/nelbo"].notna()].tolist() == [4, 6]


def test_averages_are_what_is_returned():
    """With ema, the average by hand of the weights after every step."""
    kept = Keeps(L)
    schedule = Power(L, FreeTable(L).requires_grad_(False))
    model = fit(
        IDS, denoiser=small(), schedule=schedule, objective=kept, steps=4, validate_every=4,
        ema=0.25, **QUIET
    )  # fmt: skip
    plain = Keeps(L)
    last = fit(
        IDS, denoiser=small(), schedule=schedule, objective=plain, steps=4, validate_every=4,
        **QUIET
    )  # fmt: skip
    weights = [plain.kept[step].head.weight for step in (1, 2, 3)] + [last.denoiser.head.weight]
    average = weights[0]
    for weight in weights[1:]:
        average = 0.25 * average + 0.75 * weight
    torch.testing.assert_close(model.denoiser.head.weight, average)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    torch.manual_seed(5)
    random.seed(5)
    state, numbers = torch.get_rng_state(), random.getstate()
    first = fit(IDS, steps=2, **QUIET)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == numbers
    torch.manual_seed(6)
    assert same_weights(first, fit(IDS, steps=2, **QUIET)), "a function of the seed"
    assert not same_weights(first, fit(IDS, steps=2, seed=1, **QUIET))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        ({"steps": 0}, SettingError, "steps=0: must be"),
        ({"lr": "high"}, SettingError, "lr=high"),
        ({"momentum": 0.9}, SettingError, "momentum=0.9: there is no such setting"),
        ({"weight_decay": -1}, SettingError, "weight_decay=-1"),
        ({"resume": True}, ConfigError, "resume and overwrite need folder"),
        ({"denoiser": small(length=6)}, ConfigError, "for 6 positions, the data have 4"),
        ({"denoiser": small(7), "vocab_size": 5}, ConfigError, "for 7 tokens, the data have 5"),
        ({"denoiser": nn.Linear(2, 2)}, ConfigError, "Linear fails on two rows"),
        ({"schedule": Power(6, FreeTable(6))}, ConfigError, "the schedule has 6 positions"),
        ({"schedule": FreeTable(L)}, ConfigError, "FreeTable is no schedule: subclass"),
        ({"objective": Dense(L), "denoiser": Net()}, ConfigError, "needs an order-causal"),
        ({"device": "gpu0"}, SettingError, "device=gpu0: must be"),
    ],
)
def test_bad_arguments(change, kind, line, tmp_path):
    with pytest.raises(kind, match=line) as caught:
        fit(IDS, folder=None if "resume" in change else tmp_path / "new", **{**QUIET, **change})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_data_that_have_their_own(tmp_path):
    data = SequenceData.of(IDS)
    with pytest.raises(ConfigError, match="RowsData has batch_size of its own"):
        fit(data, batch_size=3)
    with pytest.raises(ConfigError, match="a DataLoader has a batch_size of its own"):
        fit(DataLoader(IDS), val=IDS, vocab_size=V, batch_size=3)


class Interrupted(Dense):
    """The dense objective; Ctrl-C before the third step."""

    def forward(self, denoiser, schedule, batch, random):
        if random.step == 2 and self.training:
            raise KeyboardInterrupt
        return super().forward(denoiser, schedule, batch, random)


def test_ctrl_c(tmp_path):
    with pytest.raises(
        KeyboardInterrupt, match="stopped at step 2; nothing is kept without folder="
    ):
        fit(IDS, denoiser=small(), objective=Interrupted(L), steps=9, **QUIET)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 2, last checkpoint of step 2 in"):
        fit(
            IDS, denoiser=small(), objective=Interrupted(L), steps=9, validate_every=1,
            folder=tmp_path / "run", **QUIET
        )  # fmt: skip


def test_divergence_is_told_in_words_of_python(tmp_path):
    denoiser = small()
    with torch.no_grad():
        denoiser.head.weight.fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match=r"lower lr or schedule_lr, or bound log w$"):
        fit(IDS, denoiser=denoiser, steps=2, **QUIET)


def test_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("ordo.report.page.Picture.png", b"")  # drawing takes a second each
    few = {"sequences": 6, "draws": 1, "importance_draws": 2, "orders": 2, "samples": 2}
    model = fit(IDS, denoiser=small(), steps=2, folder=tmp_path / "run", **QUIET)
    path = model.report(tmp_path / "page", **few)
    page = path.read_text()
    assert path == tmp_path / "page" / "report.html"
    numbers = json.loads((tmp_path / "page" / "report.json").read_text())
    val = model.fitted.data.val_set
    rows = torch.linspace(0, len(val) - 1, min(6, len(val)), dtype=torch.float64).round().long()
    wanted = model.likelihood(val.tokens[rows].long()).estimates["mode_exact"].nats
    assert numbers["estimates"]["mode_exact"]["nats"] == pytest.approx(wanted)
    assert "The order of decoding" in page
    assert len(list((tmp_path / "page" / "pictures").iterdir())) >= 4
    again = open_model(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"give report\(folder, tokens\)"):
        again.report(tmp_path / "other")
    for wrong, message in (
        ({"draw": 1}, "draw=1: there is no such setting; there are split"),
        ({"sequences": "all"}, "sequences=all: must be a whole number"),
        ({"samples": -1}, "samples=-1: must be"),
    ):
        with pytest.raises(SettingError, match=message):
            again.report(tmp_path / "other", IDS, **wrong)
    with pytest.raises(ConfigError, match="leave it out beside tokens"):
        again.report(tmp_path / "other", IDS, split="test")
    assert not (tmp_path / "other").exists()
    again.report(tmp_path / "other", IDS[:4], **few)
    numbers = json.loads((tmp_path / "other" / "report.json").read_text())
    assert numbers["estimates"]["own_nelbo"]["sequences"] == 4


def test_names_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    assert is_on_hub("someone/model")
    for name in ("outputs/model", "outputs", "model", "/x/model", "a/b/c", "x/last.ckpt", "../x"):
        assert not is_on_hub(name)


def test_a_model_by_hand_of_objects(tmp_path):
    model = OrderedModel(small(), Power(L, FreeTable(L)))
    model.save(tmp_path / "m")
    assert same_weights(model, open_model(tmp_path / "m"))
    module = OrderDiffusion(model.denoiser, model.schedule)
    assert module.denoiser is model.denoiser
