"""Every setting of every entry point refuses what is no value of its type or out of its range, in
one line that says so.
"""

import inspect
import math
import os
import string

import lightning
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from settings_of import CONFIGS, NOT_READ, WHOLE, check_yaml, every_setting
from tiny_runs import call

from ordo.runs import settings
from ordo.runs.checks import check_settings
from ordo.runs.run import check_run
from ordo.settings import Parameter, SettingError, check_arguments, show, to_plain

ALL = list(every_setting())
TYPED = [setting for setting in ALL if not setting.parameter.untyped]
POOL = [
    None,
    True,
    -1,
    0,
    1,
    2,
    0.5,
    1.5,
    -0.5,
    1e30,
    math.nan,
    math.inf,
    -math.inf,
    10**20,
    10**100,
    "",
    "abc",
    "nan",
    "1",
    "true",
    [],
    [0.9],
    [2, 3],
    [1, 2, 3, 4, 5],
    ["a"],
    [[1]],
    [None],
]
LETTERS = string.ascii_letters + string.digits + " _-.:/"
VALUES = st.one_of(
    st.sampled_from(POOL),
    st.integers(),
    st.floats(),
    st.text(LETTERS, max_size=6),
    st.lists(
        st.one_of(st.integers(-5, 10**7), st.floats(), st.text(LETTERS, max_size=3)), max_size=5
    ),
)


def wrong(parameter: Parameter, value):
    """Whether pydantic refuses a value, whatever ordo does with the value."""
    return not parameter.accepts(to_plain(value)) and not parameter.accepts(value)


def test_every_setting_has_a_type():
    """One without, such as a new one, must be written down in ``settings_of.NOT_READ``, or get a
    type.
    """
    assert {setting.key for setting in ALL if setting.parameter.untyped} == NOT_READ
    assert len(TYPED) > 500
    assert {setting.script for setting in TYPED} == {
        "train.py",
        "eval.py",
        "ordo sample",
        "ordo export",
    }
    for setting in TYPED:
        assert sum(wrong(setting.parameter, value) for value in POOL) >= 5, setting.key


@pytest.mark.parametrize(
    "group", ["data", "denoiser", "schedule", "objective", "optimizer", "sampler", "callbacks"]
)
def test_the_yamls_are_right(group):
    """Every choice, as it is; with one setting that there is not, each is refused."""
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        check_yaml(path)
        if group != "callbacks":
            with pytest.raises(SettingError, match=rf"^{group}\.foo=1: there is no such setting"):
                check_yaml(path, foo=1)


def test_every_setting_refuses_what_is_wrong():
    """Parts that are made without a command line take a few values each."""
    refused = 0
    for setting in TYPED:
        for value in POOL:
            if not wrong(setting.parameter, value):
                continue
            with pytest.raises(SettingError) as caught:
                setting.parameter(value, setting.key)
            text = str(caught.value)
            assert text.startswith(f"{setting.key}={show(value)}: must be "), text
            assert len(text.splitlines()) == 1
            refused += 1
    assert refused > 5000


def written(value):
    """A value in the grammar of Hydra's command line."""
    if value is None or isinstance(value, bool):
        return show(value)
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return f"'{value}'" if isinstance(value, str) else repr(value)


COMMON = {
    "train.py": ["experiment=custom"],
    "eval.py": ["checkpoint=gone"],
    "ordo sample": ["checkpoint=gone", "out=x.csv"],
    "ordo export": ["checkpoint=gone", "out=x"],
}


def one_line(setting, value, monkeypatch, capfd, folder):
    """What the entry point says of a wrong value: exit 2, one line with name, value and what is
    allowed, nothing left.
    """
    arguments = [*COMMON[setting.script], *setting.others, f"++{setting.key}={written(value)}"]
    status, out, err = call(setting.script, *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert "Traceback" not in err, err
    assert (status, out, len(err.splitlines())) == (2, "", 1), (arguments, err)
    told = f"error: {setting.key}={show(value)}: {setting.parameter.allowed}"
    assert err.startswith(told), (arguments, err)
    assert os.listdir(folder) == [], arguments


UNMERGED = [  # settings that Hydra says of that it cannot merge the value, or that it is a choice
    ("eval.py", "data", [1, 2]),
    ("eval.py", "data", 0.5),
    ("train.py", "schedule.network", [0.9]),
    ("train.py", "report", ["a"]),
]


@pytest.mark.parametrize(("script", "key", "value"), UNMERGED)
def test_values_that_hydra_cannot_merge(script, key, value, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    setting = next(each for each in TYPED if (each.script, each.key) == (script, key))
    one_line(setting, value, monkeypatch, capfd, tmp_path)


def draw_wrong_values(monkeypatch, capfd, tmp_path, examples):
    monkeypatch.chdir(tmp_path)
    reachable = [
        setting for setting in TYPED if not setting.key.startswith("compare.")
    ]  # null: see below

    # No shrinking: a command line takes a third of a second, and its first counterexample is plain
    # enough.
    options = {
        "phases": [Phase.generate],
        "derandomize": True,
        "database": None,
        "suppress_health_check": list(HealthCheck),
    }

    @hypothesis_settings(max_examples=examples, deadline=None, **options)
    @given(st.data())
    def refused(data):
        setting = data.draw(st.sampled_from(reachable))
        value = data.draw(VALUES.filter(lambda value: wrong(setting.parameter, value)))
        one_line(setting, value, monkeypatch, capfd, tmp_path)

    refused()


def test_wrong_values_at_the_command_line(monkeypatch, capfd, tmp_path):
    draw_wrong_values(monkeypatch, capfd, tmp_path, 4)


@pytest.mark.slow
def test_200_wrong_values_at_the_command_line(monkeypatch, capfd, tmp_path):
    draw_wrong_values(monkeypatch, capfd, tmp_path, 200)


SEEN = {  # values that once ended in a traceback, or trained nonsense in silence
    "train.py": [
        "optimizer.clip=-1",
        "optimizer.clip=0",
        "optimizer.schedule_clip=-1",
        "optimizer.weight_decay=-1",
        "optimizer.warmup_steps=-5",
        "optimizer.schedule_delay=-1",
        "optimizer.final_lr=-1",
        "optimizer.betas=[2,3]",
        "optimizer.betas=[0.9]",
        "optimizer.lr=nan",
        "optimizer.lr=abc",
        "validation_draws=0",
        "trainer.max_epochs=0",
        "denoiser.layers=-1",
        "steps=1.5",
        "output=",
        "quiet=maybe",
        "+foo=bar",
        "seed=-1",
        "seed=abc",
        "seed=1180591620717411303424",
        "validate_every=0",
        "denoiser.dropout=2",
        "data.length=8.5",
        "threads=abc",
        "threads=1000000",
        "report.metrics=foo",
        "denoiser.heads=0",
        "denoiser.width=0",
        "compare={label:x}",
        "+trainer.overfit_batches=1",
        "+trainer.limit_train_batches=0",
        "trainer.max_steps=0",
        "+trainer.gradient_clip_val=1",
        "+trainer.barebones=true",
        "trainer.max_steps=-1",
        "trainer.precision=8",
        "report.split=tset",
        "report.metrics.quality=3",
        "callbacks.order.every=0",
        "callbacks.best=5",
        "schedule.network=3",
        "+data.foo=1",
        "+trainer.foo=1",
        "schedule.network._target_=x",
        "compare={label:a,own_label:b,changes:{schedule:{bound:-1}}}",
        "compare={label:a,own_label:b,changes:{denoisr:{width:8}}}",
    ],
    "eval.py": [
        "draws=0",
        "split=train",
        "device=abacus",
        "sequences=1.5",
        "output=",
        "seed=-1",
        "samples=-1",
        "+foo=1",
        "metrics.quality=x",
    ],
    "ordo sample": [
        "n=abc",
        "n=0",
        "+sampler.what.temperature=nan",
        "+sampler.what.top_p=-1",
        "+sampler.foo=1",
        "seed=-1",
        "batch_size=0",
        "threads=0",
        "blank=ab",
        "sampler.how_many=3",
        "+sampler.block=0",
    ],
    "ordo export": ["out=", "quiet=maybe", "+foo=1"],
}


COMPOSED = {
    "train.py": "train",
    "eval.py": "eval",
    "ordo sample": "sample",
    "ordo export": "export",
}


def told_of(argument, err):
    key = argument.lstrip("+").partition("=")[0]
    assert err.startswith("compare." if key == "compare" else f"{key}"), (argument, err)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", SEEN)
def test_what_has_been_seen(name):
    """Without the command line, of which every call composes anew."""
    common = [*COMMON[name], "name=x", "output=x"] if name == "train.py" else COMMON[name]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        whole = compose(COMPOSED[name], common)
    for argument in SEEN[name]:
        (override,) = OverridesParser.create().parse_overrides([argument])
        config = whole.copy()
        key = str(override.get_key_element()).lstrip("+")
        OmegaConf.update(config, key, override.value(), force_add=True)
        with pytest.raises(SettingError) as caught:
            check_run(config) if name == "train.py" else check_settings(config, WHOLE[name])
        told_of(argument, str(caught.value))


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_what_has_been_seen_at_the_command_line(name, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    for argument in SEEN[name]:
        arguments = [*COMMON[name], argument]
        status, out, err = call(name, *arguments, monkeypatch=monkeypatch, capfd=capfd)
        assert (status, out, len(err.splitlines())) == (2, "", 1), (argument, err)
        told_of(argument, err.removeprefix("error: "))
        assert os.listdir(tmp_path) == [], argument


def test_flags_of_lightning_are_all_decided():
    """A new one of Lightning's is neither passed on nor refused in silence."""
    there = set(inspect.signature(lightning.Trainer.__init__).parameters) - {"self"}
    kept = set(inspect.signature(settings.Trainer).parameters)
    assert kept | set(settings.REFUSED) == there
    assert not kept & set(settings.REFUSED)


def test_names_with_a_hint():
    rest = {"checkpoint": "a", "values": "rows", "weights": "float32", "trust": [], "quiet": False}
    with pytest.raises(
        SettingError,
        match="no such setting; there are checkpoint, out, values, weights, trust, quiet",
    ):
        check_arguments(settings.Export, {**rest, "out": "b", "foo": 1})
    with pytest.raises(SettingError, match="out=null: is missing"):
        check_arguments(settings.Export, rest)
    with pytest.raises(SettingError, match="quoted twice: \"out='5'\""):
        check_arguments(settings.Export, {**rest, "out": 5})
