"""Types of the options that name code: environments, packages and transforms."""

import re
from typing import Annotated

from pydantic import AfterValidator

from pipeline.ingest.sources.environment import NONE
from pipeline.validation import Text


def _file_and_function(text: str) -> str:
    if not re.fullmatch(r"\w+:\w+", text):
        raise ValueError("must read file:function, for data/transforms/file.py")
    return text


def _package(text: str) -> str:
    if not text.isidentifier():
        raise ValueError(f"`{text}` must be the name of a package as in `import`, such as gymnasium_robotics")
    return text


PackageName = Annotated[Text, AfterValidator(_package)]
EnvironmentId = Annotated[Text, AfterValidator(lambda name: NONE if name.lower() == NONE else name)]
TransformName = Annotated[Text, AfterValidator(_file_and_function)]
