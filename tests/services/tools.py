"""Owns programs that judge what is shipped or shown: promtool, helm, a headless browser. Does not own the judgement."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.cache import checked, fetched, program

PROMTOOL_VERSION = "v0.314.0"
HELM_VERSION = "v3.22.0"
CHROMIUM_VERSION = "153.0.0"

UNPACK = """
const fs = require('fs'), zlib = require('zlib'), { execFileSync } = require('child_process');
const [from, to] = process.argv.slice(-2);
fs.writeFileSync(to + '/chromium', zlib.brotliDecompressSync(fs.readFileSync(from + '/chromium.br')), { mode: 0o755 });
for (const name of ['al2023', 'fonts']) {
  fs.writeFileSync(to + '/x.tar', zlib.brotliDecompressSync(fs.readFileSync(from + '/' + name + '.tar.br')));
  execFileSync('tar', ['-xf', to + '/x.tar', '-C', to]);
}
fs.unlinkSync(to + '/x.tar');
"""


def promtool() -> Path:
    """Prometheus' own judge of rules."""

    def build(folder: Path) -> None:
        # Its module has replacements, which `go install module@version` does not take.
        source = folder / "source"
        source.mkdir()
        (source / "go.mod").write_text("module promtool\n", encoding="utf-8")
        package = "github.com/prometheus/prometheus/cmd/promtool"
        go = ["env", f"--chdir={source}", program("go")]
        checked([*go, "get", f"{package}@{PROMTOOL_VERSION}"])
        checked([*go, "build", "-o", str(folder / "promtool"), package], {"GOFLAGS": "-buildvcs=false"})

    return fetched(f"promtool-{PROMTOOL_VERSION}", build) / "promtool"


def prometheus() -> Path:
    """Prometheus itself, without what finds targets in clouds; it takes a minute or two, so only those tests fetch it that need it."""

    def build(folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        (source / "go.mod").write_text("module prometheus\n", encoding="utf-8")
        package = "github.com/prometheus/prometheus/cmd/prometheus"
        go = ["env", f"--chdir={source}", program("go")]
        checked([*go, "get", f"{package}@{PROMTOOL_VERSION}"])
        flags = ["-tags", "remove_all_sd", "-ldflags", "-s -w"]
        checked([*go, "build", *flags, "-o", str(folder / "prometheus"), package], {"GOFLAGS": "-buildvcs=false"})

    return fetched(f"prometheus-{PROMTOOL_VERSION}", build) / "prometheus"


def helm() -> Path:
    """Helm, for linting and rendering the chart; it never sees a cluster."""

    def build(folder: Path) -> None:
        checked([program("go"), "install", f"helm.sh/helm/v3/cmd/helm@{HELM_VERSION}"], {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"})

    return fetched(f"helm-{HELM_VERSION}", build) / "helm"


def chromium() -> Path:
    """The folder of a headless Chromium: `chromium`, and under `lib` and `fonts` what a bare machine lacks for it."""

    def unpack(folder: Path) -> None:
        npm = [program("npm"), "pack", "--silent", "--pack-destination", str(folder)]
        checked([*npm, f"@sparticuz/chromium@{CHROMIUM_VERSION}"])
        package = next(folder.glob("*.tgz"))
        checked(["tar", "-xzf", str(package), "-C", str(folder)])
        checked([program("node"), "-e", UNPACK, "--", str(folder / "package/bin"), str(folder)])
        package.unlink()
        checked(["rm", "-r", str(folder / "package")])

    return fetched(f"chromium-{CHROMIUM_VERSION}", unpack)


def fetch_all() -> None:
    """Fetches what is not in the cache yet; raises the first `FetchError` after all have been tried."""
    with ThreadPoolExecutor(3) as pool:
        fetches = [pool.submit(tool) for tool in (promtool, helm, chromium)]
    for fetch in fetches:
        fetch.result()


def output(command: list[str | Path], **environment: str) -> str:
    """Runs a tool that must succeed; returns what it wrote."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout

