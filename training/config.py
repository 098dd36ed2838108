"""The configuration of a run as one frozen value, assembled from the tables that its parts declare.

    name, seed   [data] kind   [generator] kind   [discriminator] kind   [objective] kind   [trainer]   [diagnostics]
                 [encoder] kind, with the objective "bigan"   [code_head], with the objective "infogan"
                 [warps], with InfoGAN's weight_steady

The file that a run keeps has every default filled in and reads back as the equal value. The hash covers what the result
depends on, so not the data's path (its content has a hash of its own).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, TypeVar

from training import augmentation, data, keys, objectives
from training.augmentation import AugmentationConfig, WarpsConfig
from training.codes import Codes
from training.data import DataConfig, SelfContained
from training.data.image_folder import folder, sources
from training.errors import ConfigError
from training.networks import DEFAULT_KIND, DISCRIMINATORS, GENERATORS, DiscriminatorConfig, GeneratorConfig, encoder
from training.networks.code_head import CodeHeadConfig
from training.networks.encoder import EncoderConfig
from training.objectives import (
    BiGan,
    FeatureMatching,
    InfoGan,
    Irgan,
    ObjectiveConfig,
    Relativistic,
    WassersteinGradientPenalty,
)
from training.schedule import TrainerConfig
from training.tables import Part, Range, Table, bind, known_kind, nearest, parse, to_toml, unbind

FEWEST_PROBED = 32  # below, a share or a nearest neighbour says nothing
MOST_PROBED = 8_192  # 0.5 GB of distances


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """The `[diagnostics]` table; nothing in it changes what a healthy run computes.

    Attributes:
        every_samples: distance of the `theory/…` rows of `metrics.jsonl`; 0 measures nothing.
        evaluate_every_samples: distance of the `quality/…` rows, the figures of `evaluate` on 2,048 samples of
            the averaged generator: a second or two each for small images; 0 measures none.
        probe_samples: generated samples, and as many real ones, that one measurement looks at.
        classifier: count modes of labelled images with a classifier of their own, which is trained before the first
            measurement unless it is cached; false leaves their modes uncounted.
        stop_on_collapse: end the run when the collapse alarm is raised, with a checkpoint.
        rollback: how often a run that diverges goes back to its newest checkpoint, with half the learning rates,
            before it gives up.
    """

    every_samples: Annotated[int, Range(at_least=0)] = 6_400
    evaluate_every_samples: Annotated[int, Range(at_least=0)] = 0
    probe_samples: Annotated[int, Range(at_least=FEWEST_PROBED, at_most=MOST_PROBED)] = 512
    classifier: bool = True
    stop_on_collapse: bool = False
    rollback: Annotated[int, Range(at_least=0)] = 2


SECTIONS: Final = (
    "data",
    "generator",
    "discriminator",
    "encoder",
    "code_head",
    "objective",
    "warps",
    "trainer",
    "augmentation",
    "diagnostics",
)
FOR_FOLDERS: Final = "r3gan-folder"  # the shipped configuration that a folder of images is begun with
NOT_OF_NAMES: Final = re.compile(r"[^a-z0-9_-]+")  # what a package's name may not hold
LONGEST_NAME = 64  # of a package
LARGEST_SEED = 2**63 - 1  # the largest integer that TOML must carry

# Tables of one kind only, and those that every configuration must have something in.
SINGLE_KIND: Final[Mapping[str, type[Part]]] = {
    "code_head": CodeHeadConfig,
    "warps": WarpsConfig,
    "trainer": TrainerConfig,
    "diagnostics": DiagnosticsConfig,
}
NEEDED: Final = ("data", "generator", "discriminator", "objective", "trainer")

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The keys outside any table.

    Attributes:
        name: of the experiment, for people; a package is called so unless `export --name` says otherwise.
        seed: of all randomness.
    """

    name: str
    seed: Annotated[int, Range(at_least=0, at_most=LARGEST_SEED)] = 0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a run computes.

    Attributes:
        encoder: the encoder's size; None in games without one.
        code_head: the code head's size; unused in games without codes.
        warps: warps that categories must be invariant to; None in games without them.
        augmentation: what the discriminator is shown instead of the samples; None shows them as they are.
    """

    name: str
    seed: int
    data: DataConfig
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    encoder: EncoderConfig | None = None
    code_head: CodeHeadConfig = field(default_factory=CodeHeadConfig)
    objective: ObjectiveConfig
    warps: WarpsConfig | None = None
    trainer: TrainerConfig
    augmentation: AugmentationConfig | None = None
    diagnostics: DiagnosticsConfig

    @property
    def codes(self) -> Codes | None:
        """The codes of the objective; None in games without codes."""
        return self.objective.codes if isinstance(self.objective, InfoGan) else None


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: one sentence with the file, the key and what it may be.
    """
    return from_tables(keys.read(path), f"{path}: ")


def loads(text: str) -> Config:
    """Assemble a configuration from TOML.

    Raises:
        ConfigError: as `load`, without the file's name.
    """
    return from_tables(parse(text))


def from_tables(tables: Mapping[str, object], where: str = "") -> Config:
    """Assemble a configuration from parsed TOML, or from what a package keeps of one.

    Args:
        tables: the keys outside any table, and the tables by name.
        where: how a message begins.

    Raises:
        ConfigError: as `load`.
    """
    try:
        return _assemble(tables)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error


def _assemble(tables: Mapping[str, object]) -> Config:
    header = {key: value for key, value in tables.items() if key not in SECTIONS}
    for key, value in header.items():
        if isinstance(value, dict):
            raise ConfigError(f"there is no table [{key}]{nearest(key, SECTIONS)}")
    top = bind(header, Header, "the top level")
    config = Config(
        name=top.name,
        seed=top.seed,
        data=_bind_kind(_table(tables, "data"), data.KINDS, "[data]"),
        generator=_bind_kind(_table(tables, "generator"), GENERATORS, "[generator]", DEFAULT_KIND),
        discriminator=_bind_kind(_table(tables, "discriminator"), DISCRIMINATORS, "[discriminator]", DEFAULT_KIND),
        encoder=_encoder(tables),
        code_head=bind(_table(tables, "code_head"), CodeHeadConfig, "[code_head]"),
        objective=(objective := _bind_kind(_table(tables, "objective"), objectives.KINDS, "[objective]")),
        warps=_warps(tables, objective),
        trainer=bind(_table(tables, "trainer"), TrainerConfig, "[trainer]"),
        augmentation=_augmentation(tables),
        diagnostics=bind(_table(tables, "diagnostics"), DiagnosticsConfig, "[diagnostics]"),
    )
    _check_pack(config)
    _check_accumulation(config)
    _check_players(config, tables)
    return config


def for_folder(path: str) -> dict[str, object]:
    """Choose a configuration for a folder of images.

    Returns:
        The tables of the shipped one for folders, with size, channels and the share held out by what the folder holds.

    Raises:
        DataError: if the folder is missing or holds no image that can be read.
    """
    chosen = folder.suggested(path)
    name = NOT_OF_NAMES.sub("-", sources.name_of(path).lower()).strip("-_")[:LONGEST_NAME]
    table = {"kind": chosen.kind, **unbind(chosen)}
    return keys.read(keys.find(FOR_FOLDERS)) | {"name": name or FOR_FOLDERS, "data": table}


def with_data_path(config: Config, path: str) -> Config:
    """Change the path of a configuration's data.

    Returns:
        The same configuration, with the same hash.

    Raises:
        ConfigError: if its kind of data has no path.
    """
    if isinstance(config.data, SelfContained):
        raise ConfigError(f'[data] of kind "{config.data.kind}" is bundled; it takes no path')
    return replace(config, data=replace(config.data, path=path))


def with_length(config: Config, total_samples: int) -> Config:
    """Change the length of a run."""
    return replace(config, trainer=replace(config.trainer, total_samples=total_samples))


def warnings_of(config: Config) -> list[str]:
    """Warn of settings that are valid but probably not intended.

    Returns:
        A sentence for each doubt.
    """
    found = []
    game = config.objective
    if isinstance(game, Relativistic) and not (game.gamma_r1 and game.gamma_r2):
        missing = " and ".join(key for key in ("gamma_r1", "gamma_r2") if not getattr(game, key))
        found.append(
            f'[objective] of kind "relativistic" has {missing} = 0: it converges with both penalties, and with one or '
            "none it may circle or diverge; 0.5 each is a start for small images"
        )
    if isinstance(game, WassersteinGradientPenalty) and not game.gamma_slope:
        found.append(
            f'[objective] of kind "{game.kind}" has gamma_slope = 0: nothing bounds the critic, so that its loss '
            "is no distance; 10 is the paper's"
        )
    return found


def to_tables(config: Config) -> dict[str, Table]:
    """Write a configuration as tables, every default filled in.

    Returns:
        The tables by name; the keys outside any table under the empty name.
    """
    return {
        "": {"name": config.name, "seed": config.seed},
        "data": {"kind": config.data.kind, **unbind(config.data)},
        "generator": {"kind": config.generator.kind, **unbind(config.generator)},
        "discriminator": {"kind": config.discriminator.kind, **unbind(config.discriminator)},
        **({} if config.encoder is None else {"encoder": {"kind": config.encoder.kind, **unbind(config.encoder)}}),
        **({} if config.codes is None else {"code_head": unbind(config.code_head)}),
        "objective": {"kind": config.objective.kind, **unbind(config.objective)},
        **({} if config.warps is None else {"warps": unbind(config.warps)}),
        "trainer": unbind(config.trainer),
        **(
            {}
            if config.augmentation is None
            else {"augmentation": {"kind": config.augmentation.kind, **unbind(config.augmentation)}}
        ),
        "diagnostics": unbind(config.diagnostics),
    }


def dumps(config: Config) -> str:
    """Write a configuration as TOML that `load` reads back as the equal value."""
    sections = [(f"[{name}]\n" if name else "") + to_toml(table) for name, table in to_tables(config).items()]
    return "\n".join(sections)


def sha256(config: Config) -> str:
    """Identify what the result of a run depends on.

    Returns:
        Hexadecimal SHA-256 of the canonical JSON of all keys but the data's place and the trackers.
    """
    canonical = json.dumps(_identity(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def first_difference(config: Config, other: Config) -> str | None:
    """Name a key in which two configurations differ.

    Returns:
        Such as `[trainer] batch_size is 32 and was 64`, or None if both have the same hash.
    """
    ours, theirs = _identity(config), _identity(other)
    for section in ours:
        table, other_table = ours[section], theirs[section]
        for key in {**table, **other_table}:
            if table.get(key) != other_table.get(key):
                place = f"[{section}] {key}" if section else key
                return f"{place} is {json.dumps(table.get(key))} and was {json.dumps(other_table.get(key))}"
    return None


def _identity(config: Config) -> dict[str, Table]:
    tables = to_tables(config)
    tables["data"].pop("path", None)
    tables["trainer"].pop("trackers")
    return tables


def _augmentation(tables: Mapping[str, object]) -> AugmentationConfig | None:
    table = _table(tables, "augmentation")
    return _bind_kind(table, augmentation.KINDS, "[augmentation]") if table else None


def _warps(tables: Mapping[str, object], objective: ObjectiveConfig) -> WarpsConfig | None:
    asked = isinstance(objective, InfoGan) and objective.weight_steady > 0
    if "warps" in tables and not asked:
        raise ConfigError(
            "[warps] are what InfoGAN's categories are to overlook; leave the table out, or add "
            '[objective] weight_steady = 1.0 to kind = "infogan"'
        )
    return bind(_table(tables, "warps"), WarpsConfig, "[warps]") if asked else None


def _check_pack(config: Config) -> None:
    """Refuse packs that no label could be asked of, or that a batch does not divide into."""
    pack, batch_size = config.discriminator.pack, config.trainer.batch_size
    if pack > 1 and config.generator.conditional:
        raise ConfigError("[discriminator] pack must be 1 with [generator] conditional: a pack has no label of its own")
    if batch_size % pack:
        raise ConfigError(f"[trainer] batch_size {batch_size} does not divide into packs of {pack}")


def _check_accumulation(config: Config) -> None:
    """Refuse to compute a batch in parts where its loss is no mean over samples."""
    game, reason = config.objective, None
    if isinstance(game, FeatureMatching):
        reason = "compares the mean features of a whole batch"
    elif isinstance(game, Irgan) and game.baseline == "batch":
        reason = 'has baseline = "batch", a mean over a whole batch'
    if config.trainer.accumulate > 1 and reason is not None:
        raise ConfigError(f'[trainer] accumulate must be 1: [objective] of kind "{game.kind}" {reason}')


def _check_players(config: Config, tables: Mapping[str, object]) -> None:
    """Refuse players that the game does not use, or needs and lacks."""
    kind = config.objective.kind
    joint, coded = isinstance(config.objective, BiGan), isinstance(config.objective, InfoGan)
    if joint and config.encoder is None:
        raise ConfigError('[objective] of kind "bigan" trains an encoder; add a table [encoder]')
    if config.encoder is not None and not joint:
        raise ConfigError(f'[objective] of kind "{kind}" has no encoder; leave out [encoder], or choose "bigan"')
    if "code_head" in tables and not coded:
        raise ConfigError(f'[objective] of kind "{kind}" has no codes; leave out [code_head], or choose "infogan"')
    if config.codes is not None and not config.codes.size:
        raise ConfigError('[objective] of kind "infogan" needs codes, such as categorical = {digit = 10}')
    if (joint or coded) and (config.discriminator.pack > 1 or config.generator.conditional):
        raise ConfigError(
            f'[objective] of kind "{kind}" judges one sample at a time, without labels: '
            "[discriminator] pack must be 1 and [generator] conditional false"
        )


def _encoder(tables: Mapping[str, object]) -> EncoderConfig | None:
    return _bind_kind(_table(tables, "encoder"), encoder.KINDS, "[encoder]") if "encoder" in tables else None


def _table(tables: Mapping[str, object], section: str) -> dict[str, object]:
    table = tables.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{section} is {json.dumps(table, default=str)} but must be a table, [{section}]")
    return dict(table)


def _bind_kind(table: dict[str, object], kinds: Mapping[str, type[P]], where: str, default: str | None = None) -> P:
    kind = known_kind(table.pop("kind", default), kinds, where)
    return bind(table, kinds[kind], where)
