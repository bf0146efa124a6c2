"""Every command of the project: `nox -l` is the index, `nox -s NAME` runs one, what follows `--` is passed on."""

import itertools
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
# Each package with the siblings it needs: installed in one pip command, their version ranges resolve in this tree.
SIBLINGS = {
    "ssm-gramians": [],
    "ssm-balance": ["ssm-gramians"],
    "ssm-zoo": ["ssm-gramians", "ssm-balance"],
}
PACKAGES = list(SIBLINGS)
EXTRAS = {"ssm-gramians": "[numba,torch,testing]", "ssm-balance": "[torch]", "ssm-zoo": "[numba]"}
# Each backend of ssm-gramians with the extra that brings its library.
BACKENDS = {"array": None, "cupy": "cupy", "numba": "numba", "scipy": None, "slycot": "slycot", "torch": "torch"}
PAIRS = list(itertools.combinations(BACKENDS, 2))
SOURCES = [str(ROOT / "packages" / name / "src") for name in PACKAGES]
# The main job: the one place where its options are written down.
TRAIN = ["ssm-zoo", "train", "--task", "digits", "--layer", "lru", "--compare", "--seeds", "3", "--out", "runs/digits"]


def settle(session: nox.Session) -> None:
    """Give the session the environment that all of them share."""
    session.env["NUMBA_CACHE_DIR"] = str(ROOT / ".nox" / "numba")  # compiled kernels, shared by the sessions
    session.env["PYTHONPATH"] = None  # a session sees what it installed, and nothing else


def group(name: str) -> list[str]:
    """List the requirements of a dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def pip_install(session: nox.Session, *arguments: str) -> None:
    """Install under the pins of constraints.txt, leaving bytecode to the first import: few modules are ever used."""
    session.install("--no-compile", "-c", str(ROOT / "constraints.txt"), *arguments)


def install(session: nox.Session, packages: list[str], *requirements: str, extras: bool = True) -> None:
    """Install packages of this repository, editable, with their siblings."""
    names = list(dict.fromkeys(name for package in packages for name in [*SIBLINGS[package], package]))
    here = []
    for name in names:
        here += ["-e", f"packages/{name}{EXTRAS[name] if extras else ''}"]
    pip_install(session, *here, *requirements)


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest, a worker to each core, with one BLAS thread by default, because the matrices of tests are small."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    # Exit code 5, no test collected, is right for a selection such as -m gpu that a package has none of.
    success_codes = [0, 5] if "-m" in arguments and "gpu" in arguments else [0]
    command = ["python", "-m", "pytest", "-n", "logical", "--dist", "worksteal", *arguments, *session.posargs]
    session.run(*command, env=threads, success_codes=success_codes)


@nox.session
def train(session: nox.Session) -> None:
    """Do the main job: train on digits in full, cut while training, and small from scratch; print the comparison."""
    settle(session)
    install(session, ["ssm-zoo"])
    session.run(*TRAIN, *session.posargs)


@nox.session
@nox.parametrize("package", [*PACKAGES, "project"], ids=[*PACKAGES, "project"])
def tests(session: nox.Session, package: str) -> None:
    """Test one package in an environment of its own, or what spans packages (`project`)."""
    settle(session)
    if package == "project":
        install(session, ["ssm-zoo"], *group("project"))
        run_pytest(session, "tests")
    else:
        install(session, [package], *group("test"), *(group("interop") if package == "ssm-balance" else []))
        run_pytest(session, f"packages/{package}/tests", "-m", "not gpu")


@nox.session(default=False)
def parity(session: nox.Session) -> None:
    """Compare ssm-zoo with transformers, mambapy and s5-pytorch, and reduce in the trainers of others."""
    settle(session)
    install(session, ["ssm-zoo"], *group("test"), *group("parity"))
    # The tests would skip what is absent.
    session.run("python", "-c", "import accelerate, lightning, mambapy, s5, transformers")
    names = ("test_parity_*.py", "test_reduction_callbacks.py", "test_reduction_hugging_face.py")
    files = sorted(str(file) for name in names for file in Path("packages/ssm-zoo/tests").glob(name))
    run_pytest(session, *files, "tests/test_docs.py", "-k", "not test_docs or needs")


@nox.session(python="3.11", default=False)
def tests_minimum(session: nox.Session) -> None:
    """Test ssm-gramians with the oldest Python, NumPy, SciPy and array-api-compat that it supports."""
    settle(session)
    needs = nox.project.load_toml("packages/ssm-gramians/pyproject.toml")["project"]["dependencies"]
    oldest = [requirement.replace(">=", "==") for requirement in needs]
    # Torch and Numba take part as arrays to test with; their own oldest versions are not the subject.
    pip_install(session, "-e", f"packages/ssm-gramians{EXTRAS['ssm-gramians']}", *oldest, *group("test"))
    run_pytest(session, "packages/ssm-gramians/tests", "-m", "not gpu")


@nox.session(default=False)
@nox.parametrize("a,b", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def cross_backend(session: nox.Session, a: str, b: str) -> None:
    """Let two backends of ssm-gramians solve one problem set and compare; an absent one is an error."""
    settle(session)
    extras = ",".join(["testing", *filter(None, (BACKENDS[a], BACKENDS[b]))])
    pip_install(session, "-e", f"packages/ssm-gramians[{extras}]", *group("test"))
    run_pytest(session, "packages/ssm-gramians/tests/test_cross_backend.py", "-k", f"{a}-{b}")


@nox.session(reuse_venv=False)
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def install_alone(session: nox.Session, package: str) -> None:
    """Build the wheel (or take it from the folder after `--`), install it in an empty environment, and use it there."""
    settle(session)
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    for name in [*SIBLINGS[package], package]:
        built = [path for folder in session.posargs for path in Path(folder).glob(f"{name.replace('-', '_')}-*.whl")]
        if built:
            shutil.copy(built[0], wheels)
        else:
            session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), f"packages/{name}")
    pip_install(session, *map(str, sorted(wheels.glob("*.whl"))))
    session.chdir(session.create_tmp())  # away from the sources
    session.run("python", "-W", "error", str(ROOT / "tests" / "install_alone" / f"use_{package.replace('-', '_')}.py"))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports (`nox -s lint -- --fix` repairs what it can)."""
    settle(session)
    pip_install(session, *group("lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    # The linter reads sources and imports nothing, so none of what they need has to be installed.
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join(SOURCES)})


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the three packages."""
    settle(session)
    install(session, ["ssm-zoo"], *group("types"))
    session.run("mypy", *(session.posargs or SOURCES))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks and write benchmarks/results/latest.json."""
    settle(session)
    install(session, ["ssm-zoo"], *group("bench"))
    # A peer without a wheel for this machine is absent from the races, which say so.
    for peer in group("peers"):
        session.run("python", "-m", "pip", "install", "-q", "--only-binary", ":all:", peer, success_codes=[0, 1])
    session.env["PYTHONPATH"] = "benchmarks"  # where the peers are
    (ROOT / "benchmarks" / "results").mkdir(exist_ok=True)
    files = session.posargs or ["benchmarks", "-o", "python_files=bench_*.py"]
    session.run("python", "-m", "pytest", "--benchmark-only", "--benchmark-json=benchmarks/results/latest.json", *files)


@nox.session(default=False)
def bench_report(session: nox.Session) -> None:
    """Turn the JSON of `bench` into results/report.md and results/report.png."""
    settle(session)
    pip_install(session, *group("report"))
    session.run("python", "benchmarks/report.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/; a broken link or a missing name is an error."""
    settle(session)
    pip_install(session, *group("docs"))
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(default=False)
def docs_serve(session: nox.Session) -> None:
    """Serve the site on this machine and rebuild it on every change."""
    settle(session)
    pip_install(session, *group("docs"))
    session.run("mkdocs", "serve", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA device on Torch and CuPy, then time both into benchmarks/results/gpu.json."""
    settle(session)
    install(session, ["ssm-zoo"], "-e", "packages/ssm-gramians[cupy]", *group("test"))
    session.run("python", "-c", "import torch; print(torch.cuda.get_device_name())")  # fails where there is no device
    run_pytest(session, "-n0", "-m", "gpu", *[f"packages/{name}/tests" for name in PACKAGES])
    session.run("python", "benchmarks/gpu.py")


@nox.session(default=False)
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def build(session: nox.Session, package: str) -> None:
    """Build the sdist and, from it, the wheel into dist/, and check what a package index will read."""
    settle(session)
    pip_install(session, *group("build"))
    session.run("python", "-m", "build", "--outdir", "dist", f"packages/{package}")
    built = [str(path) for path in sorted(Path("dist").glob(f"{package.replace('-', '_')}-*"))]
    session.run("twine", "check", "--strict", *built)
    session.run("python", "-m", "zipfile", "-l", next(path for path in built if path.endswith(".whl")))
