"""Publish a CloudEvent to Baton with pika: `python publish_with_pika.py TYPE JSON`.

`BATON_AMQP_URL` says where the broker is. Returns only once the broker has confirmed that it has the event.
"""

import json
import os
import sys
import uuid

import pika
from pika.exceptions import NackError, UnroutableError

NAMESPACE = os.environ.get("BATON_NAMESPACE", "baton")


def publish(url: str, event_type: str, data: object) -> str:
    """Publish one event and return its id, which with `source` is what Baton knows it by."""
    event_id = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/examples/pika",
        "type": event_type,
        "data": data,
    }
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # from here on publishing waits for the broker's word
        channel.basic_publish(
            exchange=f"{NAMESPACE}.events",
            routing_key=event_type,
            body=json.dumps(event).encode(),
            properties=pika.BasicProperties(
                content_type="application/cloudevents+json",
                delivery_mode=pika.DeliveryMode.Persistent,
            ),
            mandatory=True,  # an event that no queue takes is an error, not lost
        )
    return event_id


if __name__ == "__main__":
    _, event_type, data = sys.argv
    try:
        sent = publish(os.environ["BATON_AMQP_URL"], event_type, json.loads(data))
    except (UnroutableError, NackError) as error:
        sys.exit(f"the broker did not take the event: {error!r}")
    print("published event", sent)
