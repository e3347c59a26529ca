"""S3: credentials by the usual chain, temporary ones too; encryption by the server; rights no wider than documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.certificates import Authority
from harness.delivery import assert_delivered
from harness.issuer import Issuer
from harness.lab import Lab
from harness.lake import S3Lake
from harness.s3_requests import Credentials, object_headers, temporary_credentials
from harness.sluice import REPOSITORY, Finished, drain
from harness.waiting import until
from services.minio import ACCESS_KEY, KMS_KEY, SECRET_KEY

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}
ROOT = Credentials(ACCESS_KEY, SECRET_KEY)
NO_KEYS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("storage-authority"))


@pytest.fixture
def issuer(lab: Lab, authority: Authority) -> Iterator[Issuer]:
    issuer = Issuer(lab.stack.minio.url, ROOT, authority.issue("sts"))
    yield issuer
    issuer.close()


def deliver(lab: Lab, lake: S3Lake, environment: dict[str, Any], **sections: Any) -> Finished:
    """Delivers 100 records with these variables (`None`: not set) in the environment and looks that all are there."""
    topic = lab.topic("chain")
    produced = lab.produce(topic, 0, SCHEMA, [{"n": number} for number in range(100)])
    config = lab.sluice.write([lab.connector(lake, [topic], **sections).settings])
    lab.sluice.environment = {key: value for key, value in {**lab.sluice.environment, **environment}.items() if value is not None}
    for command in (["check"], ["run", "--until-end"]):
        finished = lab.sluice.run(*command, "--config", config, seconds=90)
        assert finished.code == 0, finished
    assert_delivered(lake, topic, produced)
    return finished


def chain(what: str, issuer: Issuer, authority: Authority, folder: Path) -> dict[str, Any]:
    """The environment in which the credentials come by this link of the chain."""
    token = folder / "token"
    if what == "pod":
        token.write_text("pod-token")
        return {**NO_KEYS, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{issuer.plain.url}/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}
    if what == "instance":
        return {**NO_KEYS, "AWS_METADATA_ENDPOINT": issuer.plain.url}
    token.write_text("web-token")
    assert issuer.tls is not None
    return {
        **NO_KEYS,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/sluice",
        "AWS_ENDPOINT_URL_STS": issuer.tls.url,
        "SSL_CERT_FILE": str(authority.file),
    }


@pytest.mark.parametrize("what", ["pod", "instance", "web-identity"])
def test_credentials_come_by_the_usual_chain(lab: Lab, issuer: Issuer, authority: Authority, what: str) -> None:
    finished = deliver(lab, lab.s3(), chain(what, issuer, authority, lab.folder))
    assert len(issuer.given) == 2, "one for each command: they are kept while they last"
    assert not any(secret in finished.text for one in issuer.given for secret in (one.secret_key, one.token))


def test_temporary_credentials_are_taken_from_the_environment(lab: Lab) -> None:
    temporary = temporary_credentials(lab.stack.minio.url, ROOT)
    finished = deliver(lab, lab.s3(), temporary.environment)
    assert temporary.secret_key not in finished.text and temporary.token not in finished.text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"server_side_encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": KMS_KEY},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": KMS_KEY},
        ),
    ],
    ids=["sse-s3", "sse-kms"],
)
def test_the_server_encrypts_as_the_options_say(lab: Lab, options: dict[str, str], expected: dict[str, str]) -> None:
    lake = lab.s3()
    plain = lab.s3()
    lake.options |= options
    deliver(lab, lake, {})
    deliver(lab, plain, {})
    for each, wanted in ((lake, expected), (plain, {})):
        (name,) = each.visible()
        headers = object_headers(lab.stack.minio.url, ROOT, f"{each.bucket}/{each.prefix}/{name}")
        found = {key: value.removeprefix("arn:aws:kms:") for key, value in headers.items() if key.startswith("x-amz-server-side")}
        assert found == wanted


def documented_policy(lake: S3Lake) -> Any:
    """The bucket policy of docs/security.md, for this lake."""
    text = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", text, re.S)
    assert found, "docs/security.md has no policy"
    return json.loads(found[1].replace("BUCKET", lake.bucket).replace("PREFIX", lake.prefix))


@pytest.mark.parametrize("part_bytes", [None, "big"], ids=["put", "multipart"])
def test_the_documented_policy_is_enough(lab: Lab, part_bytes: str | None) -> None:
    lake = lab.s3()
    policy = documented_policy(lake)
    temporary = temporary_credentials(lab.stack.minio.url, ROOT, policy)
    if part_bytes is None:
        deliver(lab, lake, temporary.environment)
        return
    topic = lab.topic("multipart")
    schema = {"type": "record", "name": "Blob", "fields": [{"name": "blob", "type": "bytes"}]}
    blobs = [{"blob": number.to_bytes(4, "big") * 100_000} for number in range(80)]
    produced = lab.produce(topic, 0, schema, blobs)
    connector = lab.connector(lake, [topic], parquet={"compression": "none", "dictionary": "never"}, rotate={"bytes": "256MiB", "every": "1h"})
    finished = lab.sluice.run("run", "--until-end", "--config", lab.sluice.write([connector.settings]), environment=temporary.environment)
    assert finished.code == 0, finished
    assert_delivered(lake, topic, produced)


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject", "s3:ListBucket"])
def test_fault_92_a_right_that_is_missing_is_told_and_moves_nothing(lab: Lab, action: str) -> None:
    lake, topic = lab.s3(), lab.topic("denied")
    lab.produce(topic, 0, SCHEMA, [{"n": 1}])
    policy = documented_policy(lake)
    for statement in policy["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != action]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
    temporary = temporary_credentials(lab.stack.minio.url, ROOT, policy)
    connector = lab.connector(lake, [topic])
    config = lab.sluice.write([connector.settings])
    # A check lists nothing: that is for a group that has no offsets.
    commands = [(["run", "--until-end"], 1)] if action == "s3:ListBucket" else [(["check"], 2), (["run", "--until-end"], 1)]
    for command, code in commands:
        finished = lab.sluice.run(*command, "--config", config, seconds=25, environment=temporary.environment)
        assert finished.code == code, finished
        assert lake.bucket in finished.err and re.search("denied|allow", finished.err, re.I), finished
        assert temporary.secret_key not in finished.text and temporary.token not in finished.text
    assert lab.topics.committed(connector.group, topic) == {}


def test_without_the_right_to_list_uploads_one_line_says_so_and_nothing_else_changes(lab: Lab) -> None:
    lake, topic = lab.s3(), lab.topic("unswept")
    produced = lab.produce(topic, 0, SCHEMA, [{"n": number} for number in range(100)])
    policy = documented_policy(lake)
    policy["Statement"] = [statement for statement in policy["Statement"] if "s3:ListBucketMultipartUploads" not in statement["Action"]]
    lab.sluice.environment |= temporary_credentials(lab.stack.minio.url, ROOT, policy).environment
    connector = lab.connector(lake, [topic], rotate={"every": "1s"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    until("it is told", lambda: "are not swept" in daemon.log.read_text())
    drain(daemon)
    text = daemon.log.read_text()
    assert text.count("are not swept") == 1 and "s3:ListBucketMultipartUploads" in text and "Signature" not in text, text
    assert_delivered(lake, topic, produced)
