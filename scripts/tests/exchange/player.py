"""A player that does what its lines of JSON say, and says in lines of JSON what it sees.

`player.py ADDRESS NAME`, with the stubs of the game on the path.

    {"send": "duel.v1.Weapon", "json": {...}}        sends it to the room
    {"ask": "mend", "of": "duel.v1.MendRequest", "json": {...}}    asks the smithy, and says {"reply": {...}}
"""

import asyncio
import json
import sys
from typing import Any

import duel  # type: ignore[import-not-found]
import tagwire
from google.protobuf import json_format


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def main(address: str, name: str) -> None:
    async with tagwire.connect(address, username=name, password="welcome", schema=duel.SCHEMA) as client:
        say(ready=name, verdict=client.verdict.name, room=client.room)

        async def listen() -> None:
            async for message, sender in client.with_senders():
                said = json_format.MessageToDict(message)
                say(got=message.DESCRIPTOR.full_name, by=sender.name if sender else None, json=said)

        listening = asyncio.create_task(listen())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            kind = duel.SCHEMA.message(order.get("send") or order["of"])
            message = json_format.ParseDict(order["json"], kind())
            if "send" in order:
                await client.send(message)
            else:
                method = getattr(duel.Smithy(client), order["ask"])
                say(reply=json_format.MessageToDict(await method(message, timeout=30)))
        await client.close()
        await listening


asyncio.run(main(*sys.argv[1:3]))
