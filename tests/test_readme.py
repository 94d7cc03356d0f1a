"""What README shows as code is code that runs."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from contract import missing
from torch import Generator, Tensor, nn
from toys import linear_world, logged_in, world_model

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.policies.protocols import PolicyLearner
from pipeline.policies.task import LearnerSpec
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay
from pipeline.training.trainer import TrainerConfig, make_trainer
from pipeline.types import Transitions

README = (Path(__file__).parents[1] / "README.md").read_text()
SEEN = (dataclass, field, torch, Generator, Tensor, Imagination, LearnerSpec, Transitions, actor_for)


def test_the_learner_of_the_readme_learns() -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Mine(" in block)
    names: dict[str, Any] = {thing.__name__: thing for thing in SEEN} | {"nn": nn, "ActorNetwork": ActorNetwork}
    exec(code, names)
    raw = linear_world(300)
    logged = logged_in(world_model("gaussian_ensemble", raw), raw)
    learner = names["Mine"](names["Mine"].Config(updates=400, batch_size=64, hidden=[16]), LearnerSpec(3, 2))
    assert missing(learner, PolicyLearner) == []
    training = PolicyTraining(learner, LoggedReplay(logged), None, 200, 0, "mine")
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 2, [], progress=False).fit(training)
    first, last = (row["loss"] for row in training.history)
    assert last < first
    assert learner.act(logged.state[:5], None).shape == (5, 2)
