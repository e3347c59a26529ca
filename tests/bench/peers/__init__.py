"""Peers: other programs that land the same orders in Parquet. One function each: stage, shape, count -> what it took."""

from bench.peers.flink import flink
from bench.peers.python import python

PEERS = {"flink": flink, "python": python}
