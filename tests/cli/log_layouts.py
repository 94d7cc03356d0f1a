"""Layouts of loggers that people use, each written by a small function from the same made-up process.

A function writes the log into a folder and returns where, and the episodes that a reader must find in it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.episode import Episode

START = datetime(2023, 3, 1)


@dataclass(frozen=True)
class Log:
    """Where a log is, and its true episodes; none if it cannot be read as it is."""

    path: Path
    episodes: list[Episode]
    features: tuple[str, ...] = ()  # names of the observations


@dataclass(frozen=True)
class Run:
    """What was logged in a run of T steps: temperature and pressure "T+1", valve "T", weather "T+1", reward "T"."""

    temperature: np.ndarray
    pressure: np.ndarray
    valve: np.ndarray
    weather: np.ndarray
    reward: np.ndarray


def runs(count: int = 6, steps: int = 40, seed: int = 0) -> list[Run]:
    """Runs with numbers of four decimals, so that text loses nothing."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        length = steps + int(rng.integers(0, 9))
        weather = 10 + np.cumsum(rng.normal(0, 0.2, length + 1))
        valve, noise = rng.uniform(0, 100, length), rng.normal(0, 0.1, (length, 2))
        temperature, pressure = [20 + rng.normal()], [1 + 0.1 * rng.normal()]
        for t in range(length):
            temperature.append(0.9 * temperature[-1] + 0.05 * valve[t] + 0.02 * weather[t] + noise[t, 0])
            pressure.append(0.8 * pressure[-1] + 0.01 * temperature[-1] + 0.1 * noise[t, 1])
        reward = -np.abs(np.array(temperature[1:]) - 25) - 0.01 * valve
        result.append(Run(*(np.round(a, 4) for a in map(np.array, (temperature, pressure, valve, weather, reward)))))
    return result


def episode(run: Run, *names: str, terminated: bool = False, group: str | None = None) -> Episode:
    """The whole run, with the named observations."""
    obs = np.stack([vars(run)[name] for name in names], axis=1)
    return Episode({"state": obs}, run.valve[:, None], run.reward, terminated, group=group)


def measured(values: np.ndarray, flag: np.ndarray) -> list[np.ndarray]:
    """The last measured value, whether it is new, and how many rows old it is."""
    last = np.maximum.accumulate(np.where(flag, np.arange(len(flag)), 0))
    return [values[last], flag.astype(float), np.arange(len(flag)) - last]


def watched(run: Run, obs: list[np.ndarray], reward: np.ndarray) -> Episode:
    """The episode of a log without a final observation, with these columns of observations "T"."""
    return Episode({"state": np.stack(obs, axis=1)}, run.valve[:-1, None], reward[:-1], False)


def without_last(whole: Episode) -> Episode:
    """The episode of a log without final observations, where nothing says how it ended."""
    obs = {"state": whole.obs["state"][:-1]}
    return Episode(obs, whole.action[:-1], whole.reward[:-1], False, group=whole.group)


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    """Write lines of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())
    return path


def times(start: datetime, count: int, step: timedelta, pattern: str) -> list[str]:
    """Times as text."""
    return [(start + i * step).strftime(pattern) for i in range(count)]


def bms_trend(folder: Path) -> Log:
    """A building's trend export: lines about the report, `;`, decimal comma, `No Data`, one row each 15 minutes."""
    lines = [
        "Trend report;;;;",
        "Site: North building;;;;",
        "",
        "Timestamp;AHU1 SAT (degC);OA Temp (degC);Valve CMD (%);reward",
    ]
    whole = []
    for i, run in enumerate(runs()):
        stamps = times(START + timedelta(days=i), len(run.valve), timedelta(minutes=15), "%d.%m.%Y %H:%M:%S")
        for t, stamp in enumerate(stamps):
            numbers = (run.temperature[t], run.weather[t], run.valve[t], run.reward[t])
            lines.append(";".join([stamp, *(f"{number:.4f}".replace(".", ",") for number in numbers)]))
        whole.append(without_last(episode(run, "temperature", "weather")))
    return Log(write(folder / "trend.csv", lines, "\r\n"), whole)


def energyplus(folder: Path) -> Log:
    """EnergyPlus `eplusout.csv`: times without a year and with 24:00:00, long names with units and time steps."""
    names = (
        "Environment:Site Outdoor Air Drybulb Temperature [C](TimeStep)",
        "ZONE ONE:Zone Mean Air Temperature [C](TimeStep)",
        "HEATING SETPOINT:Schedule Value [](TimeStep)",
    )
    run = runs(1, 900)[0]
    lines = [",".join(["Date/Time", *names])]
    for t in range(len(run.valve)):
        hours, minutes = divmod(10 * (t + 1), 60)
        day, hour = divmod(hours, 24)
        stamp = (
            f" 01/{day + 1:02d}  {hour:02d}:{minutes:02d}:00"
            if (hour, minutes) != (0, 0)
            else f" 01/{day:02d}  24:00:00"
        )
        lines.append(f"{stamp},{run.weather[t]:.4f},{run.temperature[t]:.4f},{run.valve[t]:.4f}")
    return Log(write(folder / "eplusout.csv", lines), [without_last(episode(run, "temperature", "weather"))])


def boptest(folder: Path) -> Log:
    """BOPTEST results as pandas writes them: time in seconds, `_y` measured, `_u` set, weather by its own names."""
    whole, paths = [], folder / "boptest"
    for i, run in enumerate(runs()):
        lines = ["time,reaTZon_y,weaSta_reaWeaTDryBul_y,oveHeaPumY_u,oveHeaPumY_activate,reward"]
        lines += [
            f"{900.0 * t},{run.temperature[t]:.4f},{run.weather[t]:.4f},{run.valve[t]:.4f},1,{run.reward[t]:.4f}"
            for t in range(len(run.valve))
        ]
        write(paths / f"case_{i}.csv", lines)
        whole.append(without_last(episode(run, "temperature", "weather")))
    return Log(paths, whole)


def ohio_diabetes(folder: Path) -> Log:
    """Processed OhioT1DM: epochs in seconds, glucose with gaps and a flag of them, meals, basal and bolus insulin."""
    lines = ["5minute_intervals_timestamp,missing_cbg,cbg,basal,hr,carbInput,bolus"]
    run = runs(1, 900)[0]
    length = len(run.valve)
    missing = np.random.default_rng(1).random(length) < 0.1
    missing[0] = False
    meals = np.where(np.arange(length) % 50 == 7, 40, 0)
    for t in range(length):
        glucose = "" if missing[t] else f"{run.temperature[t]:.4f}"
        clock = 1_600_000_000 + 300 * t
        lines.append(f"{clock},{int(missing[t])},{glucose},0.9,{run.pressure[t]:.4f},{meals[t]},{run.valve[t]:.4f}")
    glucose, *watch = measured(run.temperature[:-1], ~missing)
    obs = [glucose, np.full(length, 0.9), run.pressure[:-1], meals, *watch]
    names = ("cbg", "basal", "hr", "carbInput", "cbg measured", "cbg age")
    path = write(folder / "559-ws-training_processed.csv", lines)
    return Log(path, [watched(run, obs, -(glucose[1:] ** 2))], names)


def icu_stays(folder: Path) -> Log:
    """A sepsis cohort: stay, patient, four-hour blocks, vitals, doses, and a reward on the last row of a stay alone."""
    lines = ["icustayid,subject_id,bloc,charttime,gender,HR,MeanBP,vasopressor_dose,reward,end_of_stay"]
    whole = []
    for i, run in enumerate(runs(12, 8)):
        length = len(run.valve)
        reward = np.r_[np.zeros(length - 1), -15.0 if i % 3 == 0 else 15.0]
        for t in range(length):
            ids = f"{2000 + i},{100 + i // 2},{t + 1},{7_245_052_800 + 86_400 * 9 * i + 14_400 * t},{i % 2}"
            vitals = f"{run.temperature[t]:.4f},{run.pressure[t]:.4f},{run.valve[t]:.4f}"
            lines.append(f"{ids},{vitals},{reward[t]},{int(t == length - 1)}")
        obs = np.stack([np.full(length + 1, i % 2), run.temperature, run.pressure], axis=1)[:length]
        whole.append(Episode({"state": np.r_[obs, obs[-1:]]}, run.valve[:, None], reward, True))
    return Log(write(folder / "cohort.csv", lines), whole)


def rosbag_csv(folder: Path) -> Log:
    """`rostopic echo -b -p`: `%time` in nanoseconds, header fields, one file a recording."""
    whole, folder = [], folder / "bags"
    for i, run in enumerate(runs()):
        lines = [
            "%time,field.header.seq,field.header.stamp,field.header.frame_id,field.position0,field.effort0,field.cmd0,field.reward"
        ]
        begin = 1_700_000_000_000_000_000 + i * 3_600_000_000_000
        lines += [
            f"{begin + 20_000_000 * t},{100 + t},{begin + 20_000_000 * t - 1000},base_link,"
            f"{run.temperature[t]:.4f},{run.pressure[t]:.4f},{run.valve[t]:.4f},{run.reward[t]:.4f}"
            for t in range(len(run.valve))
        ]
        write(folder / f"2023-11-14-0{i}.csv", lines)
        whole.append(without_last(episode(run, "temperature", "pressure")))
    return Log(folder, whole)


def maniskill(folder: Path) -> Log:
    """ManiSkill trajectories: a group an episode, observations one row longer, `terminated`, `truncated`, `success`."""
    path = folder / "trajectory.h5"
    whole = []
    with h5py.File(path, "w") as file:
        for i, run in enumerate(runs()):
            group, length = file.create_group(f"traj_{i}"), len(run.valve)
            group["obs"] = np.stack([run.temperature, run.pressure], axis=1).astype(np.float32)
            group["actions"] = run.valve[:, None].astype(np.float32)
            group["rewards"] = run.reward.astype(np.float32)
            success = i % 2 == 0
            group["terminated"] = np.r_[np.zeros(length - 1, bool), success]
            group["truncated"] = np.r_[np.zeros(length - 1, bool), not success]
            group["success"] = np.r_[np.zeros(length - 1, bool), success]
            group["env_states/actors/table"] = np.zeros((length + 1, 13), np.float32)
            whole.append(episode(run, "temperature", "pressure", terminated=success))
    return Log(path, whole)


def lerobot_3(folder: Path) -> Log:
    """LeRobot v3: several episodes in `data/chunk-000/file-000.parquet`, `meta/info.json`, no reward in most sets."""
    root, columns = folder / "lerobot", dict[str, list[object]]()
    whole = []
    for i, run in enumerate(runs()):
        length = len(run.valve)
        rows = {
            "observation.state": np.stack([run.temperature, run.pressure], axis=1)[:length].astype(np.float32).tolist(),
            "action": run.valve[:, None].astype(np.float32).tolist(),
            "next.reward": run.reward.astype(np.float32).tolist(),
            "timestamp": (np.arange(length) / 30).tolist(),
            "frame_index": list(range(length)),
            "episode_index": [i] * length,
            "task_index": [0] * length,
        }
        for name, values in rows.items():
            columns.setdefault(name, []).extend(values)
        whole.append(without_last(episode(run, "temperature", "pressure")))
    columns["index"] = list(range(len(columns["action"])))
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta").mkdir()
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["temperature", "pressure"]},
        "action": {"dtype": "float32", "shape": [1], "names": ["valve"]},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{
            name: {"dtype": "int64", "shape": [1], "names": None}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
    }
    info = {
        "codebase_version": "v3.0",
        "fps": 30,
        "total_episodes": 6,
        "total_frames": len(columns["index"]),
        "features": features,
    }
    info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    (root / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(pa.table(columns), root / "data/chunk-000/file-000.parquet")
    return Log(root, whole)


def historian_wide(folder: Path) -> Log:
    """A historian's export: a column of quality beside each tag, `Bad Input` where a sensor failed."""
    lines = ["TimeStamp,TI101.PV,TI101.PV Quality,PI102.PV,PI102.PV Quality,FIC103.SP,FIC103.SP Quality,reward"]
    run = runs(1, 900)[0]
    good = ~np.isin(np.arange(len(run.valve)), (50, 51, 90))
    for t, stamp in enumerate(times(START, len(run.valve), timedelta(minutes=1), "%Y-%m-%d %H:%M:%S")):
        value = f"{run.temperature[t]:.4f},Good" if good[t] else "Bad Input,Bad"
        lines.append(f"{stamp},{value},{run.pressure[t]:.4f},Good,{run.valve[t]:.4f},Good,{run.reward[t]:.4f}")
    value, *watch = measured(run.temperature[:-1], good)
    names = ("TI101.PV", "PI102.PV", "TI101.PV measured", "TI101.PV age")
    whole = watched(run, [value, run.pressure[:-1], *watch], run.reward)
    return Log(write(folder / "historian.csv", lines), [whole], names)


def historian_long(folder: Path) -> Log:
    """GE Proficy's export: one row a value, `Tagname,TimeStamp,Value,DataQuality`."""
    run = runs(1)[0]
    stamps = times(START, len(run.valve), timedelta(minutes=1), "%Y-%m-%d %H:%M:%S")
    lines = ["Tagname,TimeStamp,Value,DataQuality"]
    for name, values in (("TI101.PV", run.temperature), ("FIC103.SP", run.valve)):
        lines += [f"{name},{stamp},{value:.4f},Good" for stamp, value in zip(stamps, values, strict=False)]
    return Log(write(folder / "tags.csv", lines), [])


def scada(folder: Path) -> Log:
    """A SCADA export: a row number, two words for failed reads, no reward."""
    lines = ["No.,DateTime,LT_201_PV,PT_202_PV,LV_201_CMD"]
    run = runs(1, 900)[0]
    words = {20: "I/O Timeout", 21: "Bad Input"}
    for t, stamp in enumerate(times(START, len(run.valve), timedelta(seconds=10), "%Y-%m-%dT%H:%M:%S.000Z")):
        level = words.get(t, f"{run.temperature[t]:.4f}")
        lines.append(f"{t + 1},{stamp},{level},{run.pressure[t]:.4f},{run.valve[t]:.4f}")
    value, *watch = measured(run.temperature[:-1], ~np.isin(np.arange(len(run.valve)), list(words)))
    names = ("LT_201_PV", "PT_202_PV", "LT_201_PV measured", "LT_201_PV age")
    whole = watched(run, [value, run.pressure[:-1], *watch], -(value[1:] ** 2))
    return Log(write(folder / "scada.csv", lines), [whole], names)


def monitor(folder: Path) -> Log:
    """Monitor of stable-baselines3: a line of JSON, then one row an episode."""
    lines = ['#{"t_start": 1678000000.0, "env_id": "Pendulum-v1"}', "r,l,t"]
    lines += [f"{-100 - i},{200},{1.5 * i}" for i in range(30)]
    return Log(write(folder / "monitor.csv", lines), [])


def pandas_multi_index(folder: Path) -> Log:
    """pandas with two levels of column names: two header lines, then a line with the name of the index."""
    lines = ["unit,state,state,action,", "tag,temperature,pressure,valve,reward", "time,,,,"]
    run = runs(1, 900)[0]
    stamps = times(START, len(run.valve), timedelta(minutes=1), "%Y-%m-%d %H:%M:%S")
    lines += [
        f"{stamp},{run.temperature[t]:.4f},{run.pressure[t]:.4f},{run.valve[t]:.4f},{run.reward[t]:.4f}"
        for t, stamp in enumerate(stamps)
    ]
    return Log(write(folder / "multi.csv", lines), [without_last(episode(run, "temperature", "pressure"))])


def units_row(folder: Path) -> Log:
    """`;` between columns, a line of units below the names, a batch column, the last row of a batch without action."""
    lines = ["Charge;Zeit;Temperatur;Druck;Sollwert;reward", "-;s;°C;bar;%;-"]
    whole = []
    for i, run in enumerate(runs()):
        length = len(run.valve)
        for t in range(length + 1):
            act = f"{run.valve[t]:.4f};{run.reward[t]:.4f}" if t < length else ";"
            lines.append(f"{i + 1};{5 * t};{run.temperature[t]:.4f};{run.pressure[t]:.4f};{act}".replace(".", ","))
        whole.append(episode(run, "temperature", "pressure"))
    return Log(write(folder / "batches.csv", lines), whole)


def flotation(folder: Path) -> Log:
    """Kaggle's flotation plant: decimal commas in quotes, dates by the hour over 180 rows, an hourly lab value."""
    lines = ["date,Ore Pulp Density,Starch Flow SP,Flotation Level,% Silica Concentrate"]
    run = runs(1, 180 * 12)[0]
    lab = np.repeat(run.pressure[::180], 180)[: len(run.valve)]
    for t in range(len(run.valve)):
        stamp = (START + timedelta(hours=t // 180)).strftime("%Y-%m-%d %H:%M:%S")
        numbers = (run.weather[t], run.valve[t], run.temperature[t], lab[t])
        lines.append(",".join([stamp, *(f'"{number:.4f}"'.replace(".", ",") for number in numbers)]))
    names = ("Ore Pulp Density", "Flotation Level", "% Silica Concentrate")
    added = tuple(f"% Silica Concentrate {what}" for what in ("measured", "age"))
    obs = [run.weather[:-1], run.temperature[:-1], *measured(lab, np.arange(len(lab)) % 180 == 0)]
    whole = watched(run, obs, -(run.weather[1:-1] ** 2))
    return Log(write(folder / "MiningProcess_Flotation_Plant_Database.csv", lines), [whole], (*names, *added))


def gym_text(folder: Path) -> Log:
    """A loop that writes arrays into cells of a CSV file, as numpy prints them."""
    run = runs(1)[0]
    lines = ["obs,action,reward,done"]
    lines += [
        f'"[{run.temperature[t]:.4f} {run.pressure[t]:.4f}]",{run.valve[t]:.4f},{run.reward[t]:.4f},False'
        for t in range(len(run.valve))
    ]
    return Log(write(folder / "gym.csv", lines), [])


def transitions(folder: Path) -> Log:
    """Transitions without a column of episodes, ends in `done` alone, in a `.tsv` with a pandas index."""
    lines, i = ["\ttemperature\tpressure\taction\treward\tdone"], 0
    whole = []
    for run in runs():
        length = len(run.valve)
        for t in range(length):
            numbers = (run.temperature[t], run.pressure[t], run.valve[t], run.reward[t])
            lines.append("\t".join([str(i), *(f"{number:.4f}" for number in numbers), str(t == length - 1)]))
            i += 1
        obs = np.stack([run.temperature, run.pressure], axis=1)[:length]
        whole.append(Episode({"state": np.r_[obs, obs[-1:]]}, run.valve[:, None], run.reward, True))
    return Log(write(folder / "log.tsv", lines), whole)


def date_and_time(folder: Path) -> Log:
    """A spreadsheet's export: `sep=;`, the date and the time of day in two columns, decimal comma."""
    run = runs(1, 900)[0]
    lines = ["sep=;", "Date;Time;Room;Pressure;Setpoint;reward"]
    for t, stamp in enumerate(times(START, len(run.valve), timedelta(minutes=5), "%d/%m/%Y;%H:%M:%S")):
        numbers = (run.temperature[t], run.pressure[t], run.valve[t], run.reward[t])
        lines.append(";".join([stamp, *(f"{number:.4f}".replace(".", ",") for number in numbers)]))
    return Log(write(folder / "rooms.csv", lines), [without_last(episode(run, "temperature", "pressure"))])


def aloha(folder: Path) -> Log:
    """ALOHA: one HDF5 file an episode, `observations/qpos`, `action`, no reward."""
    root, whole = folder / "aloha", []
    root.mkdir()
    for i, run in enumerate(runs()):
        length = len(run.valve)
        with h5py.File(root / f"episode_{i}.hdf5", "w") as file:
            file["observations/qpos"] = run.temperature[:length, None]
            file["observations/qvel"] = run.pressure[:length, None]
            file["action"] = run.valve[:, None]
        whole.append(without_last(episode(run, "temperature", "pressure")))
    return Log(root, whole)
