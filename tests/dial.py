"""An environment whose images and numbers follow from the number of the step."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

DIAL_SIDE, DIAL_STEPS = 96, 7


class Dial(gymnasium.Env[Any, Any]):
    """The state holds the number of steps, the sum of actions and a random number of each reset.

    In the frame, red grows by 2 with each column and green by 10 with each step; with ``block``, one quarter of a black
    frame is gray instead. The reward is the action. With ``blind`` it renders None; with ``dark`` rendering fails.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-1e6, 1e6, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(
        self, render_mode: str | None = None, block: bool = False, blind: bool = False, dark: bool = False
    ) -> None:
        self.render_mode, self.block, self.blind, self.dark = render_mode, block, blind, dark

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.state = np.array([0.0, 0.0, self.np_random.random()], np.float32)
        return self.state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Add the action to the state; never ends."""
        self.state += np.array([1.0, action[0], 0.0], np.float32)
        return self.state.copy(), float(action[0]), False, False, {}

    def render(self) -> Any:
        """The frame, uint8 [96, 96, 3]."""
        if self.dark:
            raise RuntimeError("no\nscreen")
        frame = np.zeros((DIAL_SIDE, DIAL_SIDE, 3), np.uint8)
        if self.block:
            frame[DIAL_SIDE // 2 :, DIAL_SIDE // 2 :] = 200
        else:
            frame[..., 0], frame[..., 1] = 2 * np.arange(DIAL_SIDE), 10 * self.state[0]
        return None if self.blind else frame


gymnasium.register("Dial-v0", entry_point=lambda **kw: Dial(**kw), max_episode_steps=DIAL_STEPS)
