"""Reads HTTP requests with the SDK of CloudEvents.

    python cloudevents.py REQUESTS EVENTS

REQUESTS is a file with a JSON list of requests: path, headers, body. EVENTS becomes a JSON object
of the events by path.
"""

import sys

# The script's own folder has this name too.
sys.path = [path for path in sys.path if not path.endswith("formats")]

import json

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat


def shown(event):
    attributes = dict(event.get_attributes())
    if "time" in attributes:
        attributes["time"] = attributes["time"].isoformat()
    for name, value in attributes.items():
        assert isinstance(value, str), f"{name} is no string"
    data = event.get_data()
    if not data and event.get_datacontenttype() is None:
        data = None
    return {"attributes": attributes, "data": data}


def read(request):
    headers, body = request["headers"], request["body"].encode()
    if headers.get("content-type") == "application/cloudevents-batch+json":
        return [JSONFormat().read(None, json.dumps(event)) for event in json.loads(body)]
    return [from_http_event(HTTPMessage(headers, body))]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        requests = json.load(file)
    events = {}
    for request in requests:
        found = events.setdefault(request["path"].strip("/"), [])
        found.extend(shown(event) for event in read(request))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(events, file)


main()
