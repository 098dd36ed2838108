"""Configurations: the shipped ones, the round trip, the hash, and the words for mistakes."""

from pathlib import Path

import pytest

from tests.support import small
from training import config as configuration
from training import keys, networks
from training.errors import ConfigError
from training.networks.base import Task, parameter_count
from training.tables import Value

SHIPPED = sorted(keys.SHIPPED.glob("*.toml"))
MNIST = Task((1, 28, 28))
PACKAGE_PARAMETERS = 1_700_000  # of both networks: 4 bytes each stay below a package's 8 MB with its previews


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_loads_and_is_named_as_its_file(path: Path) -> None:
    assert configuration.load(path).name == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_resolved_configuration_reads_back_as_the_equal_value(path: Path) -> None:
    config = configuration.load(path)
    assert configuration.loads(configuration.dumps(config)) == config


def test_a_resolved_configuration_states_every_default() -> None:
    resolved = configuration.dumps(small.config())
    assert "horizontal_flips = false" in resolved
    assert "spectral_norm = false" in resolved


def test_the_shipped_mnist_pair_fits_in_a_package_of_eight_megabytes() -> None:
    config = configuration.load(keys.find("r3gan-mnist"))
    pair = (networks.generator(config.generator, MNIST), networks.discriminator(config.discriminator, MNIST))
    assert sum(map(parameter_count, pair)) < PACKAGE_PARAMETERS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"generator": {"conditional": True}, "discriminator": {"pack": 2}},
            "pack must be 1 with .* conditional: a pack has no label of its own",
        ),
        ({"discriminator": {"pack": 3}}, "batch_size 16 does not divide into packs of 3"),
        ({"generator": {"kind": "dgcan"}}, 'has no kind "dgcan"; did you mean "dcgan"'),
    ],
)
def test_keys_that_do_not_go_together_are_one_sentence(changes: dict[str, dict[str, Value]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small.config(**changes)


def test_a_configuration_is_found_by_its_path_or_by_a_shipped_stem(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(small.text())
    assert keys.find(str(own)) == own
    assert keys.find("r3gan-digits") == keys.SHIPPED / "r3gan-digits.toml"


def test_a_configuration_that_is_not_there_brings_the_nearest_shipped_one_to_mind() -> None:
    with pytest.raises(ConfigError, match=r'no configuration r3gan-digit; did you mean "r3gan-digits"\?'):
        keys.find("r3gan-digit")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("name = ", "not TOML: "),
        ("[trainer]", 'the top level lacks the key "name"'),
        ('nam = "x"', 'the top level has no key "nam"; did you mean "name"?'),
        ('name = "x"\n[trainor]\na = 1', 'there is no table [trainor]; did you mean "trainer"?'),
        ('name = "x"\ndata = 3', "data is 3 but must be a table, [data]"),
        ('name = "x"\nseed = -1', "the top level seed is -1 but must be an integer of at least 0"),
        (small.text(trainer={"lerning_rate_generator": 1}), 'no key "lerning_rate_generator"; did you mean "learning_'),
        (small.text(trainer={"batch_size": "64"}), '[trainer] batch_size is "64" but must be an integer of at least 1'),
        (small.text(data={"kind": "minst"}), '[data] has no kind "minst"; did you mean "mnist"?'),
        (small.text(objective={"kind": "minimax", "smooth": 1}), '[objective] has no key "smooth"; valid are '),
        (small.text(objective={"kind": 3}), '[objective] has no kind "3"; valid are '),
        (
            'name = "x"\n[data]\npath = "x"',
            '[data] lacks the key "kind"; valid are "mnist", "stacked_mnist", "digits", "folder"',
        ),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_would_be_valid(tmp_path: Path, wrong: str, sentence: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(wrong)
    with pytest.raises(ConfigError) as caught:
        configuration.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "image.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"image\.toml"):
        configuration.load(path)
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml: No such file"):
        configuration.load(tmp_path / "absent.toml")


def test_the_hash_does_not_depend_on_where_the_data_lies() -> None:
    here = small.config(data={"kind": "mnist", "path": "/here"})
    assert configuration.sha256(here) == configuration.sha256(configuration.with_data_path(here, "/there"))


def test_the_hash_depends_on_every_other_key() -> None:
    hashes = {
        configuration.sha256(config)
        for config in (
            small.config(),
            small.config(generator={"latent_size": 9}),
            small.config(discriminator={"spectral_norm": True}),
            small.config(objective={"gamma_r1": 0.25}),
            small.config(trainer={"beta2": 0.9}),
            small.config(data={"kind": "mnist"}),
        )
    }
    assert len(hashes) == 6


def test_a_written_default_has_the_hash_of_one_left_out() -> None:
    stated = small.config(trainer={"precision": "fp32"}, discriminator={"depth": 0})
    assert configuration.sha256(stated) == configuration.sha256(small.config())


def test_the_first_difference_is_named_with_both_values() -> None:
    former, now = small.config(), small.config(trainer={"batch_size": 32})
    assert configuration.first_difference(now, former) == "[trainer] batch_size is 32 and was 16"
    assert configuration.first_difference(former, former) is None


def test_bundled_data_takes_no_path() -> None:
    with pytest.raises(ConfigError, match="bundled"):
        configuration.with_data_path(small.config(), "/somewhere")


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            {"kind": "relativistic", "gamma_r1": 0.0, "gamma_r2": 0.0},
            "gamma_r1 and gamma_r2 = 0",
        ),
        ({"kind": "relativistic", "gamma_r1": 1.0, "gamma_r2": 0.0}, "has gamma_r2 = 0"),
        ({"kind": "wasserstein_gp", "gamma_slope": 0.0}, "nothing bounds the critic"),
    ],
)
def test_a_game_that_lacks_what_makes_it_converge_is_doubted(objective: dict[str, Value], said: str) -> None:
    (doubt,) = configuration.warnings_of(small.config(objective=objective))
    assert said in doubt


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_nothing_that_is_shipped_is_doubted(path: Path) -> None:
    assert configuration.warnings_of(configuration.load(path)) == []


def test_a_byte_order_mark_before_a_configuration_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_text(small.text(), encoding="utf-8-sig")
    assert configuration.load(tmp_path / "marked.toml") == small.config()
