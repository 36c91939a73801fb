"""Reads requests of OTLP over HTTP in JSON with the protocol's own definitions.

    python read.py REQUESTS READ

REQUESTS is a file with a JSON list of requests: path and body. READ becomes a JSON object:
`metrics`, what each export said in the names of Prometheus, and `spans`. A field that the protocol
does not have, or that has another form there, ends it with an error.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

# Bytes are Base64 in the JSON of protobuf, and these alone are hex in that of OTLP.
IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def based(value):
    if isinstance(value, list):
        return [based(item) for item in value]
    if not isinstance(value, dict):
        return value
    read = {}
    for name, inner in value.items():
        if name in IDS:
            assert len(inner) == IDS[name], f"{name} is {inner}"
            inner = base64.b64encode(bytes.fromhex(inner)).decode()
        read[name] = based(inner)
    return read


def has_numbers_as_text(value, name=""):
    """protobuf's reader takes both; OTLP asks for text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            has_numbers_as_text(inner, name)
    elif isinstance(value, list):
        for inner in value:
            has_numbers_as_text(inner, name)
    elif name in ("intValue", "asInt", "count", "bucketCounts") or name.endswith("UnixNano"):
        assert isinstance(value, str), f"{name} is {value!r}"
    elif name in ("kind", "aggregationTemporality", "code"):
        assert isinstance(value, int), f"{name} is {value!r}"


def parsed(message, body):
    read = json.loads(body)
    has_numbers_as_text(read)
    text = json.dumps(based(read))
    return json_format.Parse(text, message, ignore_unknown_fields=False)


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def name_of(name, labels):
    if not labels:
        return name
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inner}}}"


def samples(name, point, said):
    labels = attributes(point.attributes)
    if not hasattr(point, "bucket_counts"):
        said[name_of(name, labels)] = getattr(point, point.WhichOneof("value"))
        return
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert sum(point.bucket_counts) == point.count
    total = 0
    bounds = [f"{bound:g}" for bound in point.explicit_bounds] + ["+Inf"]
    for bound, count in zip(bounds, point.bucket_counts):
        total += count
        said[name_of(f"{name}_bucket", {**labels, "le": bound})] = total
    said[name_of(f"{name}_sum", labels)] = point.sum
    said[name_of(f"{name}_count", labels)] = total


def metrics(request):
    said, kinds, starts, times = {}, {}, set(), set()
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    for metric in scope.metrics:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        kinds[metric.name] = [kind, metric.unit]
        if kind != "gauge":
            assert data.aggregation_temporality == 2, metric
        if kind == "sum":
            assert data.is_monotonic, metric
        for point in data.data_points:
            samples(metric.name, point, said)
            times.add(point.time_unix_nano)
            if kind != "gauge":
                starts.add(point.start_time_unix_nano)
    (time,) = times
    resource = attributes(resource.resource.attributes)
    return {
        "samples": said,
        "kinds": kinds,
        "starts": sorted(starts),
        "time": time,
        "resource": resource,
    }


def spans(request):
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    for span in scope.spans:
        assert span.end_time_unix_nano >= span.start_time_unix_nano
        yield {
            "trace": span.trace_id.hex(),
            "id": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "name": span.name,
            "kind": span.kind,
            "start": span.start_time_unix_nano,
            "attributes": attributes(span.attributes),
            "code": span.status.code,
            "message": span.status.message,
            "resource": attributes(resource.resource.attributes),
        }


def main(requests, read):
    with open(requests) as file:
        requests = json.load(file)
    all_metrics, all_spans = [], []
    for request in requests:
        if request["path"] == "/v1/metrics":
            message = parsed(ExportMetricsServiceRequest(), request["body"])
            all_metrics.append(metrics(message))
        else:
            assert request["path"] == "/v1/traces", request["path"]
            message = parsed(ExportTraceServiceRequest(), request["body"])
            all_spans.extend(spans(message))
    with open(read, "w") as file:
        json.dump({"metrics": all_metrics, "spans": all_spans}, file)


main(*sys.argv[1:])
