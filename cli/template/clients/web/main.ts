// The page: everybody's pointer in one field, the chat below it, and a die to roll.

import { connect, type Member, MemberChange, MemberChanged, Reconnected, Reconnecting, RequestFailed } from "@tagwire/client";
import { ChatSchema, Dice, PointSchema, RolledSchema, SCHEMA } from "./gen/my_game/index.js"; // printed by scripts/gen

/** Milliseconds between two points of ours: the schema allows 60 a second, and a mouse may report 1000. */
const PAUSE = 20;
/** Lines of chat that are kept. */
const LINES = 100;

const element = (selector: string): HTMLElement => {
  const found = document.querySelector<HTMLElement>(selector);
  if (found === null) throw new Error(`index.html has no ${selector}`);
  return found;
};
const field = element("#field");
const lines = element("#lines");
const status = element("#status");

/** Shows a line. Names and chat are strangers' texts: they become text, never HTML. */
function show(text: string): void {
  const line = document.createElement("li");
  line.textContent = text;
  lines.append(line);
  while (lines.childElementCount > LINES) lines.firstElementChild?.remove();
  lines.scrollTop = lines.scrollHeight;
}

/** The pointers in the field, by the player's number. */
const pointers = new Map<number, HTMLElement>();

function point(player: { id: number; name: string }, x: number, y: number): void {
  let pointer = pointers.get(player.id);
  if (pointer === undefined) {
    pointer = document.createElement("div");
    pointer.className = "pointer";
    pointer.textContent = player.name;
    pointer.style.color = `hsl(${(player.id * 137) % 360} 70% 50%)`;
    pointers.set(player.id, pointer);
    field.append(pointer);
  }
  pointer.style.transform = `translate(${(x / 1000) * field.clientWidth}px, ${(y / 1000) * field.clientHeight}px)`;
}

async function play(): Promise<void> {
  const asked = new URLSearchParams(location.search);
  const name = asked.get("name") ?? `guest ${Math.floor(Math.random() * 1000)}`;
  // The page and the game come from the same port.
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
  const client = await connect(address, { username: name, password: "welcome", schema: SCHEMA });
  const me = { id: client.playerId, name: client.name };
  const nameOf = (player: number): string =>
    player === me.id ? me.name : (client.members.get(player)?.name ?? `player ${player}`);
  const here = (): void => {
    status.textContent = `in ${client.room} as ${me.name}`;
  };

  // What comes from the others.
  client.on(PointSchema, (message, sender: Member | undefined) => {
    if (sender !== undefined) point(sender, message.x, message.y);
  });
  client.on(ChatSchema, (message, sender) => {
    show(`${sender?.name ?? "the server"}: ${message.text}`);
  });
  client.on(RolledSchema, (message) => {
    show(`${nameOf(message.player)} rolled ${message.eyes}`);
  });
  client.on(MemberChanged, ({ member, change }) => {
    if (change === MemberChange.JOINED) moved = true; // who comes has not seen where we point to
    if (change !== MemberChange.LEFT) return;
    pointers.get(member.id)?.remove();
    pointers.delete(member.id);
  });
  client.on(Reconnecting, ({ attempt, reason }) => {
    status.textContent = `connection lost: ${reason}; attempt ${attempt}`;
  });
  client.on(Reconnected, here);

  // What goes to the others. A mouse that moves sets `moved`; the newest place is sent with the next beat.
  let [x, y, moved] = [500, 500, true];
  field.addEventListener("pointermove", (event) => {
    const box = field.getBoundingClientRect();
    const within = (share: number): number => Math.round(1000 * Math.min(1, Math.max(0, share)));
    x = within((event.clientX - box.left) / box.width);
    y = within((event.clientY - box.top) / box.height);
    moved = true;
    point(me, x, y);
  });
  const beat = setInterval(() => {
    if (!moved) return;
    moved = false;
    void client.send(PointSchema, { x, y });
  }, PAUSE);

  const form = element("form") as HTMLFormElement;
  const input = element("input") as HTMLInputElement;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void client.send(ChatSchema, { text: input.value });
    input.value = "";
  });
  const dice = new Dice(client);
  element("#roll").addEventListener("click", () => {
    dice.roll({}).catch((error: unknown) => {
      show(error instanceof RequestFailed ? error.message : String(error));
    });
  });

  // Else the player would be away for a while, as one whose connection is lost.
  window.addEventListener("pagehide", () => void client.close());

  here();
  point(me, x, y);
  try {
    await client.run();
  } finally {
    clearInterval(beat);
  }
}

play().catch((error: unknown) => {
  status.textContent = `${error instanceof Error ? error.message : String(error)}. Load the page again to come back.`;
});
