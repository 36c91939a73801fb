"""What a test asks of RabbitMQ: the URL, then a list of operations as JSON.

Prints what was read, a JSON object a message.
"""

import json
import sys

import pika


def shown(method, properties, body):
    return {
        "exchange": method.exchange,
        "routing_key": method.routing_key,
        "content_type": properties.content_type,
        "delivery_mode": properties.delivery_mode,
        "message_id": properties.message_id,
        "timestamp": properties.timestamp,
        "type": properties.type,
        "app_id": properties.app_id,
        "headers": properties.headers,
        "body": body.decode(),
    }


def main():
    url, operations = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for operation, name, *rest in json.loads(operations):
        if operation == "exchange":
            channel.exchange_declare(name, "direct", durable=True)
        elif operation == "queue":
            channel.queue_declare(name, durable=True, arguments=rest[0] if rest else None)
        elif operation == "bind":
            channel.queue_bind(name, *rest)
        elif operation == "read":
            while True:
                method, properties, body = channel.basic_get(name, auto_ack=True)
                if method is None:
                    break
                print(json.dumps(shown(method, properties, body)))
        else:
            raise ValueError(operation)
    connection.close()


main()
