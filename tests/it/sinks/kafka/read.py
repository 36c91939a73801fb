"""Prints what lies in a topic, a message a line as JSON, each partition in its order, as
kafka-python reads it; `expected` is the partition in which its own producer would have put the key.

    read.py BROKER TOPIC read_committed|read_uncommitted [FOLDER]

FOLDER holds `ca.pem`, `client.pem` and `client.key`, where the broker speaks TLS.
"""

import json
import sys
import time

from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2


def text(value):
    return None if value is None else value.decode()


def main(broker, topic, isolation, folder=None):
    tls = {} if folder is None else {
        "security_protocol": "SSL", "ssl_check_hostname": False,
        "ssl_cafile": f"{folder}/ca.pem", "ssl_certfile": f"{folder}/client.pem",
        "ssl_keyfile": f"{folder}/client.key",
    }
    consumer = KafkaConsumer(
        bootstrap_servers=broker, enable_auto_commit=False, isolation_level=isolation,
        max_partition_fetch_bytes=8 << 20, **tls)
    numbers = sorted(consumer.partitions_for_topic(topic) or ())
    partitions = [TopicPartition(topic, number) for number in numbers]
    if not partitions:
        return
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    messages = []
    deadline = time.monotonic() + 30
    while True:
        # Positions run ahead of what a poll hands out: the last one has nothing more.
        at_end = all(consumer.position(one) >= ends[one] for one in partitions)
        polled = consumer.poll(timeout_ms=200)
        for records in polled.values():
            messages.extend(records)
        if at_end and not polled:
            break
        if time.monotonic() > deadline:
            sys.exit(f"the end is not reached: {ends}")
    messages.sort(key=lambda message: (message.partition, message.offset))
    for message in messages:
        key = message.key
        expected = key and (murmur2(key) & 0x7FFFFFFF) % len(partitions)
        print(json.dumps({
            "partition": message.partition, "expected": expected, "key": text(key),
            "value": text(message.value), "time": message.timestamp,
            "headers": {name: text(value) for name, value in message.headers},
        }))


main(*sys.argv[1:])
