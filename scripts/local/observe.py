"""Start Prometheus beside the shop, for `scripts/dev --observe`."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from scripts.local.ports import Ports
from scripts.local.processes import Processes
from scripts.local.token import ADMIN_EMAIL, emulator_token

QUERIES = (
    "sum by (command, code) (rate(shop_commands_total[1m]))",
    "histogram_quantile(0.95, sum by (le, command) (rate(shop_command_duration_seconds_bucket[1m])))",
    "shop_projection_lag_seconds or shop_outbox_oldest_age_seconds or shop_saga_oldest_age_seconds",
)
"""Example queries for the screen; shared/monitoring/README.md has more."""


def found(say: Callable[[str], None]) -> bool:
    """Return whether Prometheus is installed; report how to install it when it is not."""
    if shutil.which("prometheus"):
        return True
    say("without Prometheus, which is not installed (apt-get install prometheus)")
    return False


def start(processes: Processes, ports: Ports, home: Path, in_one_process: bool) -> str:
    """Start Prometheus and return its description for the screen. `home`: the folder for its data
    and configuration."""
    folder = home / "prometheus" / str(ports.client)
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.touch(mode=0o600)  # it holds a token
    configuration.write_text(yaml.safe_dump(scraping(ports, in_one_process), sort_keys=False))
    address = f"127.0.0.1:{ports.prometheus}"
    options = {"config.file": configuration, "storage.tsdb.path": folder / "data", "web.listen-address": address}
    options["storage.tsdb.retention.time"] = "7d"
    processes.start("prometheus", ["prometheus", *(f"--{name}={value}" for name, value in options.items())])
    processes.wait_for("prometheus", f"http://{address}/-/ready")
    return f"Prometheus, http://{address}"


def scraping(ports: Ports, in_one_process: bool) -> dict[str, Any]:
    """Return the configuration, with one target for each process so that nothing is counted
    twice."""
    paths = {"client": "/metrics", "command": "/create_order/metrics", "query": "/report_metrics/metrics"}
    scraped = ["query"] if in_one_process else list(paths)
    jobs = [_job(service, paths[service], ports.services[service]) for service in scraped]
    return {"global": {"scrape_interval": "5s"}, "scrape_configs": jobs}


def _job(service: str, path: str, port: int) -> dict[str, Any]:
    job: dict[str, Any] = {"job_name": service, "metrics_path": path}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    if service == "client":  # it is public, so it shows its metrics to admins only
        job["authorization"] = {"credentials": emulator_token(os.environ.get("ADMIN_EMAIL", ADMIN_EMAIL))}
    return job
