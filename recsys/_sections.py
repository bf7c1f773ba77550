"""The sections of the settings, one frozen object each: every key, its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys import _setting as setting

FORMATS: Final = ("parquet", "jsonl", "lastfm", "listenbrainz", "spotify")
#: Formats whose columns have fixed names.
FIXED_FORMATS: Final = ("lastfm", "listenbrainz", "spotify")
STOP, CONTINUE = "stop", "continue"
ALLOW, BAR = "allow", "bar"
ON, OFF = "on", "off"
LOCAL, SPARK, IMPLICIT = "local", "spark", "implicit"
BASELINES: Final = ("popularity", "recent_popularity", "item_knn", "als_defaults")


@dataclass(frozen=True, kw_only=True)
class RecsysSettings:
    """``[recsys]``: where everything is kept, and the seed of all randomness."""

    home: Path = setting.of(setting.path, Path("data"))
    seed: int = setting.of(setting.integer(0, 2**31 - 1), 20260101)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """``[engine]``: what does the work of the stages."""

    name: str = setting.of(setting.choice(LOCAL, SPARK), LOCAL)


@dataclass(frozen=True, kw_only=True)
class SparkSettings:
    """``[spark]``: the cluster, for the engine of that name."""

    master: str = setting.of(setting.spark_master, "local[*]")
    #: Where the model is trained: by Spark's own ALS, or as without Spark, on the driver.
    training: str = setting.of(setting.choice(SPARK, IMPLICIT), SPARK)
    #: Settings of Spark's own, handed through as they are.
    options: dict[str, str] = setting.of(setting.anything, {}, written="spark.*")


@dataclass(frozen=True, kw_only=True)
class ListensSettings:
    """``[listens]``: the log, how it is read, and what each event weighs."""

    #: Directory, glob or fsspec URL of the log.
    source: str = setting.of(setting.text)
    format: str = setting.of(setting.choice(*FORMATS), "parquet")
    #: The log's column name -> ours, as a JSON object.
    columns: dict[str, str] = setting.of(setting.column_map, {})
    #: Whose listens those are that name nobody: a listener's own export.
    user: str = setting.of(setting.anything, "")
    #: A partition that is absent or empty although the log has begun.
    missing_day: str = setting.of(setting.choice(STOP, CONTINUE), STOP)
    #: A day under a tenth of, or over ten times, the median of the 28 days before.
    odd_day: str = setting.of(setting.choice(STOP, CONTINUE), STOP)
    #: A listen counts half after so many days.
    half_life_days: float = setting.of(setting.number(0.1, 36500), 90.0)
    weight_play: float = setting.of(setting.number(0, 1000), 1.0)
    weight_part_play: float = setting.of(setting.number(-1000, 1000), 0.3)
    weight_skip: float = setting.of(setting.number(-1000, 1000), -0.5)
    weight_save: float = setting.of(setting.number(0, 1000), 3.0)
    weight_like: float = setting.of(setting.number(0, 1000), 3.0)
    weight_dislike: float = setting.of(setting.number(-1000, 0), -5.0)


@dataclass(frozen=True, kw_only=True)
class CatalogueSettings:
    """``[catalogue]``: the service's own catalogue, where there is one."""

    #: Directory, glob or fsspec URL of Parquet or JSON Lines. Empty: made from the log alone.
    source: str = setting.of(setting.anything, "")
    #: Whether explicit tracks may be recommended.
    explicit: str = setting.of(setting.choice(ALLOW, BAR), ALLOW)


@dataclass(frozen=True, kw_only=True)
class EditionSettings:
    """``[edition]``: when an edition closes its books, and who gets one."""

    #: Hours between the cutoff and Monday 00:00 UTC.
    lead_hours: int = setting.of(setting.multiple_of(24, 24 * 14), 24)
    #: A listener is eligible with a listen in so many days before the cutoff.
    active_days: int = setting.of(setting.integer(1, 36500), 28)


@dataclass(frozen=True, kw_only=True)
class AlsSettings:
    """``[als]``: the model."""

    factors: int = setting.of(setting.integer(1, 4096), 64)
    #: Iterations of a cold start, at most.
    iterations: int = setting.of(setting.integer(1, 1000), 15)
    #: Iterations when going on from another model.
    warm_iterations: int = setting.of(setting.integer(1, 1000), 3)
    regularization: float = setting.of(setting.number(0, 1e6), 0.2)
    #: A row of n pairs among N is regularized by (n + unobserved_weight x N) ** this.
    regularization_exponent: float = setting.of(setting.number(0, 2), 0.5)
    #: Of a song the listener does not hold to, where one held to has 1 + alpha x strength.
    unobserved_weight: float = setting.of(setting.number(1e-6, 1), 0.3)
    alpha: float = setting.of(setting.number(0, 1e6), 1.0)
    #: A model is trained from nothing at least every so many weeks.
    cold_every_weeks: int = setting.of(setting.integer(1, 520), 4)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """``[evaluation]``: how much is measured on the unseen week, and against what."""

    #: At most so many listeners are scored, drawn by the seed.
    listeners: int = setting.of(setting.integer(1, 10**9), 20000)
    #: What the models are held against; popularity always is.
    baselines: str = setting.of(setting.several_of(*BASELINES), ", ".join(BASELINES))

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """The baselines that are scored, ``popularity`` among them."""
        given = {"popularity", *self.baselines.split(", ")}
        return tuple(name for name in BASELINES if name in given)


@dataclass(frozen=True, kw_only=True)
class PlaylistsSettings:
    """``[playlists]``: the rules of a playlist."""

    length: int = setting.of(setting.integer(1, 200), 30)
    per_artist: int = setting.of(setting.integer(1, 200), 2)
    #: A track of so many editions before is not repeated; 0 switches the rule off.
    cooldown_editions: int = setting.of(setting.integer(0, 104), 8)
    #: Of the tracks, the share by artists that the listener has heard: not under, and not over.
    familiar_at_least: float = setting.of(setting.number(0, 1), 0.0)
    familiar_at_most: float = setting.of(setting.number(0, 1), 1.0)
    #: Ordered by score x listeners ** this: under 0 is for the tail, over 0 for the head.
    popularity_exponent: float = setting.of(setting.number(-1, 1), 0.0)
    #: Maximal marginal relevance (Carbonell and Goldstein 1998) with lambda = 1 - this.
    diversity: float = setting.of(setting.number(0, 1), 0.0)
    #: A song that came into the log within so many days is ordered by score x (1 + freshness).
    freshness: float = setting.of(setting.number(0, 10), 0.0)
    fresh_days: int = setting.of(setting.integer(1, 366), 28)

    def __post_init__(self) -> None:
        if self.familiar_at_least > self.familiar_at_most:
            raise ValueError(
                f"familiar_at_least = {self.familiar_at_least:g} is over familiar_at_most = "
                f"{self.familiar_at_most:g}: expected a share that is at most as large"
            )


@dataclass(frozen=True, kw_only=True)
class ExposuresSettings:
    """``[exposures]``: what listeners were shown of earlier editions, where that is logged."""

    #: File, folder or glob of the exposure log; empty where there is none.
    source: str = setting.of(setting.anything, "")


@dataclass(frozen=True, kw_only=True)
class GatesSettings:
    """``[gates]``: what the gates allow. Shares are between 0 and 1."""

    #: Listens and listeners of the newest week, over the median of the four before it.
    least_volume: float = setting.of(setting.number(0, 1), 0.7)
    most_volume: float = setting.of(setting.number(1, 1e6), 4.0)
    #: Floors of the model's metrics on the week that it had not seen.
    least_ndcg: float = setting.of(setting.number(0, 1), 0.0)
    least_recall: float = setting.of(setting.number(0, 1), 0.0)
    #: By what share of the parent's ndcg@30 a model may be worse.
    worse_than_parent: float = setting.of(setting.number(0, 1), 0.2)
    #: Share of popularity's lists that a model's may hold.
    most_popularity_overlap: float = setting.of(setting.number(0, 1), 0.9)
    #: By what share the factors' loss may lie above that of the parent's.
    worse_loss: float = setting.of(setting.number(0, 100), 0.1)
    #: Known-item recall, times that of popularity.
    least_known_recall: float = setting.of(setting.number(0, 100), 1.2)
    #: By what share known-item recall may lie below the parent's.
    worse_known_recall: float = setting.of(setting.number(0, 1), 0.15)
    #: Share of the parent's lists that the model's hold.
    least_list_overlap: float = setting.of(setting.number(0, 1), 0.3)
    most_list_overlap: float = setting.of(setting.number(0, 1), 1.0)
    #: Share of the eligible listeners who get a playlist.
    least_coverage: float = setting.of(setting.number(0, 1), 0.9)
    #: Share of a listener's tracks that were in last week's playlist.
    least_repeated: float = setting.of(setting.number(0, 1), 0.0)
    most_repeated: float = setting.of(setting.number(0, 1), 0.2)
    #: Share of tracks that two listeners' playlists have in common, on average.
    most_alike: float = setting.of(setting.number(0, 1), 0.8)
    #: Share of playlists in which a rule gave way; and of those that are not personal.
    most_relaxed: float = setting.of(setting.number(0, 1), 0.5)
    most_filled: float = setting.of(setting.number(0, 1), 0.6)

    def __post_init__(self) -> None:
        for name in ("list_overlap", "repeated"):
            least, most = getattr(self, f"least_{name}"), getattr(self, f"most_{name}")
            if least > most:
                raise ValueError(
                    f"least_{name} = {least:g} is over most_{name} = {most:g}: expected at most "
                    "as much"
                )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """``[store]``: where the playlists are published. Empty: ``sqlite:///`` under home."""

    url: str = setting.of(setting.store_url, "")
    #: The newest so many weeks stay readable; older ones are pruned.
    keep_weeks: int = setting.of(setting.integer(2, 520), 12)
    #: A forgotten listener must be erased from every copy within so many days.
    erase_days: int = setting.of(setting.integer(1, 365), 30)


@dataclass(frozen=True, kw_only=True)
class MlflowSettings:
    """``[mlflow]``: where runs are tracked. Empty: a SQLite file under home."""

    tracking_uri: str = setting.of(setting.anything, "")


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """``[tuning]``: how long better settings of the model are looked for."""

    #: The search ends after so many trials; whatever runs before counts.
    trials: int = setting.of(setting.integer(1, 100_000), 60)
    #: No trial is begun so many minutes after the run began; 0 for no limit.
    minutes: float = setting.of(setting.number(0, 100_000), 0.0)


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """``[serve]``: the read service, ``recsys serve``."""

    host: str = setting.of(setting.text, "127.0.0.1")
    #: 0 takes a free one.
    port: int = setting.of(setting.integer(0, 65535), 8080)
    #: For so many seconds a client may keep an answer without asking again.
    max_age: int = setting.of(setting.integer(0, 86400), 60)
    #: And a shared cache, which `purge_url` reaches.
    shared_max_age: int = setting.of(setting.integer(0, 604800), 300)
    #: Requests in work at once; what comes above that is turned away.
    concurrency: int = setting.of(setting.integer(1, 10000), 64)
    #: ASGI middleware around everything, such as the operator's own authentication.
    middleware: str = setting.of(setting.dotted, "")
    #: The shared cache to be emptied when what is served has changed.
    purge_url: str = setting.of(setting.http_url, "")
    #: Whether there are pages for people, too.
    explorer: str = setting.of(setting.choice(ON, OFF), OFF)

    def __post_init__(self) -> None:
        if self.max_age > self.shared_max_age:
            raise ValueError(
                f"max_age = {self.max_age} is over shared_max_age = {self.shared_max_age}: "
                "expected at most as much"
            )
