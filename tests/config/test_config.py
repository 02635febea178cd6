"""The configuration: recipes, overrides, what it refuses, and its way through YAML and back."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from mezzotint import config
from mezzotint.config import BUDGETS, Config, Discrete, SamplerName, SpacingName
from mezzotint.errors import ConfigError


def refusal(*overrides: str, source: str = "digits") -> str:
    with pytest.raises(ConfigError) as refused:
        config.load(source, overrides)
    return str(refused.value)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


class TestRecipes:
    @pytest.mark.parametrize("name", config.recipes())
    def test_each_is_valid_and_says_how_to_run_it(self, name: str) -> None:
        loaded = config.load(name)
        assert loaded.train != config.Train(), "a budget at least"
        assert [b for b in BUDGETS if getattr(loaded.train, b) is not None] != []
        text = config.recipes()[name].read_text(encoding="utf-8")
        assert text.startswith("# ") and f"#   mezzotint train {name}" in text

    def test_the_promised_ones_are_there(self) -> None:
        promised = {"moons", "digits", "mnist", "fashion_mnist", "cifar10", "airplanes", "folder"}
        assert promised <= set(config.recipes())

    def test_a_file_of_that_name_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("digits").write_text("train: {steps: 3}")
        assert config.load("digits").train.steps == 3


class TestNamesOfTheMaths:
    """The configuration knows no torch, so it repeats these names."""

    def test_samplers(self) -> None:
        from mezzotint.diffusion.table import SAMPLERS

        assert set(get_args(SamplerName)) == set(SAMPLERS)

    def test_spacings(self) -> None:
        from mezzotint.diffusion.schedule import cosine, grid

        for name in get_args(SpacingName):
            assert len(grid(name, 5, cosine(100))) == 6
        with pytest.raises(ValueError, match="is not one of " + ", ".join(get_args(SpacingName))):
            grid("other", 5, cosine(100))

    @pytest.mark.parametrize("kind", get_args(Discrete.model_fields["kind"].annotation))
    def test_schedules(self, kind: str) -> None:
        from mezzotint.build.processes import make_schedule

        tree = {"diffusion": {"schedule": {"kind": kind, "timesteps": 30}}}
        assert len(make_schedule(config.parse(tree))) == 30


class TestRoundTrip:
    @pytest.mark.parametrize("name", config.recipes())
    def test_dump_and_parse(self, name: str) -> None:
        loaded = config.load(name)
        assert config.parse(yaml.safe_load(config.dump(loaded))) == loaded
        assert config.difference(config.parse(yaml.safe_load(config.dump(loaded))), loaded) == []

    def test_awkward_values(self, written: Path) -> None:
        overrides = (
            "data.size=[48,64]",
            "data.only=7",
            "data.path=a/b c",
            "train.lr=1e-7",
            "train.clip=null",
        )
        loaded = config.load("digits", overrides)
        written.write_text(config.dump(loaded))
        assert config.load(str(written)) == loaded
        assert (
            loaded.data.only == "7"
            and loaded.data.size == (48, 64)
            and loaded.data.path == Path("a/b c").absolute()
        )


class TestDifference:
    def test_names_every_key_that_changed(self) -> None:
        old = config.load("digits")
        new = config.load("digits", ["train.lr=1e-4", "data.size=16", "train.steps=5"])
        assert config.difference(old, new) == [
            "data.size: None -> 16",
            f"train.images: {old.train.images} -> None",
            "train.steps: None -> 5",
            "train.lr: 0.002 -> 0.0001",
        ]
        assert config.difference(old, new, frozenset({"train.lr", "data.size", "train.images"})) == [
            "train.steps: None -> 5"
        ]

    def test_members_of_a_union_differ_by_their_keys(self) -> None:
        changes = config.difference(config.load("digits"), config.load("digits", ["network={kind: mlp}"]))
        assert "network.kind: unet -> mlp" in changes and "network.depth: None -> 4" in changes
        assert "network.patch: 1 -> None" in changes

    def test_none_is_none(self) -> None:
        assert config.difference(Config(), config.parse({})) == []


class TestOverrides:
    def test_values_are_yaml(self) -> None:
        keys = [
            "train.lr=1e-4",
            "data.flip=yes",
            "network.attention=[1, 2]",
            "train.clip=null",
            "data.only=a=b",
        ]
        loaded = config.load("digits", keys)
        assert (loaded.train.lr, loaded.data.flip, loaded.network.attention) == (1e-4, True, [1, 2])
        assert (loaded.train.clip, loaded.data.only) == (None, "a=b")

    def test_the_last_wins_and_options_come_first(self) -> None:
        assert config.load("digits", ["train.lr=1", "train.lr=2"]).train.lr == 2
        assert config.load("digits", ["train.lr=1"], train__lr=3.0).train.lr == 1

    def test_a_budget_takes_the_place_of_the_recipes(self) -> None:
        assert config.load("digits").train.images == 80_000
        by_option = config.load("digits", train__minutes=2.0).train
        assert (by_option.minutes, by_option.images) == (2, None)
        by_key = config.load("digits", ["train.epochs=2"]).train
        assert (by_key.epochs, by_key.images) == (2, None)
        assert config.load("digits", ["sample.steps=50"]).train.images == 80_000

    def test_another_kind_leaves_out_what_it_does_not_have(self) -> None:
        simple = config.load("digits", ["network.width=8", "network.kind=unet_simple"]).network
        assert (simple.kind, simple.width, simple.levels) == ("unet_simple", 8, 3)
        schedule = config.load(
            "digits", ["diffusion.schedule.timesteps=30", "diffusion.schedule.kind=linear"]
        )
        assert (schedule.diffusion.schedule.kind, schedule.diffusion.schedule.timesteps) == ("linear", 30)
        assert "did you mean network.width" in refusal("network.kind=unet_simple", "network.wdith=8")
        assert "unknown key network.multipliers" in refusal(
            "network.multipliers=[1]", "network.kind=unet_simple"
        )

    def test_a_group_as_a_whole(self) -> None:
        loaded = config.load("digits", ["network={kind: mlp, width: 9}"])
        assert (loaded.network.kind, loaded.network.width) == ("mlp", 9)

    def test_headings_may_stand_empty(self, written: Path) -> None:
        written.write_text("train:\n  # lr: 3\ndata:\n")
        assert config.load(str(written)) == Config()
        assert config.load(str(written), ["train.steps=3"]).train.steps == 3


class TestRefusals:
    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("trian.lr=3", "unknown key trian; did you mean train?"),
            ("train.lrr=3", "unknown key train.lrr; did you mean train.lr?"),
            ("network.dept=3", "unknown key network.dept; known: kind, width, multipliers"),
            ("network.levels=3", "unknown key network.levels"),
            ("steps=3", "unknown key steps; did you mean train.steps or sample.steps?"),
            ("a.b.c=1", "unknown key a; known: data, network, diffusion, train, sample"),
            ("train=3", "train is a group of keys, such as train.epochs, not 3"),
            ("network=unet", "network is a group of keys, such as network.kind, not 'unet'"),
            ("network={width: 3}", "network: say which kind, network.kind"),
            ("network.kind=foo", "network: kind 'foo' is not one of 'mlp', 'unet_simple', 'unet'"),
            ("train.lr.x=1", "train.lr.x: lr is a single value, not a group of keys"),
            ("train.lr=fast", "train.lr: input should be a valid number"),
            ("train.lr=nan", "train.lr: input should be a finite number, not 'nan'"),
            ("train.lr=.inf", "train.lr: input should be a finite number"),
            ("train.minutes=1e300", "train.minutes: input should be less than or equal to"),
            ("train.steps=0", "train.steps: input should be greater than or equal to 1, not 0"),
            ("train.steps=2.5", "train.steps: input should be a valid integer"),
            ("train.steps=9999999999999", "train.steps: input should be less than or equal to"),
            (
                "data.size=64x64",
                "data.size: write one number, or [height, width], each from 1 to 4096, not '64x64'",
            ),
            ("data.size=[1, 2, 3]", "data.size: write one number, or [height, width]"),
            ("data.size=0", "data.size: write one number, or [height, width], each from 1 to 4096, not 0"),
            ("data.size=100000", "data.size: write one number"),
            ("train.log_every=5", "train.log_every: write '500 steps', '2 epochs' or '10%'"),
            ("train.log_every=0 steps", "train.log_every: write '500 steps'"),
            ("network.attention=[x]", "network.attention.0: input should be a valid integer"),
            ("train.precision=bf61", "train.precision: no precision 'bf61'; did you mean 'bf16'?"),
            ("sample.sampler=dpm++", "sample.sampler: no sampler 'dpm++'; did you mean 'dpmpp_2m'?"),
            ("sample.sampler=DPM++ SDE", "did you mean 'dpmpp_sde'?"),
            ("train.accumulate=200", "train: accumulate 200 is larger than the batch size 128"),
            (
                "diffusion.schedule={kind: karras, sigma_min: 9, sigma_max: 1}",
                "sigma_min 9 must be below sigma_max 1",
            ),
            ("diffusion.weight=vlb", "diffusion: the vlb weight needs a schedule with finite ends"),
            ("train.lr", "'train.lr' is not an override; write key=value"),
            ("train..lr=1", "'train..lr=1' is not an override"),
            ("=1", "'=1' is not an override"),
            ("train.lr=[1", "the value of train.lr is not valid YAML: '[1'"),
            ("train.lr=!!python/name:os.system", "the value of train.lr is not valid YAML"),
        ],
    )
    def test_of_a_key(self, override: str, said: str) -> None:
        assert said in refusal(override)

    def test_two_budgets(self) -> None:
        assert refusal("train.steps=3", "train.epochs=1") == "train: give one budget, not epochs and steps"

    def test_no_more_than_three_at_a_time(self) -> None:
        said = refusal("train.a=1", "train.b=1", "train.c=1", "train.d=1")
        assert said.count("unknown key") == 3 and "\n" not in said

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (b"[1, 2]", "must hold keys such as data, network and train"),
            (b"train: [1", "is not valid YAML: while parsing"),
            (b"train:\n\tlr: 1", "is not valid YAML: while scanning"),
            (b"\x89PNG\xff", "is not valid YAML: 'utf-8' codec"),
            (b"[" * 1500, "is not valid YAML: maximum recursion depth"),
            (b"train: &a {x: *a}", "an alias that contains itself"),
            (b"a: 1\n---\nb: 1", "is not valid YAML: expected a single document"),
            (b"{1: 2}", "unknown key 1; known: data"),
            (b"train: {yes: 2}", "unknown key train.True; known: epochs"),
            (b"{2020-01-01: 2}", "unknown key 2020-01-01"),
            (b"{~: 2}", "unknown key None"),
        ],
    )
    def test_of_a_file(self, written: Path, text: bytes, said: str) -> None:
        written.write_bytes(text)
        answer = refusal(source=str(written))
        assert said in answer and "\n" not in answer

    def test_of_a_name(self, tmp_path: Path) -> None:
        assert refusal(source="digts") == "there is no recipe or file 'digts'; did you mean 'digits'?"
        assert "recipes: airplanes, bouncing, cifar10" in refusal(source="zzz.yaml")
        assert f"mezzotint train folder --data {tmp_path}" in refusal(source=str(tmp_path))


@pytest.mark.parametrize("typed", ["no", "010", "2020-01-01", "1e3", "yes"])
def test_text_keys_take_what_was_typed(tmp_path: Path, typed: str) -> None:
    assert config.load("digits", [f"data.only={typed}"]).data.only == typed
    (tmp_path / "mine.yaml").write_text(f"data: {{only: {typed}}}\ntrain: {{steps: 10}}\n")
    assert config.load(str(tmp_path / "mine.yaml")).data.only == typed


def test_a_path_is_kept_whole_and_labels_may_name_a_column() -> None:
    data = config.load("digits", ["data.path=some/where", "data.labels=no"]).data
    assert data.path == Path.cwd() / "some" / "where" and data.labels is False
    assert config.load("digits", ["data.labels=category", "data.only=null"]).data.labels == "category"
