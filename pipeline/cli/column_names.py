"""What the names of columns say about their roles."""

import re
from collections.abc import Iterable

FLAT_NAMES = {
    "obs_key": ("observations", "observation", "obs", "states", "state", "s", "x"),
    "action_key": ("actions", "action", "acts", "act", "a", "u"),
    "reward_key": ("rewards", "reward", "rew", "r"),
    "terminal_key": ("terminals", "terminal", "terminations", "terminated", "dones", "done", "term", "d"),
    "timeout_key": (
        *("timeouts", "timeout", "truncations", "truncated", "truncateds", "episode_terminals", "time_limit"),
        *("trunc", "time_limits"),
    ),
    "next_obs_key": (
        *("next_observations", "next_observation", "next_obs", "next_states", "next_state", "obs_next", "obs2"),
        *("s_next", "next_s", "s2", "s_prime", "x_next", "next_x", "obs_tp1"),
    ),
    "mask_key": ("mask", "masks", "valid", "padding_mask", "attention_mask"),
    "episode_key": ("episode_ids", "episode_id", "episode_index", "episodes", "episode", "traj_id", "trajectory_id"),
}
TABLE_NAMES = {
    "reward_column": ("reward", "rewards", "rew", "next.reward", "r:reward", "r"),
    "terminal_column": (
        "terminal",
        "terminals",
        "terminated",
        "termination",
        "done",
        "dones",
        "next.done",
        "is_terminal",
    ),
    "timeout_column": ("timeout", "timeouts", "truncated", "truncation", "next.truncated", "time_limit", "trunc"),
    "episode_column": (
        *("episode", "episode_id", "episode_index", "episode_num", "episode_nr", "ep", "ep_id", "eps_id"),
        *("trajectory", "trajectory_id", "traj", "traj_id", "rollout", "rollout_id", "demo", "demo_id"),
        *("run", "run_id", "run_no", "batch", "batch_id", "lot", "trial", "trial_id", "session", "session_id"),
        *("stay_id", "icustay_id", "icustayid", "patientunitstayid", "hadm_id", "admission_id", "encounter_id"),
        *("patient", "patient_id", "subject", "subject_id", "pid"),
    ),
}
TIME_NAMES = (
    *("timestamp", "datetime", "date_time", "date/time", "time", "date", "%time", "time_s", "time (s)", "seconds"),
    *("stamp", "ts", "charttime", "zeitpunkt", "zeit", "datum", "utc", "elapsed", "elapsed_time", "observationoffset"),
    *("t", "step", "steps", "timestep", "time_step", "step_index", "frame_index", "frame", "cycle", "bloc"),
)
TIME_TOKENS = {"timestamp", "datetime", "time", "date", "stamp", "charttime", "secs", "nsecs", "clock", "offset"}
GROUP_NAMES = (
    *("patient", "patient_id", "patientid", "subject", "subject_id", "subjectid", "uniquepid", "person_id", "pid"),
    *("machine", "machine_id", "unit", "unit_id", "device", "device_id", "robot", "robot_id", "controller", "building"),
    *("building_id", "site", "site_id", "plant", "line", "operator", "user", "user_id", "household", "vehicle_id"),
)
NAMELESS = re.compile(r"|unnamed(: ?|_)\d+(_level_\d+)?|__index_level_\d+__|level_\d+", re.IGNORECASE)
INDEX_NAMES = (
    "index",
    "row",
    "row_id",
    "rowid",
    "row_number",
    "no",
    "no.",
    "nr",
    "nr.",
    "#",
    "seq",
    "sample",
    "record",
    "id",
)
UNIT = re.compile(r"(?<=.)[\[(][^\])]*[\])]")
ID_TOKENS = {"id", "uuid", "guid", "ids", "key", "hash", "serial"}
ACTION = re.compile(r"^(action|act|ctrl|control|cmd|command|setpoint|u|a)s?([_.:\[( -].*|\d+\]?)?$", re.IGNORECASE)
OBS = re.compile(r"^(observation|obs|state)s?([_.:\[( -].*|\d+\]?)?$", re.IGNORECASE)
GROUP_PREFIX = re.compile(r"^(o|obs|a|act|r|rew|m|meta)([:/])", re.IGNORECASE)
ACTUATORS = {
    *(
        "sp",
        "spt",
        "cspt",
        "hspt",
        "stpt",
        "setpt",
        "setpoint",
        "setpoints",
        "cmd",
        "command",
        "ctrl",
        "manipulated",
        "mv",
    ),
    *(
        "insulin",
        "basal",
        "bolus",
        "dose",
        "dosage",
        "vasopressor",
        "valve",
        "vlv",
        "damper",
        "throttle",
        "brake",
        "steer",
    ),
    *("steering", "xmv", "actuator", "sollwert", "soll", "stellwert", "override"),
}
MAYBE_ACTUATORS = {
    *("heater", "heating", "cooling", "pump", "fan", "speed", "spd", "power", "flow", "feed", "stage", "stg", "mode"),
    *("compressor", "comp", "motor", "torque", "voltage", "current", "heizleistung", "leistung", "input", "level"),
}
EXOGENOUS = re.compile(
    r"outdoor|outside|ambient|weather|wea|oa\d*|oat|price|tariff|lmp|schedule|sched|occ\d*|occupancy|occupants?|solar|"
    r"irradiance|ghi|dni|dhi|wind|rain|precipitation|cloud|meal|cho|carbs?|carbinput|carbohydrates?|holiday|forecast"
)
CALENDAR = re.compile(
    r"(month|day|hour|minute|week|weekday|year|season)(_of_(the_)?(day|week|month|year))?|day_?type|dayofweek|dow|"
    r"daylight_savings?(_status)?"
)
REWARDS = {
    "reward",
    "rewards",
    "return",
    "score",
    "kpi",
    "profit",
    "objective",
    "utility",
    "yield",
    "ertrag",
    "cost",
    "r",
}
RESULTS = re.compile(
    r"(.*[_ .])?(return|returns|rtg|return_to_go|returns_to_go|reward_to_go|cumulative_reward|total_reward|advantage|"
    r"advantages|log_?probs?|logp|q_?values?|discount|elapsed_steps)"
)
QUALITY = {"quality", "qual", "status", "state", "flag", "flags", "good"}
TAG_NAMES = {
    *("tag", "tagname", "tag_name", "point", "pointname", "point_name", "variable", "variable_name", "name", "sensor"),
    *("sensor_id", "parameter", "item", "itemid", "item_id", "signal", "channel", "metric", "measurement", "attribute"),
    *("label", "vitalsign", "labname", "series", "object", "object_name", "trend", "field", "quantity"),
}
VALUE_NAMES = {"value", "val", "values", "reading", "valuenum", "labresult", "wert", "measured_value", "data", "result"}


def tokens(name: str) -> list[str]:
    """The words of a name in lower case, without units: split at signs, blanks and inner capitals."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", UNIT.sub(" ", name).strip() or name)
    return [word for word in re.split(r"[^\w]+|_", spaced.lower()) if word]


def match_names(names: Iterable[str], aliases: dict[str, tuple[str, ...]]) -> dict[str, str | None]:
    """For each key, the name that equals its first matching alias, ignoring case; None if there is none."""
    return {key: match_name(names, group) for key, group in aliases.items()}


def match_name(names: Iterable[str], aliases: tuple[str, ...]) -> str | None:
    """The name that equals the first matching alias, ignoring case and blanks around it."""
    lower = {name.strip().lower(): name for name in reversed(list(names))}
    return next((lower[alias] for alias in aliases if alias in lower), None)


def is_actuator(name: str) -> bool:
    """Whether the name is one that process and health logs give to what a controller sets."""
    words = [word.rstrip("0123456789") for word in tokens(name)]
    return bool(ACTUATORS & set(words)) or (len(words) > 1 and words[-1] == "u")


def may_be_actuator(name: str) -> bool:
    """Whether the name is that of something that a controller may set, or measure."""
    return bool(MAYBE_ACTUATORS & set(tokens(name)))


def is_exogenous(name: str) -> bool:
    """Whether the name is one of weather, prices, schedules (but not of set-points), meals or the calendar."""
    words = {word for word in tokens(name) if EXOGENOUS.fullmatch(word)}
    scheduled = words <= {"schedule", "sched"} and is_actuator(name)
    return (bool(words) and not scheduled) or bool(CALENDAR.fullmatch(name.strip().lower()))


def is_time(name: str) -> bool:
    """Whether the name is one of a clock."""
    return name != "T" and (name.strip().lower() in TIME_NAMES or bool(TIME_TOKENS & set(tokens(name))))


def next_name(name: str) -> set[str]:
    """The names that the next value of the column ``name`` usually has."""
    spellings = {f"next_{name}", f"next.{name}", f"next {name}", f"{name}_next", f"{name}.next", f"{name}'", f"n{name}"}
    spellings |= {f"new_{name}", f"{name}_tp1", f"{name}_t1", f"{name}(t+1)", f"{name}_prime", f"next{name}"}
    if found := re.fullmatch(r"(\D+?)(_?\d+)", name):
        spellings |= {f"{found[1]}_next{found[2]}", f"{found[1]}'{found[2]}", f"{found[1]}p{found[2]}"}
    return {text.lower() for text in spellings}
