"""Every YAML that a user can choose: composes, shows every argument, instantiates, and trains what
it says.
"""

import inspect
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from tiny_runs import CONFIGS, NAE, configuration, run, text_overrides

from ordo import data
from ordo.data import Batch
from ordo.denoisers import BidirectionalTransformer
from ordo.likelihood import nelbo
from ordo.objectives import Dense
from ordo.order import FixedOrder, PlackettLuce
from ordo.randomness import StepRandom
from ordo.runs import load
from ordo.runs.build import best_precision, build_data, build_module
from ordo.runs.entry import FAILED, WRONG
from ordo.runs.trainer import build_trainer
from ordo.training.optimisation import build_optimizer


def names(group):
    return sorted(path.stem for path in (Path(CONFIGS) / group).glob("*.yaml"))


def parts(config, path=""):
    """Every node that names a class, nested ones included."""
    if "_target_" in config:
        yield path, config
    for key in config:
        node = config._get_node(key)
        if hasattr(node, "keys"):
            yield from parts(node, f"{path}.{key}")


def test_every_place_of_data_can_be_named_to_eval():
    """A checkpoint may not say where data lie, so eval.yaml has a setting for whatever a class of
    data lists.
    """
    places = {
        place
        for kind in vars(data).values()
        if inspect.isclass(kind)
        for place in getattr(kind, "places", ())
    }
    assert {"path", "source", "types"} <= places
    assert set(OmegaConf.load(Path(CONFIGS) / "eval.yaml").data) == places


@pytest.mark.parametrize("name", ["train", "eval", "sample", "export"])
def test_every_help_has_the_exit_codes(name):
    text = " ".join(OmegaConf.load(Path(CONFIGS) / f"{name}.yaml").hydra.help.template.split())
    codes = {
        FAILED: "failed",
        WRONG: "wrong command line",
        130: "stopped by Ctrl-C",
        143: "stopped by SIGTERM",
    }
    assert all(f"{code} {words}" in text for code, words in codes.items())


@pytest.mark.parametrize("group", ["schedule", "objective", "denoiser", "optimizer"])
def test_every_argument_is_shown(group):
    elsewhere = {"order": {"antithetic"}, "time": {"relax"}}  # for masks, and for orders
    whole_run = {"calls"} if group == "objective" else set()  # shown in train.yaml
    assert whole_run <= set(OmegaConf.load(Path(CONFIGS) / "train.yaml"))
    for name in names(group):
        whole = OmegaConf.load(Path(CONFIGS) / group / f"{name}.yaml")
        for path, node in parts(whole):
            wanted = set(inspect.signature(get_object(node._target_)).parameters)
            wanted -= elsewhere.get(name, set()) if path == ".score" else whole_run
            assert set(node) - {"_target_"} == wanted, f"{group}/{name}{path}"


CONTENT = (
    "per_vocabulary",
    "per_context",
    "per_context_pooled",
    "order_posterior",
    "per_context_shared",
)


def fits(schedule, objective, denoiser):
    """What the design says may be combined."""
    causal = denoiser in ("order_causal", "table_causal")
    if causal and schedule in ("per_vocabulary", "per_context_shared"):
        return False  # rates of tokens, or features without an order
    right = {"dense": causal, "dense_rloo": causal, "time": not causal, "order": True}[objective]
    return right and (schedule != "kumaraswamy" or objective != "order")


CAUSAL = {"order_causal": True, "bidirectional": False, "table_causal": True, "table": False}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Callable: (schedule, objective, denoiser) -> their configuration; every choice is composed
    once. And a batch of its data.
    """
    folder = tmp_path_factory.mktemp("mixed")
    base = configuration(folder, *NAE)
    tokens = next(iter(build_data(base).train_dataloader()))
    groups = ("schedule", "objective", "denoiser")
    made = {}

    def of(*chosen):
        config = base.copy()
        for group, name in zip(groups, chosen, strict=True):
            if (group, name) not in made:
                made[group, name] = configuration(folder, *NAE, f"{group}={name}")[group]
            config[group] = made[group, name]
        return config

    return of, tokens


# A table of steps needs calls=K: tests/training/test_calls_run.py.
@pytest.mark.parametrize("schedule", [n for n in names("schedule") if n != "step_table"])
def test_schedules_with_objectives(schedule, mixed):
    """Every combination that fits has finite gradients in all its parameters; every other one is
    refused. Tables of logits, which are denoisers too, are tried with two schedules.
    """
    of, tokens = mixed
    denoisers = list(CAUSAL)[: None if schedule in ("power_table", "per_context") else 2]
    for objective in names("objective"):
        for denoiser in denoisers:
            if not fits(schedule, objective, denoiser):
                with pytest.raises(ValueError, match=r"do not fit|Transformer has not"):
                    build_module(of(schedule, objective, denoiser))
                continue
            module = build_module(of(schedule, objective, denoiser))
            for step in range(2):  # the running baseline of objective dense starts with the second
                out = module.objective(
                    module.denoiser, module.schedule, tokens, StepRandom(step=step)
                )
            out.loss.backward()
            for name, parameter in module.named_parameters():
                where = (objective, denoiser, name)
                assert parameter.grad is not None or not parameter.requires_grad, where
                assert torch.isfinite(parameter.grad).all(), where


def test_every_denoiser_is_tried():
    """Those of language models want a corpus: test_pretrained_run.py."""
    assert set(names("denoiser")) == {*CAUSAL, "masked_lm", "causal_lm"}


def test_schedules_are_what_their_names_say(mixed):
    of, tokens = mixed

    def law(name):
        return build_module(of(name, "dense", "order_causal")).schedule.law()

    def law_given(name):
        return build_module(of(name, "order", "bidirectional")).schedule.law(Batch(tokens)).log_w

    assert isinstance(law("left_to_right"), FixedOrder)
    assert law("left_to_right").order.tolist() == list(range(6))
    for name in ("linear", "cosine", "geometric", "polynomial", "power_table"):
        assert isinstance(law(name), PlackettLuce)
        assert law(name).log_w.tolist() == [0.0] * 6, "all orders equally probable at the start"
    assert (law_given("per_vocabulary") == 0).all(), "equal rates"
    for name in CONTENT[1:]:
        assert 0 < law_given(name).std(1).mean() < 0.2, (
            "all but equally probable, off the saddle point"
        )
    assert 0 < law("power_network").log_w.abs().max() < 0.5, "off the saddle point, not far from it"


def chosen(experiment):
    """group -> choice, as an experiment's file says, or the experiment that it is made from."""
    entries = OmegaConf.load(Path(CONFIGS) / "experiment" / f"{experiment}.yaml")
    out = {}
    for entry in entries.get("defaults", []) if "defaults" in entries else []:
        if isinstance(entry, str):
            out |= chosen(entry) if entry != "_self_" else {}
        else:
            out |= {key.split("/")[-1]: value for key, value in entry.items()}
    return out


def overfit(experiments):
    """Of the experiments that choose the same parts the first; the later ones are slow tests."""
    made = set()
    for name in experiments:
        parts_ = chosen(name)
        key = tuple(parts_.get(group) for group in ("schedule", "objective", "denoiser"))
        marks = pytest.mark.slow if key in made else ()
        yield pytest.param(name, [], marks=marks)
        made.add(key)


OVERFIT = list(overfit(names("experiment")))
OVERFIT += [
    ("custom", ["objective=order"]),
    ("custom", ["objective=order", "denoiser=bidirectional"]),
]
OVERFIT += [("custom", ["objective=time", "denoiser=bidirectional", "schedule=kumaraswamy"])]


SPACES = ("time", "order", "time", "order", "order")
OVERFIT += [
    ("custom", ["denoiser=bidirectional", f"objective={objective}", f"schedule={schedule}"])
    for schedule, objective in zip(CONTENT, SPACES, strict=True)
]


@pytest.mark.parametrize(
    ("experiment", "changes"),
    OVERFIT,
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_overfits_one_batch(experiment, changes, tmp_path):
    """The NELBO of two sequences under the model's own law falls to less than half."""
    overrides = [
        *changes,
        "data.batch_size=2",
        "optimizer.lr=2e-2",
        "optimizer.warmup_steps=5",
        "optimizer.schedule_delay=20",
    ]
    source = configuration(tmp_path, experiment=experiment).data
    if "bank" in source:
        overrides += ["data.bank=8", "data.eval_size=2"]
    if "bins" in source:
        (tmp_path / "t.csv").write_text(
            "a,b,c\n" + "".join(f"{i / 3},{'xyz'[i % 3]},{i % 5}\n" for i in range(40))
        )
        overrides += [f"data.path={tmp_path / 't.csv'}"]
    if source._target_.endswith("SmilesData"):
        (tmp_path / "molecules").write_text(
            "".join(f"{'C' * n}{end}\n" for n in range(1, 9) for end in ("O", "N", "F", "#N"))
        )
        overrides += [f"data.path={tmp_path / 'molecules'}"]
    if "source" in source:
        overrides += ["data.length=8"]
        if source.source == "text8":
            text_overrides(tmp_path)
            overrides += [f"data.path={tmp_path / 'letters'}"]
    config = configuration(tmp_path / "run", *overrides, "steps=80", experiment=experiment)
    batch = Batch.of(next(iter(build_data(config).train_dataloader())))
    module = build_module(config)
    optimizer, scheduler = build_optimizer(module.denoiser, module.schedule, module.settings)

    def own_nelbo():
        module.eval()
        random = StepRandom(seed=9)
        value = nelbo(module.denoiser, module.schedule, batch, 16, random).mean().item()
        module.train()
        return value

    start = own_nelbo()
    for step in range(80):
        random = StepRandom(step=step)
        module.objective(module.denoiser, module.schedule, batch, random).loss.backward()
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert own_nelbo() < 0.5 * start


def test_experiments_keep_the_names_of_their_parts(tmp_path):
    """An experiment names no key twice with different meanings: what it composes is what its file
    says.
    """
    for name in names("experiment"):
        config = configuration(tmp_path, experiment=name)
        assert config.steps >= 1000
        assert config.optimizer.schedule_delay < config.steps
        assert config.checkpoint_every <= config.steps
        if "ema" in config.callbacks:
            assert 1 / (1 - config.callbacks.ema.decay) < config.steps / 9, (
                "the average forgets the start"
            )
            assert {"best", "last", "order"} < set(config.callbacks)


@pytest.mark.parametrize("name", names("trainer"))
def test_trainers(name, tmp_path):
    trainer = build_trainer(
        configuration(
            tmp_path, f"trainer={name}", "trainer.devices=1", "steps=7", "validate_every=3"
        ),
        tmp_path,
    )
    assert (trainer.max_steps, trainer.val_check_interval, trainer.check_val_every_n_epoch) == (
        7,
        3,
        None,
    )
    accumulated = ["trainer.accumulate_grad_batches=4", "validate_every=3"]
    assert (
        build_trainer(configuration(tmp_path, *accumulated), tmp_path).val_check_interval == 12
    ), "3 optimiser steps"
    assert best_precision("cpu") == "32-true"


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(
        tmp_path / "run",
        *NAE,
        "logger=tensorboard",
        "steps=4",
        "validate_every=2",
        "trainer.log_every_n_steps=1",
    )
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/bits_per_token")] == [0, 1, 2, 3]
    assert {"val/nelbo", "val/nelbo_uniform", "val/mode", "val/bits_per_token"} < set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Images("order")] == [2, 4]


def test_wandb_without_a_network(tmp_path, monkeypatch):
    """Offline, finished properly, and nothing but this machine is spoken to."""
    spoken_to = []
    connect = socket.socket.connect

    def watched(self, address):
        spoken_to.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    callbacks = [
        "callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 2}"
    ]
    run(tmp_path / "run", *NAE, "logger=wandb", "steps=4", "validate_every=2", *callbacks)
    import wandb

    assert wandb.run is None, "finished: the next run of the process begins another"
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 30  # its service may still be writing
    while log.stat().st_size <= 1000 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert log.stat().st_size > 1000
    assert all(
        isinstance(address, str) or address[0] in ("127.0.0.1", "localhost", "::1")
        for address in spoken_to
    ), spoken_to
    assert (tmp_path / "run" / "samples.txt").read_text().count("step 4") == 2


NEW_SCHEDULE = '''
import torch
from ordo.schedules import Schedule


class Bent(Schedule):
    """alpha_l(t) = 1 - t^2 / (t^2 + e^b_l (1 - t)^2), b free."""

    def __init__(self, length, start):
        super().__init__(length)
        self.b = torch.nn.Parameter(torch.full((length,), float(start), dtype=torch.float64))

    def alpha(self, t):
        t = self.spread(t)
        return 1 - t**2 / (t**2 + self.b.exp() * (1 - t) ** 2)
'''


@pytest.mark.parametrize(
    "parts_",
    [["objective=dense"], ["objective=time", "denoiser=bidirectional"]],
    ids=["dense", "time"],
)
def test_a_new_schedule_is_one_file_and_one_yaml(parts_, tmp_path, monkeypatch):
    module = f"bent_{parts_[0].partition('=')[2]}"
    (tmp_path / f"{module}.py").write_text(NEW_SCHEDULE)
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "my_new.yaml").write_text(
        f"_target_: {module}.Bent\nlength: ${{shape.length}}\nstart: 0.5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = [
        *NAE,
        f"hydra.searchpath=[file://{tmp_path}]",
        "schedule=my_new",
        *parts_,
        "steps=6",
        "validate_every=3",
    ]
    result = run(tmp_path / "run", *plan, "optimizer.schedule_delay=3")
    table = result.module.schedule.b.detach()
    assert torch.isfinite(table).all()
    assert (table != 0.5).any(), "it learned"
    again, _ = load(tmp_path / "run", trust=[module])
    t = torch.tensor([0.1, 0.6], dtype=torch.float64)
    assert torch.equal(again.schedule.alpha(t), result.module.schedule.alpha(t))
    assert type(again.schedule) is sys.modules[module].Bent
    assert isinstance(again.denoiser, BidirectionalTransformer) != isinstance(
        result.module.objective, Dense
    )
