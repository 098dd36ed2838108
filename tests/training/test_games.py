"""Games of more than two players, from the configuration to the package: InfoGAN's codes and BiGAN's encoder.

What belongs to all games is tested elsewhere; here stand the extra players' wiring, resume, export and round trip.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.support import exported, games, small
from tests.support.states import same, whole_and_resumed
from training import config as configuration
from training import data
from training.augmentation import WarpsConfig
from training.config import Config
from training.data import DigitsConfig, ImageData
from training.errors import ConfigError
from training.export.export import export_run, load
from training.export.graphs.export_seeds import Purpose
from training.export.graphs.pair import build, floats
from training.loop import run
from training.loop.trainer import Trainer
from training.state import players
from training.state.players import CODE_HEAD, ENCODER
from training.tables import Value

GAMES: dict[str, Callable[[], Config]] = {
    "infogan": games.infogan,
    "infogan, steady": lambda: games.infogan(weight_steady=1.0),
    "bigan": games.bigan,
    "bigan, fully connected": lambda: games.bigan(
        "mlp",
        generator={"kind": "mlp", "latent_size": 8, "widths": [16]},
        discriminator={"kind": "mlp", "widths": [16]},
    ),
}


def digits() -> ImageData:
    images = data.load(DigitsConfig())
    assert isinstance(images, ImageData)
    return images


@pytest.mark.parametrize("config", GAMES.values(), ids=GAMES.keys())
def test_a_restored_game_goes_on_bit_for_bit(config: Callable[[], Config]) -> None:
    whole, second = whole_and_resumed(lambda: Trainer(config(), digits()), steps=4)
    assert same(whole.checkpoint(), second.checkpoint())


@pytest.mark.parametrize(
    ("config", "side", "player"), [(games.infogan, "critic_side", CODE_HEAD), (games.bigan, "generator_side", ENCODER)]
)
def test_the_third_player_is_trained_with_its_side(config: Callable[[], Config], side: str, player: str) -> None:
    training = Trainer(config(), digits())
    network = getattr(training.players, side)[player]
    before = copy.deepcopy(network.state_dict())
    training.step()
    assert all(not torch.equal(weight, before[name]) for name, weight in network.named_parameters())


def test_the_encoder_is_averaged_with_the_generator() -> None:
    training = Trainer(games.bigan(), digits())
    for _ in range(3):
        training.step()
    averaged, last = (
        torch.cat([weight.flatten() for weight in side[ENCODER].parameters()])
        for side in (training.ema, training.players.generator_side)
    )
    assert not torch.equal(averaged, last)
    assert torch.allclose(averaged, last, atol=0.01)


def test_each_step_asks_for_fresh_codes() -> None:
    still: dict[str, Value] = {"learning_rate_generator": 1e-60, "learning_rate_discriminator": 1e-60}
    readings = Trainer(games.infogan(trainer=still), digits()).step()
    assert readings["generator/information_continuous"] != readings["critic/information_continuous"]


def test_the_configuration_reads_back_with_its_third_player() -> None:
    for config in (games.infogan(), games.bigan()):
        assert configuration.loads(configuration.dumps(config)) == config
    steady = configuration.loads(games.text({**games.INFOGAN, "weight_steady": 1.0}, "warps", {"rotation": 5}))
    assert steady.warps == WarpsConfig(rotation=5.0)
    assert configuration.loads(configuration.dumps(steady)) == steady
    assert "[warps]" not in configuration.dumps(games.infogan())
    assert "[encoder]" not in configuration.dumps(small.config())
    assert "[code_head]" not in configuration.dumps(small.config())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (small.text(objective=games.BIGAN), '[objective] of kind "bigan" trains an encoder; add a table [encoder]'),
        (
            games.text({"kind": "minimax"}, "encoder", {"kind": "mlp"}),
            '[objective] of kind "minimax" has no encoder; leave out [encoder], or choose "bigan"',
        ),
        (
            games.text({"kind": "minimax"}, "code_head", {"width": 8}),
            '[objective] of kind "minimax" has no codes; leave out [code_head], or choose "infogan"',
        ),
        (
            small.text(objective={"kind": "infogan"}),
            '[objective] of kind "infogan" needs codes, such as categorical = {digit = 10}',
        ),
        (
            small.text(objective={"kind": "infogan", "categorical": {"digit": 1}}),
            '[objective] categorical is {"digit": 1} but must be a table of names, each an integer of at least 2',
        ),
        (
            games.text(games.INFOGAN, "warps", {"rotation": 5}),
            "[warps] are what InfoGAN's categories are to overlook; leave the table out, or add "
            '[objective] weight_steady = 1.0 to kind = "infogan"',
        ),
        (
            games.text({**games.INFOGAN, "weight_steady": 1.0}, "warps", {"stretch": 0.9}),
            "[warps] stretch is 0.9 but must be a number of at least 1 and of at most 2",
        ),
        (
            small.text(objective=games.INFOGAN, discriminator={"pack": 2}),
            '[objective] of kind "infogan" judges one sample at a time, without labels: '
            "[discriminator] pack must be 1 and [generator] conditional false",
        ),
    ],
)
def test_players_that_do_not_fit_the_game_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.loads(text)
    assert str(caught.value) == sentence


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each game; its run lies beside the models folder."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
        # As InfoGAN's authors have them: dense layers, and batch normalisation behind layers that add no bias.
        infogan = games.infogan(generator={"dense": 12}, discriminator={"dense": 12, "norm": "batch"})
        for name, config in (("infogan", infogan), ("bigan", games.bigan())):
            root = tmp_path_factory.mktemp(name)
            run.start(config, root / "run", exported.unheard)
            made[name] = export_run(root / "run", root / "models", name, None, exported.unheard)
    return made


def manifest(package: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((package / "manifest.json").read_bytes())
    return content


def tensors(package: Path, graph: str) -> dict[str, list[tuple[str, list[int]]]]:
    entry = manifest(package)[graph]
    assert isinstance(entry, dict)
    return {way: [(tensor["name"], tensor["shape"]) for tensor in entry[way]] for way in ("inputs", "outputs")}


def test_infogans_package_states_its_codes_and_what_reads_them(packages: dict[str, Path]) -> None:
    package = packages["infogan"]
    assert manifest(package)["codes"] == {
        "categorical": [{"name": "digit", "size": 10}],
        "continuous": [
            {"name": "slant", "low": -1.0, "high": 1.0},
            {"name": "width", "low": -2.0, "high": 2.0},
        ],
    }
    assert tensors(package, "generator")["inputs"] == [("latent", [-1, 8]), ("code", [-1, 12])]
    assert tensors(package, "encoder") == {"inputs": [("sample", [-1, 1, 8, 8])], "outputs": [("code", [-1, 12])]}
    assert tensors(package, "discriminator")["inputs"] == [("sample", [-1, 1, 8, 8])]


def test_bigans_package_has_an_encoder_and_a_discriminator_of_samples_alone(packages: dict[str, Path]) -> None:
    package = packages["bigan"]
    assert tensors(package, "encoder") == {"inputs": [("sample", [-1, 1, 8, 8])], "outputs": [("latent", [-1, 8])]}
    assert tensors(package, "discriminator")["inputs"] == [("sample", [-1, 1, 8, 8])]
    assert "codes" not in manifest(package)


@pytest.mark.parametrize("name", ["infogan", "bigan"])
@pytest.mark.parametrize("graph", ["generator", "discriminator", "encoder"])
def test_golden_vectors_replay_through_onnx_runtime(packages: dict[str, Path], name: str, graph: str) -> None:
    session = onnxruntime.InferenceSession(packages[name] / f"{graph}.onnx", providers=["CPUExecutionProvider"])
    with np.load(packages[name] / "golden.npz", allow_pickle=False) as golden:
        inputs = {tensor.name: golden[f"{graph}.{tensor.name}"] for tensor in session.get_inputs()}
        for tensor, found in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            assert np.array_equal(found, golden[f"{graph}.{tensor.name}"])


@pytest.mark.parametrize("name", ["infogan", "bigan"])
def test_a_run_that_begins_with_a_package_is_what_its_golden_vectors_say(packages: dict[str, Path], name: str) -> None:
    found = exported.apart(packages[name])
    assert found.keys() == {"generator", "discriminator", "encoder"}
    assert max(found.values()) < 1


@pytest.mark.parametrize(("name", "tensor"), [("infogan", "code"), ("bigan", "latent")])
def test_a_replay_of_the_encoder_has_a_tolerance(packages: dict[str, Path], name: str, tensor: str) -> None:
    golden = manifest(packages[name])["golden"]
    assert isinstance(golden, dict)
    assert all(1e-4 <= entry[tensor] < 0.1 for entry in golden["tolerances"])


def test_the_served_discriminator_judges_a_sample_with_the_latent_that_is_found_for_it(
    packages: dict[str, Path],
) -> None:
    trained, images = load(packages["bigan"].parents[2] / "run")
    pair = build(trained, images, exported.unheard)
    samples = floats(digits().held_out[:32])
    assert pair.encoder is not None
    found = pair.encoder.run({"sample": samples})["latent"]
    with torch.no_grad():
        by_hand = trained.discriminator(torch.from_numpy(samples), torch.from_numpy(found))
    assert np.allclose(pair.discriminator.run({"sample": samples})["logit"], by_hand, atol=1e-4)


def test_what_is_read_are_distributions_over_categories_and_means(packages: dict[str, Path]) -> None:
    trained, images = load(packages["infogan"].parents[2] / "run")
    pair = build(trained, images, exported.unheard)
    samples = floats(digits().held_out[:32])
    assert pair.encoder is not None
    read = pair.encoder.run({"sample": samples})["code"]
    assert np.allclose(read[:, :10].sum(axis=1), 1, atol=1e-5)
    assert read[:, :10].min() >= 0
    nets = players.networks_of(trained.ema, trained.players.critic_side)
    assert nets.features is not None
    assert nets.code_head is not None
    with torch.no_grad():
        parameters = nets.code_head(nets.features(torch.from_numpy(samples)))
    assert np.allclose(read[:, 10:], parameters[:, 10:], atol=1e-5)


@pytest.mark.slow
def test_codes_steer_the_exported_generator_and_are_read_back_by_the_exported_encoder(tmp_path: Path) -> None:
    longer: dict[str, Value] = {"total_samples": 24_000, "checkpoint_every_samples": 24_000}
    run.start(games.infogan(trainer=longer), tmp_path / "run", exported.unheard)
    pair = build(*load(tmp_path / "run"), exported.unheard)
    asked = pair.inputs(Purpose.EVALUATION, 500)
    assert pair.encoder is not None
    read = pair.encoder.output("code", {"sample": pair.generator.output("sample", asked)})
    # Chance is a tenth; a pair of this size and length came to 0.79.
    assert (read[:, :10].argmax(axis=1) == asked["code"][:, :10].argmax(axis=1)).mean() > 0.6
