"""Readers of log formats. ``SOURCES[name](config).read()`` returns :class:`pipeline.data.episode.LoggedData`."""

from pipeline.ingest.sources.callable import FromCallable
from pipeline.ingest.sources.collect import Collect
from pipeline.ingest.sources.d3rlpy_hdf5 import D3rlpyHdf5
from pipeline.ingest.sources.d4rl_hdf5 import D4rlHdf5
from pipeline.ingest.sources.hdf5_groups import Hdf5Groups
from pipeline.ingest.sources.lerobot import Lerobot
from pipeline.ingest.sources.minari import Minari
from pipeline.ingest.sources.npz import Npz
from pipeline.ingest.sources.table import Table

SOURCES = {
    "minari": Minari,
    "d4rl_hdf5": D4rlHdf5,
    "d3rlpy_hdf5": D3rlpyHdf5,
    "hdf5_groups": Hdf5Groups,
    "lerobot": Lerobot,
    "npz": Npz,
    "table": Table,
    "callable": FromCallable,
    "collect": Collect,
}
