"""A function made of the plain libraries: the measure for the cold starts of ours. It does the I/O
that USES names."""

import os
from functools import cache
from typing import Any
from uuid import uuid4

import flask
import functions_framework

USES = os.environ["USES"].split()
PROJECT = os.environ["PROJECT_ID"]
DATABASES = {"event_store": "EVENT_STORE_URL", "command_database": "COMMAND_DATABASE_URL"}

if set(DATABASES) & set(USES):
    import psycopg
if "pubsub" in USES:
    from google.cloud.pubsub_v1 import PublisherClient
if "firestore" in USES:
    from google.cloud.firestore import Client


@cache
def database(name: str) -> Any:
    return psycopg.connect(os.environ[DATABASES[name]], autocommit=True)


@cache
def publisher() -> Any:
    return PublisherClient()


@cache
def firestore() -> Any:
    return Client(PROJECT)


@functions_framework.http
def plain(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Read and write one row in each database, publish one message, read and write one document."""
    body = request.get_json()
    for name in set(DATABASES) & set(USES):
        database(name).execute("SELECT id, body FROM plain WHERE id = %s", [uuid4()]).fetchall()
        database(name).execute("INSERT INTO plain (id, body) VALUES (%s, %s)", [uuid4(), str(body)])
    if "firestore" in USES:
        document = firestore().collection("plain").document(str(uuid4()))
        document.get()
        document.set({"body": str(body)})
    if "pubsub" in USES:
        publisher().publish(f"projects/{PROJECT}/topics/plain", str(body).encode()).result(10)
    return {"done": True}
