"""Google's own client at the far side, for the tests: makes what is published to, and reads it back.

far.py HOST make TOPIC…        makes topics, each with a subscription of its name that keeps the order
far.py HOST read TOPIC         prints an object a line for each message of it, in order
"""

import json
import sys

from google.auth.credentials import AnonymousCredentials
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports.rest import PublisherRestTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports.rest import SubscriberRestTransport

HOST, WHAT, *NAMES = sys.argv[1:]
PROJECT = "projects/walgate-test"
SEVERAL = 1000


def client(kind, transport):
    way = transport(host=HOST, credentials=AnonymousCredentials(), url_scheme="http")
    return kind(transport=way)


def subscriber():
    return client(SubscriberClient, SubscriberRestTransport)


def make(name):
    topic = f"{PROJECT}/topics/{name}"
    client(PublisherClient, PublisherRestTransport).create_topic(name=topic)
    wanted = {
        "name": f"{PROJECT}/subscriptions/{name}",
        "topic": topic,
        "enable_message_ordering": True,
        "ack_deadline_seconds": 600,
    }
    subscriber().create_subscription(request=wanted)


def read(name):
    subscription, pulls = f"{PROJECT}/subscriptions/{name}", subscriber()
    wanted = {"subscription": subscription, "max_messages": SEVERAL, "return_immediately": True}
    while True:
        received = pulls.pull(request=wanted, timeout=10).received_messages
        if not received:
            return
        for one in received:
            message = one.message
            told = {
                "body": message.data.decode(),
                "attributes": dict(message.attributes),
                "key": message.ordering_key,
            }
            print(json.dumps(told))
        ids = [one.ack_id for one in received]
        pulls.acknowledge(subscription=subscription, ack_ids=ids)


for name in NAMES:
    {"make": make, "read": read}[WHAT](name)
