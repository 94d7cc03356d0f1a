"""The commands that look after a project: clean, ui, sync-tracking."""

from typing import Annotated

import typer


def clean(
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without this, it is only listed")] = False,
    days: Annotated[float, typer.Option(min=0, help="Resume points go so many days after their last use")] = 30.0,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Of MLflow runs older than the newest KEEP executions, the files go too")
    ] = None,
) -> None:
    """List what takes space in .work and DVC's temporary folder and is of no more use, and delete it."""
    from pipeline.cli.clean import clean as clean_up

    for line in clean_up(delete, days, keep):
        typer.echo(line)


def ui(port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of 127.0.0.1")] = 5000) -> None:
    """Show the runs in MLflow's pages: print the address, and open a browser."""
    from pipeline.tracking.ui import show

    for line in show(port):
        typer.echo(line)


def sync_tracking() -> None:
    """Send to MLflow what stages could not send, because the store was away."""
    from pipeline.tracking.sender import sync

    for line in sync():
        typer.echo(line)
