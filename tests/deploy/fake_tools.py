"""gcloud, terraform and npm as scripts/deploy sees them, with a small cloud behind them: what has
been made, in one dictionary.

In it, `fail`: the beginning of a command, such as "gcloud builds submit", which fails once; `slow`:
of one that goes on until it is interrupted, and then takes a second to end well; `new`: how often
each of some commands is refused because Google does not know yet what was made just before.

A tool is a small shell script that asks the test's process: a deployment calls fifty, and starting
Python for each took most of the time.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, cast

Json = dict[str, Any]

SOON = 0.01
"""Seconds after which a server notices that it should stop, by default half a second."""
TOOL = """\
#!/bin/bash
# Sends its folder, name and arguments, each ended by a null byte; prints the answer and exits with
# its code. Told to wait, it says that it does, and a second after an interrupt that it ends.
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\\0' $(($# + 2)) "$PWD" "${0##*/}" "$@" >&3
read -r code <&3
if [ "$code" = wait ]; then
  trap 'interrupted=yes' INT
  printf 'waits\\0' >&3
  while [ -z "$interrupted" ]; do sleep 0.05; done
  sleep 1
  printf 'ends\\0' >&3
  read -r code <&3
fi
IFS= read -r -d '' text <&3
if [ "$code" = 0 ]; then printf '%s' "$text"; else printf '%s' "$text" >&2; fi
exit "$code"
"""

BUILD = [
    "google_artifact_registry_repository_iam_member.build_pushes",
    "google_storage_bucket_iam_member.build_reads_and_logs",
    "google_storage_bucket_iam_member.build_sees_its_bucket",
]
EARLY = [
    "google_apikeys_key.web",
    "google_service_account_iam_member.smoke_signs",
]
NETWORK = "google_compute_network.shop"
SIGN_IN = "google_identity_platform_config.sign_in"
DATA = [
    "google_sql_database_instance.postgres",
    "google_firestore_database.read_models",
    "google_service_account.function",
    NETWORK,
]
MIGRATION = "google_cloud_run_v2_job.migrate"
SERVICE = "google_cloud_run_v2_service.function"
ALL = [*BUILD, *DATA, SIGN_IN, *EARLY, MIGRATION, SERVICE]
NEEDED = {MIGRATION: [*DATA, MIGRATION]}
"""The resources that a target includes."""


class Refused(Exception):
    pass


class Interruptible(Exception):
    """The command goes on until it is interrupted."""


def run(cloud: Json, folder: Path, name: str, arguments: list[str]) -> str:
    """Return the output of the command, which was called in the folder. Raises Refused and
    Interruptible."""
    said = " ".join([name, *(one for one in arguments if not one.startswith("-"))])
    cloud["calls"].append(" ".join([name, *arguments]))
    if cloud["fail"] and said.startswith(cloud["fail"]):
        cloud["fail"] = ""
        raise Refused(f"{said} failed, as it was told to")
    for beginning, times in cloud["new"].items():
        if times and said.startswith(beginning):
            cloud["new"][beginning] = times - 1
            raise Refused("ERROR: (gcloud) PERMISSION_DENIED: The caller does not have permission")
    if cloud["slow"] and said.startswith(cloud["slow"]):
        cloud["slow"] = ""
        raise Interruptible
    if name == "npm":
        return npm(folder, arguments)
    return gcloud(cloud, said, arguments) if name == "gcloud" else terraform(cloud, folder, said, arguments)


def npm(folder: Path, arguments: list[str]) -> str:
    """Build a console of one page."""
    console = folder / option(arguments, "--prefix")
    require((console / "package-lock.json").is_file(), "", "ENOENT package-lock.json")
    if "run" in arguments:
        require((console / "node_modules").is_dir(), "", "no packages")
        (console / "dist").mkdir()
        (console / "dist" / "index.html").write_text("the console")
    else:
        (console / "node_modules").mkdir()
    return ""


def gcloud(cloud: Json, said: str, arguments: list[str]) -> str:
    bucket = next((one.removeprefix("gs://") for one in arguments if one.startswith("gs://")), "")
    match said.split()[1:]:
        case ["auth", *_, "print-access-token"]:
            return require(cloud["signed_in"], "token", "You do not currently have an active account selected.")
        case ["config", "get", "account"]:
            return str(cloud["account"])
        case ["projects", "describe", project]:
            return require(project in cloud["projects"], "ACTIVE", "NOT_FOUND")
        case ["billing", "projects", "describe", _]:
            return "True" if cloud["billing"] else "False"
        case ["storage", "buckets", "list"]:
            return option(arguments, "--filter").removeprefix("name=") if cloud["bucket"] else ""
        case ["storage", "buckets", "create", _]:
            require(not cloud["bucket"], "", "409")
            cloud["bucket"] = {"name": bucket, "versioned": False}
        case ["storage", "buckets", "update", _]:
            cloud["bucket"]["versioned"] = "--versioning" in arguments
        case ["artifacts", "docker", "images", "describe", image]:
            return require(image in cloud["images"], cloud["images"].get(image, ""), "Image not found")
        case ["builds", "submit", copy]:
            build(cloud, Path(copy), option(arguments, "--pack"))
        case ["run", "jobs", "execute", job]:
            return execute(cloud, job)
        case ["services", "enable", *_]:
            pass
        case _:
            return of_what_runs(cloud, said, arguments)
    return ""


def of_what_runs(cloud: Json, said: str, arguments: list[str]) -> str:
    match said.split()[1:]:
        case ["storage", "ls", _]:
            return "\n".join(cloud["objects"])
        case ["storage", "cat", url]:
            return require(url in cloud["objects"], cloud["objects"].get(url, ""), "404")
        case ["storage", "cp", file, url]:
            cloud["objects"][url] = Path(file).read_text()
        case ["run", "services", "list"] if "--format=json" in arguments:
            return json.dumps([service(cloud, name) for name in cloud["services"]])
        case ["run", "services", "list"]:
            shown = [service(cloud, name)["status"] for name in cloud["services"]]
            return "\n".join(
                f"{name},{status['latestCreatedRevisionName']},{status['latestReadyRevisionName']}"
                for name, status in zip(cloud["services"], shown, strict=True)
            )
        case ["run", "services", "update-traffic", name]:
            cloud["traffic"][name] = option(arguments, "--to-revisions").removesuffix("=100")
        case ["logging", "read", *_]:
            return "\n".join(f"{name} is not ready: {reason}" for name, reason in cloud["unready"].items())
        case ["compute", "networks", "peerings", "list"]:
            return "servicenetworking-googleapis-com" if cloud["peering"] else ""
        case ["compute", "networks", "peerings", "delete", _]:
            require("google_sql_database_instance.postgres" not in cloud["applied"], "", "the database uses it")
            cloud["peering"] = False
        case _:
            require(False, "", f"what is {said}?")
    return ""


def service(cloud: Json, name: str) -> Json:
    newest = f"{name}-{cloud['revision']}"
    ready = f"{name}-{cloud['revision'] - 1}" if name in cloud["stale"] else newest
    traffic = [{"percent": 100, "revisionName": cloud["traffic"].get(name, ready)}]
    status = {"latestCreatedRevisionName": newest, "latestReadyRevisionName": ready, "traffic": traffic}
    return {"metadata": {"name": name}, "status": status}


def build(cloud: Json, copy: Path, pack: str) -> None:
    files = {str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()}
    require(
        {"functions/graphql/main.py", "shared/config/settings.py", "Procfile", "requirements.txt"} <= files, "", "?"
    )
    require(not any(file.startswith(("tests/", ".venv/", "terraform/")) for file in files), "", "too much")
    require("functions/graphql/console/dist/index.html" in files, "", "no console")
    require(not any("node_modules" in file for file in files), "", "too much")
    require(all(one in cloud["applied"] for one in BUILD), "", "PERMISSION_DENIED")
    image = pack.removeprefix("image=").partition(",")[0]
    cloud["images"][image] = f"sha256:{len(cloud['images']):064x}"


def execute(cloud: Json, job: str) -> str:
    applied = cloud["applied"]
    cloud["executed"].append({"job": job, "image": applied[MIGRATION], "serving": applied.get(SERVICE)})
    serves_old = [*cloud["traffic"].values()]  # after a rollback
    require(job != "shop-readiness" or serves_old or not cloud["unready"], "", "The execution failed.")
    return require(job in ("shop-migrate", "shop-smoke", "shop-readiness"), "", "no such job")


def terraform(cloud: Json, folder: Path, said: str, arguments: list[str]) -> str:
    """Represent a resource by its image, or by `there` if it has none."""
    match said.split()[1:]:
        case ["version"]:
            return json.dumps({"terraform_version": cloud["terraform"]})
        case ["init"]:
            require(cloud["bucket"]["versioned"], "", "no bucket")
        case ["plan"]:
            planned(cloud, folder, arguments)
        case ["show", plan]:
            return json.dumps({"resource_changes": changes(cloud, json.loads((folder / plan).read_text()))})
        case ["apply", plan]:
            wanted = json.loads((folder / plan).read_text())
            anew = wanted.get(SIGN_IN) and SIGN_IN not in cloud["applied"]
            require(
                not (anew and cloud["sign_in"]), "", "INVALID_PROJECT_ID : Identity Platform has already been enabled"
            )
            network_goes = wanted.get(NETWORK) == "" and cloud["peering"]
            require(not network_goes, "", "The network resource 'shop' is already being used by a peering")
            if wanted.get(SERVICE) and wanted[SERVICE] != cloud["applied"].get(SERVICE):
                cloud["revision"] += 1
                cloud["traffic"] = {}
            cloud["peering"] = cloud["peering"] or bool(wanted.get(DATA[0]))
            cloud["applied"] = {name: at for name, at in ({**cloud["applied"], **wanted}).items() if at}
        case ["import", address, _]:
            require(address not in cloud["applied"], "", "Resource already managed by Terraform")
            cloud["applied"][address] = "there"
        case ["output"]:
            return json.dumps({name: {"value": value} for name, value in outputs(cloud).items()})
        case ["state", "list"]:
            return "\n".join(f'{name}["x"]' if name == SERVICE else name for name in cloud["applied"])
        case _:
            require(False, "", f"what is {said}?")
    return ""


def planned(cloud: Json, folder: Path, arguments: list[str]) -> None:
    variables = dict(one.removeprefix("-var=").split("=", 1) for one in arguments if one.startswith("-var="))
    require(
        {"project_id", "region", "environment", "admin_email"} <= {*variables}, "", "No value for required variable"
    )
    only = [one.removeprefix("-target=") for one in arguments if one.startswith("-target=")]
    names = [needed for one in only for needed in NEEDED.get(one, [one])] or ALL
    image = variables.get("image", "")
    require(image or not {MIGRATION, SERVICE} & {*names} or "-destroy" in arguments, "", "There is no image yet")
    wanted = {name: image if name in (MIGRATION, SERVICE) else "there" for name in names}
    if "-destroy" in arguments:
        wanted = dict.fromkeys([*(only or cloud["applied"]), *(DATA if cloud["careless"] else [])], "")
        unlocked = (folder / "terraform/erase_override.tf").exists() and variables.get("deletion_protection") == "false"
        require(cloud["careless"] or unlocked or not {*DATA} & {*wanted}, "", "Instance cannot be destroyed")
    elif only and {*only} <= {*DATA}:
        require({*only} <= {*cloud["applied"]}, "", "it would be made anew")
    (folder / option(arguments, "-out")).write_text(json.dumps(wanted))
    cloud["variables"] = variables


def changes(cloud: Json, wanted: Json) -> list[Json]:
    def action(name: str) -> str:
        at = cloud["applied"].get(name)
        return "no-op" if at == wanted[name] else "delete" if not wanted[name] else "update" if at else "create"

    return [{"address": name, "change": {"actions": [action(name)]}} for name in wanted]


def outputs(cloud: Json) -> Json:
    project, region = cloud["variables"].get("project_id"), cloud["variables"].get("region")
    found: Json = {}
    if BUILD[0] in cloud["applied"]:
        account = f"projects/{project}/serviceAccounts/shop-build@{project}.iam.gserviceaccount.com"
        found |= {"artifact_registry": f"{region}-docker.pkg.dev/{project}/shop", "build_service_account": account}
        found |= {"builds_bucket": f"{project}-shop-builds"}
    if SERVICE in cloud["applied"]:
        found |= {name: cloud["variables"][name] for name in ("region", "environment", "admin_email")}
        found |= {"graphql_url": cloud["url"], "dashboard_url": "https://console.example/dashboard", "urls": {}}
    return found


def option(arguments: list[str], name: str) -> str:
    return next(one.partition("=")[2] for one in arguments if one.startswith(f"{name}="))


def require(condition: object, answer: str, otherwise: str) -> str:
    if not condition:
        raise Refused(otherwise)
    return answer


class Tools(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, cloud: Json) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.cloud = cloud


class Call(StreamRequestHandler):
    def handle(self) -> None:
        cloud = cast(Tools, self.server).cloud
        folder, name, *arguments = [self.word() for _ in range(int(self.word()))]
        try:
            self.answer(0, run(cloud, Path(folder), name, arguments))
        except Refused as refusal:
            self.answer(1, str(refusal))
        except Interruptible:
            self.wfile.write(b"wait\n")
            cloud["busy"] = self.word() == "waits"
            cloud["ended_well"] = self.word() == "ends"
            self.answer(1, "Interrupt received. Gracefully shutting down...")

    def word(self) -> str:
        return b"".join(iter(lambda: self.rfile.read(1), b"\0")).decode()

    def answer(self, code: int, text: str) -> None:
        self.wfile.write(f"{code}\n{text}\0".encode())


@contextmanager
def tools(folder: Path, cloud: Json) -> Iterator[None]:
    """Put the tools into the folder and answer them."""
    with Tools(cloud) as server:
        folder.mkdir()
        for name in ("gcloud", "terraform", "npm"):
            (folder / name).write_text(TOOL.replace("PORT", str(server.server_address[1])))
            (folder / name).chmod(0o755)
        thread = Thread(target=server.serve_forever, args=(SOON,))
        thread.start()
        yield
        server.shutdown()
        thread.join()
