"""Reference returns for normalized scores: 0 is a random policy, 100 an expert (Fu et al., 2020, D4RL)."""

import re

D4RL_REFERENCES = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "pen": (96.262799, 3076.8331017826877),
    "hammer": (-274.856578, 12794.134825156867),
    "door": (-56.512833, 2880.5693087298737),
    "relocate": (-6.425911, 4233.877797728884),
}


def reference_scores(env_id: str | None) -> tuple[float, float] | None:
    """(minimum, maximum) return of an environment such as ``Hopper-v5`` or ``AdroitHandDoor-v1``; None if unlisted."""
    family = re.sub(r"(-v\d+)?$", "", re.split("[/:]", env_id or "")[-1]).lower().removeprefix("adroithand")
    return D4RL_REFERENCES.get(family)
