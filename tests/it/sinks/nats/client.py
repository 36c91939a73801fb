"""What the tests of the `nats` sink ask of NATS, with its own client for Python.

client.py URL make STREAM CONFIG      makes a stream or changes it; CONFIG as JSON
client.py URL read STREAM             prints every message as a line of JSON
"""

import asyncio
import json
import sys

import nats
from nats.js.api import StreamConfig


async def main():
    url, what, stream, *rest = sys.argv[1:]
    client = await nats.connect(url, max_reconnect_attempts=0, allow_reconnect=False)
    jetstream = client.jetstream()
    if what == "make":
        config = StreamConfig.from_response({"name": stream, **json.loads(rest[0])})
        try:
            await jetstream.add_stream(config)
        except nats.js.errors.BadRequestError:
            await jetstream.update_stream(config)
    else:
        state = (await jetstream.stream_info(stream)).state
        if state.messages:
            for sequence in range(state.first_seq, state.last_seq + 1):
                message = await jetstream.get_msg(stream, sequence)
                headers, data = message.headers or {}, message.data.decode()
                print(json.dumps([message.subject, headers, data]))
    await client.close()


asyncio.run(main())
