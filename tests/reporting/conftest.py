"""Results that the tests of the report share."""

import pytest
from reporting_outputs import write_outputs

from pipeline.reporting.results import Results, load


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two seeds, with an environment."""
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [0, 1])
    return load(root, [0, 1])


@pytest.fixture(scope="module")
def envless(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One seed, without an environment."""
    root = tmp_path_factory.mktemp("envless")
    write_outputs(root, [0], with_environment=False)
    return load(root, [0])
