"""Owns the order records: their Avro schema, their values as a pure function of a number, and the big topic of them.

Does not own the sink's own demo data; these records come from an independent encoder on purpose.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from services.cache import fetched

PARTITIONS = 4
FIRST_CREATED_MICROS = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
STATUSES = ["PLACED", "PAID", "PACKED", "SHIPPED", "DELIVERED", "RETURNED"]
COUNTRIES = ["CH", "DE", "FR", "IT", "AT", "US", "JP", "BR"]
CITIES = ["Zürich", "Hamburg", "Lyon", "Torino", "Graz", "Portland", "大阪", "São Paulo"]
STREETS = ["Bahnhofstrasse", "Rue de la Paix", "Main Street", "Via Roma"]
DEVICES = ["ios", "android", "desktop", "kiosk"]
CHANNELS = ["web", "app", "shop", "partner"]

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "customer_id", "type": "string"},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": STATUSES}},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
        {"name": "currency", "type": "string"},
        {
            "name": "shipping",
            "type": {
                "type": "record",
                "name": "Shipping",
                "fields": [
                    {"name": "country", "type": "string"},
                    {"name": "city", "type": "string"},
                    {"name": "street", "type": "string"},
                    {"name": "postcode", "type": ["null", "string"], "default": None},
                    {"name": "latitude", "type": "double"},
                    {"name": "longitude", "type": "double"},
                ],
            },
        },
        {
            "name": "items",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Item",
                    "fields": [
                        {"name": "sku", "type": "string"},
                        {"name": "quantity", "type": "int"},
                        {"name": "unit_price_cents", "type": "long"},
                        {"name": "discount", "type": ["null", "float"], "default": None},
                    ],
                },
            },
        },
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "paid_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
        {"name": "loyalty_points", "type": ["null", "int"], "default": None},
    ],
}
PARSED_SCHEMA = fastavro.parse_schema(SCHEMA)


def amount_cents(number: int) -> int:
    """The amount of order `number`, in hundredths; some are negative (refunds)."""
    return (number * 2_654_435_761) % 1_000_000 - 50_000


def amount_sum(count: int) -> Decimal:
    """The exact sum of the amounts of the orders 0 up to `count`."""
    return Decimal(sum(map(amount_cents, range(count)))).scaleb(-2)


def order(number: int) -> dict[str, Any]:
    """Order `number`: the same number gives the same record, with the values that the encoder takes."""
    draw = random.Random(number)
    bits = draw.getrandbits(128)
    cents = amount_cents(number)
    country = bits & 7
    created = FIRST_CREATED_MICROS + number * 1_000 + (bits >> 3) % 1_000
    return {
        "order_id": f"ord-{number:09d}-{bits >> 64:016x}",
        "customer_id": f"cust-{(bits >> 13) % 200_000:06d}",
        "created_at": created,
        "status": STATUSES[(bits >> 31) % 6],
        "amount": cents.to_bytes((cents.bit_length() // 8) + 1, "big", signed=True),
        "currency": "CHF" if country == 0 else "EUR",
        "shipping": {
            "country": COUNTRIES[country],
            "city": CITIES[country],
            "street": f"{STREETS[(bits >> 9) & 3]} {(bits >> 11) % 180}",
            "postcode": None if bits & 8 else f"{(bits >> 34) % 100_000:05d}",
            "latitude": ((bits >> 20) % 18_000_000) / 100_000 - 90,
            "longitude": ((bits >> 24) % 36_000_000) / 100_000 - 180,
        },
        "items": [
            {
                "sku": f"sku-{(bits >> shift) % 20_000:06d}",
                "quantity": 1 + (bits >> shift) % 4,
                "unit_price_cents": 99 + (bits >> shift) % 40_000,
                "discount": 0.25 if (bits >> shift) % 5 == 0 else None,
            }
            for shift in range(40, 40 + 8 * (1 + bits % 4), 8)
        ],
        "attributes": {"channel": CHANNELS[(bits >> 5) & 3], "landing": f"/c/spring-{(bits >> 7) % 50:02d}/new", "device": DEVICES[bits >> 126]},
        "note": f"please ring {bits % 10} times, then leave it at the door" if bits & 0x100 else None,
        "paid_at": created + 5_000_000 if bits & 0x400 else None,
        "loyalty_points": (bits >> 50) % 5_000 if bits & 0x800 else None,
    }


def encoded(number: int) -> bytes:
    """The datum of order `number`, without a schema id in front."""
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, PARSED_SCHEMA, order(number))
    return buffer.getvalue()


@dataclass(frozen=True)
class OrdersTopic:
    """A topic of `count` orders; order `n` is in partition `n % PARTITIONS` at offset `n // PARTITIONS`."""

    name: str
    count: int

    @property
    def amount_sum(self) -> Decimal:
        """The exact sum of all amounts."""
        return amount_sum(self.count)


def cached_datums(count: int) -> list[Path]:
    """One file a partition with the datums of the orders 0 up to `count`, each after its length in four bytes."""
    fingerprint = hashlib.sha256(b"".join(map(encoded, range(1000))) + json.dumps(SCHEMA).encode()).hexdigest()[:12]
    folder = fetched(f"orders-{count}-{fingerprint}", lambda folder: _encode_files(folder, count))
    return [folder / f"{partition}.datums" for partition in range(PARTITIONS)]


def datums(path: Path) -> Iterator[bytes]:
    """The datums of one file of `cached_datums`, in order."""
    length = struct.Struct("<I")
    with open(path, "rb", buffering=1 << 20) as file:
        while prefix := file.read(4):
            yield file.read(length.unpack(prefix)[0])


def _encode_files(folder: Path, count: int) -> None:
    with ProcessPoolExecutor() as pool:
        files = [pool.submit(_encode_file, folder / f"{partition}.datums", partition, count) for partition in range(PARTITIONS)]
    for file in files:
        file.result()


def _encode_file(path: Path, partition: int, count: int) -> None:
    with open(path, "wb", buffering=1 << 20) as file:
        for number in range(partition, count, PARTITIONS):
            datum = encoded(number)
            file.write(struct.pack("<I", len(datum)))
            file.write(datum)
