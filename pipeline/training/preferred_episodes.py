"""Which logged episodes a learner sees more often."""

from collections.abc import Callable

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode_draws import EpisodeDraws, draws_by_return
from pipeline.policies.protocols import LearnerConfig
from pipeline.validation import counted


def preferred_episodes(
    dataset: PreparedDataset, config: LearnerConfig, say: Callable[[str], None]
) -> EpisodeDraws | None:
    """The draws that an option ``return_temperature`` asks for, of the training split; None: all steps alike.

    Says what they do to the logs, and when they do nothing.
    """
    temperature = vars(config).get("return_temperature")
    if temperature is None:
        return None
    draws = draws_by_return(dataset, "train", temperature)
    if draws is None:
        say("return_temperature: all episodes are equally good, so they are drawn alike")
        return None
    returns, lengths = dataset.episode_returns("train"), dataset.episode_lengths("train")
    # Kish's effective sample size
    effective = counted(round(1 / (draws.share**2).sum()), "episode")
    before, after = lengths @ returns / lengths.sum(), draws.share @ returns
    say(
        f"return_temperature {temperature:g}: draws are as varied as {effective} of {len(returns)};"
        f" a step's episode returns {after:.5g} on average instead of {before:.5g}"
    )
    return draws
