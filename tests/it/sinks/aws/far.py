"""Amazon's own client at the far side, for the tests: makes what is written to, and reads it back.

far.py ENDPOINT prepare        prints names and keys as JSON; from then on only those keys may ask
far.py ENDPOINT read WHAT      prints an object a line: the body, and what came with it
"""

import json
import os
import sys
import urllib.request

import boto3

ENDPOINT = sys.argv[1]
REGION = "eu-central-1"


def client(service):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=REGION,
        aws_access_key_id=os.environ.get("FAR_ID", "none"),
        aws_secret_access_key=os.environ.get("FAR_SECRET", "none"),
    )


def user(name, actions):
    iam = client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def queue(sqs, name):
    fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url = sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
    wanted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, wanted["Attributes"]["QueueArn"]


def prepare():
    sqs, sns, events, s3 = client("sqs"), client("sns"), client("events"), client("s3")
    made = {"queue": queue(sqs, "q")[0], "fifo": queue(sqs, "q.fifo")[0]}
    for topic, end in [("topic", ""), ("topic_fifo", ".fifo")]:
        fifo = {"FifoTopic": "true"} if end else {}
        made[topic] = sns.create_topic(Name="t" + end, Attributes=fifo)["TopicArn"]
        raw = {"RawMessageDelivery": "true"}
        to = queue(sqs, "of-t" + end)[1]
        sns.subscribe(TopicArn=made[topic], Protocol="sqs", Endpoint=to, Attributes=raw)
    client("kinesis").create_stream(StreamName="s", ShardCount=3)
    s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION})
    to = {"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::lake"}
    client("firehose").create_delivery_stream(
        DeliveryStreamName="f", ExtendedS3DestinationConfiguration=to
    )
    events.create_event_bus(Name="b")
    pattern = json.dumps({"source": [{"prefix": "shop"}], "detail-type": [{"prefix": "shop."}]})
    events.put_rule(Name="r", EventBusName="b", EventPattern=pattern)
    target = {"Id": "1", "Arn": queue(sqs, "of-b")[1]}
    events.put_targets(Rule="r", EventBusName="b", Targets=[target])
    made["any"] = user("any", ["*"])
    made["sender"] = user("sender", ["sqs:SendMessageBatch"])
    headers = {"content-type": "text/plain"}
    ask = urllib.request.Request(ENDPOINT + "/moto-api/reset-auth", data=b"0", headers=headers)
    urllib.request.urlopen(ask).read()
    print(json.dumps(made))


def read_queue(name):
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return
        for message in messages:
            attributes = message.get("MessageAttributes", {})
            yield {
                "body": message["Body"],
                "group": message["Attributes"].get("MessageGroupId"),
                "attributes": {n: a["StringValue"] for n, a in attributes.items()},
            }
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def read_bus(name):
    for message in read_queue(name):
        event = json.loads(message["body"])
        yield {"body": json.dumps(event["detail"]), "type": event["detail-type"],
               "source": event["source"], "time": event["time"]}


def read_stream(name):
    kinesis = client("kinesis")
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        at = kinesis.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=at, Limit=1000)
            for record in answer["Records"]:
                yield {
                    "body": record["Data"].decode(),
                    "key": record["PartitionKey"],
                    "shard": shard["ShardId"],
                }
            if not answer["Records"]:
                break
            at = answer["NextShardIterator"]


def read_bucket(name):
    s3 = client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for found in page.get("Contents", []):
            text = s3.get_object(Bucket=name, Key=found["Key"])["Body"].read().decode()
            assert text.endswith("\n"), found["Key"]
            for line in text.splitlines():
                yield {"body": line}


if sys.argv[2] == "prepare":
    prepare()
else:
    what, name = sys.argv[3].split(":")
    readers = {"queue": read_queue, "bus": read_bus, "stream": read_stream, "bucket": read_bucket}
    for found in readers[what](name):
        print(json.dumps(found))
