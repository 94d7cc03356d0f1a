"""The true episodes of the logs in `field-logs`, read without the project's sources."""

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq

from pipeline.data.episode import Episode


def closed(obs: np.ndarray, action: np.ndarray, reward: np.ndarray, terminated: bool) -> Episode:
    """An episode without a final observation: a true end repeats the last one, else the last step has no result."""
    if terminated:
        return Episode({"state": np.r_[obs, obs[-1:]]}, action, reward, True)
    return Episode({"state": obs}, action[:-1], reward[:-1], False)


def table(path: Path, delimiter: str = ",", encoding: str = "utf-8-sig") -> dict[str, list[str]]:
    """The cells of a text table by the names in its first line."""
    with path.open(newline="", encoding=encoding) as file:
        names, *rows = ([cell.strip() for cell in row] for row in csv.reader(file, delimiter=delimiter) if row)
    return {name: [row[i] for row in rows if i < len(row)] for i, name in enumerate(names)}


def numbers(columns: dict[str, list[str]], *names: str) -> np.ndarray:
    """Columns as numbers "N F", NaN for empty cells."""
    cells = [[cell.replace(",", ".") or "nan" for cell in columns[name]] for name in names]
    words = {"True": "1", "False": "0", "BAD": "nan"}
    return np.array([[float(words.get(cell, cell)) for cell in column] for column in cells]).T


def parts(names: list[str]) -> Iterator[slice]:
    """The rows of each run of equal names."""
    edges = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    for start, stop in zip(edges, [*edges[1:], len(names)], strict=True):
        yield slice(start, stop)


def from_table(
    columns: dict[str, list[str]], obs: str, action: str, reward: str, episode: str, done: str = ""
) -> list[Episode]:
    """Episodes of a table; ``obs`` and ``action`` are names with `|` between. Rows without actions are final ones."""
    result = []
    for rows in parts(columns[episode]):
        part = {name: cells[rows] for name, cells in columns.items()}
        states, acts = numbers(part, *obs.split("|")), numbers(part, *action.split("|"))
        rewards = numbers(part, reward)[:, 0] if reward else np.zeros(len(states))
        ended = bool(np.nansum(numbers(part, done))) if done else False
        if np.isnan(acts[-1]).all():
            result.append(Episode({"state": states}, acts[:-1], rewards[:-1], ended))
        else:
            result.append(closed(states, acts, rewards, ended))
    return result


def headerless(folder: Path) -> list[Episode]:
    """01: rows of (obs, action, reward, terminated)."""
    rows = np.loadtxt(folder / "data.csv", delimiter=",").reshape(12, 30, 5)
    return [closed(part[:, :2], part[:, 2:3], part[:, 3], bool(part[-1, 4])) for part in rows]


def sepsis(folder: Path) -> list[Episode]:
    """03: the reward is in the last row of a stay."""
    columns = table(folder / "sepsis_final.csv")
    return from_table(columns, "o:HR|o:MeanBP|o:mechvent", "a:action", "r:reward", "traj", "done")


def robomimic(folder: Path) -> list[Episode]:
    """04: groups, with next observations."""
    result = []
    with h5py.File(folder / "low_dim.hdf5") as file:
        for e in range(12):
            demo = file[f"data/demo_{e}"]
            keys = sorted(demo["obs"])
            now, after = (np.concatenate([demo[f"{g}/{key}"][()] for key in keys], axis=1) for g in ("obs", "next_obs"))
            obs = {"state": np.r_[now, after[-1:]]}
            result.append(Episode(obs, demo["actions"][()], demo["rewards"][()], bool(demo["dones"][-1])))
    return result


def lerobot(folder: Path) -> list[Episode]:
    """05: a file an episode; `next.done` is set in its last row."""
    result = []
    for file in sorted((folder / "ds/data/chunk-000").glob("*.parquet")):
        rows = pq.read_table(file).to_pydict()
        reward = np.array(rows["next.reward"], float)[:, 0]
        result.append(closed(np.array(rows["observation.state"]), np.array(rows["action"]), reward, True))
    return result


def minari(folder: Path) -> list[Episode]:
    """06 to 09, 21: the vectors of `main_data.hdf5`; Discrete ones as 0 and 1, a product of choices as one number."""
    result = []
    with h5py.File(next(folder.rglob("main_data.hdf5"))) as file:
        for e in range(len(file)):
            group = file[f"episode_{e}"]
            obs = group["observations"]
            action = group["actions"][()]
            if folder.name.startswith("07"):
                action = action[:, :1] * 4 + action[:, 1:]
            if isinstance(obs, h5py.Group):
                states = {
                    key: value[()] if value.ndim > 1 else np.eye(2)[value[()].astype(int)] for key, value in obs.items()
                }
            elif obs.ndim > 2:
                states = {"pixels": np.moveaxis(obs[()], 1, -1)}
            else:
                states = {"state": obs[()]}
            ended = bool(group["terminations"][-1])
            result.append(Episode(states, action.reshape(len(action), -1), group["rewards"][()], ended))
    return result


def pandas_index(folder: Path) -> list[Episode]:
    """11: a row number without a name."""
    return from_table(table(folder / "log.csv"), "x|v", "action", "reward", "episode")


def sinergym(folder: Path) -> list[Episode]:
    """12: a folder an episode, with a file for observations, actions and rewards each."""
    result = []
    for e in range(1, 5):
        place = folder / f"Eplus-res1/episode-{e}/monitor"
        obs, action, reward = (
            np.loadtxt(place / f"{name}.csv", delimiter=",", skiprows=1, ndmin=2)
            for name in ("observations", "agent_actions", "rewards")
        )
        result.append(Episode({"state": obs}, action, reward[:, 0], False))
    return result


def sinergym_old(folder: Path) -> list[Episode]:
    """12: a file an episode; the first row is the reset, each other one has the action that led to it."""
    result = []
    for file in sorted((folder / "old").glob("*.csv")):
        columns = table(file)
        obs = numbers(columns, "outdoor_temperature", "air_temperature")
        action = numbers(columns, "heating_setpoint", "cooling_setpoint")[1:]
        result.append(Episode({"state": obs}, action, numbers(columns, "reward")[1:, 0], True))
    return result


def next_states(file: Path, obs: str, after: str) -> list[Episode]:
    """15: the next state in the row."""
    columns = table(file)
    result = []
    for rows in parts(columns["episode"]):
        part = {name: cells[rows] for name, cells in columns.items()}
        states = np.r_[numbers(part, *obs.split("|")), numbers(part, *after.split("|"))[-1:]]
        action, reward = numbers(part, "action"), numbers(part, "reward")[:, 0]
        result.append(Episode({"state": states}, action, reward, part["done"][-1] == "True"))
    return result


def arrays(file: Path) -> list[Episode]:
    """16: `dones` alone, padded with a mask, or with an axis of one environment."""
    log = np.load(file)
    obs = log["obs" if "obs" in log else "observations"]
    if "mask" in log:
        lengths = log["mask"].sum(axis=1)
        pairs = zip(obs, log["actions"], log["rewards"], lengths, strict=True)
        return [closed(o[:n], a[:n], r[:n], False) for o, a, r, n in pairs]
    stops = np.flatnonzero(log["dones"].reshape(-1)) + 1
    flat = [array.reshape(len(array), -1) for array in (obs, log["actions"], log["rewards"])]
    edges = zip([0, *stops[:-1]], stops, strict=True)
    return [closed(flat[0][i:j], flat[1][i:j], flat[2][i:j, 0], True) for i, j in edges]


def frame(file: Path) -> list[Episode]:
    """17: pandas; categories become 0 and 1 each, and interleaved rows are sorted."""
    if file.suffix == ".parquet":
        rows = pq.read_table(file).to_pydict()
        modes = np.array([[mode == name for name in ("cool", "heat", "off")] for mode in rows["mode"]])
        states = np.c_[rows["temp"], modes]
        episode = np.array(rows["episode"])
        action, reward = np.array(rows["action"])[:, None], np.array(rows["reward"])
    else:
        columns = table(file)
        states, action = numbers(columns, "temp"), numbers(columns, "action")
        episode, reward = numbers(columns, "episode")[:, 0], numbers(columns, "reward")[:, 0]
    chosen = [np.flatnonzero(episode == e) for e in range(12)]
    return [closed(states[rows], action[rows], reward[rows], False) for rows in chosen]


def simglucose(folder: Path) -> list[Episode]:
    """19: a file a patient; the reward is minus the risk after the step, the last meal is unknown and held."""
    result = []
    for file in sorted((folder / "results 2022").glob("adult*.csv")):
        columns = table(file)
        obs = numbers(columns, "BG", "CGM", "LBGI", "HBGI", "Risk", "CHO")
        obs[-1, -1] = obs[-2, -1]
        result.append(Episode({"state": obs}, numbers(columns, "insulin")[:-1], -obs[1:, 4], False))
    return result


def robot(folder: Path) -> list[Episode]:
    """20: no reward; the test's function gives minus the square of the next position."""
    whole = from_table(table(folder / "robot.csv"), "obs_x|obs_v", "action", "", "episode")
    return [Episode(e.obs, e.action, -(e.obs["state"][1:, 0] ** 2), False) for e in whole]


def turbofan(file: Path) -> list[Episode]:
    """23: blanks between the columns."""
    rows = np.loadtxt(file)
    chosen = [rows[rows[:, 0] == unit] for unit in range(1, 13)]
    return [closed(part[:, 3:6], part[:, 2:3], part[:, 6], False) for part in chosen]


def toy(folder: Path) -> list[Episode]:
    """24: names of folders and files with blanks and signs."""
    return from_table(table(folder / "my logs #1/toy [a].csv"), "pos|vel", "action", "reward", "episode")
