/** What stands around the stage: who is here, the chat, how the connection is. What strangers wrote is text, never markup. */

import { SHADES, shadeOf, type Player, type Players } from "./players.js";
import { Colour } from "../gen/arena/index.js";

const LINES_KEPT = 200;

/** The element of that id, which index.html has. */
export function element<E extends HTMLElement>(id: string, kind: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} called ${id}`);
  return found;
}

/** How the connection is, for people, and for the style sheet. */
export function showState(state: "idle" | "open" | "lost", text: string): void {
  const output = element("state", HTMLOutputElement);
  output.dataset["state"] = state;
  output.textContent = text;
}

/** The list of players, by name, ourselves first. */
export function showPlayers(players: Players, me: number | undefined): void {
  const order = [...players.values()].sort(
    (one, other) => Number(other.id === me) - Number(one.id === me) || one.name.localeCompare(other.name),
  );
  element("count", HTMLElement).textContent = order.length ? `(${order.length})` : "";
  element("players", HTMLUListElement).replaceChildren(
    ...order.map((player) => {
      const item = document.createElement("li");
      item.style.setProperty("--shade", shadeOf(player));
      item.classList.toggle("away", player.away);
      item.append(player.name);
      const note = player.id === me ? "you" : player.away ? "away" : "";
      if (note) {
        const small = document.createElement("small");
        small.textContent = ` (${note})`;
        item.append(small);
      }
      return item;
    }),
  );
}

/** Adds a line of chat; without a player, something that this page tells. */
export function showLine(text: string, player?: Player): void {
  const lines = element("lines", HTMLOListElement);
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 8;
  const item = document.createElement("li");
  if (player) {
    const name = document.createElement("b");
    name.style.setProperty("--shade", shadeOf(player));
    name.textContent = `${player.name}: `;
    item.append(name);
  } else {
    item.className = "told";
  }
  item.append(text);
  lines.append(item);
  while (lines.childElementCount > LINES_KEPT) lines.firstElementChild?.remove();
  if (atEnd) lines.scrollTop = lines.scrollHeight;
}

/** The buttons to pick a colour. Gives a function that shows which one is picked. */
export function colours(onPick: (colour: Colour) => void): (picked: Colour) => void {
  const buttons = new Map<Colour, HTMLButtonElement>();
  for (const [colour, shade] of SHADES) {
    const button = document.createElement("button");
    button.type = "button";
    button.style.setProperty("--shade", shade);
    button.setAttribute("aria-label", Colour[colour].toLowerCase());
    button.addEventListener("click", () => {
      onPick(colour);
    });
    buttons.set(colour, button);
  }
  element("colours", HTMLFieldSetElement).append(...buttons.values());
  return (picked) => {
    for (const [colour, button] of buttons) button.setAttribute("aria-pressed", String(colour === picked));
  };
}
