"""Autoencoders and models of their codes as runs: going on to the bit, what lies in their files, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import mezzotint
from mezzotint import config
from mezzotint.config import Config
from mezzotint.data.latents import CodedSource
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.codec import Bytes, Latents
from mezzotint.model.autoencoder import load_autoencoder, psnr
from mezzotint.nets.published import AutoencoderKL
from mezzotint.run.events import Done, Event, Logged
from mezzotint.run.fit import check, fit
from mezzotint.run.latents import completed, digest_of, open_source
from mezzotint.run.teacher import student

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
DATA = {"name": "digits", "limit": 96, "holdout": 0.25}
VAE: dict[str, Any] = {
    "data": DATA,
    "objective": "autoencode",
    "network": {"kind": "vae", "width": 8, "latents": 3},
    "train": {
        "steps": 6,
        "batch_size": 12,
        "log_every": "2 steps",
        "precision": "fp32",
        "optimizer": "muon",
        **RARE,
    },
}
LATENT: dict[str, Any] = {
    "data": DATA,
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1},
    "diffusion": {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"},
    "train": {"steps": 4, "batch_size": 12, "precision": "fp32", **RARE},
    "sample": {"sampler": "ddim", "steps": 2},
}


def finish(config: Config, folder: Path, **options: Any) -> tuple[Done, list[Event]]:
    *events, done = fit(config, folder, **options)
    assert isinstance(done, Done)
    return done, events


def files(folder: Path) -> dict[str, bytes]:
    newest = last_checkpoint(folder)
    assert newest is not None
    return {f.name: f.read_bytes() for f in newest.iterdir()} | {
        "published": (folder / "model.safetensors").read_bytes()
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec") / "vae"
    finish(config.parse(VAE), folder)
    return folder


def latent(vae: Path, **changes: Any) -> Config:
    return config.parse({**LATENT, "codec": {"file": str(vae)}, **changes})


@pytest.fixture(scope="module")
def trained(vae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latent") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(folder.parent / "cache"))
        finish(latent(vae), folder)
    return folder


def stopped(chosen: Config, folder: Path, step: int) -> None:
    asked = iter(range(1, 100))
    done, _ = finish(chosen, folder, stop=lambda: next(asked) >= step)
    assert done.step == step and not done.finished
    assert finish(chosen, folder)[0].finished


def test_an_autoencoder_that_was_stopped_is_the_one_that_was_not(vae: Path, tmp_path: Path) -> None:
    stopped(config.parse(VAE), tmp_path / "again", 3)
    assert files(tmp_path / "again") == files(vae)
    assert (vae / "samples" / "step-0000006.png").is_file() and (vae / "loss.png").is_file()


def test_it_tells_how_much_is_left_of_a_picture(vae: Path, tmp_path: Path) -> None:
    """And learns: after 80 steps more than after 6."""
    steps = {"train": {**VAE["train"], "steps": 80, "lr": 4e-3}}
    _, events = finish(config.parse({**VAE, **steps}), tmp_path / "long")
    rows = [event.row for event in events if isinstance(event, Logged)]
    (told,) = (row["psnr"] for row in rows if "psnr" in row)
    assert all("loss_by_level" not in row for row in rows)
    batches = open_source(config.parse(VAE), torch.device("cpu")).held_out(12)
    things = Bytes().decode(torch.cat([batch.x0 for batch in batches]))
    short, long = (load_autoencoder(folder) for folder in (vae, tmp_path / "long"))
    assert float(psnr(long.reconstruct(things), things).mean()) == pytest.approx(told, abs=0.01)
    assert told > float(psnr(short.reconstruct(things), things).mean()) + 2


def test_a_model_of_codes_that_was_stopped_is_the_one_that_was_not(vae: Path, tmp_path: Path) -> None:
    chosen = latent(vae, data={**DATA, "flip": True})
    finish(chosen, tmp_path / "whole")
    stopped(chosen, tmp_path / "again", 2)
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_its_file_needs_no_other(vae: Path, trained: Path, tmp_path: Path) -> None:
    """The autoencoder is in it, and what its codes are standardised by; its digest is in the header."""
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained / "model.safetensors", alone)
    model = mezzotint.load(alone)
    header = read_header(alone).config
    own = load_file(vae / "model.safetensors")
    assert header.codec is not None and header.codec.digest == digest_of(own)
    assert isinstance(model.codec, Latents)
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.codec.coder.state_dict().items())
    assert model.facts.shape == (1, 8, 8) and model.codec.shape(model.facts.shape) == (3, 2, 2)
    samples = model.sample(5, label="all", seed=3)
    assert samples.values.shape == (5, 1, 8, 8) and samples.values.dtype == torch.uint8
    assert torch.equal(samples.values, model.sample(5, label="all", seed=3, batch=2).values)
    assert not samples.settings["clip"], "codes have no range to be kept to"
    assert torch.equal(samples.values, mezzotint.load(trained).sample(5, label="all", seed=3).values)
    assert mezzotint.load(trained, weights="raw").sample(2).values.shape == (2, 1, 8, 8)
    model.save(tmp_path / "saved.safetensors")
    again = mezzotint.load(tmp_path / "saved.safetensors").sample(5, label="all", seed=3)
    assert torch.equal(samples.values, again.values)


def test_headers_of_models_of_pixels_do_not_know_of_codecs() -> None:
    assert "codec" not in config.parse({}).model_dump() and "codec" not in config.dump(config.parse({}))
    assert config.parse(config.parse({}).model_dump(mode="json")) == config.parse({})
    coded = config.parse({"codec": {"file": "a"}})
    assert config.parse(coded.model_dump(mode="json")) == coded


def test_codes_are_standardised_and_kept(vae: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By mean and deviation of what is trained on; computed once, mirrored too where that is wanted, and again where something of them
    is damaged."""
    chosen = completed(latent(vae, data={**DATA, "flip": True}))
    source = open_source(chosen, torch.device("cpu"))
    assert isinstance(source, CodedSource) and source.codes.shape == (2, 96, 3, 2, 2)
    kept = source.codec.standard(source.codes[0, source.pictures.kept].float()).transpose(0, 1).flatten(1)
    assert kept.mean(1).abs().max() < 1e-3 and (kept.std(1) - 1).abs().max() < 1e-3
    images = source.pictures.pictures.images
    assert isinstance(images, torch.Tensor)
    for copy, pictures in enumerate((images, images.flip(-1))):
        assert torch.equal(source.codes[copy], source.codec.raw(pictures).half())
    batch, plain = (next(s.batches(5, 24, 1)) for s in (source, source.pictures))
    codes = source.codec.encode(Bytes().decode(plain.x0))
    assert (batch.x0 - codes).abs().max() < 1e-2, "the order and the flips of pictures"
    assert torch.equal(batch.cond.label, plain.cond.label)  # type: ignore[arg-type]
    held, pictures = source.held_out(10), source.pictures.held_out(10)
    assert [len(b.x0) for b in held] == [len(b.x0) for b in pictures] == [10, 10, 4]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("they are kept")

    with monkeypatch.context() as patch:
        patch.setattr("mezzotint.run.latents._compute", refuse)
        again = open_source(chosen, torch.device("cpu"))
        assert isinstance(again, CodedSource) and torch.equal(again.codes, source.codes)
        with pytest.raises(AssertionError, match="kept"):
            open_source(completed(latent(vae, data={**DATA, "limit": 90})), torch.device("cpu"))
    (shard,) = cache.glob("latents/*/mirrored-*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-40] + bytes(40))
    repaired = open_source(chosen, torch.device("cpu"))
    assert isinstance(repaired, CodedSource) and torch.equal(repaired.codes, source.codes)
    assert shard.read_bytes() == whole


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": {**DATA, "crop": 1}}, "data.crop changes pictures at every step"),
        ({"data": {**DATA, "colour": 0.1}}, "data.colour changes pictures at every step"),
        ({"data": {**DATA, "size": [8, 10]}}, r"not a multiple of that: set data.size=8"),
        ({"data": {**DATA, "channels": 3}}, "set data.channels=1"),
        ({"data": {"name": "moons"}, "network": {"kind": "mlp"}}, "a codec is for pictures"),
        ({"codec": {}}, "needs an autoencoder: --codec RUN"),
    ],
)
def test_what_cannot_be_coded_is_refused(changes: dict[str, Any], reason: str, vae: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        check(latent(vae, **changes))


def test_another_autoencoder_is_not_taken_for_the_first(vae: Path, trained: Path, tmp_path: Path) -> None:
    """Nor is a model of pictures; a model of codes lends its own."""
    other = tmp_path / "other"
    finish(config.parse({**VAE, "train": {**VAE["train"], "steps": 2}}), other)
    digest = completed(latent(vae)).codec
    assert digest is not None
    with pytest.raises(ModelError, match="is not the autoencoder that this model was trained with"):
        completed(latent(other, codec={"file": str(other), "digest": digest.digest}))
    with pytest.raises(ModelError, match="no run and no model file"):
        completed(latent(tmp_path / "none"))
    borrowed = completed(latent(trained)).codec
    assert borrowed is not None and borrowed.digest == digest.digest and borrowed.network == digest.network
    finish(config.parse({**LATENT, "train": {**LATENT["train"], "steps": 1}}), tmp_path / "pixels")
    with pytest.raises(ConfigError, match="is a model of pictures, not an autoencoder"):
        completed(latent(tmp_path / "pixels"))
    with pytest.raises(ConfigError, match="is an autoencoder, which makes no samples by itself"):
        mezzotint.load(vae)
    with pytest.raises(ConfigError, match="is not an autoencoder"):
        load_autoencoder(trained)


def test_words_that_do_not_go_together() -> None:
    for tree, reason in (
        ({"objective": "autoencode"}, "go together"),
        ({"network": {"kind": "vae"}}, "go together"),
        ({**VAE, "codec": {"file": "a"}}, "leave codec out"),
        ({**VAE, "train": {"evaluate_every": "10%"}}, "an autoencoder makes none"),
    ):
        with pytest.raises(ConfigError, match=reason):
            config.parse(tree)


# --- what is asked of a model of codes -----------------------------------------------------------------------


def test_edits_keep_known_pixels_to_the_bit(trained: Path) -> None:
    """Where the mask is not, whatever the autoencoder makes of them; every code that a repainted pixel has part in may change."""
    model = mezzotint.load(trained)
    picture = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8) * 3
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 1:6] = True
    request = model.edits.edit(picture, mask.numpy(), n=3, seed=1)
    made = model.answer(request).values
    assert torch.equal(made[:, :, ~mask], picture[:, ~mask].expand(3, 1, -1))
    assert not torch.equal(made[:, :, mask], picture[:, mask].expand(3, 1, -1))
    whole = model.codec.mask(mask)
    assert whole.tolist() == [[True, True], [False, False]]
    *_, last = model.stream(request)
    codes = model.codec.encode(picture[None])
    assert torch.equal(last.x0[:, :, ~whole], codes.expand(3, *codes.shape[1:])[:, :, ~whole])
    for strength, same in ((0.0, True), (0.3, False)):
        again = model.edit(picture, strength=strength, n=2).values
        assert torch.equal(again, picture.expand(2, 1, 8, 8)) is same
    assert torch.equal(model.edit(picture, strength=1.0, label=3).values, model.sample(1, label=3).values)


def test_tasks_of_pixels_are_refused_and_the_others_are_not(trained: Path) -> None:
    model = mezzotint.load(trained)
    small = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="enlarge needs a model of pixels"):
        model.enlarge(small, 2)
    assert model.morph(1, 2, n=3).values.shape == (3, 1, 8, 8)
    found = model.invert(torch.zeros(1, 8, 8, dtype=torch.uint8), steps=3, rounds=3)
    assert found.noise.shape == (1, 3, 2, 2)
    previews = [*model.stream(2)]
    assert previews[0].x.shape == (2, 3, 2, 2) and previews[0].belief.shape == (2, 1, 8, 8)


def test_a_student_of_a_model_of_codes_has_its_autoencoder(trained: Path, tmp_path: Path) -> None:
    rare = [f"train.{key}={value}" for key, value in RARE.items()]
    chosen = student(
        trained, "map", 1, ["train.batch_size=4", "teacher.sample.sampler=ddim", *rare], train__steps=2
    )
    finish(chosen, tmp_path / "fast")
    fast, teacher = mezzotint.load(tmp_path / "fast"), mezzotint.load(trained)
    mine, theirs = (one.config.codec for one in (fast, teacher))
    assert mine is not None and theirs is not None and mine.digest == theirs.digest
    assert fast.sample(2).values.shape == (2, 1, 8, 8)


def test_a_published_autoencoder_codes_too(tmp_path: Path) -> None:
    path = tmp_path / "kl.safetensors"
    torch.manual_seed(0)
    save_file(AutoencoderKL(4, (32, 32), 1).state_dict(), path)
    data = {**DATA, "channels": 3, "limit": 32}
    finish(latent(path, data=data, train={**LATENT["train"], "steps": 1}), tmp_path / "run")
    assert mezzotint.load(tmp_path / "run").sample(2).values.shape == (2, 3, 8, 8)
    with pytest.raises(ConfigError, match="is for RGB pictures: set"):
        check(latent(path))


def test_a_set_without_an_end_is_coded_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of its captions."""
    monkeypatch.setattr("mezzotint.run.latents.MEASURED", 200)
    torch.manual_seed(0)
    save_file(AutoencoderKL(4, (32, 32, 32), 1).state_dict(), tmp_path / "kl.safetensors")
    source = open_source(
        completed(latent(tmp_path / "kl.safetensors", data={"name": "scenes"})), torch.device("cpu")
    )
    x0, cond = next(source.batches(0, 20, 0))
    assert x0.shape == (20, 4, 8, 8) and cond.text is not None and len(cond.text) == 20
    assert x0.mean((0, 2, 3)).abs().max() < 0.5 and 0.5 < float(x0.std()) < 1.5
    assert not isinstance(source, CodedSource)


def test_clips_by_the_codes_of_their_frames(vae: Path, tmp_path: Path) -> None:
    """An autoencoder of pictures codes clips frame by frame; a model of these trains, samples and goes on with a clip."""
    network = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "patch": 4}
    chosen = latent(
        vae,
        data={"name": "bouncing"},
        network=network,
        train={**LATENT["train"], "steps": 2, "batch_size": 2},
    )
    finish(chosen, tmp_path / "clips")
    model = mezzotint.load(tmp_path / "clips")
    samples = model.sample(1, label="all")
    assert samples.values.shape == (1, 1, 16, 32, 32) and model.codec.shape(model.facts.shape) == (
        3,
        16,
        8,
        8,
    )
    known = samples.values[0, :, :4]
    assert model.edit(known, n=1).values[0, :, :4].equal(known)
